package pebblelog

import (
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// TestDiskFillsAgainAndAgain has somebody else fill the disk and free it while events
// come in, also for openings that fail in the middle. Nothing is lost, nothing that is
// needed is removed, and nothing else is left.
func TestDiskFillsAgainAndAgain(t *testing.T) {
	memory := vfs.NewCrashableMem()
	disk := &quotaFS{FS: memory, total: 1 << 40}
	config := testConfig("log")
	config.DiskReserve = 1 // it does not help: somebody else fills the disk
	log := mustOpen(t, config, WithFS(disk))
	load := newLoad(log)
	var group sync.WaitGroup
	group.Go(func() { load.run(t, "load", 1600) })
	random := rand.New(rand.NewPCG(7, 7))
	for done := false; !done; {
		disk.setFree(random.Int64N(300_000))
		flush(log)
		// More and more room, so that openings fail at different places.
		for range 5 {
			select {
			case <-time.After(time.Duration(random.IntN(60)) * time.Millisecond):
			case <-t.Context().Done():
			}
			disk.setFree(random.Int64N(600_000))
		}
		acked := load.snapshot()
		crashed := memory.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: 50, RNG: random})
		recovered, err := Open(config, testLogger(), WithFS(crashed))
		if err != nil {
			t.Fatalf("Open() after a crash = %v", err)
		}
		load.verify(t, recovered, acked)
		if err := recovered.Close(); err != nil {
			t.Errorf("Close() = %v", err)
		}
		disk.setFree(-1)
		waitUntil(t, "the log works", func() bool { return log.Err() == nil })
		done = load.count() >= 1600
	}
	group.Wait()
	load.verify(t, log, load.acked)
}
