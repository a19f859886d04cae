package pebblelog

import (
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"github.com/webhook-gateway/webhook-gateway/server/eventlog"
)

// TestTrimIsDurableBeforeItIsShown crashes the machine while a trim waits for its
// sync: nothing that was said to be trimmed comes back.
func TestTrimIsDurableBeforeItIsShown(t *testing.T) {
	disk := vfs.NewCrashableMem()
	gate := &gate{opened: make(chan struct{})}
	log := mustOpen(t, testConfig("log"), WithFS(errorfs.Wrap(disk, gate)))
	for range 10 {
		mustAppend(t, log, "", "body")
	}
	gate.shut.Store(true)
	trimmed := make(chan error, 1)
	go func() { trimmed <- log.Trim(t.Context(), 5) }()
	waitUntil(t, "the trim is applied", func() bool {
		_, err := log.store.meta(metaTrimmed)
		return err == nil
	})
	crashed := mustOpen(t, testConfig("log"), WithFS(disk.CrashClone(vfs.CrashCloneCfg{})))
	if shown, kept := log.Bounds().Trimmed, crashed.Bounds().Trimmed; shown > kept {
		t.Errorf("%d was shown as trimmed, and %d after a crash", shown, kept)
	}
	for after := range eventlog.Position(10) {
		for _, err := range log.Read(t.Context(), after) {
			if err != nil {
				t.Fatalf("Read() after %d while a trim is not durable: %v", after, err)
			}
		}
	}
	gate.open()
	if err := <-trimmed; err != nil || log.Bounds().Trimmed != 5 {
		t.Errorf("Trim() = %v, Bounds() = %+v", err, log.Bounds())
	}
	crashed = mustOpen(t, testConfig("log"), WithFS(disk.CrashClone(vfs.CrashCloneCfg{})))
	if got := crashed.Bounds(); got != log.Bounds() {
		t.Errorf("Bounds() = %+v after a crash, want %+v", got, log.Bounds())
	}
}

// TestTrimmedEventsGoAfterACrash crashes between the two steps of a trim: the events
// are trimmed, and retention removes them.
func TestTrimmedEventsGoAfterACrash(t *testing.T) {
	disk := vfs.NewCrashableMem()
	log := mustOpen(t, testConfig("log"), WithFS(disk))
	for range 10 {
		mustAppend(t, log, "", "body")
	}
	m, err := log.markAt(t.Context(), 5)
	if err == nil {
		err = log.store.db.Set(metaKey(metaTrimmed), m.encode(), nil)
	}
	if err != nil {
		t.Fatal(err)
	}
	crashed := mustOpen(t, testConfig("log"), WithFS(disk.CrashClone(vfs.CrashCloneCfg{})))
	if got := crashed.Bounds(); got != (eventlog.Bounds{Trimmed: 5, Head: 10}) {
		t.Errorf("Bounds() = %+v", got)
	}
	waitUntil(t, "the trimmed events are removed", func() bool {
		_, err := crashed.store.mark(5)
		return isDamage(err)
	})
	if _, err := crashed.store.mark(6); err != nil {
		t.Errorf("event 6: %v", err)
	}
}
