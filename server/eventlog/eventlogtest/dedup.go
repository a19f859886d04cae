package eventlogtest

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	webhookgatewayv1 "github.com/webhook-gateway/webhook-gateway/gen/webhookgateway/v1"
	"github.com/webhook-gateway/webhook-gateway/server/eventlog"
)

func wantReceipt(t testing.TB, got, want eventlog.Receipt) {
	t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("receipt (-want +got):\n%s", diff)
	}
}

func testDuplicates(t *testing.T, h Harness) {
	log := open(t, h)
	long := strings.Repeat("i", 1000)
	for i, id := range []string{"id", "id2", "", " ", long, long + "2", "ü\x00"} {
		first := eventlog.Receipt{Position: eventlog.Position(i + 1)}
		wantReceipt(t, mustAppend(t, log, Entry(t, "client", id, "body")), first)
	}
	wantBounds(t, log, 0, 7)
	for i, id := range []string{"id", "id2", "", " ", long, long + "2", "ü\x00"} {
		want := eventlog.Receipt{Position: eventlog.Position(i + 1), Duplicate: true}
		if id == "" { // an event without an id is never a duplicate
			want = eventlog.Receipt{Position: 8}
		}
		wantReceipt(t, mustAppend(t, log, Entry(t, "client", id, "body")), want)
	}
	wantBounds(t, log, 0, 8)
}

func testEventIDScope(t *testing.T, h Harness) {
	log := open(t, h)
	finicity, err := eventlog.NewEntry(&webhookgatewayv1.Event{
		Provider: webhookgatewayv1.Provider_PROVIDER_FINICITY, ClientId: "client",
		ProviderEventId: "id", RawBody: []byte("body"),
	})
	if err != nil {
		t.Fatal(err)
	}
	for i, entry := range []eventlog.Entry{
		finicity,
		Entry(t, "client", "id", "body"),
		Entry(t, "other", "id", "body"),
		Entry(t, "clienti", "d", "body"), // the same bytes, divided otherwise
		Entry(t, "", "clientid", "body"),
	} {
		wantReceipt(t, mustAppend(t, log, entry), eventlog.Receipt{Position: eventlog.Position(i + 1)})
	}
}

// What is not verified neither suppresses nor marks what is, whichever comes first.
func testVerdictsDoNotMeet(t *testing.T, h Harness) {
	log := open(t, h)
	verdicts := []webhookgatewayv1.VerificationVerdict{
		webhookgatewayv1.VerificationVerdict_VERIFICATION_VERDICT_FAILED,
		webhookgatewayv1.VerificationVerdict_VERIFICATION_VERDICT_NOT_CHECKED,
		webhookgatewayv1.VerificationVerdict_VERIFICATION_VERDICT_VERIFIED,
	}
	position := eventlog.Position(0)
	for _, body := range []string{"1", "2"} {
		for _, verdict := range verdicts {
			position++
			entry := func() eventlog.Entry { return EntryWithVerdict(t, verdict, "client", "id", body) }
			wantReceipt(t, mustAppend(t, log, entry()), eventlog.Receipt{Position: position, Conflict: body == "2"})
			wantReceipt(t, mustAppend(t, log, entry()), eventlog.Receipt{Position: position, Duplicate: true})
		}
	}
}

func testConcurrentDuplicates(t *testing.T, h Harness) {
	log := open(t, h)
	const ids, copies = 20, 20
	var entries []eventlog.Entry
	for i := range ids * copies {
		id := i % ids
		entries = append(entries, Entry(t, "client", fmt.Sprint("id", id), fmt.Sprint(id)))
	}
	positions := make(map[int]eventlog.Position)
	originals := 0
	for i, receipt := range appendConcurrently(t, log, entries) {
		if !receipt.Duplicate {
			originals++
		}
		if known, ok := positions[i%ids]; ok && known != receipt.Position {
			t.Errorf("event id %d has positions %d and %d", i%ids, known, receipt.Position)
		}
		positions[i%ids] = receipt.Position
	}
	if originals != ids {
		t.Errorf("%d events were stored, want %d", originals, ids)
	}
	events := mustRead(t, log, 0)
	if len(events) != ids {
		t.Errorf("%d events, want %d", len(events), ids)
	}
	for _, e := range events {
		if e.Conflict {
			t.Errorf("event %d is marked as a conflict", e.Position)
		}
	}
}

func testConflict(t *testing.T, h Harness) {
	log := open(t, h)
	wantReceipt(t, mustAppend(t, log, Entry(t, "client", "id", "1")), eventlog.Receipt{Position: 1})
	wantReceipt(t, mustAppend(t, log, Entry(t, "client", "id", "2")), eventlog.Receipt{Position: 2, Conflict: true})
	// A retry of either is a duplicate of that one.
	wantReceipt(t, mustAppend(t, log, Entry(t, "client", "id", "1")), eventlog.Receipt{Position: 1, Duplicate: true})
	wantReceipt(t, mustAppend(t, log, Entry(t, "client", "id", "2")), eventlog.Receipt{Position: 2, Duplicate: true})
	wantEvents(t, mustRead(t, log, 0), []event{{Position: 1, Body: "1"}, {Position: 2, Body: "2", Conflict: true}})

	// Any number of bodies is stored, and a retry of any of them is a duplicate.
	for i := 3; i <= 40; i++ {
		want := eventlog.Receipt{Position: eventlog.Position(i), Conflict: true}
		wantReceipt(t, mustAppend(t, log, Entry(t, "client", "id", fmt.Sprint(i))), want)
		want.Conflict, want.Duplicate = false, true
		wantReceipt(t, mustAppend(t, log, Entry(t, "client", "id", fmt.Sprint(i))), want)
	}
	for i := 1; i <= 40; i++ {
		want := eventlog.Receipt{Position: eventlog.Position(i), Duplicate: true}
		wantReceipt(t, mustAppend(t, log, Entry(t, "client", "id", fmt.Sprint(i))), want)
	}
}

func testConcurrentConflicts(t *testing.T, h Harness) {
	log := open(t, h)
	var entries []eventlog.Entry
	for i := range 10 {
		entries = append(entries, Entry(t, "client", "id", fmt.Sprint(i)))
	}
	for _, receipt := range appendConcurrently(t, log, entries) {
		if want := receipt.Position != 1; receipt.Duplicate || receipt.Conflict != want {
			t.Errorf("receipt %+v, want that all but the first conflict", receipt)
		}
	}
	wantBounds(t, log, 0, 10)
}

func testDuplicatesAcrossRestart(t *testing.T, h Harness) {
	log := h.Open(t)
	mustAppend(t, log, Entry(t, "client", "id", "1"))
	mustAppend(t, log, Entry(t, "client", "id", "2"))
	mustClose(t, log)

	log = open(t, h)
	wantReceipt(t, mustAppend(t, log, Entry(t, "client", "id", "2")), eventlog.Receipt{Position: 2, Duplicate: true})
	wantReceipt(t, mustAppend(t, log, Entry(t, "client", "id", "1")), eventlog.Receipt{Position: 1, Duplicate: true})
	wantReceipt(t, mustAppend(t, log, Entry(t, "client", "id", "3")), eventlog.Receipt{Position: 3, Conflict: true})
}

func testDuplicatesAfterTrim(t *testing.T, h Harness) {
	log := open(t, h)
	mustAppend(t, log, Entry(t, "client", "id", "1"))
	if err := log.Trim(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	wantReceipt(t, mustAppend(t, log, Entry(t, "client", "id", "1")), eventlog.Receipt{Position: 1, Duplicate: true})
}
