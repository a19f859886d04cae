// Command worker is one of several that share a durable subscription. It
// acknowledges what it has handled, gives back what failed, and keeps nothing.
// Start as many as you like:
//
//	bin/webhook-gateway subscriptions create billing --from earliest
//	go run ./examples/worker -subscription billing
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log"
	"maps"
	"math/rand/v2"
	"os"
	"os/signal"
	"slices"
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

const (
	// receiveLimit is the largest frame that is received: see examples/subscriber.
	receiveLimit = 2*16<<20 + 4<<20
	// maxInFlight is how many events are handled at the same time: the gateway sends
	// no more than that before some are settled.
	maxInFlight = 8
	// settleTime is how long a worker tries to settle an event. Then it gives up, and
	// the event comes again. It is less than supervisors wait after SIGTERM.
	settleTime = 10 * time.Second
)

// errPermanent marks an event that another attempt would not help: it is parked.
var errPermanent = errors.New("this event cannot be handled")

// handle does the work. It may meet an event twice, because an acknowledgement can
// be lost: recognise it by its id. It ends when ctx does.
func handle(_ context.Context, event *pb.Event) error {
	if event.GetDecodeError() != "" {
		// No reason to refuse it: only what is named here is not in the payload, and the
		// raw body has that too.
		log.Printf("%s: the payload is not complete: %s", event.GetId(), event.GetDecodeError())
	}
	switch event.GetType() {
	case pb.EventType_EVENT_TYPE_VEZGO_SYNC_ERROR:
		account := event.GetVezgo().GetAccount().GetId()
		if account == "" {
			return fmt.Errorf("%w: it names no account", errPermanent)
		}
		log.Printf("%s: account %s failed to sync: %s", event.GetId(), account, event.GetVezgo().GetSyncError().GetErrorName())
	default:
		log.Printf("%s: skipped a %s of %d bytes", event.GetId(), event.GetTypeName(), len(event.GetRawBody()))
	}
	return nil
}

func main() {
	addr := flag.String("addr", "localhost:9090", "address of the gateway")
	subscription := flag.String("subscription", "billing", "name of the subscription")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	conn, err := dial(*addr)
	if err != nil {
		log.Fatal(err)
	}
	defer conn.Close()
	w := &worker{client: pb.NewSubscriptionServiceClient(conn), subscription: *subscription, heartbeat: 10 * time.Second, handle: handle}
	if err := w.run(ctx); err != nil {
		log.Fatal(err)
	}
}

// dial connects as examples/subscriber does, which has the reasons.
func dial(addr string, more ...grpc.DialOption) (*grpc.ClientConn, error) {
	return grpc.NewClient(addr, append(more,
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(receiveLimit)),
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: 20 * time.Second, Timeout: 10 * time.Second}),
		grpc.WithConnectParams(grpc.ConnectParams{Backoff: backoff.Config{
			BaseDelay: 100 * time.Millisecond, Multiplier: 2, Jitter: 0.2, MaxDelay: 5 * time.Second,
		}}),
	)...)
}

type worker struct {
	client       pb.SubscriptionServiceClient
	subscription string
	heartbeat    time.Duration
	handle       func(context.Context, *pb.Event) error
	failures     int // since the last frame
}

// run works until ctx is done, or until trying again would not help.
func (w *worker) run(ctx context.Context) error {
	for {
		err := w.stream(ctx)
		if ctx.Err() != nil {
			return nil //nolint:nilerr // told to end
		}
		if !temporary(err) {
			return err
		}
		w.failures++
		if !pause(ctx, w.failures, err) {
			return nil
		}
	}
}

// stream works until the stream breaks, or until stopping is done and everything
// was given back.
func (w *worker) stream(stopping context.Context) error {
	// NOTE: the stream ends after the work. What a stream holds when it ends is
	// suspected of having ended it.
	ctx, cancel := context.WithCancel(context.WithoutCancel(stopping))
	defer cancel()
	got, err := w.client.GetSubscription(ctx, &pb.GetSubscriptionRequest{Name: w.subscription})
	if err != nil {
		return err
	}
	stream, err := w.client.Consume(ctx, &pb.ConsumeRequest{
		Subscription: w.subscription, View: pb.EventView_EVENT_VIEW_RAW,
		HeartbeatInterval: durationpb.New(w.heartbeat), MaxInFlight: maxInFlight,
	})
	if err != nil {
		return err
	}
	frames, broken := make(chan *pb.ConsumeResponse), make(chan error, 1)
	go receive(ctx, stream, frames, broken)
	working, stop := context.WithCancel(stopping)
	defer stop()
	held, settled := make(map[string]bool), make(chan string)
	silence := time.NewTimer(3 * w.heartbeat)
	extension := time.NewTicker(got.GetSubscription().GetSettings().GetAckDeadline().AsDuration() / 2)
	defer extension.Stop()
	for stopped := stopping.Done(); ; {
		select {
		case frame := <-frames:
			silence.Reset(3 * w.heartbeat)
			w.failures = 0
			if gap := frame.GetGap(); gap != nil {
				log.Printf("events after %s up to %s are lost: %v", gap.GetFromCursor(), gap.GetToCursor(), gap.GetReason())
			}
			for _, delivery := range frame.GetDeliveries().GetDeliveries() {
				held[delivery.GetAckToken()] = true
				go func() {
					w.work(working, delivery)
					settled <- delivery.GetAckToken()
				}()
			}
		case token := <-settled:
			delete(held, token)
		case <-extension.C:
			go w.extend(ctx, slices.Collect(maps.Keys(held)))
		case <-silence.C:
			cancel() // which breaks the stream
			err = status.Error(codes.Unavailable, "nothing came for three heartbeat intervals")
		case broke := <-broken:
			frames, broken = nil, nil
			if err == nil {
				err = broke
			}
			stop()
		case <-stopped:
			stopped = nil
		}
		if len(held) == 0 && (broken == nil || stopped == nil) {
			return err
		}
	}
}

