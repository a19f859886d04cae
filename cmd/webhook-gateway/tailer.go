package main

import (
	"context"
	"errors"
	"fmt"
	"io"

	"google.golang.org/protobuf/proto"

	webhookgatewayv1 "github.com/webhook-gateway/webhook-gateway/gen/webhookgateway/v1"
)

// tailer follows a stream of Subscribe.
type tailer struct {
	follower

	client webhookgatewayv1.EventServiceClient
	// Request of the next connection. It starts after what was seen.
	request *webhookgatewayv1.SubscribeRequest
	show    func(event *webhookgatewayv1.Event) error
	// Prepare, if there is one, completes the request before the first connection.
	prepare func(ctx context.Context) error

	chain   chain
	leftOut leftOut
}

// run returns nil when ctx is done, the stop was reached, or enough was printed.
func (t *tailer) run(ctx context.Context) error {
	t.finite = t.request.GetStop() != nil
	defer t.leftOut.tell(t.note)
	return t.follower.run(ctx, t.session)
}

// session prints one connection's events.
func (t *tailer) session(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	if t.prepare != nil {
		if err := t.prepare(ctx); err != nil {
			return err
		}
		t.prepare = nil
	}
	stream, err := t.client.Subscribe(ctx, t.request)
	if err != nil {
		return err
	}
	for {
		frame, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if err := t.chain.follow(frame); err != nil {
			return err
		}
		if err := t.frame(frame); err != nil {
			return err
		}
		t.request.Start = &webhookgatewayv1.SubscribeRequest_StartCursor{StartCursor: t.chain.at}
	}
}

func (t *tailer) frame(response *webhookgatewayv1.SubscribeResponse) error {
	switch frame := response.GetFrame().(type) {
	case *webhookgatewayv1.SubscribeResponse_Subscribed:
		t.subscribed(frame.Subscribed)
	case *webhookgatewayv1.SubscribeResponse_Events:
		return t.events(frame.Events.GetEvents())
	case *webhookgatewayv1.SubscribeResponse_Heartbeat:
		t.leftOut.now = frame.Heartbeat.GetLeftOutEvents()
	case *webhookgatewayv1.SubscribeResponse_CaughtUp:
		if !t.finite {
			t.note("caught up: what follows is live")
		}
		t.leftOut.now = frame.CaughtUp.GetLeftOutEvents()
		t.leftOut.tell(t.note)
	case *webhookgatewayv1.SubscribeResponse_FellBehind:
		t.note("fell behind by %d events: nothing is lost", frame.FellBehind.GetLagEvents())
	case *webhookgatewayv1.SubscribeResponse_Gap:
		t.missing(frame.Gap)
	case *webhookgatewayv1.SubscribeResponse_Goodbye:
		t.endsWith(frame.Goodbye)
	}
	return nil
}

func (t *tailer) events(events []*webhookgatewayv1.Event) error {
	for _, event := range events {
		if err := t.show(event); err != nil {
			return fmt.Errorf("print an event: %w", err)
		}
		if t.left--; t.left == 0 {
			return errEnough
		}
	}
	return nil
}

// subscribed makes every later connection stop where this one does, and not at
// what head means by then.
func (t *tailer) subscribed(s *webhookgatewayv1.Subscribed) {
	t.opened()
	t.leftOut.opened()
	t.request = proto.CloneOf(t.request)
	if t.request.GetStopAtHead() {
		t.request.Stop = &webhookgatewayv1.SubscribeRequest_StopCursor{StopCursor: s.GetHeadCursor()}
	}
	// What is trimmed while this tail is away is named and does not end it.
	t.request.OnExpired = webhookgatewayv1.ExpiredPolicy_EXPIRED_POLICY_EARLIEST
}
