package servertest_test

import (
	"context"
	"errors"
	"net/http"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/testing/protocmp"

	webhookgatewayv1 "github.com/webhook-gateway/webhook-gateway/gen/webhookgateway/v1"
	"github.com/webhook-gateway/webhook-gateway/server"
	"github.com/webhook-gateway/webhook-gateway/server/rpcerr"
	"github.com/webhook-gateway/webhook-gateway/server/servertest"
)

// frames reads a stream of events.
type frames struct {
	t      *testing.T
	stream grpc.ServerStreamingClient[webhookgatewayv1.SubscribeResponse]
	// cursor is that of the last frame that had one.
	cursor string
}

func subscribe(t *testing.T, conn grpc.ClientConnInterface, req *webhookgatewayv1.SubscribeRequest) *frames {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	stream, err := webhookgatewayv1.NewEventServiceClient(conn).Subscribe(ctx, req, grpc.WaitForReady(true))
	if err != nil {
		t.Fatal(err)
	}
	return &frames{t: t, stream: stream}
}

func from(cursor string) *webhookgatewayv1.SubscribeRequest {
	return &webhookgatewayv1.SubscribeRequest{Start: &webhookgatewayv1.SubscribeRequest_StartCursor{StartCursor: cursor}}
}

func earliest() *webhookgatewayv1.SubscribeRequest {
	return &webhookgatewayv1.SubscribeRequest{
		Start: &webhookgatewayv1.SubscribeRequest_StartPosition{StartPosition: webhookgatewayv1.StartPosition_START_POSITION_EARLIEST},
	}
}

// next returns the next frame but for heartbeats, which a slow machine may get in between, as a
// word: the type of its one event, or of the frame.
func (f *frames) next() string {
	f.t.Helper()
	frame, err := f.stream.Recv()
	if err != nil {
		f.t.Fatalf("the stream ended: %v", err)
	}
	switch frame := frame.GetFrame().(type) {
	case *webhookgatewayv1.SubscribeResponse_Subscribed:
		f.cursor = frame.Subscribed.GetStartCursor()
		return "subscribed"
	case *webhookgatewayv1.SubscribeResponse_Events:
		words := ""
		for _, event := range frame.Events.GetEvents() {
			f.cursor = event.GetCursor()
			words += event.GetTypeName()
		}
		return words
	case *webhookgatewayv1.SubscribeResponse_CaughtUp:
		return "caught up"
	case *webhookgatewayv1.SubscribeResponse_FellBehind:
		return "fell behind"
	case *webhookgatewayv1.SubscribeResponse_Gap:
		f.cursor = frame.Gap.GetToCursor()
		return "gap: " + frame.Gap.GetReason().String()
	case *webhookgatewayv1.SubscribeResponse_Goodbye:
		f.cursor = frame.Goodbye.GetCursor()
		return "goodbye: " + frame.Goodbye.GetReason().String()
	default:
		return f.next()
	}
}

func (f *frames) want(words ...string) {
	f.t.Helper()
	for _, word := range words {
		if got := f.next(); got != word {
			f.t.Fatalf("the frame is %q, want %q", got, word)
		}
	}
}

// ended returns why the stream ended, after whatever frames were under way.
func (f *frames) ended() error {
	f.t.Helper()
	for {
		if _, err := f.stream.Recv(); err != nil {
			return err
		}
	}
}

// Trigger returns what readers get, with what was set.
func TestTrigger(t *testing.T) {
	g := servertest.Start(t, servertest.InMemory)
	want := []*webhookgatewayv1.Event{
		g.Trigger(t, "added", "payload.institutionId=4711", "payload.oauth=false"), g.Trigger(t, "vezgo.SyncError"), g.Trigger(t, "ping"),
	}
	if added := want[0].GetFinicity().GetAdded(); added.GetInstitutionId() != "4711" || added.GetOauth() {
		t.Errorf("triggered is %v", added)
	}
	list, err := webhookgatewayv1.NewEventServiceClient(g.Conn()).ListEvents(t.Context(), &webhookgatewayv1.ListEventsRequest{})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, list.GetEvents(), protocmp.Transform()); diff != "" {
		t.Errorf("stored is something else (-triggered +stored):\n%s", diff)
	}
}

// Each fault of a stream of events, one after the other, and what the next stream gets.
func TestFaultsOfAStream(t *testing.T) {
	for name, options := range map[string][]func(*server.Config){"in memory": {servertest.InMemory}, "on disk": nil} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := servertest.Start(t, options...)
			g.Trigger(t, "started")
			s := subscribe(t, g.Conn(), earliest())
			s.want("subscribed", "started", "caught up")

			g.FallBehind(t)
			g.Trigger(t, "added")
			s.want("fell behind", "added", "caught up")
			g.KeepUp(t)
			g.Trigger(t, "done")
			s.want("done")

			g.Restart(t)
			s.want("goodbye: GOODBYE_REASON_DRAINING")
			if err := s.ended(); status.Code(err) != codes.Unavailable || rpcerr.Reason(err) != webhookgatewayv1.ErrorReason_ERROR_REASON_DRAINING {
				t.Errorf("after the goodbye the stream ended with %v", err)
			}
			s = subscribe(t, g.Conn(), from(s.cursor))
			s.want("subscribed", "caught up")

			g.Cut()
			if _, err := s.stream.Recv(); status.Code(err) != codes.Unavailable || rpcerr.Reason(err) != webhookgatewayv1.ErrorReason_ERROR_REASON_UNSPECIFIED {
				t.Errorf("a stream that was cut ended with %v", err)
			}
			g.Trigger(t, "SyncError")
			cursor := s.cursor
			s = subscribe(t, g.Conn(), from(cursor))
			s.want("subscribed", "SyncError", "caught up")

			g.Trigger(t, "adding")
			g.Expire(t, 1)
			if err := subscribe(t, g.Conn(), from(cursor)).ended(); status.Code(err) != codes.OutOfRange || rpcerr.Reason(err) != webhookgatewayv1.ErrorReason_ERROR_REASON_CURSOR_EXPIRED {
				t.Errorf("at a cursor that expired: %v", err)
			}
			again := from(cursor)
			again.OnExpired = webhookgatewayv1.ExpiredPolicy_EXPIRED_POLICY_EARLIEST
			s = subscribe(t, g.Conn(), again)
			s.want("subscribed", "gap: GAP_REASON_RETENTION", "adding", "caught up")
			g.Expire(t, 0)
			s = subscribe(t, g.Conn(), earliest())
			s.want("subscribed", "caught up")
		})
	}
}

