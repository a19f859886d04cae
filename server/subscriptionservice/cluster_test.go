package subscriptionservice_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"

	webhookgatewayv1 "github.com/webhook-gateway/webhook-gateway/gen/webhookgateway/v1"
	"github.com/webhook-gateway/webhook-gateway/server/commitlog/commitlogtest"
	"github.com/webhook-gateway/webhook-gateway/server/rpcerr"
	"github.com/webhook-gateway/webhook-gateway/server/subscription"
)

// TestWorkersOfAllGateways: each event of each subscription is delivered once, to workers
// of whichever gateway, while nobody dies.
func TestWorkersOfAllGateways(t *testing.T) {
	t.Parallel()
	nodes := newCluster(t, 3)
	const events = 30
	all := names(20)
	for i, name := range all {
		nodes[i%3].create(t, name, nil)
	}
	type taken struct {
		name, id string
	}
	came := make(chan taken, len(all)*events)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	for _, name := range all {
		for _, n := range nodes {
			s, err := n.Consume(ctx, &webhookgatewayv1.ConsumeRequest{Subscription: name})
			if err != nil {
				t.Fatal(err)
			}
			go func() {
				for {
					frame, err := s.Recv()
					if err != nil {
						return
					}
					ds := frame.GetDeliveries().GetDeliveries()
					if len(ds) == 0 {
						continue
					}
					resp, err := n.Acknowledge(ctx, &webhookgatewayv1.AcknowledgeRequest{Subscription: name, AckTokens: tokens(ds...)})
					for i, result := range resp.GetResults() {
						if result != ok {
							t.Errorf("%s: %v", name, result)
						}
						came <- taken{name, ds[i].GetEvent().GetId()}
					}
					if err != nil && ctx.Err() == nil {
						t.Error(err)
					}
				}
			}()
		}
	}
	for i := range events {
		nodes[i%3].add(t, 1)
	}
	seen := make(map[taken]bool)
	for range len(all) * events {
		select {
		case one := <-came:
			if seen[one] {
				t.Errorf("%v came twice", one)
			}
			seen[one] = true
		case <-time.After(time.Minute):
			t.Fatalf("only %d of %d came", len(seen), len(all)*events)
		}
	}
	select {
	case one := <-came:
		t.Errorf("%v came again", one)
	default:
	}
}

// TestOwnerDies: what the workers of a gateway that fell silent held comes again from
// another one, the tokens from before settle nothing, and what was acknowledged never comes
// again.
func TestOwnerDies(t *testing.T) {
	t.Parallel()
	nodes := newCluster(t, 3)
	nodes[0].create(t, "team", nil)
	owner, others := ownerOf(nodes, "team")
	owner.add(t, 8)
	w := others[0].consume(t, &webhookgatewayv1.ConsumeRequest{Subscription: "team", MaxInFlight: 8})
	first := w.take(8)
	ownWorker := owner.consume(t, &webhookgatewayv1.ConsumeRequest{Subscription: "team", MaxInFlight: 2})
	owner.add(t, 2)
	first = append(first, ownWorker.take(2)...) // the other worker holds all that it may
	others[1].acknowledge(t, "team", ok, first[:4]...)

	owner.die(others...)
	w.moved()
	next := others[1].consume(t, &webhookgatewayv1.ConsumeRequest{Subscription: "team"})
	again := next.take(6)
	for i, d := range again {
		if d.GetEvent().GetId() != first[4+i].GetEvent().GetId() || d.GetAttempt() != 1 {
			t.Errorf("delivery %d is %s, attempt %d, want %s", i, d.GetEvent().GetId(), d.GetAttempt(), first[4+i].GetEvent().GetId())
		}
	}
	others[0].acknowledge(t, "team", fenced, first[4:]...)
	others[0].acknowledge(t, "team", settled, first[:4]...)
	others[0].acknowledge(t, "team", ok, again...)

	// It was not dead, but cut off: it settles nothing, and what it had ends.
	owner.cut.Store(false)
	resp, err := owner.manager.Acknowledge(t.Context(), "team", tokens(first[8:]...))
	if !errors.Is(err, subscription.ErrMoved) {
		t.Errorf("a gateway that was taken for dead acknowledges: %v, %v", resp, err)
	}
	ownWorker.moved()
	beat(t, owner)
	owner.await(1 + len(others))
	settleOwners(t, nodes...)
	owner.acknowledge(t, "team", settled, first...)
	if s := owner.status(t, "team"); s.GetInFlightEvents() != 0 || s.GetLagEvents() != 0 {
		t.Errorf("events are left: %v", s)
	}
}

// moved waits until a stream ends because its subscription is another gateway's.
func (w *worker) moved() {
	w.t.Helper()
	for {
		_, err := w.stream.Recv()
		if err == nil {
			continue
		}
		if rpcerr.Reason(err) != moving || status.Code(err) != codes.Unavailable || rpcerr.RetryDelay(err) == 0 {
			w.t.Fatalf("the stream ended with %v", err)
		}
		return
	}
}

