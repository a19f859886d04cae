package stream_test

import (
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"

	connectv1 "github.com/webhook-gateway/webhook-gateway/gen/finicity/connect/v1"
	sensitivityv1 "github.com/webhook-gateway/webhook-gateway/gen/webhookgateway/sensitivity/v1"
	webhookgatewayv1 "github.com/webhook-gateway/webhook-gateway/gen/webhookgateway/v1"
	"github.com/webhook-gateway/webhook-gateway/server/eventlog"
	"github.com/webhook-gateway/webhook-gateway/server/redact"
	"github.com/webhook-gateway/webhook-gateway/server/stream"
)

const full = webhookgatewayv1.EventView_EVENT_VIEW_FULL

// TestBatchMasks masks one of three events of a frame, and of a frame of deliveries.
func TestBatchMasks(t *testing.T) {
	t.Parallel()
	history := newHistory(t)
	var records []eventlog.Record
	var want []*webhookgatewayv1.Event
	for i, number := range []string{"4711", "4712", "4713"} {
		r := newRecord(t, eventlog.Position(i+1), number)
		whole, err := r.Event(history, full)
		if err != nil {
			t.Fatal(err)
		}
		records, want = append(records, r), append(want, whole)
	}
	account := want[1].GetFinicity().GetAdded().GetAccounts()[0]
	account.Number, account.Name, account.Detail = nil, nil, nil
	want[1].Masked = []sensitivityv1.Sensitivity{
		sensitivityv1.Sensitivity_SENSITIVITY_UNTYPED, sensitivityv1.Sensitivity_SENSITIVITY_NAME, sensitivityv1.Sensitivity_SENSITIVITY_ACCOUNT_NUMBER,
	}

	streams := newStreams(t)
	classes := mustParse(t, "account_number", "name")
	maskOf := func(r eventlog.Record) *redact.Mask {
		if r.Position == 2 {
			return redact.For(classes)
		}
		return nil
	}
	batch := streams.Batch(full)
	batch.MaskBy(maskOf)
	for _, r := range records {
		batch.Add(r, history, false)
	}
	batch.After("before")
	events := &webhookgatewayv1.SubscribeResponse{}
	receive(t, streams, batch, events)
	if diff := cmp.Diff(want, events.GetEvents().GetEvents(), protocmp.Transform()); diff != "" {
		t.Errorf("the events (-want +got):\n%s", diff)
	}
	if after := events.GetEvents().GetAfterCursor(); after != "before" {
		t.Errorf("after_cursor is %q", after)
	}

	for _, r := range records { // the batch is empty again
		batch.AddDelivery(r, history, stream.Delivery{Attempt: 3, AckToken: []byte("token"), Deadline: time.Unix(9, 0)}, true)
	}
	deliveries := &webhookgatewayv1.ConsumeResponse{}
	receive(t, streams, batch, deliveries)
	var got []*webhookgatewayv1.Event
	for _, d := range deliveries.GetDeliveries().GetDeliveries() {
		if d.GetAttempt() != 3 || d.GetAckToken() != "token" || d.GetDeadline().GetSeconds() != 9 {
			t.Errorf("the delivery is %v", d)
		}
		got = append(got, d.GetEvent())
	}
	if diff := cmp.Diff(want, got, protocmp.Transform()); diff != "" {
		t.Errorf("the delivered events (-want +got):\n%s", diff)
	}
}

// TestMaskLeavesTheRecord masks an event of a record that others read, too.
func TestMaskLeavesTheRecord(t *testing.T) {
	t.Parallel()
	history, streams := newHistory(t), newStreams(t)
	r := newRecord(t, 1, "4711")
	before := slices.Clone(r.Value())
	batch := streams.Batch(full)
	batch.MaskBy(func(eventlog.Record) *redact.Mask { return redact.For(redact.All()) })
	batch.Add(r, history, true)
	receive(t, streams, batch, &webhookgatewayv1.SubscribeResponse{})
	if !slices.Equal(r.Value(), before) {
		t.Error("the record has changed")
	}
}

