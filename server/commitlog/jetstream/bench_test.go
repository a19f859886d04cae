package jetstream

import (
	"testing"

	"github.com/webhook-gateway/webhook-gateway/server/commitlog"
	"github.com/webhook-gateway/webhook-gateway/server/commitlog/jetstream/jetstreamtest"
)

// eventsOfCommit and eventBytes are what a commit of the benchmarks has.
const (
	eventsOfCommit = 100
	eventBytes     = 400
)

// fill appends n commits, one at a time, and returns the sequence of the last one.
func fill(b *testing.B, log commitlog.Log, n int) (after commitlog.Sequence) {
	b.Helper()
	for i := range n {
		at, err := commitlog.Settle(b.Context(), log, after, large(eventsOfCommit*eventBytes, byte(i)))
		if err != nil || at == 0 {
			b.Fatalf("Settle() = %d, %v", at, err)
		}
		after = at
	}
	return after
}

// BenchmarkAppend has one gateway append to three servers, one commit at a time.
func BenchmarkAppend(b *testing.B) {
	log := mustOpen(b, configFor(jetstreamtest.Start(b, 3, "")))
	fill(b, log, 1) // the servers have a leader
	b.ResetTimer()
	after := commitlog.Sequence(1)
	for i := 0; b.Loop(); i++ {
		at, err := commitlog.Settle(b.Context(), log, after, large(eventsOfCommit*eventBytes, byte(i)))
		if err != nil || at == 0 {
			b.Fatalf("Settle() = %d, %v", at, err)
		}
		after = at
	}
	commits := float64(b.N) / b.Elapsed().Seconds()
	b.ReportMetric(commits, "commits/s")
	b.ReportMetric(commits*eventsOfCommit, "events/s")
}

// BenchmarkCatchUp has a gateway that begins read what there is.
func BenchmarkCatchUp(b *testing.B) {
	const n = 2000
	config := configFor(jetstreamtest.Start(b, 3, ""))
	last := fill(b, mustOpen(b, config), n)
	b.SetBytes(n * eventsOfCommit * eventBytes)
	for b.Loop() {
		log := mustOpen(b, config)
		for after := commitlog.Sequence(0); after < last; {
			changed := log.Changed()
			for commit, err := range log.Read(b.Context(), after) {
				if err != nil {
					b.Fatal(err)
				}
				after = commit.Sequence
			}
			if after < last {
				<-changed
			}
		}
		_ = log.Close()
	}
	b.ReportMetric(float64(n*b.N)/b.Elapsed().Seconds(), "commits/s")
}
