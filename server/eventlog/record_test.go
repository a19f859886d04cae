package eventlog

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/timestamppb"

	connectv1 "github.com/webhook-gateway/webhook-gateway/gen/finicity/connect/v1"
	vezgov1 "github.com/webhook-gateway/webhook-gateway/gen/vezgo/v1"
	webhookgatewayv1 "github.com/webhook-gateway/webhook-gateway/gen/webhookgateway/v1"
)

// testEvents are events as providers decode them.
func testEvents() map[string]*webhookgatewayv1.Event {
	return map[string]*webhookgatewayv1.Event{
		"empty": {},
		"finicity": {
			Provider: webhookgatewayv1.Provider_PROVIDER_FINICITY,
			Type:     webhookgatewayv1.EventType_EVENT_TYPE_FINICITY_DONE,
			TypeName: "done",
			ClientId: "acme",
			Verification: &webhookgatewayv1.Verification{
				Mode:          webhookgatewayv1.VerificationMode_VERIFICATION_MODE_ENFORCE,
				Method:        webhookgatewayv1.VerificationMethod_VERIFICATION_METHOD_HMAC_SHA256,
				Verdict:       webhookgatewayv1.VerificationVerdict_VERIFICATION_VERDICT_VERIFIED,
				KeyId:         "2026",
				SourceAddress: "203.0.113.7",
			},
			Payload: &webhookgatewayv1.Event_Finicity{Finicity: &connectv1.ConnectEvent{}},
		},
		"vezgo with a decode error": {
			Provider:    webhookgatewayv1.Provider_PROVIDER_VEZGO,
			Type:        webhookgatewayv1.EventType_EVENT_TYPE_VEZGO_SYNC_ERROR,
			TypeName:    "SyncError",
			ClientId:    strings.Repeat("c", MaxClientIDLen),
			DecodeError: "unknown field x",
			Payload:     &webhookgatewayv1.Event_Vezgo{Vezgo: &vezgov1.SyncEvent{}},
		},
		"unrecognized": {
			Provider: webhookgatewayv1.Provider_PROVIDER_VEZGO,
			Type:     webhookgatewayv1.EventType_EVENT_TYPE_UNRECOGNIZED,
			TypeName: "SyncOther",
		},
	}
}

func TestRecord(t *testing.T) {
	log := NewID()
	times := []time.Time{
		time.Unix(0, 0), time.Unix(1_700_000_000, 0), time.Unix(1_700_000_000, 1), time.Unix(1_700_000_000, 999_999_999),
	}
	for name, event := range testEvents() {
		for _, body := range [][]byte{nil, []byte(`{"a":1}`), bytes.Repeat([]byte("x"), 3000)} {
			for _, at := range times {
				for _, conflict := range []bool{false, true} {
					entry, err := NewEntry(event, "id", body)
					if err != nil {
						t.Fatalf("%s: NewEntry() = %v", name, err)
					}
					value := entry.Commit(at, 12345, conflict)
					record, err := ParseRecord(77, value, false)
					if err != nil {
						t.Fatalf("%s: ParseRecord() = %v", name, err)
					}
					checkRecord(t, record, event, at, conflict)
					for _, view := range []webhookgatewayv1.EventView{0, 1, 2, 3} {
						checkView(t, record, log, view, wantView(event, log, 77, at, conflict, body, view))
					}
				}
			}
		}
	}
}

func checkRecord(t *testing.T, record Record, event *webhookgatewayv1.Event, at time.Time, conflict bool) {
	t.Helper()
	if record.Provider() != event.GetProvider() || record.Type() != event.GetType() ||
		string(record.ClientID()) != event.GetClientId() || !record.ReceiveTime().Equal(at) ||
		record.TotalBytes() != 12345 || record.Conflict() != conflict || record.Position != 77 {
		t.Errorf("record differs from its event %v", event)
	}
}

// wantView returns the whole event as a view shows it.
func wantView(event *webhookgatewayv1.Event, log ID, p Position, at time.Time, conflict bool, body []byte, view webhookgatewayv1.EventView) *webhookgatewayv1.Event {
	want := proto.CloneOf(event)
	want.Id, want.Cursor = FormatEventID(log, p), FormatCursor(log, p)
	want.ReceiveTime = timestamppb.New(at)
	want.EventIdConflict = conflict
	switch view {
	case webhookgatewayv1.EventView_EVENT_VIEW_METADATA:
		want.Payload = nil
	case webhookgatewayv1.EventView_EVENT_VIEW_RAW:
		want.RawBody = body
	case webhookgatewayv1.EventView_EVENT_VIEW_UNSPECIFIED, webhookgatewayv1.EventView_EVENT_VIEW_FULL:
	}
	return want
}

// checkView checks that the encoding by hand is one of the whole event, of a size
// that was foreseen.
func checkView(t *testing.T, record Record, log ID, view webhookgatewayv1.EventView, want *webhookgatewayv1.Event) {
	t.Helper()
	encoded := record.AppendEvent([]byte("before"), log, view)
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
	if event, err := record.Event(log, view); err != nil || !proto.Equal(event, want) {
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

func TestEntryRefusals(t *testing.T) {
	if _, err := NewEntry(&webhookgatewayv1.Event{ClientId: strings.Repeat("c", MaxClientIDLen+1)}, "", nil); err == nil {
		t.Error("NewEntry() accepts a client id that is too long")
	}
}

func TestBodyHash(t *testing.T) {
	hash := func(id, body string) [16]byte {
		entry, err := NewEntry(&webhookgatewayv1.Event{}, id, []byte(body))
		if err != nil {
			t.Fatal(err)
		}
		return entry.BodyHash
	}
	if hash("id", "a") == hash("id", "b") {
		t.Error("two bodies have the same hash")
	}
	if hash("id", "a") != hash("other", "a") {
		t.Error("the hash depends on the event id")
	}
}

func TestParseRecordRefusals(t *testing.T) {
	entry, err := NewEntry(testEvents()["finicity"], "", []byte("body"))
	if err != nil {
		t.Fatal(err)
	}
	good := entry.Commit(time.Unix(1, 0), 1, false)
	sections := len(good) - len("body") - 3 // the raw body may be cut: it is at the end
	for size := range sections {
		if _, err := ParseRecord(1, good[:size], false); err == nil {
			t.Fatalf("ParseRecord() accepts %d of %d bytes", size, len(good))
		}
	}
	newer := bytes.Clone(good)
	newer[0]++
	if _, err := ParseRecord(1, newer, false); err == nil || !strings.Contains(err.Error(), "layout version 2") {
		t.Errorf("ParseRecord() of a newer layout = %v", err)
	}
}

// FuzzParseRecord checks that no stored value makes the methods of Record fail.
func FuzzParseRecord(f *testing.F) {
	for _, event := range testEvents() {
		entry, err := NewEntry(event, "", []byte("body"))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(entry.Commit(time.Unix(1, 0), 1, false))
	}
	f.Fuzz(func(t *testing.T, value []byte) {
		record, err := ParseRecord(1, value, false)
		if err != nil {
			return
		}
		if len(record.ClientID()) > record.Size() {
			t.Error("the client id is larger than the record")
		}
		for _, view := range []webhookgatewayv1.EventView{0, 1, 2, 3} {
			if n := len(record.AppendEvent(nil, ID{}, view)); n > record.Size()+MaxEventOverhead {
				t.Errorf("event of %d bytes from a record of %d", n, record.Size())
			}
		}
	})
}
