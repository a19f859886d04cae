package eventlogtest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/webhook-gateway/webhook-gateway/server/eventlog"
)

func testRestart(t *testing.T, h Harness) {
	log := h.Open(t)
	id := log.ID()
	appendBodies(t, log, 1, 100)
	if err := log.Trim(t.Context(), 20); err != nil {
		t.Fatal(err)
	}
	mustClose(t, log)

	log = open(t, h)
	if log.ID() != id {
		t.Errorf("ID() = %v, want %v", log.ID(), id)
	}
	wantBounds(t, log, 20, 100)
	wantEvents(t, mustRead(t, log, 20), bodies(21, 100))
	appendBodies(t, log, 101, 110)
	wantEvents(t, mustRead(t, log, 20), bodies(21, 110))
	if _, err := read(t.Context(), log, 19); err == nil {
		t.Error("trimmed events are there again")
	}
}

func testCrash(t *testing.T, h Harness) {
	log := h.Open(t)
	id := log.ID()
	var entries []eventlog.Entry
	for i := range 200 {
		entries = append(entries, Entry(t, "client", fmt.Sprint("id", i), fmt.Sprint(i)))
	}
	receipts := appendConcurrently(t, log, entries)
	h.Crash(t)

	log = open(t, h)
	if log.ID() != id {
		t.Errorf("ID() = %v, want %v", log.ID(), id)
	}
	events := mustRead(t, log, 0)
	if len(events) != len(entries) {
		t.Fatalf("%d events, want %d", len(events), len(entries))
	}
	for i, receipt := range receipts {
		if got := events[receipt.Position-1]; got.Body != fmt.Sprint(i) {
			t.Errorf("event %d has body %s, want %d", receipt.Position, got.Body, i)
		}
		again := mustAppend(t, log, Entry(t, "client", fmt.Sprint("id", i), fmt.Sprint(i)))
		if want := (eventlog.Receipt{Position: receipt.Position, Duplicate: true}); again != want {
			t.Errorf("Append() again = %+v, want %+v", again, want)
		}
	}
}

func testChanged(t *testing.T, h Harness) {
	log := open(t, h)
	wait := func(change <-chan struct{}, done func() bool) {
		for !done() {
			<-change
			change = log.Changed()
		}
	}
	change := log.Changed()
	select {
	case <-change:
		t.Error("changed without a change")
	default:
	}
	appendBodies(t, log, 1, 1)
	<-change

	change = log.Changed()
	if err := log.Trim(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	<-change

	// Whoever takes the channel first and looks then misses nothing.
	var group sync.WaitGroup
	for range 4 {
		group.Go(func() {
			wait(log.Changed(), func() bool { return log.Bounds().Head == 50 })
		})
	}
	appendBodies(t, log, 2, 50)
	group.Wait()
}

func testCancelledAppend(t *testing.T, h Harness) {
	log := open(t, h)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	receipt, err := log.Append(ctx, Entry(t, "client", "id", "1"))
	if err != nil && !errors.Is(err, context.Canceled) {
		t.Fatalf("Append() = %v, want that it is cancelled", err)
	}
	// A retry is stored, or is a duplicate of what was stored.
	again := mustAppend(t, log, Entry(t, "client", "id", "1"))
	if err == nil && again != (eventlog.Receipt{Position: receipt.Position, Duplicate: true}) {
		t.Errorf("Append() again = %+v, after %+v", again, receipt)
	}
	wantEvents(t, mustRead(t, log, 0), bodies(1, 1))
}

func testClosed(t *testing.T, h Harness) {
	log := h.Open(t)
	appendBodies(t, log, 1, 3)
	mustClose(t, log)
	mustClose(t, log)

	_, appendErr := log.Append(t.Context(), Entry(t, "client", "", "4"))
	_, readErr := read(t.Context(), log, 0)
	_, seekErr := log.Seek(t.Context(), time.Now())
	_, statsErr := log.Stats(t.Context())
	for name, err := range map[string]error{
		"Append": appendErr, "Read": readErr, "Seek": seekErr, "Stats": statsErr,
		"Trim": log.Trim(t.Context(), 1), "Err": log.Err(),
	} {
		if !errors.Is(err, eventlog.ErrClosed) {
			t.Errorf("%s after Close = %v, want ErrClosed", name, err)
		}
	}
}

func testCloseWaits(t *testing.T, h Harness) {
	log := h.Open(t)
	var stored []eventlog.Position
	var mu sync.Mutex
	var group sync.WaitGroup
	for i := range 100 {
		group.Go(func() {
			receipt, err := log.Append(t.Context(), Entry(t, "client", "", fmt.Sprint(i)))
			if errors.Is(err, eventlog.ErrClosed) {
				return
			}
			if err != nil {
				t.Errorf("Append() = %v", err)
			}
			mu.Lock()
			defer mu.Unlock()
			stored = append(stored, receipt.Position)
		})
	}
	mustClose(t, log)
	group.Wait()

	log = open(t, h)
	var got []eventlog.Position
	for _, e := range mustRead(t, log, 0) {
		got = append(got, e.Position)
	}
	slices.Sort(stored)
	if diff := cmp.Diff(stored, got); diff != "" {
		t.Errorf("stored events (-acknowledged +there):\n%s", diff)
	}
}
