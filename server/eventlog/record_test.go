package eventlog

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/encoding/prototext"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/timestamppb"

	connectv1 "github.com/webhook-gateway/webhook-gateway/gen/finicity/connect/v1"
	vezgov1 "github.com/webhook-gateway/webhook-gateway/gen/vezgo/v1"
	webhookgatewayv1 "github.com/webhook-gateway/webhook-gateway/gen/webhookgateway/v1"
)

// update is a flag of the test binary, which is why it is a global.
var update = flag.Bool("update", false, "write the golden files of testdata anew")

// fullEvent has every field that is stored.
func fullEvent() *webhookgatewayv1.Event {
	return &webhookgatewayv1.Event{
		Provider: webhookgatewayv1.Provider_PROVIDER_FINICITY,
		Type:     webhookgatewayv1.EventType_EVENT_TYPE_FINICITY_DONE,
		TypeName: "done",
		ClientId: "acme",
		Verification: &webhookgatewayv1.Verification{
			Mode:          webhookgatewayv1.VerificationMode_VERIFICATION_MODE_REPORT,
			Method:        webhookgatewayv1.VerificationMethod_VERIFICATION_METHOD_HMAC_SHA256,
			Verdict:       webhookgatewayv1.VerificationVerdict_VERIFICATION_VERDICT_FAILED,
			KeyId:         "2026",
			SourceAddress: "203.0.113.7",
			Failure:       webhookgatewayv1.VerificationFailure_VERIFICATION_FAILURE_SIGNATURE_MISMATCH,
		},
		DecodeError:     "x: unknown field",
		Subject:         "7000000001",
		ProviderEventId: "1700000000000-0123456789abcdef01234567",
		TraceContext: &webhookgatewayv1.TraceContext{
			Traceparent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
			Tracestate:  "vendor=value",
		},
		Payload: &webhookgatewayv1.Event_Finicity{Finicity: &connectv1.ConnectEvent{
			CustomerId: proto.String("7000000001"),
			Event:      &connectv1.ConnectEvent_Done{Done: &connectv1.Done{}},
		}},
		RawBody: []byte(`{"eventType":"done"}`),
		Headers: []*webhookgatewayv1.Header{
			{Name: "Content-Type", Value: "application/json"},
			{Name: "X-Finicity-Signature", Value: "00ff"},
			{Name: "X-Finicity-Signature", Value: ""},
		},
	}
}

// testEvents are events as they are appended.
func testEvents() map[string]*webhookgatewayv1.Event {
	return map[string]*webhookgatewayv1.Event{
		"empty": {},
		"full":  fullEvent(),
		"a large body": {
			Provider: webhookgatewayv1.Provider_PROVIDER_VEZGO,
			ClientId: "c",
			Payload:  &webhookgatewayv1.Event_Vezgo{Vezgo: &vezgov1.SyncEvent{}},
			RawBody:  bytes.Repeat([]byte("x"), 3000),
		},
		"the longest texts": {
			Provider:        webhookgatewayv1.Provider_PROVIDER_VEZGO,
			Type:            webhookgatewayv1.EventType_EVENT_TYPE_VEZGO_SYNC_ERROR,
			ClientId:        strings.Repeat("c", MaxClientIDLen),
			Subject:         strings.Repeat("s", MaxSubjectLen),
			ProviderEventId: strings.Repeat("i", MaxProviderEventIDLen),
			Payload:         &webhookgatewayv1.Event_Vezgo{Vezgo: &vezgov1.SyncEvent{}},
		},
		"a subject only": {
			Provider: webhookgatewayv1.Provider_PROVIDER_VEZGO,
			Type:     webhookgatewayv1.EventType_EVENT_TYPE_UNRECOGNIZED,
			TypeName: "SyncOther",
			Subject:  "subject",
			RawBody:  []byte("{}"),
		},
		"a provider's event id only": {ProviderEventId: "id"},
		"headers only":               {Headers: []*webhookgatewayv1.Header{{Name: "User-Agent", Value: "ü"}}},
	}
}

func mustEntry(t testing.TB, event *webhookgatewayv1.Event) Entry {
	t.Helper()
	entry, err := NewEntry(event)
	if err != nil {
		t.Fatalf("NewEntry() = %v", err)
	}
	return entry
}

