package subscription

import (
	"context"
	"errors"
	"iter"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	webhookgatewayv1 "github.com/webhook-gateway/webhook-gateway/gen/webhookgateway/v1"
	"github.com/webhook-gateway/webhook-gateway/server/eventlog"
	"github.com/webhook-gateway/webhook-gateway/server/eventlog/pebblelog/pebblelogtest"
)

const (
	retention = webhookgatewayv1.GapReason_GAP_REASON_RETENTION
	damaged   = webhookgatewayv1.GapReason_GAP_REASON_DAMAGED
)

func wantGaps(t *testing.T, stream *Stream, want ...Gap) Batch {
	t.Helper()
	batch, err := stream.Next(t.Context(), 1)
	if err == nil && len(batch.Gaps) == 0 { // what was read ahead is handed out, and gone when it is read
		for event, err := range stream.Read(t.Context(), batch.Deliveries) {
			t.Errorf("event %d is there, %v", event.Position, err)
		}
		batch, err = stream.Next(t.Context(), 1)
	}
	if err != nil || !slices.Equal(batch.Gaps, want) {
		t.Fatalf("Next() = %+v, %v, want the gaps %v", batch, err, want)
	}
	return batch
}

// A gap is told again until a stream has settled something after it, or has
// stayed.
func TestGapIsToldUntilKnown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := startGateway(t, pebblelogtest.NewDisk())
		g.append(t, "a", "1", "2", "3", "4")
		g.create(t, "s", nil)
		if err := g.log.Trim(t.Context(), 2); err != nil {
			t.Fatal(err)
		}
		gap := Gap{From: 0, To: 2, Reason: retention}
		stream := g.attach(t)
		wantGaps(t, stream, gap)
		stream.Close()
		stream = g.attach(t)
		wantGaps(t, stream, gap)
		stream.Close()
		g = g.crash(t)
		if got := g.status(t).GetGap(); got.GetToCursor() != g.manager.cursor(2) || got.GetReason() != retention {
			t.Errorf("gap %v", got)
		}
		stream = g.attach(t)
		d := stream.Sending(wantGaps(t, stream, gap).Deliveries)
		if len(d) == 0 {
			d = next(t, stream, 1)
		}
		g.wantAck(t, resultOK, d[0])
		if g.status(t).GetGap() != nil {
			t.Error("the gap is kept after a delivery was settled")
		}
		if g.crash(t).status(t).GetGap() != nil {
			t.Error("the gap is not forgotten durably")
		}

		if err := g.log.Trim(t.Context(), 4); err != nil {
			t.Fatal(err)
		}
		wantGaps(t, stream, Gap{From: 3, To: 4, Reason: retention})
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		go func() { _, _ = stream.Next(ctx, 1) }()
		<-time.After(9 * time.Second)
		if g.status(t).GetGap() == nil {
			t.Error("the gap is forgotten after 9 s")
		}
		<-time.After(2 * time.Second)
		if g.status(t).GetGap() != nil {
			t.Error("the gap is kept though the stream stayed")
		}
	})
}

// What is trimmed between its delivery and its reading is a gap, too.
func TestTrimmedBeforeRead(t *testing.T) {
	g := startGateway(t, pebblelogtest.NewDisk())
	g.append(t, "a", "1", "2")
	g.create(t, "s", nil)
	stream := g.attach(t)
	d := next(t, stream, 2)
	if err := g.log.Trim(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	var read []eventlog.Position
	for event, err := range stream.Read(t.Context(), d) {
		if err != nil {
			t.Fatal(err)
		}
		read = append(read, event.Position)
	}
	if !slices.Equal(read, []eventlog.Position{2}) {
		t.Errorf("read %v, want 2", read)
	}
	wantGaps(t, stream, Gap{From: 0, To: 1, Reason: retention})
}

// A subscription that nobody is attached to moves past what its filters skip:
// retention of that is no gap of its own.
func TestUnattended(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := startGateway(t, pebblelogtest.NewDisk())
		g.create(t, "s", nil, "mine")
		for range 3 {
			g.append(t, "other", "1", "2", "3")
		}
		<-time.After(30 * time.Second)
		if got := g.status(t); g.cursor(t) != 9 || got.GetExpiresIn() != nil || got.GetUnreadEvents() != 0 || got.GetLagEvents() != 0 {
			t.Errorf("status %v", got)
		}
		if got := g.crash(t); got.cursor(t) != 9 {
			t.Errorf("cursor %d after a crash, want 9", got.cursor(t))
		}
		if err := g.log.Trim(t.Context(), 9); err != nil {
			t.Fatal(err)
		}
		g.append(t, "other", "10")
		g.append(t, "mine", "11")
		g.append(t, "other", "12")
		<-time.After(30 * time.Second)
		got := g.status(t)
		if g.cursor(t) != 10 || got.GetGap() != nil || got.GetReadyEvents() != 1 || got.GetExpiresIn().AsDuration() != time.Hour-30*time.Second {
			t.Errorf("status %v", got)
		}
		wantDeliveries(t, next(t, g.attach(t), 1), "11/1")
	})
}

// damagedLog cannot read some events.
type damagedLog struct {
	eventlog.Log
	after, upTo eventlog.Position
}

func (l *damagedLog) Read(ctx context.Context, after eventlog.Position) iter.Seq2[eventlog.Record, error] {
	return func(yield func(eventlog.Record, error) bool) {
		for record, err := range l.Log.Read(ctx, after) {
			if err == nil && record.Position > l.after && record.Position <= l.upTo {
				yield(eventlog.Record{}, &eventlog.DamagedError{After: record.Position - 1, UpTo: l.upTo, Err: errors.New("bad checksum")})
				return
			}
			if !yield(record, err) {
				return
			}
		}
	}
}

// Damaged events are passed over, and told.
func TestDamaged(t *testing.T) {
	disk := pebblelogtest.NewDisk()
	inner := disk.Open(t)
	log := &damagedLog{Log: inner, after: 2, upTo: 4}
	g := startOn(t, disk, inner, log, inner)
	g.append(t, "a", "1", "2", "3", "4", "5")
	g.create(t, "s", nil)
	stream := g.attach(t)
	var d []Delivery
	var gaps []Gap
	for len(d) < 3 {
		batch, err := stream.Next(t.Context(), 10)
		if err != nil {
			t.Fatal(err)
		}
		gaps = append(gaps, batch.Gaps...)
		d = append(d, stream.Sending(batch.Deliveries)...)
	}
	wantDeliveries(t, d, "1/1", "2/1", "5/1")
	if !slices.Equal(gaps, []Gap{{From: 2, To: 4, Reason: damaged}}) {
		t.Errorf("gaps %v", gaps)
	}
	// One that is damaged after its delivery.
	log.after, log.upTo = 0, 1
	for event, err := range stream.Read(t.Context(), d) {
		if err != nil || event.Position == 1 {
			t.Errorf("read %d, %v", event.Position, err)
		}
	}
	wantResults(t, resultOK, func() ([]webhookgatewayv1.TokenResult, error) {
		return g.manager.Park(t.Context(), "s", tokens(d[1:]...), "")
	})
	g.wantAck(t, resultSettled, d...)
}
