package subscription

import (
	"errors"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

const metricPrefix = "webhook_gateway_subscription_"

// metrics are the counters, and what is gathered when the metrics are scraped.
type metrics struct {
	manager *Manager
	// expired counts parked events that were removed for their age, and eventless
	// those that were parked without a copy.
	expired, eventless *prometheus.CounterVec

	lag, inFlight, ready, waiting, parked, age, streams, unusable *prometheus.Desc
}

func newMetrics(m *Manager) (*metrics, error) {
	labels := []string{"subscription"}
	desc := func(name, help string) *prometheus.Desc {
		return prometheus.NewDesc(metricPrefix+name, help, labels, nil)
	}
	counter := func(name, help string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: metricPrefix + name, Help: help}, labels)
	}
	c := &metrics{
		manager:   m,
		expired:   counter("parked_expired_total", "Parked events that were removed because they were older than parked_retention."),
		eventless: counter("parked_without_event_total", "Events that could not be read when they were parked: no copy is kept."),
		lag:       desc("lag_events", "Events of the log after the cursor of the subscription, matching or not."),
		inFlight:  desc("in_flight_events", "Events held by workers."),
		ready:     desc("ready_events", "Events that were found and wait to be delivered for the first time."),
		waiting:   desc("waiting_events", "Events that wait for another attempt."),
		parked:    desc("parked_events", "Parked events."),
		age:       desc("oldest_parked_age_seconds", "Age of the event that is parked for longest, 0 if there is none."),
		streams:   desc("streams", "Streams attached."),
		unusable:  desc("unusable", "1 for a subscription that was set aside because it cannot be loaded."),
	}
	return c, errors.Join(m.Registerer.Register(c), m.Registerer.Register(c.expired), m.Registerer.Register(c.eventless))
}

// forget removes what was counted of a subscription.
func (c *metrics) forget(name string) {
	c.expired.DeleteLabelValues(name)
	c.eventless.DeleteLabelValues(name)
}

// Describe implements prometheus.Collector.
func (c *metrics) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{c.lag, c.inFlight, c.ready, c.waiting, c.parked, c.age, c.streams, c.unusable} {
		ch <- d
	}
}

// Collect implements prometheus.Collector. It holds one lock at a time, and none
// while it passes metrics on.
func (c *metrics) Collect(ch chan<- prometheus.Metric) {
	gauge := func(d *prometheus.Desc, v float64, name string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, name)
	}
	for _, name := range c.manager.unusable() {
		gauge(c.unusable, 1, name)
	}
	head := c.manager.Log.Bounds().Head
	for _, s := range c.manager.all() {
		s.mu.Lock()
		m, streams, totals := s.machine, len(s.streams), s.totals
		lag, inFlight, ready, waiting := max(head, m.cursor)-m.cursor, m.held, m.readyEvents(), m.waitingEvents()
		s.mu.Unlock()
		gauge(c.lag, float64(lag), s.name)
		gauge(c.inFlight, float64(inFlight), s.name)
		gauge(c.ready, float64(ready), s.name)
		gauge(c.waiting, float64(waiting), s.name)
		gauge(c.parked, float64(totals.count), s.name)
		gauge(c.streams, float64(streams), s.name)
		age := 0.0
		if totals.count > 0 {
			age = max(0, time.Since(totals.oldest).Seconds())
		}
		gauge(c.age, age, s.name)
	}
}
