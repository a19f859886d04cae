package stream

import (
	"errors"
	"fmt"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// metrics has no label for the subscriber, whose number has no bound.
type metrics struct {
	open      prometheus.Gauge
	frames    *prometheus.CounterVec
	events    prometheus.Counter
	bytes     prometheus.Counter
	liveDelay *prometheus.HistogramVec
}

func newMetrics(registerer prometheus.Registerer) (*metrics, error) {
	m := &metrics{
		open: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "webhook_gateway_streams_open",
			Help: "Streams that are open, of both services.",
		}),
		frames: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "webhook_gateway_stream_frames_total",
			Help: "Frames sent by kind: subscribed, events, deliveries, heartbeat, caught_up, fell_behind, gap or goodbye.",
		}, []string{"frame"}),
		events: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "webhook_gateway_stream_events_total",
			Help: "Events sent in streams.",
		}),
		bytes: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "webhook_gateway_stream_event_bytes_total",
			Help: "Bytes of the frames with events that were sent, before compression.",
		}),
		liveDelay: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "webhook_gateway_stream_live_delay_seconds",
			Help:    "From receiving an event until its frame, of events or of deliveries, was handed to a stream that had caught up; the oldest event of each frame that is not delivered again.",
			Buckets: prometheus.ExponentialBuckets(0.0001, 2, 17),
		}, []string{"frame"}),
	}
	for _, kind := range []string{"subscribed", "events", "deliveries", "heartbeat", "caught_up", "fell_behind", "gap", "goodbye"} {
		m.frames.WithLabelValues(kind) // a rise from nothing is one, too
	}
	for _, kind := range []string{"events", "deliveries"} {
		m.liveDelay.WithLabelValues(kind)
	}
	err := errors.Join(
		registerer.Register(m.open),
		registerer.Register(m.frames),
		registerer.Register(m.events),
		registerer.Register(m.bytes),
		registerer.Register(m.liveDelay),
	)
	if err != nil {
		return nil, fmt.Errorf("register metrics: %w", err)
	}
	return m, nil
}

// delayed counts the delay of a frame of a kind, with an example of a trace unless there is none.
func (m *metrics) delayed(kind string, delay time.Duration, traceID []byte) {
	observer := m.liveDelay.WithLabelValues(kind)
	if observer, ok := observer.(prometheus.ExemplarObserver); ok && len(traceID) > 0 {
		observer.ObserveWithExemplar(delay.Seconds(), prometheus.Labels{"trace_id": string(traceID)})
		return
	}
	observer.Observe(delay.Seconds())
}