func TestRecord(t *testing.T) {
	history := mustHistory(t, NewID(), EpochStart{NewEpoch(), 1}, EpochStart{NewEpoch(), 70}, EpochStart{NewEpoch(), 78})
	times := []time.Time{
		time.Unix(0, 0), time.Unix(1_700_000_000, 0), time.Unix(1_700_000_000, 1), time.Unix(1_700_000_000, 999_999_999),
	}
	for name, event := range testEvents() {
		t.Run(name, func(t *testing.T) {
			for _, at := range times {
				for _, conflict := range []bool{false, true} {
					value := mustEntry(t, event).Complete(at, Totals{Bytes: 12345, FailedBytes: 234}, conflict, 7)
					record, err := ParseRecord(77, value, false)
					if err != nil {
						t.Fatalf("ParseRecord() = %v", err)
					}
					checkRecord(t, record, event, at, conflict)
					for _, view := range []webhookgatewayv1.EventView{0, 1, 2, 3} {
						checkView(t, record, history, view, wantView(event, history, 77, at, conflict, view))
					}
				}
			}
		})
	}
}

func checkRecord(t *testing.T, record Record, event *webhookgatewayv1.Event, at time.Time, conflict bool) {
	t.Helper()
	if record.Provider() != event.GetProvider() || record.Type() != event.GetType() ||
		record.Verdict() != event.GetVerification().GetVerdict() || !record.ReceiveTime().Equal(at) ||
		record.Totals() != (Totals{Bytes: 12345, FailedBytes: 234}) || record.Conflict() != conflict || record.Position != 77 {
		t.Errorf("record differs from its event %v", event)
	}
	for what, pair := range map[string][2]string{
		"client id":           {string(record.ClientID()), event.GetClientId()},
		"subject":             {string(record.Subject()), event.GetSubject()},
		"provider's event id": {string(record.ProviderEventID()), event.GetProviderEventId()},
	} {
		if pair[0] != pair[1] {
			t.Errorf("the %s is %q, want %q", what, pair[0], pair[1])
		}
	}
}

// wantView returns the whole event as a view shows it.
func wantView(event *webhookgatewayv1.Event, history *History, p Position, at time.Time, conflict bool, view webhookgatewayv1.EventView) *webhookgatewayv1.Event {
	want := proto.CloneOf(event)
	want.Id, want.Cursor = history.FormatEventID(p), history.FormatCursor(p)
	want.ReceiveTime = timestamppb.New(at)
	want.EventIdConflict = conflict
	switch view {
	case webhookgatewayv1.EventView_EVENT_VIEW_METADATA:
		want.Payload, want.RawBody, want.Headers = nil, nil, nil
	case webhookgatewayv1.EventView_EVENT_VIEW_UNSPECIFIED, webhookgatewayv1.EventView_EVENT_VIEW_FULL:
		want.RawBody, want.Headers = nil, nil
	case webhookgatewayv1.EventView_EVENT_VIEW_RAW:
	}
	return want
}

// checkView checks that the encoding by hand is one of the whole event, of a size
// that was foreseen.
func checkView(t *testing.T, record Record, history *History, view webhookgatewayv1.EventView, want *webhookgatewayv1.Event) {
	t.Helper()
	encoded := record.AppendEvent([]byte("before"), history, view)
	encoded, ok := bytes.CutPrefix(encoded, []byte("before"))
	if !ok {
		t.Fatal("AppendEvent() does not append")
	}
	if len(encoded) > record.Size()+MaxEventOverhead {
		t.Errorf("event of %d bytes from a record of %d, more than MaxEventOverhead", len(encoded), record.Size())
	}
	got := &webhookgatewayv1.Event{}
	if err := proto.Unmarshal(encoded, got); err != nil {
		t.Fatalf("Unmarshal() = %v", err)
	}
	if diff := cmp.Diff(want, got, protocmp.Transform()); diff != "" {
		t.Errorf("%v (-want +got):\n%s", view, diff)
	}
	if len(got.ProtoReflect().GetUnknown()) > 0 {
		t.Errorf("%v: unknown fields", view)
	}
	if event, err := record.Event(history, view); err != nil || !proto.Equal(event, want) {
		t.Errorf("Event() = %v, %v", event, err)
	}
	canonical, err := proto.MarshalOptions{Deterministic: true}.Marshal(want)
	if err != nil {
		t.Fatal(err)
	}
	again, err := proto.MarshalOptions{Deterministic: true}.Marshal(got)
	if err != nil || !bytes.Equal(canonical, again) {
		t.Errorf("%v: encodes otherwise than the whole event: %v", view, err)
	}
}

