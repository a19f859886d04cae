package canary

import (
	"errors"
	"fmt"

	"github.com/prometheus/client_golang/prometheus"
)

// A stage is where a delivery of the canary fails, as metrics call it.
type stage string

// The stages, in order.
const (
	// stageSubscribe: the stream of its events could not be opened.
	stageSubscribe stage = "subscribe"
	// stageSend: nobody answered the delivery.
	stageSend stage = "send"
	// stageAnswer: it was answered something else than 200.
	stageAnswer stage = "answer"
	// stageReceive: it was answered 200, and its event did not come.
	stageReceive stage = "receive"
)

type metrics struct {
	lastSuccess prometheus.Gauge
	roundTrip   prometheus.Histogram
	failures    *prometheus.CounterVec
}

func newMetrics(c *Canary, registerer prometheus.Registerer) (*metrics, error) {
	m := &metrics{
		lastSuccess: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "webhook_gateway_canary_last_success_timestamp_seconds",
			Help: "When the event of a delivery of the canary last came; 0 if none has.",
		}),
		roundTrip: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name:    "webhook_gateway_canary_round_trip_seconds",
			Help:    "From sending a delivery of the canary until a subscriber had its event.",
			Buckets: prometheus.ExponentialBuckets(0.0005, 2, 17),
		}),
		failures: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "webhook_gateway_canary_failures_total",
			Help: "Deliveries of the canary whose event did not come, by the stage that failed: subscribe, send, answer or receive.",
		}, []string{"stage"}),
	}
	for _, s := range []stage{stageSubscribe, stageSend, stageAnswer, stageReceive} {
		m.failures.WithLabelValues(string(s)) // a rise from nothing is one, too
	}
	interval := prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "webhook_gateway_canary_interval_seconds",
		Help: "The time from one delivery of the canary to the next; 0 if there is no canary.",
	}, func() float64 { return c.current.Load().Interval.Seconds() })
	err := errors.Join(
		registerer.Register(m.lastSuccess),
		registerer.Register(m.roundTrip),
		registerer.Register(m.failures),
		registerer.Register(interval),
	)
	if err != nil {
		return nil, fmt.Errorf("register the metrics of the canary: %w", err)
	}
	return m, nil
}
