package pebblelog

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/webhook-gateway/webhook-gateway/server/eventlog"
)

// TestDedupWindow checks that an event id is remembered for the window, restarts
// and trims or not, and is forgotten after two.
func TestDedupWindow(t *testing.T) {
	clock, disk := newClock(), vfs.NewMem()
	config := testConfig("log")
	config.Retention.MaxAge = time.Hour
	const day = 24 * time.Hour
	for first := range 14 { // the day of the event, within the buckets
		id := fmt.Sprint("id", first)
		original := eventlog.Position(0)
		for age := range 8 {
			log := mustOpen(t, config, WithFS(disk), clock.option())
			receipt := mustAppend(t, log, id, "body")
			if age == 0 {
				original = receipt.Position
			}
			if receipt.Duplicate != (age > 0) || receipt.Position != original {
				t.Errorf("event of day %d, %d days later: %+v, want position %d", first, age, receipt, original)
			}
			mustAppend(t, log, fmt.Sprint("other", first, age), "body")
			clock.advance(day - time.Minute)
			if err := errors.Join(log.enforceRetention(t.Context()), log.Close()); err != nil {
				t.Fatal(err)
			}
		}
	}
	clock.jump(7 * day)
	log := mustOpen(t, config, WithFS(disk), clock.option())
	clock.advance(7 * day)
	mustAppend(t, log, "new", "body")
	clock.advance(7 * day)
	wantTrimmed(t, log, log.Bounds().Head)
	if receipt := mustAppend(t, log, "id13", "body"); receipt.Duplicate || receipt.Conflict {
		t.Errorf("the event id is remembered for ever: %+v", receipt)
	}
	if n := len(log.store.bucketsOf(t)); n != 2 {
		t.Errorf("%d buckets of event ids, want 2", n)
	}
}

// TestIdleDedupWindow has nothing arrive for two windows: what was remembered before
// is forgotten, whether retention has run since or not.
func TestIdleDedupWindow(t *testing.T) {
	for _, retained := range []bool{false, true} {
		clock := newClock()
		log := mustOpen(t, testConfig("log"), WithFS(vfs.NewMem()), clock.option())
		mustAppend(t, log, "id", "body")
		clock.advance(2*minDedupWindow - 1)
		if receipt := mustAppend(t, log, "id", "body"); !receipt.Duplicate {
			t.Errorf("within two windows nothing came: %+v", receipt)
		}
		clock.advance(1)
		if retained {
			wantTrimmed(t, log, 0)
			if n := len(log.store.bucketsOf(t)); n != 0 {
				t.Errorf("%d buckets of event ids are kept, want none", n)
			}
		}
		if receipt := mustAppend(t, log, "id", "body"); receipt != (eventlog.Receipt{Position: 2}) {
			t.Errorf("retention ran: %t: the receipt is %+v, want that it is new", retained, receipt)
		}
	}
}

func (s *store) bucketsOf(t *testing.T) []int64 {
	t.Helper()
	dedup, err := openDedup(s, minDedupWindow)
	if err != nil {
		t.Fatal(err)
	}
	return dedup.buckets
}

// TestNewIDsAreFoundByFilters checks that an id that is new is told from those in the
// lowest level by Bloom filters, which fit in the cache when the ids do not.
func TestNewIDsAreFoundByFilters(t *testing.T) {
	const ids = 200
	log := mustOpen(t, testConfig("log"), WithFS(vfs.NewMem()))
	for i := range ids {
		mustAppend(t, log, fmt.Sprintf("%03d-old", i), "body")
	}
	db := log.store.db
	if err := errors.Join(db.Flush(), db.Compact(t.Context(), []byte{0}, []byte{0xff}, false)); err != nil {
		t.Fatal(err)
	}
	before := db.Metrics().Filter
	for i := range ids {
		mustAppend(t, log, fmt.Sprintf("%03d-new", i), "body")
	}
	after := db.Metrics().Filter
	if hits := after.Hits - before.Hits; hits < ids*9/10 {
		t.Errorf("filters answered for %d of %d new ids", hits, ids)
	}
}
