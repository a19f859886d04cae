package stream_test

import (
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/webhook-gateway/webhook-gateway/server/stream"
)

// The delay of a frame goes by the clock that events are received by: one of the machine
// that is wrong by years is no delay of years.
func TestDelayByTheClockOfEvents(t *testing.T) {
	registry := prometheus.NewRegistry()
	r := newRecord(t, 1, "1")
	streams, err := stream.New(stream.DefaultConfig(), func() time.Time { return r.ReceiveTime().Add(time.Second) }, registry)
	if err != nil {
		t.Fatal(err)
	}
	batch := streams.Batch(0)
	batch.Add(r, newHistory(t), true)
	if err := streams.Sender(func(any) error { return nil }).SendBatch("events", batch, true); err != nil {
		t.Fatal(err)
	}
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, family := range families {
		if family.GetName() != "webhook_gateway_stream_live_delay_seconds" {
			continue
		}
		for _, metric := range family.GetMetric() {
			if metric.GetLabel()[0].GetValue() == "events" && metric.GetHistogram().GetSampleSum() != 1 {
				t.Errorf("the delay is %v s, want 1", metric.GetHistogram().GetSampleSum())
			}
		}
		return
	}
	t.Error("the delay is not served")
}
