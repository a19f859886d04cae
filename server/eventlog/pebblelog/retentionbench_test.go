package pebblelog

import (
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/webhook-gateway/webhook-gateway/server/eventlog/eventlogtest"
)

// BenchmarkRetention appends as fast as it can while retention keeps the log at a size:
// what is trimmed keeps up with what comes, and the disk with both.
func BenchmarkRetention(b *testing.B) {
	const appenders, keep = 64, 32 << 20
	config := testConfig(b.TempDir())
	config.Retention = Retention{MaxBytes: keep, Interval: 100 * time.Millisecond}
	log := mustOpen(b, config)
	bodies := make([]string, 16) // they do not compress
	for i := range bodies {
		bodies[i] = noise(uint64(i), 8000)
	}
	var next atomic.Int64
	var group sync.WaitGroup
	b.ResetTimer()
	for range appenders {
		group.Go(func() {
			for i := next.Add(1); i <= int64(b.N); i = next.Add(1) {
				if _, err := log.Append(b.Context(), eventlogtest.Entry(b, "client", "", bodies[i%16])); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	group.Wait()
	seconds := b.Elapsed().Seconds()
	head, trimmed := log.published.get()
	b.ReportMetric(float64(head.totals.Bytes)/1e6/seconds, "appended-MB/s")
	b.ReportMetric(float64(trimmed.totals.Bytes)/1e6/seconds, "trimmed-MB/s")
	b.ReportMetric(float64(head.totals.Bytes-trimmed.totals.Bytes)/keep, "kept/limit")
	usage := log.store.db.Metrics()
	b.ReportMetric(float64(usage.DiskSpaceUsage())/keep, "disk/limit")
}
