// Command subscriber keeps count of what happens to accounts. It is a whole
// consumer of the gateway: it survives restarts of itself and of the gateway, and
// counts every event exactly once, because it stores its cursor together with the
// counts.
//
//	go run ./examples/subscriber -addr localhost:9090 -state counts.json
package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"log"
	"math/rand/v2"
	"os"
	"os/signal"
	"syscall"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"

	pb "github.com/webhook-gateway/webhook-gateway/gen/webhookgateway/v1"
)

// receiveLimit is the largest frame that is received. An event is never split, and
// can be twice as large as its body: typed and, in EVENT_VIEW_RAW, as it came. The
// gateway takes bodies of up to 16 MiB (webhooks.max_body_bytes). The rest is for
// headers, and for what takes more bytes in protobuf than in JSON.
const receiveLimit = 2*16<<20 + 4<<20

func main() {
	addr := flag.String("addr", "localhost:9090", "address of the gateway")
	file := flag.String("state", "counts.json", "file with the counts and the cursor")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	conn, err := dial(*addr)
	if err != nil {
		log.Fatal(err)
	}
	defer conn.Close()
	s := &subscriber{client: pb.NewEventServiceClient(conn), file: *file, heartbeat: 10 * time.Second}
	if err := s.run(ctx); err != nil {
		log.Fatal(err)
	}
}

func dial(addr string) (*grpc.ClientConn, error) {
	return grpc.NewClient(addr,
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(receiveLimit)),
		// Notices a dead connection. NOTE: the gateway closes one that pings more often
		// than every 10 s.
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: 20 * time.Second, Timeout: 10 * time.Second}),
		// By default gRPC waits up to 2 minutes before it connects again.
		grpc.WithConnectParams(grpc.ConnectParams{Backoff: backoff.Config{
			BaseDelay: 100 * time.Millisecond, Multiplier: 2, Jitter: 0.2, MaxDelay: 5 * time.Second,
		}}),
	)
}

type subscriber struct {
	client    pb.EventServiceClient
	file      string
	heartbeat time.Duration
	failures  int // since the last frame
	state     state
}

// state is the effect of all events up to the cursor.
type state struct {
	Cursor string         `json:"cursor"`
	Counts map[string]int `json:"counts"`
}

// run streams until ctx is done, or until trying again would not help.
func (s *subscriber) run(ctx context.Context) error {
	if err := s.load(); err != nil {
		return err
	}
	for {
		err := s.stream(ctx)
		if ctx.Err() != nil {
			return nil //nolint:nilerr // told to end
		}
		if !temporary(err) {
			return err
		}
		s.failures++
		wait := min(100*time.Millisecond<<min(s.failures, 10), 30*time.Second)
		wait = max(wait, retryDelay(err)) + rand.N(wait) //nolint:gosec // spreads subscribers, keeps no secret
		log.Printf("again in %v: %v", wait, err)
		select {
		case <-ctx.Done():
		case <-time.After(wait):
		}
	}
}

var errSilent = status.Error(codes.Unavailable, "nothing came for three heartbeat intervals")

func (s *subscriber) stream(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	req := &pb.SubscribeRequest{
		Filters: []*pb.EventFilter{{EventTypes: []pb.EventType{ // no filter is every event
			pb.EventType_EVENT_TYPE_FINICITY_ADDED, pb.EventType_EVENT_TYPE_VEZGO_SYNC_ERROR,
		}}},
		Start:             &pb.SubscribeRequest_StartPosition{StartPosition: pb.StartPosition_START_POSITION_EARLIEST},
		HeartbeatInterval: durationpb.New(s.heartbeat),
	}
	if s.state.Cursor != "" {
		req.Start = &pb.SubscribeRequest_StartCursor{StartCursor: s.state.Cursor}
	}
	// The watchdog ends a stream that is open and says nothing.
	watchdog := time.AfterFunc(3*s.heartbeat, func() { cancel(errSilent) })
	defer watchdog.Stop()
	stream, err := s.client.Subscribe(ctx, req)
	for err == nil {
		var frame *pb.SubscribeResponse
		watchdog.Reset(3 * s.heartbeat)
		if frame, err = stream.Recv(); err == nil {
			watchdog.Stop() // the time that the work takes is not the gateway's
			s.failures = 0
			err = s.take(frame)
		}
	}
	if errors.Is(context.Cause(ctx), errSilent) {
		return errSilent
	}
	return err
}