// BenchmarkAdd is what copying a stored event into a frame costs: whole, and masked.
func BenchmarkAdd(b *testing.B) {
	history, streams := newHistory(b), newStreams(b)
	r := newRecord(b, 1, "4711")
	for _, bench := range []struct {
		name   string
		maskOf func(eventlog.Record) *redact.Mask
	}{
		{"whole", nil},
		{"masked by none", func(eventlog.Record) *redact.Mask { return nil }},
		{"masked by one", func(eventlog.Record) *redact.Mask { return redact.For(mustParse(b, "account_number")) }},
		{"masked by all", func(eventlog.Record) *redact.Mask { return redact.For(redact.All()) }},
	} {
		b.Run(bench.name, func(b *testing.B) {
			sender := streams.Sender(func(frame any) error {
				data, err := stream.Codec{}.Marshal(frame)
				data.Free()
				return err
			})
			batch := streams.Batch(full)
			if bench.maskOf != nil {
				mask := bench.maskOf(r)
				batch.MaskBy(func(eventlog.Record) *redact.Mask { return mask })
			}
			b.ReportAllocs()
			for b.Loop() {
				batch.Add(r, history, false)
				if batch.Full(r) {
					if err := sender.SendBatch("events", batch, false); err != nil {
						b.Fatal(err)
					}
				}
			}
		})
	}
}

// receive sends a batch, and decodes it as a client does.
func receive(t *testing.T, streams *stream.Streams, batch *stream.Batch, into proto.Message) {
	t.Helper()
	err := streams.Sender(func(frame any) error {
		data, err := stream.Codec{}.Marshal(frame)
		if err != nil {
			return err
		}
		defer data.Free()
		return proto.Unmarshal(data.Materialize(), into)
	}).SendBatch("events", batch, false)
	if err != nil {
		t.Fatal(err)
	}
}

func newStreams(tb testing.TB) *stream.Streams {
	tb.Helper()
	streams, err := stream.New(stream.DefaultConfig(), time.Now, prometheus.NewRegistry())
	if err != nil {
		tb.Fatal(err)
	}
	return streams
}

func newHistory(tb testing.TB) *eventlog.History {
	tb.Helper()
	history, err := eventlog.NewHistory(eventlog.NewID(), eventlog.EpochStart{Epoch: 7, First: 1})
	if err != nil {
		tb.Fatal(err)
	}
	return history
}

// newRecord returns the record of an `added` with one account.
func newRecord(tb testing.TB, position eventlog.Position, number string) eventlog.Record {
	tb.Helper()
	entry, err := eventlog.NewEntry(&webhookgatewayv1.Event{
		Provider: webhookgatewayv1.Provider_PROVIDER_FINICITY, Type: webhookgatewayv1.EventType_EVENT_TYPE_FINICITY_ADDED, TypeName: "added",
		ClientId: "acme", Subject: "7000000001", ProviderEventId: "1700000000000-0123456789abcdef01234567",
		Verification: &webhookgatewayv1.Verification{
			Mode: webhookgatewayv1.VerificationMode_VERIFICATION_MODE_ENFORCE, Method: webhookgatewayv1.VerificationMethod_VERIFICATION_METHOD_HMAC_SHA256,
			Verdict: webhookgatewayv1.VerificationVerdict_VERIFICATION_VERDICT_VERIFIED, KeyId: "2026-11",
		},
		Payload: &webhookgatewayv1.Event_Finicity{Finicity: &connectv1.ConnectEvent{
			CustomerId: proto.String("7000000001"), EventId: proto.String("1700000000000-0123456789abcdef01234567"),
			Event: &connectv1.ConnectEvent_Added{Added: &connectv1.Added{
				InstitutionId: proto.String("100001"), Oauth: proto.Bool(true),
				Accounts: []*connectv1.Account{{
					Id: proto.String("6000000001"), Number: proto.String(number), Name: proto.String("IRA"), Balance: proto.Float64(-12.5),
					Type: proto.String("ira"), Status: proto.String("active"), CustomerId: proto.String("7000000001"),
					InstitutionId: proto.String("100001"), CreatedDate: proto.Int64(1_700_000_000), LastUpdatedDate: proto.Int64(0),
					Currency: proto.String("USD"), InstitutionLoginId: proto.Int64(6_000_000_002), DisplayPosition: proto.Int64(1),
				}},
			}},
		}},
		RawBody: make([]byte, 500),
	})
	if err != nil {
		tb.Fatal(err)
	}
	r, err := eventlog.ParseRecord(position, entry.Complete(time.Unix(1_700_000_000, 5), eventlog.Totals{Bytes: 1}, false, 7), true)
	if err != nil {
		tb.Fatal(err)
	}
	return r
}

func mustParse(tb testing.TB, names ...string) redact.Classes {
	tb.Helper()
	classes, err := redact.Parse(names)
	if err != nil {
		tb.Fatal(err)
	}
	return classes
}