const moving = webhookgatewayv1.ErrorReason_ERROR_REASON_SUBSCRIPTION_MOVING

// TestDrainHandsOver: a gateway that drains hands over at once, with all that is durable,
// and without a beat of the others.
func TestDrainHandsOver(t *testing.T) {
	t.Parallel()
	nodes := newCluster(t, 2)
	nodes[0].create(t, "team", nil)
	owner, others := ownerOf(nodes, "team")
	owner.add(t, 4)
	w := others[0].consume(t, &webhookgatewayv1.ConsumeRequest{Subscription: "team"})
	held := w.take(4)
	owner.acknowledge(t, "team", ok, held[0])
	owner.leave()
	w.moved()
	next := others[0].consume(t, &webhookgatewayv1.ConsumeRequest{Subscription: "team"})
	for i, d := range next.take(3) {
		if d.GetEvent().GetId() != held[1+i].GetEvent().GetId() || d.GetAttempt() != 1 {
			t.Errorf("delivery %d is %s, attempt %d", i, d.GetEvent().GetId(), d.GetAttempt())
		}
	}
	if got := others[0].status(t, "team").GetOwner(); got != others[0].address {
		t.Errorf("the owner is %s, want %s", got, others[0].address)
	}
}

// TestNewcomerTakesItsShare: what a gateway that comes owns moves to it, and nothing else.
func TestNewcomerTakesItsShare(t *testing.T) {
	t.Parallel()
	memory := commitlogtest.NewMemory()
	a := join(t, memory)
	settleOwners(t, a)
	all := names(30)
	for _, name := range all {
		a.create(t, name, nil)
	}
	b := join(t, memory)
	a.await(2)
	b.await(2)
	settleOwners(t, a, b)
	moved := 0
	for _, name := range all {
		owner, _ := ownerOf([]*node{a, b}, name)
		if owner == b {
			moved++
		}
		for _, n := range []*node{a, b} {
			if got := n.status(t, name).GetOwner(); got != owner.address {
				t.Errorf("%s is with %s, and not with %s", name, got, owner.address)
			}
		}
	}
	t.Log(moved, "have moved")
}

// TestTheSameEverywhere: all gateways show and list the same.
func TestTheSameEverywhere(t *testing.T) {
	t.Parallel()
	nodes := newCluster(t, 3)
	for i, name := range names(25) {
		nodes[i%3].create(t, name, nil)
	}
	list := func(n *node) (all []*webhookgatewayv1.Subscription) {
		req := &webhookgatewayv1.ListSubscriptionsRequest{PageSize: 7}
		for {
			resp, err := n.ListSubscriptions(t.Context(), req)
			if err != nil {
				t.Fatal(err)
			}
			if len(resp.GetSubscriptions()) > 7 {
				t.Errorf("a page has %d", len(resp.GetSubscriptions()))
			}
			all = append(all, resp.GetSubscriptions()...)
			if req.PageToken = resp.GetNextPageToken(); req.GetPageToken() == "" {
				return all
			}
		}
	}
	want := list(nodes[0])
	if len(want) != 25 {
		t.Fatalf("%d are listed, want 25", len(want))
	}
	for _, n := range nodes {
		got := list(n)
		for i, name := range names(25) {
			one, err := n.GetSubscription(t.Context(), &webhookgatewayv1.GetSubscriptionRequest{Name: name})
			if err != nil {
				t.Fatal(err)
			}
			if got[i].GetName() != name || !proto.Equal(got[i], want[i]) || !proto.Equal(got[i], one.GetSubscription()) {
				t.Errorf("%v is listed, %v shown, and %v listed elsewhere", got[i], one.GetSubscription(), want[i])
			}
		}
	}
	// What one deletes is gone for all, and may be created again by another.
	for i, name := range names(6) {
		if _, err := nodes[i%3].DeleteSubscription(t.Context(), &webhookgatewayv1.DeleteSubscriptionRequest{Name: name}); err != nil {
			t.Fatal(err)
		}
		_, err := nodes[(i+1)%3].GetSubscription(t.Context(), &webhookgatewayv1.GetSubscriptionRequest{Name: name})
		checkError(t, err, "NotFound SUBSCRIPTION_NOT_FOUND")
		nodes[(i+2)%3].create(t, name, nil)
	}
	if got := list(nodes[1]); len(got) != 25 {
		t.Errorf("%d are listed, want 25", len(got))
	}
}

