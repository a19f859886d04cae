// Package eventlogtest is the conformance suite of the event log: every engine
// passes it.
package eventlogtest

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	vezgov1 "github.com/webhook-gateway/webhook-gateway/gen/vezgo/v1"
	webhookgatewayv1 "github.com/webhook-gateway/webhook-gateway/gen/webhookgateway/v1"
	"github.com/webhook-gateway/webhook-gateway/server/eventlog"
)

// Harness gives the suite a log of the engine under test on storage of its own.
type Harness struct {
	// Open opens the log; the first time it creates it. The suite has at most one
	// open at a time, and closes it.
	Open func(t *testing.T) eventlog.Log
	// Crash ends the log that is open as a failure of the machine does: only what
	// was durable is there at the next Open.
	Crash func(t *testing.T)
	// Copy copies the storage of a log that is closed, and returns what puts the copy
	// back in its place, as often as it is called.
	Copy func(t *testing.T) (putBack func(t *testing.T))
	// Shared is set if the storage is a copy of what others have: an older copy catches up,
	// and a restart begins no epoch.
	Shared bool
}

// Run runs the suite. newHarness is called for each test.
func Run(t *testing.T, newHarness func(t *testing.T) Harness) {
	for _, test := range []struct {
		name string
		run  func(t *testing.T, h Harness)
	}{
		{"an empty log", testEmpty},
		{"append and read", testAppendRead},
		{"concurrent appends have unbroken positions", testConcurrentAppends},
		{"a read ends at the head of its start", testReadEndsAtHead},
		{"a read stops when its context ends", testReadContext},
		{"live records never change", testLiveRecords},
		{"receive times never decrease", testReceiveTimes},
		{"duplicates are stored once", testDuplicates},
		{"event ids are unique within provider and client", testEventIDScope},
		{"verdicts do not meet", testVerdictsDoNotMeet},
		{"concurrent duplicates are stored once", testConcurrentDuplicates},
		{"another body with the same event id is a conflict", testConflict},
		{"concurrent conflicts are all stored", testConcurrentConflicts},
		{"event ids are remembered across a restart", testDuplicatesAcrossRestart},
		{"event ids are remembered after a trim", testDuplicatesAfterTrim},
		{"everything is there after a restart", testRestart},
		{"everything acknowledged is there after a crash", testCrash},
		{"ids and cursors survive restarts", testNamesAcrossRestarts},
		{"ids and cursors survive a crash", testNamesAcrossCrash},
		{"ids and cursors survive a trim", testNamesAfterTrim},
		{"a restart without events leaves nothing", alone(testRestartsLeaveNothing)},
		{"an older copy refuses what it lacks", alone(testOlderCopy)},
		{"copies of copies", alone(testCopiesOfCopies)},
		{"ids and cursors of another log are refused", testAnotherLog},
		{"seek", testSeek},
		{"stats", testStats},
		{"trim", testTrim},
		{"trim everything", testTrimAll},
		{"reads during trims skip nothing silently", testReadDuringTrim},
		{"changed", testChanged},
		{"a cancelled append is not lost half", testCancelledAppend},
		{"closed", testClosed},
		{"close waits for appends", testCloseWaits},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			test.run(t, newHarness(t))
		})
	}
}

// open opens the log and closes it at the end of the test.
func open(t *testing.T, h Harness) eventlog.Log {
	t.Helper()
	log := h.Open(t)
	t.Cleanup(func() { mustClose(t, log) })
	return log
}

func mustClose(t *testing.T, log eventlog.Log) {
	t.Helper()
	if err := log.Close(); err != nil {
		t.Errorf("Close() = %v", err)
	}
}

// Entry returns an entry of a Vezgo event of a client. Its raw body is unique to
// the body.
func Entry(t testing.TB, clientID, eventID, body string) eventlog.Entry {
	t.Helper()
	return EntryWithVerdict(t, webhookgatewayv1.VerificationVerdict_VERIFICATION_VERDICT_UNSPECIFIED, clientID, eventID, body)
}

