// Command subscriber is a whole consumer of the gateway: it handles every event
// and survives restarts of itself and of the gateway, with no gap.
//
//	go run ./examples/subscriber -addr localhost:9090 -cursor-file cursor.txt
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"log"
	"os"
	"os/signal"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"

	webhookgatewayv1 "github.com/webhook-gateway/webhook-gateway/gen/webhookgateway/v1"
)

func main() {
	addr := flag.String("addr", "localhost:9090", "address of the gateway")
	cursorFile := flag.String("cursor-file", "cursor.txt", "where the cursor is kept between runs")
	flag.Parse()

	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	conn, err := grpc.NewClient(*addr, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		log.Fatal(err)
	}
	defer conn.Close()
	s := &subscriber{client: webhookgatewayv1.NewEventServiceClient(conn), cursorFile: *cursorFile, out: os.Stdout}
	if err := s.run(ctx); err != nil {
		log.Print(err)
	}
}

type subscriber struct {
	client     webhookgatewayv1.EventServiceClient
	cursorFile string
	out        io.Writer
}

// run streams until ctx is done, reconnecting when the stream ends.
func (s *subscriber) run(ctx context.Context) error {
	for {
		err := s.stream(ctx)
		switch status.Code(err) {
		case codes.InvalidArgument, codes.FailedPrecondition, codes.OutOfRange, codes.PermissionDenied:
			return err // trying again would not help
		default:
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(time.Second):
		}
	}
}

func (s *subscriber) stream(ctx context.Context) error {
	req := &webhookgatewayv1.SubscribeRequest{
		// Only what this service cares about; no filter is every event.
		Filters: []*webhookgatewayv1.EventFilter{{EventTypes: []webhookgatewayv1.EventType{
			webhookgatewayv1.EventType_EVENT_TYPE_FINICITY_ADDED,
			webhookgatewayv1.EventType_EVENT_TYPE_VEZGO_SYNC_ERROR,
		}}},
		Start: &webhookgatewayv1.SubscribeRequest_StartPosition{
			StartPosition: webhookgatewayv1.StartPosition_START_POSITION_EARLIEST,
		},
	}
	cursor, err := os.ReadFile(s.cursorFile)
	switch {
	case err == nil:
		req.Start = &webhookgatewayv1.SubscribeRequest_StartCursor{StartCursor: string(cursor)}
	case !errors.Is(err, fs.ErrNotExist):
		return err
	}
	stream, err := s.client.Subscribe(ctx, req)
	if err != nil {
		return err
	}
	for {
		frame, err := stream.Recv()
		if err != nil {
			return err
		}
		switch f := frame.GetFrame().(type) {
		case *webhookgatewayv1.SubscribeResponse_Events:
			for _, event := range f.Events.GetEvents() {
				s.handle(event)
			}
			// Kept after the work is done: at worst it is done again.
			events := f.Events.GetEvents()
			err = s.keep(events[len(events)-1].GetCursor())
		case *webhookgatewayv1.SubscribeResponse_Heartbeat:
			// The cursor moves on past events that the filter skipped.
			err = s.keep(f.Heartbeat.GetCursor())
		default: // ignore what you do not know
		}
		if err != nil {
			return err
		}
	}
}

func (s *subscriber) handle(event *webhookgatewayv1.Event) {
	switch event.GetType() {
	case webhookgatewayv1.EventType_EVENT_TYPE_FINICITY_ADDED:
		added := event.GetFinicity().GetAdded()
		fmt.Fprintf(s.out, "%s: customer %s added %d accounts\n",
			event.GetClientId(), event.GetFinicity().GetCustomerId(), len(added.GetAccounts()))
	case webhookgatewayv1.EventType_EVENT_TYPE_VEZGO_SYNC_ERROR:
		fmt.Fprintf(s.out, "%s: account %s failed to sync: %s\n",
			event.GetClientId(), event.GetVezgo().GetAccount().GetId(), event.GetVezgo().GetSyncError().GetErrorName())
	default:
	}
}

// keep writes the cursor so that a crash leaves either the old or the new one.
func (s *subscriber) keep(cursor string) error {
	if err := os.WriteFile(s.cursorFile+".new", []byte(cursor), 0o600); err != nil {
		return err
	}
	return os.Rename(s.cursorFile+".new", s.cursorFile)
}
