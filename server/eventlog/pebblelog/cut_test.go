package pebblelog

import (
	"sync/atomic"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"github.com/webhook-gateway/webhook-gateway/server/eventlog"
)

// TestCutIsWhole crashes at each write of cutting something out: the sound event before
// it, which Pebble needs removed with it, is there afterwards.
func TestCutIsWhole(t *testing.T) {
	const kept = 5
	for crashAt := int32(1); ; crashAt++ {
		disk := vfs.NewCrashableMem()
		table := tableOf(t, disk, 10)
		var writes atomic.Int32
		var crashed *vfs.MemFS
		hook := &fault{match: func(op errorfs.Op) bool {
			if isWrite(op) && writes.Add(1) == crashAt {
				crashed = disk.CrashClone(vfs.CrashCloneCfg{})
			}
			return false
		}}
		log := mustOpen(t, testConfig("log"), WithFS(errorfs.Wrap(disk, hook)))
		hook.on.Store(true)
		err := log.store.cut(damagedTable{path: table, lower: eventKey(1), upper: eventKey(10)}, eventKey(kept), eventKey(kept+2))
		hook.on.Store(false)
		if err != nil {
			t.Fatal(err)
		}
		if err := log.Close(); err != nil {
			t.Fatal(err)
		}
		if crashed == nil {
			if crashAt < 3 {
				t.Errorf("only %d writes were seen", crashAt-1)
			}
			return
		}
		log = mustOpen(t, testConfig("log"), WithFS(crashed))
		if _, err := log.store.mark(kept); err != nil {
			t.Errorf("after a crash at write %d event %d: %v", crashAt, kept, err)
		}
		if err := log.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// TestRetryOfALostEvent has events lost whose ids are still known: what the provider
// sends again is stored again, once.
func TestRetryOfALostEvent(t *testing.T) {
	disk := vfs.NewMem()
	log := mustOpen(t, testConfig("log"), WithFS(disk))
	for _, body := range []string{"first", "further"} {
		mustAppend(t, log, "id", body)
	}
	mustAppend(t, log, "other", "body")
	key, value := loss{after: 0, upTo: mark{position: 2}}.pair()
	batch := log.store.db.NewBatch()
	for _, err := range []error{
		batch.Set(key, value, nil), batch.Delete(eventKey(1), nil), batch.Delete(eventKey(2), nil), batch.Commit(nil), log.Close(),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	log = mustOpen(t, testConfig("log"), WithFS(disk))
	for i, body := range []string{"first", "further"} {
		want := eventlog.Receipt{Position: eventlog.Position(4 + i), Conflict: i > 0}
		if got := mustAppend(t, log, "id", body); got != want {
			t.Errorf("the retry of the lost body %q: %+v, want %+v", body, got, want)
		}
		want.Conflict, want.Duplicate = false, true
		if got := mustAppend(t, log, "id", body); got != want {
			t.Errorf("its next retry: %+v, want %+v", got, want)
		}
	}
	if got := mustAppend(t, log, "other", "body"); !got.Duplicate {
		t.Errorf("the retry of what is there: %+v", got)
	}
}
