package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"

	pb "github.com/webhook-gateway/webhook-gateway/gen/webhookgateway/v1"
	"github.com/webhook-gateway/webhook-gateway/server/servertest"
)

// TestOutcomes: what is handled is settled, what fails comes again, what cannot be
// handled is parked, with the reason.
func TestOutcomes(t *testing.T) {
	team := newTeam(t, &pb.SubscriptionSettings{MinBackoff: durationpb.New(0)})
	w := team.start(t, func(_ context.Context, event *pb.Event) error {
		switch account := accountOf(event); {
		case account == "bad":
			return fmt.Errorf("%w: it is bad", errPermanent)
		case account == "fails once" && team.handled(account) == 1:
			return errors.New("try again")
		}
		return nil
	})
	for _, account := range []string{"good", "fails once", "bad"} {
		team.deliver(t, account)
	}
	team.waitFor(t, func(s *pb.SubscriptionStatus) bool { return done(s) && s.GetParkedEvents() == 1 })
	w.end(t)
	for account, want := range map[string]int{"good": 1, "fails once": 2, "bad": 1} {
		if got := team.handled(account); got != want {
			t.Errorf("%q was handled %d times, want %d", account, got, want)
		}
	}
	parked, err := team.client.ListParkedEvents(t.Context(), &pb.ListParkedEventsRequest{Subscription: "team"})
	if err != nil {
		t.Fatal(err)
	}
	if got := parked.GetParkedEvents()[0]; accountOf(got.GetEvent()) != "bad" || !strings.HasSuffix(got.GetMessage(), "it is bad") {
		t.Errorf("parked is %v", got)
	}
}

// TestHandle: the example's own work parks nothing but what names no account, also
// if its provider sends what the gateway does not know, or much of it.
func TestHandle(t *testing.T) {
	team := newTeam(t, nil)
	w := team.start(t, handle)
	for _, body := range []string{
		`{"hook":"SyncError","user":{"id":"u1"},"account":{"id":"a1"},"error":"LoginFailedError","added":"later"}`,
		`{"hook":"SyncPaused","user":{"id":"u1"}}`,
		`{"hook":"SyncAccount","user":{"id":"u1","loginName":"` + strings.Repeat("x", 6<<20) + `"},"account":{"id":"a1"}}`,
		`{"hook":"SyncError","user":{"id":"u1"},"account":7}`,
	} {
		team.gateway.DeliverBody(t, pb.Provider_PROVIDER_VEZGO, []byte(body))
	}
	team.waitFor(t, func(s *pb.SubscriptionStatus) bool { return done(s) && s.GetParkedEvents() == 1 })
	w.end(t)
}

// TestLongWork: an event is the worker's for as long as it works on it.
func TestLongWork(t *testing.T) {
	// A busy machine has four seconds for each extension.
	team := newTeam(t, &pb.SubscriptionSettings{AckDeadline: durationpb.New(8 * time.Second)})
	w := team.start(t, func(ctx context.Context, _ *pb.Event) error {
		select {
		case <-time.After(9 * time.Second):
		case <-ctx.Done():
		}
		return ctx.Err()
	})
	team.deliver(t, "slow")
	team.waitFor(t, done)
	w.end(t)
	if n := team.handled("slow"); n != 1 {
		t.Errorf("it was handled %d times", n)
	}
}

// TestLostAnswer: an acknowledgement whose answer was lost is repeated, and taken
// as done.
func TestLostAnswer(t *testing.T) {
	team := newTeam(t, nil)
	var calls atomic.Int32
	team.dial = append(team.dial, grpc.WithChainUnaryInterceptor(
		func(ctx context.Context, method string, req, resp any, conn *grpc.ClientConn, invoke grpc.UnaryInvoker, options ...grpc.CallOption) error {
			err := invoke(ctx, method, req, resp, conn, options...)
			if method == pb.SubscriptionService_Acknowledge_FullMethodName && calls.Add(1) == 1 && err == nil {
				err = status.Error(codes.Unavailable, "the answer was lost")
			}
			return err
		}))
	w := team.start(t, func(context.Context, *pb.Event) error { return nil })
	team.deliver(t, "once")
	team.waitFor(t, func(*pb.SubscriptionStatus) bool { return calls.Load() == 2 })
	w.end(t)
	if n := team.handled("once"); n != 1 {
		t.Errorf("it was handled %d times", n)
	}
}

