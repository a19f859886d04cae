package pebblelog

import (
	"fmt"
	"slices"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
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
