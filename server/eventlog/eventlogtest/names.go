package eventlogtest

import (
	"errors"
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/webhook-gateway/webhook-gateway/server/eventlog"
)

// names are the cursor and the id of an event, with what they stand for.
type names struct {
	cursor, id string
	event      event
}

// namesAfter returns the names of all events after a position, as a subscriber
// gets them.
func namesAfter(t *testing.T, log eventlog.Log, after eventlog.Position) []names {
	t.Helper()
	var all []names
	for _, e := range mustRead(t, log, after) {
		history := log.History()
		all = append(all, names{history.FormatCursor(e.Position), history.FormatEventID(e.Position), e})
	}
	return all
}

// wantNames checks that names stand for what they stood for, and that the log
// gives them out again.
func wantNames(t *testing.T, log eventlog.Log, all []names) {
	t.Helper()
	history := log.History()
	for _, n := range all {
		p := n.event.Position
		if got, err := history.ParseCursor(n.cursor); err != nil || got != p {
			t.Errorf("ParseCursor() of event %d = %d, %v", p, got, err)
		}
		if got, err := history.ParseEventID(n.id); err != nil || got != p {
			t.Errorf("ParseEventID() of event %d = %d, %v", p, got, err)
		}
		if history.FormatCursor(p) != n.cursor || history.FormatEventID(p) != n.id {
			t.Errorf("event %d has other names than before", p)
		}
		if p <= log.Bounds().Trimmed {
			continue
		}
		if got := mustRead(t, log, p-1)[0]; got != n.event {
			t.Errorf("event %d is %+v, and was %+v", p, got, n.event)
		}
	}
}

// wantLost checks that names of a part of the history that a log does not have are
// refused, and that its events are those of that history up to where it says.
func wantLost(t *testing.T, log eventlog.Log, shared, lost []names) {
	t.Helper()
	for _, n := range lost {
		_, cursorErr := log.History().ParseCursor(n.cursor)
		_, idErr := log.History().ParseEventID(n.id)
		for _, err := range []error{cursorErr, idErr} {
			var got *eventlog.HistoryLostError
			if !errors.As(err, &got) {
				t.Errorf("a name of the lost event %d gives %v, want a HistoryLostError", n.event.Position, err)
			} else if int(got.Last) > len(shared) {
				t.Errorf("the histories are said to be the same up to %d, and are so up to %d", got.Last, len(shared))
			}
		}
	}
	wantNames(t, log, shared)
}

func testNamesAcrossRestarts(t *testing.T, h Harness) {
	var all []names
	cursor := ""
	for run := range 5 {
		log := h.Open(t)
		if run == 0 {
			cursor = log.History().FormatCursor(0)
		}
		if p, err := log.History().ParseCursor(cursor); err != nil || p != 0 {
			t.Errorf("ParseCursor() of the beginning = %d, %v", p, err)
		}
		wantNames(t, log, all)
		first := 10*run + 1
		appendBodies(t, log, first, first+9)
		all = append(all, namesAfter(t, log, eventlog.Position(first-1))...)
		wantNames(t, log, all)
		mustClose(t, log)
	}
	if len(all) != 50 {
		t.Fatalf("%d events, want 50", len(all))
	}
	// A position ahead of the head, as of a cursor that is of no use yet.
	log := open(t, h)
	ahead := eventlog.Position(1000)
	if p, err := log.History().ParseCursor(log.History().FormatCursor(ahead)); err != nil || p != ahead {
		t.Errorf("ParseCursor() ahead of the head = %d, %v, want %d", p, err, ahead)
	}
}

func testNamesAcrossCrash(t *testing.T, h Harness) {
	var all []names
	for run := range 4 {
		log := h.Open(t)
		wantNames(t, log, all)
		first := 10*run + 1
		appendBodies(t, log, first, first+9)
		all = append(all, namesAfter(t, log, eventlog.Position(first-1))...)
		h.Crash(t)
	}
	wantNames(t, open(t, h), all)
}

