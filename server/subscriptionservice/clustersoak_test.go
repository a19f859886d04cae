package subscriptionservice_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	webhookgatewayv1 "github.com/webhook-gateway/webhook-gateway/gen/webhookgateway/v1"
	"github.com/webhook-gateway/webhook-gateway/server/commitlog/commitlogtest"
)

// soak is gateways that come, go and are cut off, while workers at all of them take events.
type soak struct {
	t      *testing.T
	ctx    context.Context //nolint:containedctx // of the test
	names  []string
	memory *commitlogtest.Memory

	mu    sync.Mutex
	nodes []*node
	// settled are the events that were acknowledged with OK, and perhaps those whose
	// acknowledgement got no answer, by subscription and id.
	settled, perhaps map[[2]string]bool
	// doubles counts deliveries of what was settled.
	doubles int
	workers sync.WaitGroup
}

func (s *soak) join() {
	n := join(s.t, s.memory)
	s.mu.Lock()
	s.nodes = append(s.nodes, n)
	s.mu.Unlock()
	for _, name := range s.names {
		s.workers.Go(func() { s.work(n, name) })
	}
}

// pick returns a gateway but for the first, or nil.
func (s *soak) pick() *node {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.nodes) < 2 {
		return nil
	}
	return s.nodes[1+rand.IntN(len(s.nodes)-1)]
}

// beat has all gateways beat, one after the other, until the context ends.
func (s *soak) beat(ctx context.Context) {
	ticker := time.NewTicker(20 * time.Millisecond)
	defer ticker.Stop()
	for {
		s.mu.Lock()
		nodes := slices.Clone(s.nodes)
		s.mu.Unlock()
		for _, n := range nodes {
			select {
			case n.beats <- make(chan error, 1):
			case <-time.After(20 * time.Millisecond): // one that is cut off waits for the log, one that has left for nothing
			case <-ctx.Done():
			}
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return
		}
	}
}

// work takes the events of a subscription at a gateway until the context ends.
func (s *soak) work(n *node, name string) {
	for s.ctx.Err() == nil {
		stream, err := n.Consume(s.ctx, &webhookgatewayv1.ConsumeRequest{Subscription: name})
		for err == nil {
			var frame *webhookgatewayv1.ConsumeResponse
			if frame, err = stream.Recv(); err == nil {
				deliveries := frame.GetDeliveries().GetDeliveries()
				s.came(n, name, deliveries) // at once: what waits for its worker may be another's by then
				s.workers.Go(func() { s.deal(n, name, deliveries) })
			}
		}
		select {
		case <-s.ctx.Done():
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// came checks deliveries.
func (s *soak) came(n *node, name string, deliveries []*webhookgatewayv1.Delivery) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, d := range deliveries {
		if s.settled[[2]string{name, d.GetEvent().GetId()}] {
			s.doubles++
			s.t.Errorf("%s: %s was acknowledged and is delivered again by %s, attempt %d", name, d.GetEvent().GetId(), n.address, d.GetAttempt())
		}
	}
}

// deal acknowledges most deliveries.
func (s *soak) deal(n *node, name string, deliveries []*webhookgatewayv1.Delivery) {
	if len(deliveries) == 0 {
		return
	}
	if rand.IntN(10) == 0 {
		_, _ = n.Reject(s.ctx, &webhookgatewayv1.RejectRequest{
			Subscription: name, AckTokens: tokens(deliveries...), Action: release,
		})
		return
	}
	ctx, cancel := context.WithTimeout(s.ctx, time.Second)
	defer cancel()
	resp, err := n.Acknowledge(ctx, &webhookgatewayv1.AcknowledgeRequest{Subscription: name, AckTokens: tokens(deliveries...)})
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, d := range deliveries {
		key := [2]string{name, d.GetEvent().GetId()}
		if err != nil {
			s.perhaps[key] = true
		} else if result := resp.GetResults()[i]; result == ok || result == settled {
			s.settled[key] = true
		}
	}
}

// act does something to a gateway.
func (s *soak) act() {
	n := s.pick()
	if n == nil {
		s.join()
		return
	}
	switch rand.IntN(4) {
	case 0, 1:
		n.cut.Store(!n.cut.Load())
	case 2:
		if n.cut.Load() {
			return
		}
		s.mu.Lock()
		for i, other := range s.nodes {
			if other == n {
				s.nodes = append(s.nodes[:i:i], s.nodes[i+1:]...)
				break
			}
		}
		s.mu.Unlock()
		n.leave()
	case 3:
		s.mu.Lock()
		few := len(s.nodes) < 4
		s.mu.Unlock()
		if few {
			s.join()
		}
	}
}

// TestSoakOfGateways: whatever comes, goes and is cut off, what was acknowledged is never
// delivered again, and everything is in the end.
func TestSoakOfGateways(t *testing.T) {
	if testing.Short() {
		t.Skip("it takes seconds")
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	s := &soak{
		t: t, ctx: ctx, names: names(4), memory: commitlogtest.NewMemory(),
		settled: make(map[[2]string]bool), perhaps: make(map[[2]string]bool),
	}
	var beating sync.WaitGroup
	beats, stopBeats := context.WithCancel(context.Background())
	defer func() { stopBeats(); beating.Wait() }()
	for range 3 {
		s.join()
	}
	beating.Go(func() { s.beat(beats) })
	first := s.nodes[0]
	for _, name := range s.names {
		first.create(t, name, &webhookgatewayv1.SubscriptionSettings{AckDeadline: durationpb.New(2 * time.Second), MaxAttempts: 1000})
	}
	const rounds = 25
	for range rounds {
		first.add(t, 4)
		s.act()
		select {
		case <-time.After(time.Duration(rand.IntN(200)) * time.Millisecond):
		case <-ctx.Done():
		}
	}
	s.mu.Lock()
	for _, n := range s.nodes {
		n.cut.Store(false)
	}
	s.mu.Unlock()
	deadline := time.After(60 * time.Second)
	for _, name := range s.names {
		for {
			resp, err := first.GetSubscription(t.Context(), &webhookgatewayv1.GetSubscriptionRequest{Name: name})
			status := resp.GetSubscription().GetStatus()
			if err == nil && status.GetLagEvents() == 0 && status.GetInFlightEvents() == 0 && status.GetWaitingEvents() == 0 {
				if status.GetParkedEvents() != 0 {
					t.Errorf("%s: %d events are parked", name, status.GetParkedEvents())
				}
				break
			}
			select {
			case <-deadline:
				t.Fatalf("%s: %v, %v", name, status, err)
			case <-time.After(20 * time.Millisecond):
			}
		}
	}
	cancel()
	s.workers.Wait()
	missing := 0
	for record, err := range first.log.Read(t.Context(), 0) {
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range s.names {
			if key := [2]string{name, first.log.History().FormatEventID(record.Position)}; !s.settled[key] && !s.perhaps[key] {
				missing++
			}
		}
	}
	t.Log(fmt.Sprint(len(s.settled), " settled, ", len(s.perhaps), " without an answer, ", s.doubles, " delivered again"))
	if missing > 0 {
		t.Errorf("%d events are gone", missing)
	}
}