// TestStop: what a worker holds when it is told to end is given back. Another gets
// it at once, as the first attempt.
func TestStop(t *testing.T) {
	team := newTeam(t, &pb.SubscriptionSettings{MaxAttempts: 1})
	stopping := team.start(t, func(ctx context.Context, _ *pb.Event) error {
		<-ctx.Done()
		return ctx.Err()
	})
	const events = 5
	for i := range events {
		team.deliver(t, fmt.Sprint("account ", i))
	}
	team.waitFor(t, func(s *pb.SubscriptionStatus) bool { return s.GetInFlightEvents() == events })
	other := team.start(t, func(context.Context, *pb.Event) error { return nil })
	team.waitFor(t, func(s *pb.SubscriptionStatus) bool { return s.GetStreams() == 2 })
	stopping.end(t)
	team.waitFor(t, done)
	other.end(t)
	for i := range events {
		if n := team.handled(fmt.Sprint("account ", i)); n != 2 {
			t.Errorf("event %d was handed out %d times, want 2", i, n)
		}
	}
}

// TestGatewayRestarts: nothing is lost when the gateway restarts under a worker.
func TestGatewayRestarts(t *testing.T) {
	team := newTeam(t, nil)
	w := team.start(t, func(context.Context, *pb.Event) error { return nil })
	for i := range 3 {
		team.deliver(t, fmt.Sprint("account ", i))
		team.waitFor(t, done)
		team.gateway.Restart(t)
	}
	w.end(t)
}

// TestNoSubscription ends with what the gateway said.
func TestNoSubscription(t *testing.T) {
	team := newTeam(t, nil)
	if _, err := team.client.DeleteSubscription(t.Context(), &pb.DeleteSubscriptionRequest{Name: "team"}); err != nil {
		t.Fatal(err)
	}
	w := team.start(t, handle)
	if err := <-w.ended; status.Code(err) != codes.NotFound {
		t.Errorf("the worker ended with %v", err)
	}
}

// team is a gateway with a subscription.
type team struct {
	gateway *servertest.Gateway
	client  pb.SubscriptionServiceClient
	dial    []grpc.DialOption

	mu    sync.Mutex
	count map[string]int
}

func newTeam(t *testing.T, settings *pb.SubscriptionSettings) *team {
	t.Helper()
	gateway := servertest.Start(t)
	client := pb.NewSubscriptionServiceClient(gateway.Conn())
	if _, err := client.CreateSubscription(t.Context(), &pb.CreateSubscriptionRequest{
		Subscription: &pb.Subscription{Name: "team", Settings: settings},
	}); err != nil {
		t.Fatal(err)
	}
	return &team{gateway: gateway, client: client, count: make(map[string]int)}
}

func (m *team) deliver(t *testing.T, account string) {
	t.Helper()
	m.gateway.DeliverBody(t, pb.Provider_PROVIDER_VEZGO, fmt.Appendf(nil,
		`{"hook":"SyncAccount","user":{"id":"u1"},"account":{"id":%q,"provider":"coinbase"}}`, account))
}

// waitFor waits until the subscription stands as wanted.
func (m *team) waitFor(t *testing.T, wanted func(*pb.SubscriptionStatus) bool) {
	t.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for limit := time.After(time.Minute); ; {
		got, err := m.client.GetSubscription(t.Context(), &pb.GetSubscriptionRequest{Name: "team"}, grpc.WaitForReady(true))
		if err == nil && wanted(got.GetSubscription().GetStatus()) {
			return
		}
		select {
		case <-tick.C:
		case <-limit:
			t.Fatalf("after a long time: %v, %v", got, err)
		}
	}
}

// done reports whether everything is settled or parked.
func done(s *pb.SubscriptionStatus) bool {
	return s.GetLagEvents() == 0 && s.GetInFlightEvents() == 0 && s.GetWaitingEvents() == 0
}

// handled returns how often an event of an account was handed to a worker.
func (m *team) handled(account string) int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.count[account]
}

func accountOf(event *pb.Event) string { return event.GetVezgo().GetAccount().GetId() }

// running is a run of the example.
type running struct {
	stop  context.CancelFunc
	ended chan error
}

func (m *team) start(t *testing.T, work func(context.Context, *pb.Event) error) *running {
	t.Helper()
	conn, err := dial(m.gateway.GRPCAddr(), m.dial...)
	if err != nil {
		t.Fatal(err)
	}
	w := &worker{
		client: pb.NewSubscriptionServiceClient(conn), subscription: "team", heartbeat: 5 * time.Second, // after three without a word a worker leaves, on a busy machine too
		handle: func(ctx context.Context, event *pb.Event) error {
			m.mu.Lock()
			m.count[accountOf(event)]++
			m.mu.Unlock()
			return work(ctx, event)
		},
	}
	ctx, stop := context.WithCancel(t.Context())
	t.Cleanup(stop)
	r := &running{stop: stop, ended: make(chan error, 1)}
	go func() {
		err := w.run(ctx)
		_ = conn.Close() // nothing is under way
		r.ended <- err
	}()
	return r
}

// end ends the run as SIGTERM does.
func (r *running) end(t *testing.T) {
	t.Helper()
	r.stop()
	if err := <-r.ended; err != nil {
		t.Errorf("the worker ended with %v", err)
	}
}
