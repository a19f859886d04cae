package pebblelog

import (
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
)

// TestFailingOpeningsPileNothingUp has openings fail at the same write again and again,
// while files can be removed: each leaves no more files than the one before.
func TestFailingOpeningsPileNothingUp(t *testing.T) {
	good := vfs.NewMem()
	log := mustOpen(t, testConfig("log"), WithFS(good))
	load := newLoad(log)
	for range 5 {
		load.run(t, "flushed", 8)
		flushAll(t, log)
	}
	load.run(t, "in the write-ahead log", 40)
	log.store.fence.fail(errCrash)
	if err := log.Close(); err != nil {
		t.Fatal(err)
	}
	for index := int64(0); ; index += 3 {
		disk := vfs.NewMem()
		if ok, err := vfs.Clone(good, disk, "log", "log"); !ok || err != nil {
			t.Fatal(ok, err)
		}
		var operations atomic.Int64
		fault := &fault{err: syscall.EIO, match: func(op errorfs.Op) bool {
			return isWrite(op) && op.Kind != errorfs.OpRemove && operations.Add(1) > index
		}}
		fault.on.Store(true)
		files := 0
		for round := range 12 {
			operations.Store(0)
			store, err := openStore(log.config, log.ID(), headMark{}, errorfs.Wrap(disk, fault), testLogger())
			if err == nil {
				fault.on.Store(false)
				if err := store.close(); err != nil {
					t.Fatal(err)
				}
				return
			}
			now := len(mustList(t, disk))
			if round == 3 {
				files = now
			}
			if round == 11 && now > files+2 {
				t.Errorf("operation %d: %d files after 12 openings, and %d after 4: %v", index, now, files, mustList(t, disk))
			}
		}
	}
}
