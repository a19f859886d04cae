package pebblelog

import (
	"fmt"
	"testing"

	"github.com/webhook-gateway/webhook-gateway/server/commitlog/commitlogtest"
	"github.com/webhook-gateway/webhook-gateway/server/eventlog/eventlogtest"
)

// BenchmarkCatchUpShared is a gateway that begins with nothing: events a second.
func BenchmarkCatchUpShared(b *testing.B) {
	memory := commitlogtest.NewMemory()
	commits := memory.Open(nil)
	config := testConfig(b.TempDir())
	one := mustOpen(b, config, WithCommits(b.Context(), commits))
	<-one.Current()
	body := string(make([]byte, 300))
	appendParallel(b, one, 100, b.N, body)
	b.ResetTimer()
	fresh := testConfig(b.TempDir())
	two := mustOpen(b, fresh, WithCommits(b.Context(), memory.Open(nil)))
	<-two.Current()
	b.StopTimer()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "events/s")
	if head := two.Bounds().Head; head < 1 {
		b.Errorf("head %d", head)
	}
}

// BenchmarkAppendShared is what sharing costs beside the commit log: 100 appends at a time.
func BenchmarkAppendShared(b *testing.B) {
	memory := commitlogtest.NewMemory()
	log := mustOpen(b, testConfig(b.TempDir()), WithCommits(b.Context(), memory.Open(nil)))
	<-log.Current()
	b.ResetTimer()
	appendParallel(b, log, 100, b.N, string(make([]byte, 300)))
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "events/s")
}

func appendParallel(b *testing.B, log *Log, writers, n int, body string) {
	b.Helper()
	work := make(chan int, writers)
	done := make(chan error, writers)
	for range writers {
		go func() {
			var failed error
			for i := range work {
				if _, err := log.Append(b.Context(), eventlogtest.Entry(b, "acme", fmt.Sprint("event ", i), body)); err != nil {
					failed = err
				}
			}
			done <- failed
		}()
	}
	for i := range n {
		work <- i
	}
	close(work)
	for range writers {
		if err := <-done; err != nil {
			b.Error(err)
		}
	}
}
