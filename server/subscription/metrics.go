package subscription

import (
	"errors"

	"github.com/prometheus/client_golang/prometheus"
)

const metricPrefix = "webhook_gateway_subscription_"

// metrics are the counters, and what is gathered when the metrics are scraped.
type metrics struct {
	manager *Manager
	// expired counts parked events that were removed for their age, and eventless
	// those that were parked without a copy.
	expired, eventless *prometheus.CounterVec

	// taken counts subscriptions that this gateway has taken over.
	taken prometheus.Counter

	lag, inFlight, ready, waiting, parked, parkedAge, oldestAge, streams, unusable *prometheus.Desc
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
		parkedAge: desc("oldest_parked_age_seconds", "For how long the event is parked that was parked first, by the time of the event log; 0 if there is none."),
		oldestAge: desc("oldest_unacknowledged_age_seconds", "Since when, by the time of the event log, the oldest event was received that is neither settled nor parked; 0 if there is none. It may be some seconds old. Replayed events do not count."),
		streams:   desc("streams", "Streams attached."),
		unusable:  desc("unusable", "1 for a subscription that was set aside because it cannot be loaded."),
	}
	c.taken = prometheus.NewCounter(prometheus.CounterOpts{
		Name: "webhook_gateway_cluster_subscriptions_taken_over_total",
		Help: "Subscriptions that this gateway has taken over: at its start, when another gateway came, left or died, and those that others have created.",
	})
	collectors := []prometheus.Collector{c, c.expired, c.eventless}
	if m.Sharing != nil {
		collectors = append(collectors, c.taken, prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "webhook_gateway_cluster_subscriptions_owned",
			Help: "Subscriptions that this gateway runs for all gateways of the cluster.",
		}, func() float64 { return float64(len(m.all())) }))
	}
	var errs []error
	for _, one := range collectors {
		errs = append(errs, m.Registerer.Register(one))
	}
	return c, errors.Join(errs...)
}

// know serves what is counted of a subscription before anything was: a rise from nothing
// would be none to Prometheus, and what is lost first would raise no alert.
func (c *metrics) know(name string) {
	c.expired.WithLabelValues(name)
	c.eventless.WithLabelValues(name)
}

// forget removes what was counted of a subscription.
func (c *metrics) forget(name string) {
	c.expired.DeleteLabelValues(name)
	c.eventless.DeleteLabelValues(name)
}

// Describe implements prometheus.Collector.
func (c *metrics) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{c.lag, c.inFlight, c.ready, c.waiting, c.parked, c.parkedAge, c.oldestAge, c.streams, c.unusable} {
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
	head, now := c.manager.Log.Bounds().Head, c.manager.now()
	for _, s := range c.manager.all() {
		s.mu.Lock()
		m, streams, totals, oldest := s.machine, len(s.streams), s.totals, s.oldest.received
		lag, inFlight, ready, waiting := max(head, m.cursor)-m.cursor, m.held, m.readyEvents(), m.waitingEvents()
		s.mu.Unlock()
		gauge(c.lag, float64(lag), s.name)
		gauge(c.inFlight, float64(inFlight), s.name)
		gauge(c.ready, float64(ready), s.name)
		gauge(c.waiting, float64(waiting), s.name)
		gauge(c.parked, float64(totals.count), s.name)
		gauge(c.streams, float64(streams), s.name)
		gauge(c.parkedAge, age(totals.oldest, now).Seconds(), s.name)
		gauge(c.oldestAge, age(oldest, now).Seconds(), s.name)
	}
}
