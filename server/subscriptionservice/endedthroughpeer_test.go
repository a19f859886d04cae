package subscriptionservice_test

import (
	"context"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	webhookgatewayv1 "github.com/webhook-gateway/webhook-gateway/gen/webhookgateway/v1"
	"github.com/webhook-gateway/webhook-gateway/server/access"
	"github.com/webhook-gateway/webhook-gateway/server/rpcerr"
	"github.com/webhook-gateway/webhook-gateway/server/stream/streamtest"
)

// forwarded returns how many calls a gateway has passed on, by result.
func (n *node) forwarded() map[string]float64 {
	n.t.Helper()
	families, err := n.registry.Gather()
	if err != nil {
		n.t.Fatal(err)
	}
	counts := make(map[string]float64)
	for _, f := range families {
		if f.GetName() != "webhook_gateway_cluster_forwarded_calls_total" {
			continue
		}
		for _, m := range f.GetMetric() {
			counts[m.GetLabel()[0].GetValue()] = m.GetCounter().GetValue()
		}
	}
	return counts
}

// TestEndedCallsThroughPeer: a caller that gives up, at whatever moment, is no fault of the gateway
// that its call was passed on to.
func TestEndedCallsThroughPeer(t *testing.T) {
	t.Parallel()
	n := throughPeer(t, nil)
	var running sync.WaitGroup
	for g := range 4 {
		running.Go(func() {
			for i := range 100 {
				ctx, cancel := context.WithTimeout(t.Context(), time.Duration(i*(g+1))*20*time.Microsecond)
				if i%2 == 1 {
					time.AfterFunc(time.Duration(i)*20*time.Microsecond, cancel)
				}
				_, err := n.GetSubscription(ctx, &webhookgatewayv1.GetSubscriptionRequest{Name: "team"})
				if code := status.Code(err); code != codes.OK && code != codes.DeadlineExceeded && code != codes.Canceled {
					t.Errorf("Get: %v", err)
				}
				_, err = n.Acknowledge(ctx, &webhookgatewayv1.AcknowledgeRequest{Subscription: "team", AckTokens: []string{"none"}})
				if code := status.Code(err); code != codes.OK && code != codes.DeadlineExceeded && code != codes.Canceled {
					t.Errorf("Acknowledge: %v", err)
				}
				cancel()
			}
		})
	}
	running.Wait()
	if counts := n.forwarded(); counts["unreachable"]+counts["refused"]+counts["moving"] != 0 {
		t.Errorf("it counts %v", counts)
	}
}

// TestEndedStreamsThroughPeer: workers come and go at whatever moment, and nothing is kept from
// those who stay.
func TestEndedStreamsThroughPeer(t *testing.T) {
	t.Parallel()
	const events = 50
	n := throughPeer(t, nil)
	n.add(t, events)
	var running sync.WaitGroup
	for g := range 4 {
		running.Go(func() {
			for i := range 50 {
				ctx, cancel := context.WithTimeout(t.Context(), time.Duration(i*(g+1))*50*time.Microsecond)
				s, err := n.Consume(ctx, &webhookgatewayv1.ConsumeRequest{Subscription: "team"})
				for err == nil {
					_, err = s.Recv()
				}
				if code := status.Code(err); code != codes.DeadlineExceeded {
					t.Errorf("Consume: %v", err)
				}
				cancel()
			}
		})
	}
	running.Wait()
	n.deserted(t, "team")
	if s := n.status(t, "team"); s.GetInFlightEvents() != 0 {
		t.Errorf("nobody is there, and %v", s)
	}
	w := n.consume(t, &webhookgatewayv1.ConsumeRequest{Subscription: "team"})
	for range events {
		n.acknowledge(t, "team", ok, w.take(1)[0])
	}
	if counts := n.forwarded(); counts["unreachable"] != 0 {
		t.Errorf("it counts %v", counts)
	}
}

// TestListWhileOwnersMove: while gateways come and go a list has all subscriptions, or the caller is
// told to try again.
func TestListWhileOwnersMove(t *testing.T) {
	t.Parallel()
	nodes := newCluster(t, 3)
	const all = 40
	for i, name := range names(all) {
		nodes[i%3].create(t, name, nil)
	}
	done := make(chan struct{})
	var listing sync.WaitGroup
	for _, n := range nodes[:2] {
		listing.Go(func() {
			for lists := 0; ; lists++ {
				select {
				case <-done:
					if lists == 0 {
						t.Error("nothing was listed")
					}
					return
				default:
				}
				var got []string
				for req := (&webhookgatewayv1.ListSubscriptionsRequest{PageSize: 7}); ; {
					resp, err := n.ListSubscriptions(t.Context(), req)
					if rpcerr.Reason(err) == webhookgatewayv1.ErrorReason_ERROR_REASON_SUBSCRIPTION_MOVING {
						continue
					}
					if err != nil {
						t.Error(err)
						return
					}
					for _, s := range resp.GetSubscriptions() {
						got = append(got, s.GetName())
					}
					if req.PageToken = resp.GetNextPageToken(); req.GetPageToken() == "" {
						break
					}
				}
				if len(got) != all || got[0] != names(all)[0] || got[all-1] != names(all)[all-1] {
					t.Errorf("it lists %d: %v", len(got), got)
				}
			}
		})
	}
	nodes[2].leave()
	for _, n := range nodes[:2] {
		n.await(2)
	}
	beat(t, nodes[:2]...)
	close(done)
	listing.Wait()
}

// TestMasksThroughPeer: what of a parked event is shown does not depend on where it is asked for.
func TestMasksThroughPeer(t *testing.T) {
	t.Parallel()
	nodes := newCluster(t, 2)
	nodes[0].create(t, "team", nil)
	nodes[0].add(t, 1)
	w := nodes[0].consume(t, &webhookgatewayv1.ConsumeRequest{Subscription: "team"})
	nodes[1].reject(t, park, w.take(1)...)
	masked := streamtest.As(t.Context(), &access.Caller{Grants: []*access.Grant{{
		Filters: []*webhookgatewayv1.EventFilter{{}}, Views: []webhookgatewayv1.EventView{full},
		Mask: []string{"subject"}, Subscriptions: []access.SubscriptionGrant{{}},
	}}})
	for i, n := range nodes {
		list, err := n.ListParkedEvents(masked, &webhookgatewayv1.ListParkedEventsRequest{Subscription: "team"})
		if err != nil {
			t.Fatal(err)
		}
		parked := list.GetParkedEvents()[0]
		if parked.GetMessage() != "" || parked.GetEvent().GetSubject() != "" || len(parked.GetEvent().GetMasked()) == 0 {
			t.Errorf("gateway %d shows %v", i, parked)
		}
		_, err = n.ListParkedEvents(masked, &webhookgatewayv1.ListParkedEventsRequest{Subscription: "team", View: webhookgatewayv1.EventView_EVENT_VIEW_RAW})
		checkError(t, err, "PermissionDenied NOT_GRANTED view")
	}
}
