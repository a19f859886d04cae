package postgresql

import (
	"crypto/rand"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/webhook-gateway/webhook-gateway/server/commitlog"
)

// commitBytes is about the size of a commit of 100 events of 400 bytes.
const commitBytes = 40_000

// BenchmarkAppend: one commit of 100 events of 400 bytes at a time, as a gateway appends
// them, on a server that syncs each.
func BenchmarkAppend(b *testing.B) {
	log := openLog(b, configOf(startServer(b)))
	benchmarkAppend(b, log)
}

// BenchmarkAppendToPair is the same with a synchronous standby.
func BenchmarkAppendToPair(b *testing.B) {
	primary, _ := startPair(b)
	benchmarkAppend(b, openLog(b, configOf(primary)))
}

func benchmarkAppend(b *testing.B, log *Log) {
	b.Helper()
	commit := make([]byte, commitBytes)
	_, _ = rand.Read(commit) // it never fails
	b.SetBytes(commitBytes)
	var after commitlog.Sequence
	for b.Loop() {
		at, err := log.Append(b.Context(), after, commit)
		if err != nil {
			b.Fatal(err)
		}
		after = at
	}
	b.ReportMetric(float64(b.N)*100/b.Elapsed().Seconds(), "events/s")
}

// BenchmarkThreeWriters: three gateways append at the same time.
func BenchmarkThreeWriters(b *testing.B) {
	config := configOf(startServer(b))
	var left atomic.Int64
	left.Store(int64(b.N))
	var group sync.WaitGroup
	logs := []*Log{openLog(b, config), openLog(b, config), openLog(b, config)}
	b.SetBytes(commitBytes)
	b.ResetTimer()
	for _, log := range logs {
		group.Go(func() {
			var after commitlog.Sequence
			for left.Load() > 0 {
				for commit, err := range log.Read(b.Context(), after) {
					if err != nil {
						b.Error(err)
						return
					}
					after = commit.Sequence
				}
				commit := make([]byte, commitBytes)
				_, _ = rand.Read(commit) // it never fails
				at, err := commitlog.Settle(b.Context(), log, after, commit)
				if err != nil {
					b.Error(err)
					return
				}
				if at > 0 {
					after = at
					left.Add(-1)
				}
			}
		})
	}
	group.Wait()
	b.ReportMetric(float64(b.N)*100/b.Elapsed().Seconds(), "events/s")
}

// BenchmarkCatchUp: a fresh reader.
func BenchmarkCatchUp(b *testing.B) {
	const commits = 5000
	server := startServer(b)
	config := configOf(server)
	_ = openLog(b, config)
	server.exec(`CREATE TABLE webhook_gateway_commits_0 (LIKE webhook_gateway_commits INCLUDING ALL);
		ALTER TABLE webhook_gateway_commits ATTACH PARTITION webhook_gateway_commits_0 FOR VALUES FROM (0) TO (100000)`)
	commit := make([]byte, commitBytes)
	_, _ = rand.Read(commit) // it never fails
	conn := server.connect()
	if _, err := conn.Exec(b.Context(), "INSERT INTO webhook_gateway_commits SELECT n, n, $1 FROM generate_series(1, $2::bigint) n", commit, commits); err != nil {
		b.Fatal(err)
	}
	_ = conn.Close(b.Context())
	log := openLog(b, config)
	b.SetBytes(commits * commitBytes)
	for b.Loop() {
		n := 0
		for _, err := range log.Read(b.Context(), 0) {
			if err != nil {
				b.Fatal(err)
			}
			n++
		}
		if n != commits {
			b.Fatalf("read %d commits", n)
		}
	}
	b.ReportMetric(float64(b.N)*commits/b.Elapsed().Seconds(), "commits/s")
}