// EntryWithVerdict is like Entry, of an event with a verdict.
func EntryWithVerdict(
	t testing.TB, verdict webhookgatewayv1.VerificationVerdict, clientID, eventID, body string,
) eventlog.Entry {
	t.Helper()
	entry, err := eventlog.NewEntry(&webhookgatewayv1.Event{
		Provider: webhookgatewayv1.Provider_PROVIDER_VEZGO,
		Type:     webhookgatewayv1.EventType_EVENT_TYPE_VEZGO_SYNC_ACCOUNT,
		TypeName: "SyncAccount",
		ClientId: clientID,
		Payload:  &webhookgatewayv1.Event_Vezgo{Vezgo: &vezgov1.SyncEvent{}},

		Verification:    &webhookgatewayv1.Verification{Verdict: verdict},
		ProviderEventId: eventID,
		RawBody:         []byte(body),
	})
	if err != nil {
		t.Fatalf("NewEntry() = %v", err)
	}
	return entry
}

func mustAppend(t testing.TB, log eventlog.Log, entry eventlog.Entry) eventlog.Receipt {
	t.Helper()
	receipt, err := log.Append(t.Context(), entry)
	if err != nil {
		t.Fatalf("Append() = %v", err)
	}
	return receipt
}

// appendBodies appends events whose bodies are the numbers from first to last.
func appendBodies(t testing.TB, log eventlog.Log, first, last int) {
	t.Helper()
	for i := first; i <= last; i++ {
		mustAppend(t, log, Entry(t, "client", "", fmt.Sprint(i)))
	}
}

// An event is what the suite compares.
type event struct {
	Position eventlog.Position
	Body     string
	Conflict bool
}

// read returns all events after a position, and how the read ended.
func read(ctx context.Context, log eventlog.Log, after eventlog.Position) ([]event, error) {
	var events []event
	for record, err := range log.Read(ctx, after) {
		if err != nil {
			return events, err
		}
		e, err := eventOf(log, record)
		if err != nil {
			return events, err
		}
		events = append(events, e)
	}
	return events, nil
}

func eventOf(log eventlog.Log, record eventlog.Record) (event, error) {
	e, err := record.Event(log.History(), webhookgatewayv1.EventView_EVENT_VIEW_RAW)
	if err != nil {
		return event{}, err
	}
	return event{Position: record.Position, Body: string(e.GetRawBody()), Conflict: e.GetEventIdConflict()}, nil
}

func mustRead(t testing.TB, log eventlog.Log, after eventlog.Position) []event {
	t.Helper()
	events, err := read(t.Context(), log, after)
	if err != nil {
		t.Fatalf("Read(%d) = %v", after, err)
	}
	return events
}

// bodies returns the events that appendBodies makes in an empty log.
func bodies(first, last int) []event {
	var events []event
	for i := first; i <= last; i++ {
		events = append(events, event{Position: eventlog.Position(i), Body: fmt.Sprint(i)})
	}
	return events
}

func wantEvents(t testing.TB, got, want []event) {
	t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("events (-want +got):\n%s", diff)
	}
}

func wantBounds(t testing.TB, log eventlog.Log, trimmed, head eventlog.Position) {
	t.Helper()
	if diff := cmp.Diff(eventlog.Bounds{Trimmed: trimmed, Head: head}, log.Bounds()); diff != "" {
		t.Errorf("Bounds() (-want +got):\n%s", diff)
	}
}

func testEmpty(t *testing.T, h Harness) {
	log := open(t, h)
	wantBounds(t, log, 0, 0)
	wantEvents(t, mustRead(t, log, 0), nil)
	if position, err := log.Seek(t.Context(), time.Unix(0, 0)); err != nil || position != 0 {
		t.Errorf("Seek() = %d, %v, want 0", position, err)
	}
	if stats, err := log.Stats(t.Context()); err != nil || stats != (eventlog.Stats{}) {
		t.Errorf("Stats() = %+v, %v, want none", stats, err)
	}
	if err := log.Trim(t.Context(), 10); err != nil {
		t.Errorf("Trim() = %v", err)
	}
	wantBounds(t, log, 0, 0)
	if err := log.Err(); err != nil {
		t.Errorf("Err() = %v", err)
	}
	if _, err := log.Append(t.Context(), eventlog.Entry{}); err == nil {
		t.Error("Append() of an empty entry succeeded")
	}
}