// TestNewEntryLeavesOutWhatTheLogDecides has an event say what only the log knows.
func TestNewEntryLeavesOutWhatTheLogDecides(t *testing.T) {
	event := fullEvent()
	event.Id, event.Cursor, event.EventIdConflict, event.ReceiveTime = "id", "cursor", true, timestamppb.New(time.Unix(5, 0))
	record, err := ParseRecord(1, mustEntry(t, event).Complete(time.Unix(1, 0), Totals{Bytes: 1}, false, 7), false)
	if err != nil {
		t.Fatal(err)
	}
	history := mustHistory(t, NewID(), EpochStart{NewEpoch(), 1})
	checkView(t, record, history, webhookgatewayv1.EventView_EVENT_VIEW_RAW,
		wantView(fullEvent(), history, 1, time.Unix(1, 0), false, webhookgatewayv1.EventView_EVENT_VIEW_RAW))
}

// TestGolden notices a change of the layout: what was stored by an earlier build
// must be read, or have another recordVersion.
func TestGolden(t *testing.T) {
	binFile, textFile := filepath.Join("testdata", "record-v2.bin"), filepath.Join("testdata", "record-v2.textproto")
	encoded := mustEntry(t, fullEvent()).Complete(time.Unix(1_700_000_000, 123), Totals{Bytes: 12345, FailedBytes: 234}, true, 7)
	if *update {
		writeFile(t, binFile, encoded)
	}
	value, err := os.ReadFile(binFile)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(value, encoded) {
		t.Errorf("the event is encoded otherwise than in %s", binFile)
	}
	record, err := ParseRecord(77, value, false)
	if err != nil {
		t.Fatalf("ParseRecord() = %v", err)
	}
	checkRecord(t, record, fullEvent(), time.Unix(1_700_000_000, 123), true)
	if epoch := record.Epoch(); epoch != 7 {
		t.Errorf("the epoch is %d", epoch)
	}
	if group := record.OrderingGroup(); group != 0x2d70c8a87f59de7e {
		t.Errorf("the ordering group is %#x", group)
	}
	history := mustHistory(t, ID{1, 2, 3, 4, 5, 6, 7, 8}, EpochStart{0x010203040506, 1}, EpochStart{0x0a0b0c0d0e0f, 78})
	got, err := record.Event(history, webhookgatewayv1.EventView_EVENT_VIEW_RAW)
	if err != nil {
		t.Fatal(err)
	}
	if *update {
		// NOTE: the library varies the space after a colon on purpose.
		text := prototext.MarshalOptions{Multiline: true, Indent: "  "}.Format(got)
		writeFile(t, textFile, []byte(regexp.MustCompile(`(?m)^( *\w+:) +`).ReplaceAllString(text, "$1 ")))
	}
	text, err := os.ReadFile(textFile)
	if err != nil {
		t.Fatal(err)
	}
	want := &webhookgatewayv1.Event{}
	if err := prototext.Unmarshal(text, want); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got, protocmp.Transform()); diff != "" {
		t.Errorf("event (-want +got):\n%s", diff)
	}
}

func writeFile(t *testing.T, name string, content []byte) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, content, 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestEntryRefusals(t *testing.T) {
	for name, event := range map[string]*webhookgatewayv1.Event{
		"client id":           {ClientId: strings.Repeat("x", MaxClientIDLen+1)},
		"subject":             {Subject: strings.Repeat("x", MaxSubjectLen+1)},
		"provider's event id": {ProviderEventId: strings.Repeat("x", MaxProviderEventIDLen+1)},
		"encode":              {TypeName: "\xff"},
	} {
		if _, err := NewEntry(event); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("NewEntry() = %v, want an error about the %s", err, name)
		}
	}
}

