package sessions

import (
	"github.com/prometheus/client_golang/prometheus"
)

var sessionsDesc = prometheus.NewDesc("webhook_gateway_sessions_known",
	"Sessions of Finicity customers in Connect that are known, by state: open, done, failed, stalled (see sessions.window).", []string{"state"}, nil)

// labels are what metrics call the states.
var labels = map[state]string{stateOpen: "open", stateDone: "done", stateFailed: "failed", stateStalled: "stalled"}

// metrics are those of an index.
type metrics struct {
	index *Index
	ended *prometheus.CounterVec
}

func newMetrics(x *Index) *metrics {
	m := &metrics{index: x, ended: prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "webhook_gateway_sessions_ended_total",
		Help: "Sessions of Finicity customers in Connect that ended since the gateway was started, by state: done, failed, stalled (neither, see sessions.stalled_after).",
	}, []string{"state"})}
	for _, s := range []state{stateDone, stateFailed, stateStalled} {
		m.ended.WithLabelValues(labels[s])
	}
	return m
}

// Describe implements prometheus.Collector.
func (m *metrics) Describe(descs chan<- *prometheus.Desc) {
	descs <- sessionsDesc
	m.ended.Describe(descs)
}

// Collect implements prometheus.Collector.
func (m *metrics) Collect(collected chan<- prometheus.Metric) {
	for s, n := range m.index.counts() {
		collected <- prometheus.MustNewConstMetric(sessionsDesc, prometheus.GaugeValue, float64(n), labels[s])
	}
	m.ended.Collect(collected)
}

// counts returns how many sessions are known in each state.
func (x *Index) counts() map[state]int {
	now, trimmed := x.log.Clock().Now.UnixNano(), x.log.Bounds().Trimmed
	n := map[state]int{stateOpen: 0, stateDone: 0, stateFailed: 0, stateStalled: 0}
	x.mu.Lock()
	defer x.mu.Unlock()
	for _, b := range x.books {
		for _, s := range b.order[b.forgotten:] {
			if !s.cut && b.isKept(s, now, trimmed) {
				n[s.state]++
			}
		}
	}
	return n
}
