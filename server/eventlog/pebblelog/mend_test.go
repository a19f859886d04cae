package pebblelog

import (
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
)

// TestDamagedTableStopsNoIngest goes on for long behind a damaged table, whatever is
// damaged in it: what cannot be compacted any more must not hold up what comes in.
func TestDamagedTableStopsNoIngest(t *testing.T) {
	good := vfs.NewMem()
	table := tableOf(t, good, 1000)
	content := readDisk(t, good, table)
	for i := range 8 {
		at := i*len(content)/8 + 100
		t.Run(fmt.Sprintf("at %d of %d", at, len(content)), func(t *testing.T) {
			disk := vfs.NewMem()
			if ok, err := vfs.Clone(good, disk, "log", "log"); !ok || err != nil {
				t.Fatal(ok, err)
			}
			bad := append([]byte(nil), content...)
			bad[at] ^= 1
			writeDisk(t, disk, table, bad)
			everyTime := func(l *Log) { l.checkBytes = 1 } // look at the background work
			log := mustOpen(t, testConfig("log"), WithFS(disk), everyTime)
			first := newLoad(log)
			for i := range 3 * maxL0Sublevels {
				first.appendUntilAcked(t, fmt.Sprint("new ", i))
				flushAll(t, log)
			}
			positions, damaged := readAll(t, log, 0)
			missing := uint64(log.Bounds().Head) - uint64(len(positions))
			if missing > 100 || (missing > 0) != (len(damaged) > 0) {
				t.Errorf("%d events are missing, damaged are %v", missing, damaged)
			}
			if d := log.Damage(); d.LostEvents()+d.Unreadable != missing {
				t.Errorf("Damage() = %+v, and %d events are missing", d, missing)
			} else if d.Unreadable > 0 {
				t.Errorf("Damage() = %+v: what was cut out is lost", d)
			}
			for _, lost := range log.Damage().Lost {
				kept, err := disk.List(disk.PathJoin("log", lost.SetAside))
				if err != nil || !slices.Contains(kept, disk.PathBase(table)) {
					t.Errorf("the table is not kept: %+v has %v, %v", lost, kept, err)
				}
			}
			if log.store.unmended {
				t.Error("the table is still damaged")
			}
		})
	}
}

// flushAll flushes what is in memory, unless the log opens its database anew.
func flushAll(t *testing.T, log *Log) {
	t.Helper()
	log.storeMu.RLock()
	defer log.storeMu.RUnlock()
	if log.store.fence.err() != nil {
		return
	}
	done, err := log.store.db.AsyncFlush()
	if err != nil {
		t.Fatal(err)
	}
	select {
	case <-done:
	case <-log.store.fence.raised:
	}
}

// TestMendingOnAFullDisk has the disk fail at each write of a mending: that is no table
// that cannot be mended, the next opening mends it, and no loss is listed twice.
func TestMendingOnAFullDisk(t *testing.T) {
	good := vfs.NewMem()
	table := tableOf(t, good, 300)
	bad := readDisk(t, good, table)
	bad[len(bad)/3] ^= 1
	for index, done := int64(0), false; !done; index++ {
		disk := vfs.NewMem()
		if ok, err := vfs.Clone(good, disk, "log", "log"); !ok || err != nil {
			t.Fatal(ok, err)
		}
		writeDisk(t, disk, table, bad)
		var mending atomic.Bool
		var operations atomic.Int64
		fault := &fault{err: syscall.ENOSPC, match: func(op errorfs.Op) bool {
			if op.Kind == errorfs.OpLink {
				mending.Store(true) // the table was set aside
			}
			ofDatabase := op.Kind == errorfs.OpFileWrite || op.Kind == errorfs.OpFileSync || op.Kind == errorfs.OpCreate
			return ofDatabase && op.Path != "log" && !strings.Contains(op.Path, asideFolder) && mending.Load() && operations.Add(1) > index
		}}
		var logged recorder
		log, err := Open(testConfig("log"), logged.logger(), WithFS(errorfs.Wrap(disk, fault)))
		if err != nil {
			t.Fatal(err)
		}
		_, damaged := readAll(t, log, 0)
		if len(damaged) != 1 || len(log.store.damaged.list()) != 1 {
			t.Fatalf("damaged: %v, %v", damaged, log.store.damaged.list())
		}
		before := log.store
		fault.on.Store(true)
		log.store.fence.fail(errDamagedTable)
		waitUntil(t, "the table is mended, or that has failed", func() bool {
			return fault.hits.Load() > 0 || log.Err() == nil && log.current() != before
		})
		done = fault.hits.Load() == 0
		fault.on.Store(false)
		waitUntil(t, "the log works", func() bool { return log.Err() == nil && log.current() != before })
		_, again := readAll(t, log, 0)
		if d := log.Damage(); len(again) != 1 || again[0] != damaged[0] || len(d.Lost) != 1 || d.LostEvents() != uint64(damaged[0].UpTo-damaged[0].After) {
			t.Errorf("write %d: Damage() = %+v, damaged %v, were %v", index, d, again, damaged)
		}
		if log.current().unmended || strings.Contains(logged.String(), "cannot be mended") {
			t.Errorf("write %d: the table is not mended:\n%s", index, logged.String())
		}
		if err := log.Close(); err != nil || t.Failed() {
			t.Fatal(err)
		}
	}
}

// current returns the opening in use.
func (l *Log) current() *store {
	l.storeMu.RLock()
	defer l.storeMu.RUnlock()
	return l.store
}