func testAppendRead(t *testing.T, h Harness) {
	log := open(t, h)
	for i := 1; i <= 300; i++ {
		want := eventlog.Receipt{Position: eventlog.Position(i)}
		if got := mustAppend(t, log, Entry(t, "client", "", fmt.Sprint(i))); got != want {
			t.Fatalf("Append() = %+v, want %+v", got, want)
		}
	}
	wantBounds(t, log, 0, 300)
	for _, after := range []eventlog.Position{0, 1, 150, 299, 300, 301, 1 << 40} {
		wantEvents(t, mustRead(t, log, after), bodies(int(after)+1, 300))
	}
	large := strings.Repeat("x", 3<<20)
	mustAppend(t, log, Entry(t, "client", "", large))
	wantEvents(t, mustRead(t, log, 300), []event{{Position: 301, Body: large}})
}

// appendConcurrently appends from many goroutines and returns the receipts.
func appendConcurrently(t *testing.T, log eventlog.Log, entries []eventlog.Entry) []eventlog.Receipt {
	t.Helper()
	receipts := make([]eventlog.Receipt, len(entries))
	var group sync.WaitGroup
	for i, entry := range entries {
		group.Go(func() {
			receipt, err := log.Append(t.Context(), entry)
			if err != nil {
				t.Errorf("Append() = %v", err)
			}
			receipts[i] = receipt
		})
	}
	group.Wait()
	return receipts
}

func testConcurrentAppends(t *testing.T, h Harness) {
	log := open(t, h)
	var entries []eventlog.Entry
	for i := range 500 {
		entries = append(entries, Entry(t, "client", "", fmt.Sprint(i)))
	}
	want := make([]event, len(entries))
	for i, receipt := range appendConcurrently(t, log, entries) {
		if receipt.Position < 1 || int(receipt.Position) > len(want) {
			t.Fatalf("position %d", receipt.Position)
		}
		want[receipt.Position-1] = event{Position: receipt.Position, Body: fmt.Sprint(i)}
	}
	wantEvents(t, mustRead(t, log, 0), want)
}

func testReadEndsAtHead(t *testing.T, h Harness) {
	log := open(t, h)
	appendBodies(t, log, 1, 5)
	count := 0
	for _, err := range log.Read(t.Context(), 0) {
		if err != nil {
			t.Fatal(err)
		}
		count++
		appendBodies(t, log, 0, 0)
	}
	if count != 5 {
		t.Errorf("read %d events, want the 5 that were there", count)
	}
	for _, err := range log.Read(t.Context(), 0) {
		if err != nil {
			t.Fatal(err)
		}
		break // the rest need not be read
	}
}

func testReadContext(t *testing.T, h Harness) {
	log := open(t, h)
	appendBodies(t, log, 1, 5)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := read(ctx, log, 0); !errors.Is(err, context.Canceled) {
		t.Errorf("Read() = %v, want that it is cancelled", err)
	}
}

func testLiveRecords(t *testing.T, h Harness) {
	log := open(t, h)
	appendBodies(t, log, 1, 50)
	var live []eventlog.Record
	for record, err := range log.Read(t.Context(), 0) {
		if err != nil {
			t.Fatal(err)
		}
		if record.Live {
			live = append(live, record)
		}
	}
	appendBodies(t, log, 51, 100)
	for _, record := range live {
		got, err := eventOf(log, record)
		if want := bodies(int(record.Position), int(record.Position))[0]; err != nil || got != want {
			t.Errorf("record became %+v, %v, want %+v", got, err, want)
		}
	}
}

func testReceiveTimes(t *testing.T, h Harness) {
	log := open(t, h)
	start := time.Now()
	appendBodies(t, log, 1, 50)
	var previous eventlog.Record
	for record, err := range log.Read(t.Context(), 0) {
		if err != nil {
			t.Fatal(err)
		}
		if previous.Position != 0 && record.ReceiveTime().Before(previous.ReceiveTime()) {
			t.Errorf("event %d was received before event %d", record.Position, previous.Position)
		}
		if at := record.ReceiveTime(); at.Before(start.Add(-time.Minute)) || at.After(time.Now().Add(time.Minute)) {
			t.Errorf("event %d was received at %v", record.Position, at)
		}
		previous = record
	}
}

// alone is for a test of storage that nobody else has.
func alone(run func(*testing.T, Harness)) func(*testing.T, Harness) {
	return func(t *testing.T, h Harness) {
		if h.Shared {
			t.Skip("the storage is a copy of what others have")
		}
		run(t, h)
	}
}
