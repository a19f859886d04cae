package pebblelog

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Metrics returns what there is to know of the disk and of the background work. The
// events themselves are described by Stats.
func (l *Log) Metrics() prometheus.Collector {
	describe := func(name, help string) *prometheus.Desc {
		return prometheus.NewDesc("webhook_gateway_store_"+name, help, nil, nil)
	}
	return &collector{
		log:       l,
		free:      describe("disk_free_bytes", "Bytes of the disk of the event log that are free."),
		used:      describe("disk_used_bytes", "Bytes of the disk of the event log that are in use, by whatever."),
		reserve:   describe("disk_reserve_bytes", "With fewer bytes free, events are refused."),
		stalled:   describe("disk_stalled", "1 while an operation on the disk takes longer than 5 seconds, otherwise 0."),
		failures:  describe("failures_total", "How often the disk failed, so that the store had to be opened anew."),
		throttled: describe("throttled_seconds_total", "How long events have waited for flushes and compactions."),
		bytes:     describe("bytes", "Bytes that the files of the store take."),
		wal:       describe("wal_bytes", "Bytes of the write-ahead log that are not in tables yet."),
		memory:    describe("memtable_bytes", "Bytes of memory that hold what is not in tables yet."),
		l0:        describe("l0_files", "Tables that wait for compaction."),
		aside:     describe("set_aside_folders", "Folders of files that were damaged, or of a copy that had more than the commit log: they stay until somebody deletes them."),
	}
}

// collector reads the log whenever metrics are asked for.
type collector struct {
	log                                                                              *Log
	free, used, reserve, stalled, failures, throttled, bytes, wal, memory, l0, aside *prometheus.Desc
}

// Describe implements prometheus.Collector.
func (c *collector) Describe(descs chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{c.free, c.used, c.reserve, c.stalled, c.failures, c.throttled, c.bytes, c.wal, c.memory, c.l0, c.aside} {
		descs <- d
	}
}

// Collect implements prometheus.Collector. What is not known is left out.
func (c *collector) Collect(metrics chan<- prometheus.Metric) {
	gauge := func(desc *prometheus.Desc, value float64) {
		metrics <- prometheus.MustNewConstMetric(desc, prometheus.GaugeValue, value)
	}
	counter := func(desc *prometheus.Desc, value float64) {
		metrics <- prometheus.MustNewConstMetric(desc, prometheus.CounterValue, value)
	}
	if usage, reserve, ok := c.log.space.get(); ok {
		gauge(c.free, float64(usage.AvailBytes))
		gauge(c.used, float64(usage.UsedBytes))
		gauge(c.reserve, float64(reserve))
	}
	if folders, ok := c.log.space.setAside(); ok {
		gauge(c.aside, float64(folders))
	}
	stalled := 0.0
	if c.log.stall.err() != nil {
		stalled = 1
	}
	gauge(c.stalled, stalled)
	counter(c.failures, float64(c.log.failures.Load()))
	throttled := time.Duration(c.log.throttled.Load())
	if since := c.log.throttling.Load(); since != 0 {
		throttled += time.Since(time.Unix(0, since))
	}
	counter(c.throttled, throttled.Seconds())

	c.log.storeMu.RLock()
	defer c.log.storeMu.RUnlock()
	if c.log.store == nil {
		return
	}
	m := c.log.store.db.Metrics()
	gauge(c.bytes, float64(m.DiskSpaceUsage()))
	gauge(c.wal, float64(m.WAL.Size))
	gauge(c.memory, float64(m.MemTable.Size))
	gauge(c.l0, float64(m.Levels[0].TablesCount))
}