func testNamesAfterTrim(t *testing.T, h Harness) {
	var all []names
	for run := range 3 {
		log := h.Open(t)
		first := 10*run + 1
		appendBodies(t, log, first, first+9)
		all = append(all, namesAfter(t, log, eventlog.Position(first-1))...)
		if err := log.Trim(t.Context(), eventlog.Position(12*run)); err != nil {
			t.Fatal(err)
		}
		wantNames(t, log, all)
		mustClose(t, log)
	}
	log := h.Open(t)
	wantNames(t, log, all)
	// What is named is told to be trimmed, and not to be lost.
	after, err := log.History().ParseCursor(all[4].cursor)
	if err != nil {
		t.Fatal(err)
	}
	_, err = read(t.Context(), log, after)
	wantTrimmed(t, err, 5, 24)
	if err := log.Trim(t.Context(), 30); err != nil {
		t.Fatal(err)
	}
	mustClose(t, log)
	wantNames(t, open(t, h), all)
}

func testRestartsLeaveNothing(t *testing.T, h Harness) {
	log := h.Open(t)
	appendBodies(t, log, 1, 5)
	all := namesAfter(t, log, 0)
	starts := log.History().Starts()
	if len(starts) != 1 {
		t.Errorf("%d epochs after the first run, want 1", len(starts))
	}
	mustClose(t, log)
	for range 5 {
		log := h.Open(t)
		wantNames(t, log, all)
		if got := log.History().Starts(); len(got) > 2 || got[0] != starts[0] {
			t.Errorf("epochs %v, want %v and at most the one of this run", got, starts)
		}
		mustClose(t, log)
	}
	log = h.Open(t)
	appendBodies(t, log, 6, 6)
	starts = log.History().Starts()
	if len(starts) != 2 || starts[1].First != 6 {
		t.Errorf("epochs %v, want two, the second at 6", starts)
	}
	mustClose(t, log)
	if diff := cmp.Diff(starts, open(t, h).History().Starts()[:2]); diff != "" {
		t.Errorf("epochs after a restart (-want +got):\n%s", diff)
	}
}

func testOlderCopy(t *testing.T, h Harness) {
	log := h.Open(t)
	appendBodies(t, log, 1, 10)
	mustClose(t, log)
	putBack := h.Copy(t)

	log = h.Open(t)
	appendBodies(t, log, 11, 20)
	all := namesAfter(t, log, 0)
	mustClose(t, log)
	log = h.Open(t) // a second epoch that the copy lacks
	appendBodies(t, log, 21, 25)
	all = append(all, namesAfter(t, log, 20)...)
	mustClose(t, log)

	putBack(t)
	log = h.Open(t)
	wantBounds(t, log, 0, 10)
	wantLost(t, log, all[:10], all[10:]) // before the log has events of its own there
	for i := 11; i <= 40; i++ {
		mustAppend(t, log, Entry(t, "client", "", fmt.Sprint("other ", i)))
		wantLost(t, log, all[:10], all[10:])
	}
	others := namesAfter(t, log, 10)
	mustClose(t, log)

	log = open(t, h)
	wantLost(t, log, all[:10], all[10:])
	wantNames(t, log, others)
}

// testCopiesOfCopies puts the same copy back twice.
func testCopiesOfCopies(t *testing.T, h Harness) {
	log := h.Open(t)
	appendBodies(t, log, 1, 5)
	shared := namesAfter(t, log, 0)
	mustClose(t, log)
	putBack := h.Copy(t)

	var lost []names
	for branch := range 3 {
		putBack(t)
		for run := range 2 {
			log = h.Open(t)
			wantLost(t, log, shared, lost)
			mustAppend(t, log, Entry(t, "client", "", fmt.Sprint("branch ", branch, run)))
			mustClose(t, log)
		}
		log = h.Open(t)
		lost = append(lost, namesAfter(t, log, 5)...)
		mustClose(t, log)
	}
	putBack(t)
	wantLost(t, open(t, h), shared, lost)
}

func testAnotherLog(t *testing.T, h Harness) {
	log := open(t, h)
	appendBodies(t, log, 1, 5)
	other, err := eventlog.NewHistory(eventlog.NewID(), log.History().Starts()...)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range []eventlog.Position{0, 3, 100} {
		if _, err := log.History().ParseCursor(other.FormatCursor(p)); !errors.Is(err, eventlog.ErrAnotherLog) {
			t.Errorf("ParseCursor() of another log = %v, want ErrAnotherLog", err)
		}
		if _, err := log.History().ParseEventID(other.FormatEventID(p)); !errors.Is(err, eventlog.ErrAnotherLog) {
			t.Errorf("ParseEventID() of another log = %v, want ErrAnotherLog", err)
		}
	}
	if log.History().Log() != log.ID() {
		t.Errorf("the history is of log %v, want %v", log.History().Log(), log.ID())
	}
}
