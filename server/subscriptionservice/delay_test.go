package subscriptionservice_test

import (
	"testing"

	"google.golang.org/protobuf/types/known/durationpb"

	webhookgatewayv1 "github.com/webhook-gateway/webhook-gateway/gen/webhookgateway/v1"
)

// delays returns how many delays of frames with deliveries were counted.
func (g *gateway) delays(t *testing.T) int {
	t.Helper()
	families, err := g.metrics.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, family := range families {
		for _, metric := range family.GetMetric() {
			if family.GetName() == "webhook_gateway_stream_live_delay_seconds" && metric.GetLabel()[0].GetValue() == "deliveries" {
				return int(metric.GetHistogram().GetSampleCount())
			}
		}
	}
	t.Fatal("the delays of deliveries are not counted")
	return 0
}

// A worker's delay is that of events that are new to all workers, once its stream has
// caught up. What comes again is as old as its first failure.
func TestDelayOfDeliveries(t *testing.T) {
	t.Parallel()
	g := newGateway(t)
	g.add(t, 1)
	g.create(t, "team", &webhookgatewayv1.SubscriptionSettings{MinBackoff: durationpb.New(0)})
	w := g.consume(t, &webhookgatewayv1.ConsumeRequest{Subscription: "team"})
	want := func(after string, want int) {
		t.Helper()
		// The delay is counted before the frame is sent.
		if got := g.delays(t); got != want {
			t.Errorf("after %s %d delays are counted, want %d", after, got, want)
		}
	}
	g.acknowledge(t, "team", ok, w.take(1)...)
	want("catching up", 0)
	if w.next().GetCaughtUp() == nil {
		t.Fatal("the worker is not told that it caught up")
	}
	g.add(t, 1)
	d := w.take(1)
	want("a new event", 1)
	g.reject(t, retry, d...)
	d = w.take(1)
	want("another attempt", 1)
	g.reject(t, park, d...)
	if _, err := g.ReplayParkedEvents(t.Context(), &webhookgatewayv1.ReplayParkedEventsRequest{Subscription: "team", All: true}); err != nil {
		t.Fatal(err)
	}
	d = w.take(1)
	want("a replay", 1)
	g.acknowledge(t, "team", ok, d...)
	g.add(t, 1)
	g.acknowledge(t, "team", ok, w.take(1)...)
	want("a second new event", 2)
}