// take checks that a frame begins where the one before it ended, and stores its
// effect.
func (s *subscriber) take(frame *pb.SubscribeResponse) error {
	from := cmp.Or( // only one is set
		frame.GetSubscribed().GetStartCursor(), frame.GetEvents().GetAfterCursor(), frame.GetHeartbeat().GetAfterCursor(),
		frame.GetCaughtUp().GetAfterCursor(), frame.GetFellBehind().GetAfterCursor(), frame.GetGap().GetFromCursor(),
		frame.GetGoodbye().GetAfterCursor())
	to := cmp.Or(frame.GetSubscribed().GetStartCursor(), frame.GetHeartbeat().GetCursor(), frame.GetCaughtUp().GetCursor(),
		frame.GetFellBehind().GetCursor(), frame.GetGap().GetToCursor(), frame.GetGoodbye().GetCursor())
	switch {
	case from == "": // a frame of a newer gateway: ignore what you do not know
		return nil
	case s.state.Cursor == "": // the first run: `subscribed` says where it begins
	case from != s.state.Cursor:
		return fmt.Errorf("events are missing: the last cursor was %s, and the next frame begins at %s", s.state.Cursor, from)
	}
	if gap := frame.GetGap(); gap != nil {
		log.Printf("events after %s up to %s are lost: %v", from, to, gap.GetReason())
	}
	for _, event := range frame.GetEvents().GetEvents() {
		s.count(event)
		to = event.GetCursor()
	}
	if to == s.state.Cursor {
		return nil
	}
	s.state.Cursor = to
	return s.store()
}

// count is the work of this example.
func (s *subscriber) count(event *pb.Event) {
	switch event.GetType() {
	case pb.EventType_EVENT_TYPE_FINICITY_ADDED:
		s.state.Counts[event.GetClientId()+": accounts added"] += len(event.GetFinicity().GetAdded().GetAccounts())
	case pb.EventType_EVENT_TYPE_VEZGO_SYNC_ERROR:
		s.state.Counts[event.GetClientId()+": syncs failed"]++
	default:
	}
	if event.GetDecodeError() != "" { // the raw body has what the payload lacks: EVENT_VIEW_RAW
		log.Printf("%s: the payload is not complete: %s", event.GetId(), event.GetDecodeError())
	}
}

func (s *subscriber) load() error {
	s.state = state{Counts: make(map[string]int)}
	text, err := os.ReadFile(s.file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	return json.Unmarshal(text, &s.state)
}

// store writes the counts and the cursor in one step: a crash leaves the old state
// or the new one, never a part of each. With a database it is one transaction.
func (s *subscriber) store() error {
	text, err := json.MarshalIndent(s.state, "", "  ")
	if err != nil {
		return err
	}
	if err := os.WriteFile(s.file+".new", text, 0o600); err != nil {
		return err
	}
	return os.Rename(s.file+".new", s.file)
}

// temporary reports whether it helps to try again.
func temporary(err error) bool {
	s, isStatus := status.FromError(err)
	if !isStatus {
		return false // this program's own: the chain, the file
	}
	switch s.Code() {
	case codes.InvalidArgument, codes.FailedPrecondition, codes.OutOfRange, codes.DataLoss,
		codes.Unauthenticated, codes.PermissionDenied, codes.NotFound, codes.Unimplemented:
		return false
	case codes.ResourceExhausted:
		return retryDelay(err) > 0 // otherwise a frame is larger than receiveLimit
	default:
		return true
	}
}

// retryDelay returns how long the gateway asks to wait, 0 if it does not.
func retryDelay(err error) time.Duration {
	for _, detail := range status.Convert(err).Details() {
		if retry, ok := detail.(*errdetails.RetryInfo); ok {
			return retry.GetRetryDelay().AsDuration()
		}
	}
	return 0
}