// TestCallsDuringTakeOver: a call on a subscription whose owner is gone waits, and is
// UNAVAILABLE if that lasts; it is answered once another gateway has taken over.
func TestCallsDuringTakeOver(t *testing.T) {
	t.Parallel()
	nodes := newCluster(t, 2)
	nodes[0].create(t, "team", nil)
	owner, others := ownerOf(nodes, "team")
	n := others[0]
	owner.peers.Stop()
	_, err := n.GetSubscription(t.Context(), &webhookgatewayv1.GetSubscriptionRequest{Name: "team"})
	checkError(t, err, "Unavailable SUBSCRIPTION_MOVING")
	if rpcerr.RetryDelay(err) == 0 {
		t.Error("it does not say when to try again")
	}
	_, err = n.ListSubscriptions(t.Context(), &webhookgatewayv1.ListSubscriptionsRequest{})
	checkError(t, err, "Unavailable SUBSCRIPTION_MOVING")
	answered := make(chan error, 1)
	go func() {
		for { // a call waits for two seconds, which a busy machine may need more than once
			_, err := n.GetSubscription(t.Context(), &webhookgatewayv1.GetSubscriptionRequest{Name: "team"})
			if rpcerr.Reason(err) != webhookgatewayv1.ErrorReason_ERROR_REASON_SUBSCRIPTION_MOVING {
				answered <- err
				return
			}
		}
	}()
	owner.die(n)
	if err := <-answered; err != nil {
		t.Error(err)
	}
}

// end waits until a stream has ended.
func (w *worker) end() {
	for {
		if _, err := w.stream.Recv(); err != nil {
			return
		}
	}
}

// TestWorkerAtAnotherGateway: to a worker, the gateway of another owner is as the owner.
func TestWorkerAtAnotherGateway(t *testing.T) {
	t.Parallel()
	nodes := newCluster(t, 2)
	nodes[0].create(t, "team", &webhookgatewayv1.SubscriptionSettings{AckDeadline: durationpb.New(time.Minute), MaxAttempts: 3})
	owner, others := ownerOf(nodes, "team")
	n := others[0]
	w := n.consume(t, &webhookgatewayv1.ConsumeRequest{Subscription: "team", MaxInFlight: 2, HeartbeatInterval: durationpb.New(time.Second)})
	caughtUp := w.next().GetCaughtUp()
	for beats := 0; caughtUp == nil && beats < 60; beats++ { // a busy machine may not say so before a heartbeat is due
		caughtUp = w.next().GetCaughtUp()
	}
	if caughtUp == nil {
		t.Error("it is not told that it caught up")
	}
	owner.add(t, 5)
	// It holds no more than it asked for.
	first := w.take(2)
	if left := time.Until(first[0].GetDeadline().AsTime()); left < 30*time.Second || left > time.Minute {
		t.Errorf("the deadline is in %v", left)
	}
	if beat := w.next().GetHeartbeat(); beat == nil || beat.GetHeadCursor() == "" {
		t.Error("no heartbeat comes while nothing is delivered")
	}
	if s := owner.status(t, "team"); s.GetInFlightEvents() != 2 || s.GetStreams() != 1 {
		t.Errorf("%v", s)
	}
	n.acknowledge(t, "team", ok, first[0])
	second := w.take(1)
	// It breaks: what it held has failed, or is suspect, and comes again one at a time.
	w.leave()
	w.end()
	owner.deserted(t, "team")
	again := n.consume(t, &webhookgatewayv1.ConsumeRequest{Subscription: "team", MaxInFlight: 5})
	got := make(map[string]bool)
	for range 4 {
		d := again.take(1)[0]
		got[d.GetEvent().GetId()] = true
		n.acknowledge(t, "team", ok, d)
	}
	for _, d := range []*webhookgatewayv1.Delivery{first[1], second[0]} {
		if !got[d.GetEvent().GetId()] {
			t.Errorf("%s does not come again", d.GetEvent().GetId())
		}
	}
	n.acknowledge(t, "team", settled, first[0])

	// It holds one only, and breaks: that is a failed attempt.
	owner.add(t, 1)
	d := again.take(1)[0]
	again.leave()
	again.end()
	last := n.consume(t, &webhookgatewayv1.ConsumeRequest{Subscription: "team"})
	if e := last.take(1)[0]; e.GetEvent().GetId() != d.GetEvent().GetId() || e.GetAttempt() != 2 {
		t.Errorf("%s, attempt %d", e.GetEvent().GetId(), e.GetAttempt())
	}
}

// TestPeerBreaks: if the gateway between breaks, its worker is not to blame.
func TestPeerBreaks(t *testing.T) {
	t.Parallel()
	nodes := newCluster(t, 2)
	nodes[0].create(t, "team", nil)
	owner, others := ownerOf(nodes, "team")
	owner.add(t, 1)
	w := others[0].consume(t, &webhookgatewayv1.ConsumeRequest{Subscription: "team"})
	d := w.take(1)[0]
	if err := others[0].cluster.Leave(t.Context()); err != nil { // it closes its connections
		t.Fatal(err)
	}
	w.moved()
	again := owner.consume(t, &webhookgatewayv1.ConsumeRequest{Subscription: "team"})
	if e := again.take(1)[0]; e.GetEvent().GetId() != d.GetEvent().GetId() || e.GetAttempt() != 1 {
		t.Errorf("%s, attempt %d", e.GetEvent().GetId(), e.GetAttempt())
	}
}
