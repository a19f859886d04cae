package history_test

import (
	"log/slog"
	"math"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/webhook-gateway/webhook-gateway/server/history"
)

// gateway has metrics as a gateway does.
type gateway struct {
	deliveries *prometheus.CounterVec
	delay      *prometheus.HistogramVec
	lag        *prometheus.GaugeVec
	recorder   *history.Recorder
	now        time.Time
}

func newGateway(t *testing.T) *gateway {
	t.Helper()
	g := &gateway{
		deliveries: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "webhook_gateway_deliveries_total"}, []string{"provider", "verdict", "outcome"}),
		delay: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "webhook_gateway_stream_live_delay_seconds", Buckets: []float64{0.001, 0.01, 0.1},
		}, []string{"frame"}),
		lag: prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "webhook_gateway_subscription_lag_events"}, []string{"subscription"}),
		now: time.Unix(1_700_000_000, 0),
	}
	g.delay.WithLabelValues("events") // from the start, as a gateway's
	registry := prometheus.NewRegistry()
	registry.MustRegister(g.deliveries, g.delay, g.lag)
	g.recorder = history.New(registry, slog.New(slog.DiscardHandler))
	return g
}

func (g *gateway) record() {
	g.recorder.Record(g.now)
	g.now = g.now.Add(history.Interval)
}

func (g *gateway) series(t *testing.T, name, provider, outcome string) []float64 {
	t.Helper()
	for _, s := range g.recorder.History().GetSeries() {
		if s.GetName() == name && s.GetLabels()["provider"] == provider && s.GetLabels()["outcome"] == outcome {
			return s.GetValues()
		}
	}
	t.Fatalf("there is no series %s of %q with %q", name, provider, outcome)
	return nil
}

func newest(values []float64) float64 { return values[len(values)-1] }

// TestRates: a counter becomes a rate, whatever verdicts it is split by, and a refusal is not
// a delivery.
func TestRates(t *testing.T) {
	g := newGateway(t)
	g.record()
	g.deliveries.WithLabelValues("finicity", "verified", "stored").Add(40)
	g.deliveries.WithLabelValues("finicity", "failed", "stored").Add(10)
	g.deliveries.WithLabelValues("finicity", "none", "signature_mismatch").Add(20)
	g.lag.WithLabelValues("a").Set(3)
	g.lag.WithLabelValues("b").Set(7)
	g.record()
	if got := newest(g.series(t, "deliveries", "finicity", "stored")); got != 5 {
		t.Errorf("%v deliveries a second, want 5", got)
	}
	if got := newest(g.series(t, "refusals", "finicity", "signature_mismatch")); got != 2 {
		t.Errorf("%v refusals a second, want 2", got)
	}
	if got := newest(g.series(t, "lag_events", "", "")); got != 7 {
		t.Errorf("a lag of %v, want that of the last subscription, 7", got)
	}
	taken := g.recorder.Rose("deliveries", "finicity")
	if want := time.Unix(1_700_000_000, 0).Add(history.Interval); !taken.Equal(want) {
		t.Errorf("last taken at %v, want %v", taken, want)
	}
	g.record()
	if got := newest(g.series(t, "deliveries", "finicity", "stored")); got != 0 {
		t.Errorf("%v deliveries a second after none came, want 0", got)
	}
	if !g.recorder.Rose("deliveries", "finicity").Equal(taken) {
		t.Error("a delivery was taken, as it is said, while none came")
	}
}

// TestQuantiles: they are of what was measured since the sample before, and not a number
// while nothing was.
func TestQuantiles(t *testing.T) {
	g := newGateway(t)
	for range 1000 {
		g.delay.WithLabelValues("events").Observe(0.05)
	}
	g.record()
	g.record()
	if got := newest(g.series(t, "delay_p99", "", "")); !math.IsNaN(got) {
		t.Errorf("a delay of %v while nothing was sent, want NaN", got)
	}
	for range 99 {
		g.delay.WithLabelValues("events").Observe(0.0005)
	}
	g.delay.WithLabelValues("deliveries").Observe(0.05)
	g.record()
	if got := newest(g.series(t, "delay_p50", "", "")); got <= 0 || got > 0.001 {
		t.Errorf("a median delay of %v, want one in the first bucket", got)
	}
	if got := newest(g.series(t, "delay_p99", "", "")); got > 0.01 {
		t.Errorf("a p99 of %v, want 99 of 100 in the first bucket", got)
	}
}

// TestAnHour: there are as many values as an hour has, and all series end at the same time.
func TestAnHour(t *testing.T) {
	g := newGateway(t)
	if h := g.recorder.History(); h.GetEndTime() != nil || len(h.GetSeries()) > 0 {
		t.Errorf("there is something before anything was recorded: %v", h)
	}
	for range 400 {
		g.record()
	}
	g.deliveries.WithLabelValues("vezgo", "verified", "stored").Inc()
	g.record()
	h := g.recorder.History()
	if got := h.GetEndTime().AsTime(); !got.Equal(g.now.Add(-history.Interval)) {
		t.Errorf("the end is %v, want that of the last sample", got)
	}
	if got := len(g.series(t, "delay_p50", "", "")); got != 360 {
		t.Errorf("%d values of a series, want 360", got)
	}
	if got := g.series(t, "deliveries", "vezgo", "stored"); len(got) != 1 || got[0] != 0.1 {
		t.Errorf("a series that began with the last sample is %v, want one value of 0.1", got)
	}
}