func TestBodyHash(t *testing.T) {
	hash := func(id, body, header string) [16]byte {
		return mustEntry(t, &webhookgatewayv1.Event{
			ProviderEventId: id, RawBody: []byte(body), Headers: []*webhookgatewayv1.Header{{Name: "User-Agent", Value: header}},
		}).BodyHash
	}
	if hash("id", "a", "") == hash("id", "b", "") {
		t.Error("two bodies have the same hash")
	}
	if hash("id", "a", "") != hash("other", "a", "") {
		t.Error("the hash depends on the event id")
	}
	if hash("id", "a", "x") != hash("id", "a", "y") {
		t.Error("the hash depends on the headers")
	}
}

func TestParseRecordRefusals(t *testing.T) {
	event := fullEvent()
	raw := proto.Size(&webhookgatewayv1.Event{RawBody: event.GetRawBody(), Headers: event.GetHeaders()})
	good := mustEntry(t, event).Complete(time.Unix(1, 0), Totals{Bytes: 1}, false, 7)
	for size := range len(good) - raw { // the raw body may be cut: it is at the end
		if _, err := ParseRecord(1, good[:size], false); err == nil {
			t.Fatalf("ParseRecord() accepts %d of %d bytes", size, len(good))
		}
	}
	for _, field := range []struct{ at, size int }{{4, 2}, {24, 4}, {28, 4}, {40, 2}, {42, 2}} { // all lengths
		bad := bytes.Clone(good)
		for i := range field.size {
			bad[field.at+i] = 0xff
		}
		if _, err := ParseRecord(1, bad, false); err == nil {
			t.Errorf("ParseRecord() accepts a length at %d that is too large", field.at)
		}
	}
	newer := bytes.Clone(good)
	newer[0]++
	if _, err := ParseRecord(1, newer, false); err == nil || !strings.Contains(err.Error(), "record version 3 and this gateway reads version 2") {
		t.Errorf("ParseRecord() of a newer record = %v", err)
	}
}

// FuzzParseRecord checks that no stored value makes the methods of Record fail.
func FuzzParseRecord(f *testing.F) {
	for _, event := range testEvents() {
		f.Add(mustEntry(f, event).Complete(time.Unix(1, 0), Totals{Bytes: 1}, false, 7))
	}
	f.Fuzz(func(t *testing.T, value []byte) {
		record, err := ParseRecord(1, value, false)
		if err != nil {
			return
		}
		texts := len(record.ClientID()) + len(record.Subject()) + len(record.ProviderEventID())
		if texts > record.Size() {
			t.Errorf("texts of %d bytes in a record of %d", texts, record.Size())
		}
		_, _, _, _ = record.Provider(), record.Type(), record.Verdict(), record.Conflict()
		_, _, _ = record.ReceiveTime(), record.Totals(), record.OrderingGroup()
		for _, view := range []webhookgatewayv1.EventView{0, 1, 2, 3} {
			if n := len(record.AppendEvent(nil, &History{}, view)); n > record.Size()+MaxEventOverhead {
				t.Errorf("event of %d bytes from a record of %d", n, record.Size())
			}
			_, _ = record.Event(&History{}, view) // whether it decodes is not promised
		}
	})
}

// BenchmarkAppendEvent is what every event costs every subscriber.
func BenchmarkAppendEvent(b *testing.B) {
	record, err := ParseRecord(77, mustEntry(b, fullEvent()).Complete(time.Unix(1_700_000_000, 123), Totals{Bytes: 12345, FailedBytes: 234}, false, 7), true)
	if err != nil {
		b.Fatal(err)
	}
	for name, starts := range map[string][]EpochStart{
		"the newest epoch":  {{1, 1}, {2, 77}},
		"an earlier of 100": epochs(100),
	} {
		b.Run(name, func(b *testing.B) {
			history := mustHistory(b, NewID(), starts...)
			buf := make([]byte, 0, record.Size()+MaxEventOverhead)
			b.ReportAllocs()
			for b.Loop() {
				buf = record.AppendEvent(buf[:0], history, webhookgatewayv1.EventView_EVENT_VIEW_FULL)
			}
		})
	}
}

// epochs returns epochs of one event each.
func epochs(n int) []EpochStart {
	starts := make([]EpochStart, n)
	for i := range starts {
		starts[i] = EpochStart{NewEpoch(), Position(i + 1)}
	}
	return starts
}
