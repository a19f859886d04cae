package pebblelog

import (
	"errors"
	"fmt"
	"syscall"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	webhookgatewayv1 "github.com/webhook-gateway/webhook-gateway/gen/webhookgateway/v1"
	"github.com/webhook-gateway/webhook-gateway/server/eventlog/eventlogtest"
)

// TestStartWithDamageOnAFailingDisk starts a log that has lost its newest events while
// its disk cannot be written. What the mark of the head knows is kept until then, and
// the loss is recorded once the disk works.
func TestStartWithDamageOnAFailingDisk(t *testing.T) {
	s := storeEvents(t, 200, true)
	wals := walsOf(t, s.disk)
	newest := wals[len(wals)-1]
	content := readDisk(t, s.disk, newest)
	writeDisk(t, s.disk, newest, content[:len(content)/3])
	fault := &fault{err: syscall.ENOSPC, match: isWrite}
	fault.on.Store(true)
	log := mustOpen(t, testConfig("log"), WithFS(errorfs.Wrap(s.disk, fault)))
	if err := log.Err(); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("Err() = %v", err)
	}
	if head := log.Bounds().Head; head >= s.events {
		t.Fatalf("the head is %d before anything is recorded", head)
	}
	fault.on.Store(false)
	waitUntil(t, "the log works", func() bool { return log.Err() == nil })
	if head, lost := log.Bounds().Head, log.Damage().LostEvents(); head != s.events || lost == 0 {
		t.Errorf("the head is %d and %d events are lost, want the head %d", head, lost, s.events)
	}
	if receipt := mustAppend(t, log, "", "more"); receipt.Position != s.events+1 {
		t.Errorf("Append() = %+v, want position %d", receipt, s.events+1)
	}
	if err := log.Close(); err != nil {
		t.Fatal(err)
	}
	s.events++
	if lost := s.check(t); lost == 0 {
		t.Error("no event is lost any more")
	}
}

// TestVerifyVerdicts verifies a log with events of all verdicts, and several bodies of
// one event id, of which the first were trimmed.
func TestVerifyVerdicts(t *testing.T) {
	config := testConfig(t.TempDir())
	log := mustOpen(t, config)
	for i := range 60 {
		verdict := webhookgatewayv1.VerificationVerdict(i % 3)
		if _, err := log.Append(t.Context(), eventlogtest.EntryWithVerdict(t, verdict, "client", fmt.Sprint("id ", i%7), fmt.Sprint("body ", i))); err != nil {
			t.Fatal(err)
		}
		if i == 30 {
			if err := log.store.db.Flush(); err != nil {
				t.Fatal(err)
			}
		}
	}
	log = reopen(t, log)
	if err := log.Trim(t.Context(), 5); err != nil {
		t.Fatal(err)
	}
	if err := log.Close(); err != nil {
		t.Fatal(err)
	}
	if report := mustVerify(t, config.Path); !report.OK() || report.Events != 55 || report.EventIDs != 21 {
		t.Errorf("Verify() = %+v", report)
	}
}
