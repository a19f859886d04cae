package pebblelog

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/webhook-gateway/webhook-gateway/server/commitlog"
	"github.com/webhook-gateway/webhook-gateway/server/commitlog/commitlogtest"
	"github.com/webhook-gateway/webhook-gateway/server/eventlog"
	"github.com/webhook-gateway/webhook-gateway/server/eventlog/eventlogtest"
)

// patience is far more than any step takes, on a busy machine too.
const patience = time.Minute

// commitsOf opens a commit log that ends with the test.
func commitsOf(t *testing.T, memory *commitlogtest.Memory) commitlog.Log {
	t.Helper()
	commits := memory.Open(nil)
	t.Cleanup(func() { _ = commits.Close() })
	return commits
}

// openShared opens a copy of a shared log, and waits until it has caught up, and has committed what it commits by
// itself at the start: on a busy machine that might come much later, in the midst of what a test counts.
func openShared(t *testing.T, disk vfs.FS, commits commitlog.Log, options ...Option) *Log {
	t.Helper()
	log := mustOpen(t, testConfig("log"), append([]Option{WithFS(disk), WithCommits(t.Context(), commits)}, options...)...)
	late := time.After(patience)
	for _, done := range []<-chan struct{}{log.Current(), log.retained} {
		select {
		case <-done:
			continue
		case <-late:
		}
		t.Fatalf("the copy does not catch up: %+v, at %d of %d, made anew %d times, committed %d, lost %d: %v", placeOf(t, log), log.shared.applied.Load(), commits.Newest(), log.shared.rebuilt.Load(), log.shared.committed.Load(), log.shared.lostRaces.Load(), log.Err())
	}
	return log
}

// closeSoon closes a log that waits for its commit log, and gives that up sooner than a gateway does.
func closeSoon(t *testing.T, log *Log) {
	t.Helper()
	log.shared.endAfter(50 * time.Millisecond)
	if err := log.Close(); err != nil {
		t.Errorf("Close() = %v", err)
	}
}

// placeOf reads from the store how far a copy is: what the committer knows of it is its own.
func placeOf(t *testing.T, log *Log) place {
	t.Helper()
	log.storeMu.RLock()
	defer log.storeMu.RUnlock()
	p, err := log.store.place()
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestSharedConformance(t *testing.T) {
	eventlogtest.Run(t, func(*testing.T) eventlogtest.Harness {
		disk, memory := vfs.NewCrashableMem(), commitlogtest.NewMemory()
		return eventlogtest.Harness{
			Shared: true,
			Open: func(t *testing.T) eventlog.Log {
				return openShared(t, disk, commitsOf(t, memory))
			},
			Crash: func(*testing.T) { disk = disk.CrashClone(vfs.CrashCloneCfg{}) },
			Copy: func(*testing.T) func(*testing.T) {
				copied := disk.CrashClone(vfs.CrashCloneCfg{})
				return func(*testing.T) { disk = copied.CrashClone(vfs.CrashCloneCfg{}) }
			},
		}
	})
}

// TestGatewaysShareALog: gateways that append at the same time give out the same positions,
// store each event id once, and hold the same events.
func TestGatewaysShareALog(t *testing.T) {
	const gateways, each = 3, 200
	memory := commitlogtest.NewMemory()
	var logs []*Log
	for range gateways {
		logs = append(logs, openShared(t, vfs.NewMem(), commitsOf(t, memory)))
	}
	var group sync.WaitGroup
	for _, log := range logs {
		for w := range 4 {
			group.Go(func() {
				for i := range each / 4 {
					id := fmt.Sprint("event ", w, " ", i) // the same on every gateway
					if _, err := log.Append(t.Context(), eventlogtest.Entry(t, "acme", id, id)); err != nil {
						t.Error(err)
						return
					}
				}
			})
		}
	}
	group.Wait()
	for _, log := range logs {
		for changed := log.Changed(); log.Bounds().Head < each; changed = log.Changed() {
			if log.Bounds().Head < each {
				<-changed
			}
		}
	}
	want := eventsOf(t, logs[0])
	if len(want) != each {
		t.Errorf("%d events, want %d", len(want), each)
	}
	for _, log := range logs[1:] {
		if log.ID() != logs[0].ID() {
			t.Errorf("logs %v and %v", log.ID(), logs[0].ID())
		}
		for i, value := range eventsOf(t, log) {
			if value != want[i] {
				t.Fatalf("event %d differs", i+1)
			}
		}
	}
}

func eventsOf(t *testing.T, log *Log) (values []string) {
	t.Helper()
	for record, err := range log.Read(t.Context(), 0) {
		if err != nil {
			t.Fatal(err)
		}
		values = append(values, string(record.Value()))
	}
	return values
}
