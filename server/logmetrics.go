package server

import (
	"context"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/webhook-gateway/webhook-gateway/server/eventlog"
)

// logMetrics reads the event log whenever metrics are asked for.
type logMetrics struct {
	log   eventlog.Log
	quota uint64

	up, events, bytes, failedBytes, failedQuota, earliest, head *prometheus.Desc
	clockAhead, retentionBehind                                 *prometheus.Desc
	lost, unreadable                                            *prometheus.Desc
}

func newLogMetrics(log eventlog.Log, unverifiedQuota uint64) *logMetrics {
	describe := func(name, help string) *prometheus.Desc {
		return prometheus.NewDesc("webhook_gateway_log_"+name, help, nil, nil)
	}
	return &logMetrics{
		log:   log,
		quota: unverifiedQuota,

		up:          describe("up", "1 while the event log accepts events, otherwise 0."),
		events:      describe("events", "Events retained."),
		bytes:       describe("bytes", "Bytes of the events retained, before compression."),
		failedBytes: describe("unverified_bytes", "Bytes of the events retained that failed verification, before compression; a part of webhook_gateway_log_bytes."),
		failedQuota: describe("unverified_quota_bytes", "The quota of webhook_gateway_log_unverified_bytes: more is answered 429. 0: no limit."),
		earliest:    describe("earliest_timestamp_seconds", "When the earliest event retained was received, in Unix seconds."),
		head:        describe("head_timestamp_seconds", "When the newest event was received, in Unix seconds."),
		clockAhead: describe("clock_ahead_seconds",
			"By how much the clock of the machine is ahead of the time that events are given; negative if it is behind. 0 while events are given the time of the clock."),
		retentionBehind: describe("retention_behind_seconds",
			"By how much retention by age lags behind the time that events are given: it catches up after the clock jumped."),
		lost:       describe("lost_events", "Events within retention that were acknowledged and were gone when the log was opened."),
		unreadable: describe("unreadable_events", "Other events within retention that readers have found damaged since the log was opened."),
	}
}

// Describe implements prometheus.Collector.
func (m *logMetrics) Describe(descs chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{
		m.up, m.events, m.bytes, m.failedBytes, m.failedQuota, m.earliest, m.head, m.clockAhead, m.retentionBehind, m.lost, m.unreadable,
	} {
		descs <- d
	}
}

// Collect implements prometheus.Collector. What cannot be read is left out.
func (m *logMetrics) Collect(metrics chan<- prometheus.Metric) {
	gauge := func(desc *prometheus.Desc, value float64) {
		metrics <- prometheus.MustNewConstMetric(desc, prometheus.GaugeValue, value)
	}
	if m.log.Err() == nil {
		gauge(m.up, 1)
	} else {
		gauge(m.up, 0)
	}
	gauge(m.failedQuota, float64(m.quota))
	clock := m.log.Clock()
	gauge(m.clockAhead, clock.Ahead.Seconds())
	gauge(m.retentionBehind, clock.Now.Sub(clock.Retention).Seconds())
	damage := m.log.Damage()
	gauge(m.lost, float64(damage.LostEvents()))
	gauge(m.unreadable, float64(damage.Unreadable))
	stats, err := m.log.Stats(context.Background())
	if err != nil {
		return
	}
	gauge(m.events, float64(stats.Bounds.Len()))
	gauge(m.bytes, float64(stats.Bytes))
	gauge(m.failedBytes, float64(stats.FailedBytes))
	if stats.Bounds.Len() > 0 {
		gauge(m.earliest, unixSeconds(stats.EarliestTime))
		gauge(m.head, unixSeconds(stats.HeadTime))
	}
}

func unixSeconds(t time.Time) float64 { return float64(t.UnixNano()) / float64(time.Second) }
