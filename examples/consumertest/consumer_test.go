// Package consumertest tests a program that reads from the gateway: docs/testing.md shows
// it.
package consumertest

import (
	"context"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	pb "github.com/webhook-gateway/webhook-gateway/gen/webhookgateway/v1"
	"github.com/webhook-gateway/webhook-gateway/server/servertest"
)

// The consumer goes on, whatever ends its stream, and gets every event once.
func TestConsumerGoesOn(t *testing.T) {
	gateway := servertest.Start(t, servertest.InMemory)
	seen := startConsumer(t, gateway.Conn(), "") // the program that is tested
	for name, fault := range map[string]func(){
		"a goodbye":       func() { gateway.Restart(t) },
		"without a word":  gateway.Cut,
		"it falls behind": func() { gateway.FallBehind(t) },
	} {
		fault()
		want := gateway.Trigger(t, "finicity.added", "payload.institutionId=100002")
		if got := <-seen; got.GetId() != want.GetId() {
			t.Errorf("after %s came %s, want %s", name, got.GetId(), want.GetId())
		}
	}
}

// The consumer was away for longer than events are kept: it says so, and does not begin
// somewhere else.
func TestConsumerWasAwayForTooLong(t *testing.T) {
	gateway := servertest.Start(t, servertest.InMemory)
	cursor := gateway.Trigger(t, "started").GetCursor()
	gateway.Trigger(t, "added")
	gateway.Trigger(t, "done")
	gateway.Expire(t, 1)
	err := follow(t.Context(), gateway.Conn(), &cursor, nil)
	if status.Code(err) != codes.OutOfRange { // CURSOR_EXPIRED
		t.Errorf("the consumer ended with %v", err)
	}
}

// The worker forgets an event: another worker is given it, as its second attempt.
func TestWorkerForgets(t *testing.T) {
	gateway := servertest.Start(t, servertest.InMemory)
	client := pb.NewSubscriptionServiceClient(gateway.Conn())
	_, err := client.CreateSubscription(t.Context(), &pb.CreateSubscriptionRequest{Subscription: &pb.Subscription{Name: "billing"}})
	if err != nil {
		t.Fatal(err)
	}
	gateway.Trigger(t, "finicity.added")
	worker := consume(t, client, "billing")
	first := worker()
	gateway.Redeliver(t, "billing") // no 30 s of waiting for the deadline
	second := worker()
	if second.GetEvent().GetId() != first.GetEvent().GetId() || second.GetAttempt() != 2 {
		t.Errorf("delivered again is %v", second)
	}
}

// startConsumer runs follow until the test ends, and returns the events it is given.
func startConsumer(t *testing.T, conn grpc.ClientConnInterface, cursor string) <-chan *pb.Event {
	t.Helper()
	ctx, end := context.WithCancel(context.Background())
	seen := make(chan *pb.Event, 100)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for ctx.Err() == nil {
			if err := follow(ctx, conn, &cursor, seen); status.Code(err) != codes.Unavailable && ctx.Err() == nil {
				t.Errorf("the consumer ended with %v", err)
				return
			}
		}
	}()
	t.Cleanup(func() { end(); <-ended })
	return seen
}

// follow reads events after a cursor, which it moves on, until its stream ends.
func follow(ctx context.Context, conn grpc.ClientConnInterface, cursor *string, seen chan<- *pb.Event) error {
	req := &pb.SubscribeRequest{Start: &pb.SubscribeRequest_StartPosition{StartPosition: pb.StartPosition_START_POSITION_EARLIEST}}
	if *cursor != "" {
		req.Start = &pb.SubscribeRequest_StartCursor{StartCursor: *cursor}
	}
	stream, err := pb.NewEventServiceClient(conn).Subscribe(ctx, req, grpc.WaitForReady(true))
	for err == nil {
		var frame *pb.SubscribeResponse
		if frame, err = stream.Recv(); err != nil {
			break
		}
		for _, event := range frame.GetEvents().GetEvents() {
			*cursor = event.GetCursor()
			seen <- event
		}
	}
	return err
}

// consume returns a function that waits for the next delivery of a worker.
func consume(t *testing.T, client pb.SubscriptionServiceClient, subscription string) func() *pb.Delivery {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	stream, err := client.Consume(ctx, &pb.ConsumeRequest{Subscription: subscription})
	if err != nil {
		t.Fatal(err)
	}
	return func() *pb.Delivery {
		t.Helper()
		for {
			frame, err := stream.Recv()
			if err != nil {
				t.Fatal(err)
			}
			for _, delivery := range frame.GetDeliveries().GetDeliveries() {
				return delivery
			}
		}
	}
}
