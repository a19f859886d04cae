package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	webhookgatewayv1 "github.com/webhook-gateway/webhook-gateway/gen/webhookgateway/v1"
	"github.com/webhook-gateway/webhook-gateway/server/rpcerr"
)

const (
	minBackoff = 100 * time.Millisecond
	maxBackoff = 10 * time.Second
)

var errEnough = errors.New("the wanted number of events was printed")

// tailer follows a stream over reconnects.
type tailer struct {
	client webhookgatewayv1.EventServiceClient
	addr   string
	// Request of the next connection. It starts after what was seen.
	request *webhookgatewayv1.SubscribeRequest
	// Left is how many more events are wanted, 0 for no limit.
	left int
	show func(event *webhookgatewayv1.Event) error
	note func(format string, args ...any)

	connected bool          // ever
	backoff   time.Duration // before the next connection
	goodbye   bool          // the gateway announced the end of the connection
}

// run returns nil when ctx is done, the stop was reached, or enough was printed.
func (t *tailer) run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	for {
		err := t.follow(ctx)
		switch {
		case ctx.Err() != nil, errors.Is(err, errEnough), err == nil && t.request.Stop != nil && !t.goodbye:
			return nil
		case err != nil && !t.retryable(err):
			return explain(t.addr, err)
		}
		delay := t.nextDelay(err)
		if t.goodbye || err == nil {
			t.note("the gateway ended the stream: reconnecting in %s", delay.Round(time.Millisecond))
		} else {
			t.note("%s: %s: reconnecting in %s", t.addr, status.Convert(err).Message(), delay.Round(time.Millisecond))
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(delay):
		}
	}
}

// follow prints one connection's events.
func (t *tailer) follow(ctx context.Context) error {
	t.goodbye = false
	stream, err := t.client.Subscribe(ctx, t.request)
	if err != nil {
		return err
	}
	for {
		response, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if err := t.frame(ctx, response); err != nil {
			return err
		}
	}
}

func (t *tailer) frame(ctx context.Context, response *webhookgatewayv1.SubscribeResponse) error {
	switch frame := response.GetFrame().(type) {
	case *webhookgatewayv1.SubscribeResponse_Subscribed:
		t.subscribed(frame.Subscribed)
	case *webhookgatewayv1.SubscribeResponse_Events:
		return t.events(ctx, frame.Events.GetEvents())
	case *webhookgatewayv1.SubscribeResponse_Heartbeat:
		t.resumeAfter(frame.Heartbeat.GetCursor())
	case *webhookgatewayv1.SubscribeResponse_CaughtUp:
		t.note("caught up: what follows is live")
		t.resumeAfter(frame.CaughtUp.GetCursor())
	case *webhookgatewayv1.SubscribeResponse_FellBehind:
		t.note("fell behind by %d events: nothing is lost", frame.FellBehind.GetLagEvents())
		t.resumeAfter(frame.FellBehind.GetCursor())
	case *webhookgatewayv1.SubscribeResponse_Gap:
		t.note("GAP: events between %s and %s are no longer retained", frame.Gap.GetFromCursor(), frame.Gap.GetToCursor())
		t.resumeAfter(frame.Gap.GetToCursor())
	case *webhookgatewayv1.SubscribeResponse_Goodbye:
		t.goodbye = true
		t.backoff = frame.Goodbye.GetRetryAfter().AsDuration()
		t.resumeAfter(frame.Goodbye.GetCursor())
	}
	return nil
}

// events prints events, and then acknowledges those of a subscription.
func (t *tailer) events(ctx context.Context, events []*webhookgatewayv1.Event) error {
	var tokens []string
	enough := false
	for _, event := range events {
		if err := t.show(event); err != nil {
			return fmt.Errorf("print an event: %w", err)
		}
		t.resumeAfter(event.GetCursor())
		tokens = append(tokens, event.GetAckToken())
		if t.left--; t.left == 0 {
			enough = true
			break
		}
	}
	if t.shared() {
		if _, err := t.client.Acknowledge(ctx, &webhookgatewayv1.AcknowledgeRequest{AckTokens: tokens}); err != nil {
			return err
		}
	}
	if enough {
		return errEnough
	}
	return nil
}

// shared says whether the stream shares in a subscription, which keeps the
// position.
func (t *tailer) shared() bool { return t.request.GetSubscription() != "" }

// subscribed makes every later connection start and stop where this one does,
// and not at what latest or head means by then.
func (t *tailer) subscribed(s *webhookgatewayv1.Subscribed) {
	if t.connected {
		t.note("connected again to %s", t.addr)
	} else {
		t.note("connected to %s", t.addr)
	}
	t.connected, t.backoff = true, 0
	if t.shared() {
		return
	}
	t.request = proto.CloneOf(t.request)
	if t.request.GetStopAtHead() {
		t.request.Stop = &webhookgatewayv1.SubscribeRequest_StopCursor{StopCursor: s.GetHeadCursor()}
	}
	// What is trimmed while this tail is away is named and does not end it.
	t.request.OnExpired = webhookgatewayv1.ExpiredPolicy_EXPIRED_POLICY_EARLIEST
	t.resumeAfter(s.GetStartCursor())
}

func (t *tailer) resumeAfter(cursor string) {
	if t.shared() {
		return
	}
	t.request.Start = &webhookgatewayv1.SubscribeRequest_StartCursor{StartCursor: cursor}
}

// retryable says whether a new connection may go better. One that has an end and
// never began is not waited for: a script wants to know.
func (t *tailer) retryable(err error) bool {
	if !t.connected && t.request.Stop != nil {
		return false
	}
	s, ok := status.FromError(err)
	return ok && (s.Code() == codes.Unavailable || s.Code() == codes.ResourceExhausted)
}

func (t *tailer) nextDelay(err error) time.Duration {
	if asked := rpcerr.RetryDelay(err); asked > 0 {
		return asked
	}
	if t.goodbye && t.backoff > 0 {
		return t.backoff
	}
	t.backoff = min(max(2*t.backoff, minBackoff), maxBackoff)
	return t.backoff/2 + rand.N(t.backoff/2) //nolint:gosec // spreads reconnects, guards nothing
}

// explain says what an error of the gateway at an address means to the user.
func explain(addr string, err error) error {
	s, ok := status.FromError(err)
	switch {
	case !ok:
		return err
	case s.Code() == codes.Unavailable:
		return fmt.Errorf("%s: %s: is the gateway running? `webhook-gateway serve` starts one, --addr names another", addr, s.Message())
	case s.Code() == codes.InvalidArgument:
		return usageError{fmt.Errorf("%s: %s", addr, s.Message())}
	}
	return fmt.Errorf("%s: %s (%s)", addr, s.Message(), s.Code())
}