// receive passes on the frames of a stream, and what it broke with.
func receive(ctx context.Context, stream grpc.ServerStreamingClient[pb.ConsumeResponse], frames chan<- *pb.ConsumeResponse, broken chan<- error) {
	for {
		frame, err := stream.Recv()
		if err != nil {
			broken <- err
			return
		}
		select {
		case frames <- frame:
		case <-ctx.Done(): // the next Recv says so
		}
	}
}

// work handles a delivery and settles it.
func (w *worker) work(ctx context.Context, delivery *pb.Delivery) {
	err := ctx.Err()
	if err == nil {
		err = w.handle(ctx, delivery.GetEvent())
	}
	reject := &pb.RejectRequest{Subscription: w.subscription, AckTokens: []string{delivery.GetAckToken()}}
	switch {
	case err == nil:
		w.settle(delivery, func(ctx context.Context) ([]pb.TokenResult, error) {
			resp, err := w.client.Acknowledge(ctx, &pb.AcknowledgeRequest{Subscription: w.subscription, AckTokens: reject.GetAckTokens()}, grpc.WaitForReady(true))
			return resp.GetResults(), err
		})
		return
	case ctx.Err() != nil:
		reject.Action = pb.RejectAction_REJECT_ACTION_RELEASE
	case errors.Is(err, errPermanent):
		reject.Action, reject.Reason = pb.RejectAction_REJECT_ACTION_PARK, err.Error()
	default:
		reject.Action, reject.Reason = pb.RejectAction_REJECT_ACTION_RETRY, err.Error()
	}
	log.Printf("%s: attempt %d: %v: %v", delivery.GetEvent().GetId(), delivery.GetAttempt(), reject.GetAction(), err)
	w.settle(delivery, func(ctx context.Context) ([]pb.TokenResult, error) {
		resp, err := w.client.Reject(ctx, reject, grpc.WaitForReady(true))
		return resp.GetResults(), err
	})
}

// settle tells the gateway what became of a delivery, until it has an answer.
func (w *worker) settle(delivery *pb.Delivery, tell func(context.Context) ([]pb.TokenResult, error)) {
	ctx, cancel := context.WithTimeout(context.Background(), settleTime) // also while the worker stops
	defer cancel()
	for failures := 1; ; failures++ {
		results, err := tell(ctx)
		switch {
		case err == nil && (results[0] == pb.TokenResult_TOKEN_RESULT_OK || results[0] == pb.TokenResult_TOKEN_RESULT_SETTLED):
			return // SETTLED: an earlier try did it, only its answer was lost
		case err == nil:
			log.Printf("%s: it comes again, because this delivery is %v", delivery.GetEvent().GetId(), results[0])
			return
		case !temporary(err) || !pause(ctx, failures, err):
			log.Printf("%s: it comes again, because it was not settled: %v", delivery.GetEvent().GetId(), err)
			return
		}
	}
}

// extend gives the worker more time for what it holds.
func (w *worker) extend(ctx context.Context, tokens []string) {
	if len(tokens) == 0 {
		return
	}
	if _, err := w.client.ExtendDeadline(ctx, &pb.ExtendDeadlineRequest{Subscription: w.subscription, AckTokens: tokens}); err != nil && ctx.Err() == nil {
		log.Printf("deadlines were not extended: %v", err)
	}
}

// pause waits after a failure, longer after each. It reports whether ctx goes on.
func pause(ctx context.Context, failures int, err error) bool {
	wait := min(100*time.Millisecond<<min(failures, 10), 30*time.Second)
	wait = max(wait, retryDelay(err)) + rand.N(wait) //nolint:gosec // spreads workers, keeps no secret
	log.Printf("again in %v: %v", wait, err)
	select {
	case <-ctx.Done():
		return false
	case <-time.After(wait):
		return true
	}
}

// temporary reports whether it helps to try again.
func temporary(err error) bool {
	switch status.Code(err) {
	case codes.InvalidArgument, codes.FailedPrecondition, codes.NotFound, codes.OutOfRange, codes.DataLoss,
		codes.Unauthenticated, codes.PermissionDenied, codes.Unimplemented:
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
