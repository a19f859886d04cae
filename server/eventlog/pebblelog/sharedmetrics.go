package pebblelog

import (
	"github.com/prometheus/client_golang/prometheus"
)

// SharedMetrics returns what there is to know of how a log is shared; nil if it is not.
func (l *Log) SharedMetrics() prometheus.Collector {
	if l.shared == nil {
		return nil
	}
	describe := func(name, help string) *prometheus.Desc {
		return prometheus.NewDesc("webhook_gateway_commitlog_"+name, help, nil, nil)
	}
	return &sharedCollector{
		shared:    l.shared,
		applied:   describe("applied_sequence", "The sequence of the last commit that is in the copy of this gateway."),
		newest:    describe("newest_sequence", "The sequence of the newest commit that this gateway knows of."),
		current:   describe("copy_current", "1 while the copy is known to have all that was committed when it was opened, otherwise 0; also 0 once a newer gateway has committed what this one cannot apply."),
		committed: describe("commits_total", "Commits of this gateway."),
		lost:      describe("commits_decided_again_total", "How often another gateway committed first, so that a commit was decided again."),
		rebuilt:   describe("copies_made_anew_total", "How often the copy could not be used, and was made anew of the commit log."),
	}
}

type sharedCollector struct {
	shared                                             *shared
	applied, newest, current, committed, lost, rebuilt *prometheus.Desc
}

// Describe implements prometheus.Collector.
func (c *sharedCollector) Describe(descs chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{c.applied, c.newest, c.current, c.committed, c.lost, c.rebuilt} {
		descs <- d
	}
}

// Collect implements prometheus.Collector.
func (c *sharedCollector) Collect(metrics chan<- prometheus.Metric) {
	gauge := func(desc *prometheus.Desc, value float64) {
		metrics <- prometheus.MustNewConstMetric(desc, prometheus.GaugeValue, value)
	}
	counter := func(desc *prometheus.Desc, value float64) {
		metrics <- prometheus.MustNewConstMetric(desc, prometheus.CounterValue, value)
	}
	applied, s := c.shared.applied.Load(), c.shared
	gauge(c.applied, float64(applied))
	gauge(c.newest, float64(max(applied, uint64(s.commits.Newest()))))
	current := 0.0
	if s.isCurrent() {
		current = 1
	}
	gauge(c.current, current)
	counter(c.committed, float64(s.committed.Load()))
	counter(c.lost, float64(s.lostRaces.Load()))
	counter(c.rebuilt, float64(s.rebuilt.Load()))
}