// Nothing comes from a gateway that is frozen, neither over a connection that is open nor
// over a new one. What was held up comes when it is thawed.
func TestFreeze(t *testing.T) {
	t.Parallel()
	g := servertest.Start(t, servertest.InMemory)
	s := subscribe(t, g.Conn(), earliest())
	s.want("subscribed", "caught up")
	g.Freeze()
	g.Trigger(t, "added")
	came := make(chan string, 1)
	go func() { came <- s.next() }()
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, g.InternalURL()+"/healthz", nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultTransport.RoundTrip(req)
	if err == nil {
		_ = resp.Body.Close() // only that it came matters
	}
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a gateway that is frozen answers: %v", err)
	}
	select {
	case word := <-came:
		t.Errorf("%s came from a gateway that is frozen", word)
		came <- word
	default:
	}
	g.Thaw()
	if word := <-came; word != "added" {
		t.Errorf("what was held up is %q", word)
	}

	// A gateway that is frozen can be restarted, and is not frozen then.
	g.Freeze()
	g.Trigger(t, "added")
	g.Restart(t)
	s.want("added", "goodbye: GOODBYE_REASON_DRAINING")
}

func workSubscription() *webhookgatewayv1.Subscription {
	return &webhookgatewayv1.Subscription{Name: "work", Start: &webhookgatewayv1.SubscriptionStart{
		Start: &webhookgatewayv1.SubscriptionStart_Position{Position: webhookgatewayv1.StartPosition_START_POSITION_EARLIEST},
	}}
}

// Redeliver has an event come again, with its attempt counted, whether its deadline runs or
// it waits for a retry; the old tokens are worth nothing.
func TestRedeliver(t *testing.T) {
	t.Parallel()
	g := servertest.Start(t, servertest.InMemory)
	client := webhookgatewayv1.NewSubscriptionServiceClient(g.Conn())
	_, err := client.CreateSubscription(t.Context(), &webhookgatewayv1.CreateSubscriptionRequest{Subscription: workSubscription()})
	if err != nil {
		t.Fatal(err)
	}
	want := g.Trigger(t, "added")
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	stream, err := client.Consume(ctx, &webhookgatewayv1.ConsumeRequest{Subscription: "work"})
	if err != nil {
		t.Fatal(err)
	}
	next := func(attempt int32) *webhookgatewayv1.Delivery {
		t.Helper()
		for {
			frame, err := stream.Recv()
			if err != nil {
				t.Fatal(err)
			}
			for _, d := range frame.GetDeliveries().GetDeliveries() {
				if d.GetEvent().GetId() != want.GetId() || d.GetAttempt() != attempt {
					t.Fatalf("delivered is %v, want attempt %d", d, attempt)
				}
				return d
			}
		}
	}
	late := next(1)
	g.Redeliver(t, "work")
	again := next(2)
	result, err := client.Acknowledge(ctx, &webhookgatewayv1.AcknowledgeRequest{Subscription: "work", AckTokens: []string{late.GetAckToken()}})
	if err != nil || result.GetResults()[0] != webhookgatewayv1.TokenResult_TOKEN_RESULT_FENCED {
		t.Errorf("a late acknowledgement: %v, %v", result, err)
	}
	_, err = client.Reject(ctx, &webhookgatewayv1.RejectRequest{
		Subscription: "work", AckTokens: []string{again.GetAckToken()}, Action: webhookgatewayv1.RejectAction_REJECT_ACTION_RETRY,
	})
	if err != nil {
		t.Fatal(err)
	}
	g.Redeliver(t, "work")
	next(3)
}

// A worker is told of what retention passed before it was delivered.
func TestGapOfASubscription(t *testing.T) {
	t.Parallel()
	g := servertest.Start(t, servertest.InMemory)
	client := webhookgatewayv1.NewSubscriptionServiceClient(g.Conn())
	_, err := client.CreateSubscription(t.Context(), &webhookgatewayv1.CreateSubscriptionRequest{Subscription: workSubscription()})
	if err != nil {
		t.Fatal(err)
	}
	g.Trigger(t, "adding")
	g.Trigger(t, "added")
	g.Expire(t, 1)
	stream, err := client.Consume(t.Context(), &webhookgatewayv1.ConsumeRequest{Subscription: "work"})
	if err != nil {
		t.Fatal(err)
	}
	gap := false
	for {
		frame, err := stream.Recv()
		if err != nil {
			t.Fatal(err)
		}
		gap = gap || frame.GetGap().GetReason() == webhookgatewayv1.GapReason_GAP_REASON_RETENTION
		for _, d := range frame.GetDeliveries().GetDeliveries() {
			if !gap || d.GetEvent().GetTypeName() != "added" {
				t.Errorf("%s was delivered, with a gap before it: %v", d.GetEvent().GetTypeName(), gap)
			}
			return
		}
	}
}
