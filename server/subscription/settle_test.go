package subscription

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	webhookgatewayv1 "github.com/webhook-gateway/webhook-gateway/gen/webhookgateway/v1"
	"github.com/webhook-gateway/webhook-gateway/server/eventlog/pebblelog/pebblelogtest"
)

func TestDeliverAndAcknowledge(t *testing.T) {
	g := startGateway(t, pebblelogtest.NewDisk())
	g.append(t, "a", "1", "2", "3")
	g.append(t, "b", "4")
	g.append(t, "a", "5")
	g.create(t, "s", nil, "a")
	stream := g.attach(t)
	d := next(t, stream, 4)
	wantDeliveries(t, d, "1/1", "2/1", "3/1", "5/1")
	i := 0
	for event, err := range stream.Read(t.Context(), d) {
		if err != nil {
			t.Fatal(err)
		}
		if event.Record.Position != d[i].Position || event.AckToken() != d[i].AckToken() {
			t.Errorf("event %d is %d", i, event.Record.Position)
		}
		i++
	}
	if i != 4 {
		t.Errorf("%d events were read, want 4", i)
	}
	g.wantAck(t, resultOK, d[1], d[2])
	if got := g.cursor(t); got != 0 {
		t.Errorf("cursor %d, want 0", got)
	}
	g.wantAck(t, resultOK, d[0])
	if got := g.cursor(t); got != 4 {
		t.Errorf("cursor %d, want 4", got)
	}
	g.wantAck(t, resultSettled, d[0])
	if got := g.status(t); got.GetInFlightEvents() != 1 || got.GetLagEvents() != 1 || got.GetStreams() != 1 {
		t.Errorf("status %v", got)
	}
	if batch, err := stream.Next(t.Context(), 1); err != nil || !batch.CaughtUp {
		t.Errorf("Next() = %+v, %v, want caught up", batch, err)
	}
	if got := stream.Progress(); got != (Progress{Cursor: 5, Head: 5}) {
		t.Errorf("progress %+v", got)
	}
}

func TestTokensNobodyGave(t *testing.T) {
	g := startGateway(t, pebblelogtest.NewDisk())
	g.append(t, "a", "1")
	g.create(t, "s", nil)
	stream := g.attach(t)
	d := next(t, stream, 1)
	good := d[0].AckToken()
	foreign := newSeal(newSealKey()).appendToken(nil, d[0].lease)
	texts := []string{"", "x", good[1:], good + "A", string(foreign)}
	for i := range len(good) {
		bad := []byte(good)
		bad[i] = map[bool]byte{true: 'A', false: 'B'}[bad[i] != 'A']
		texts = append(texts, string(bad))
	}
	wantResults(t, resultUnknown, func() ([]webhookgatewayv1.TokenResult, error) {
		return g.manager.Acknowledge(t.Context(), "s", texts)
	})
	if err := g.manager.Delete(t.Context(), "s"); err != nil {
		t.Fatal(err)
	}
	if _, err := g.manager.Acknowledge(t.Context(), "s", []string{good}); !errors.Is(err, ErrNotFound) {
		t.Errorf("Acknowledge() of a deleted subscription = %v, want ErrNotFound", err)
	}
	if _, err := stream.Next(t.Context(), 1); !errors.Is(err, ErrNotFound) {
		t.Errorf("Next() of a deleted subscription = %v, want ErrNotFound", err)
	}
	// Another of the same name is another.
	g.create(t, "s", nil)
	g.wantAck(t, resultUnknown, d[0])
	wantDeliveries(t, next(t, g.attach(t), 1), "1/1")
}

func TestDisconnect(t *testing.T) {
	for _, test := range []struct {
		name string
		sent int
		end  func(*Stream)
		want []string
	}{
		{"what was not sent is as if it was never handed", 0, (*Stream).Close, []string{"1/1", "2/1"}},
		{"what the gateway ends is given back unused", 2, (*Stream).Release, []string{"1/1", "2/1"}},
		{"what a worker held alone counts", 1, (*Stream).Close, []string{"2/1", "1/2"}},
		{"of several nobody knows which it was", 2, (*Stream).Close, []string{"1/1", "2/1"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				g := startGateway(t, pebblelogtest.NewDisk())
				g.append(t, "a", "1", "2")
				g.create(t, "s", &webhookgatewayv1.SubscriptionSettings{MinBackoff: durationpb.New(time.Second)})
				first, second := g.attach(t), g.attach(t)
				batch, err := first.Next(t.Context(), 2)
				if err != nil {
					t.Fatal(err)
				}
				d := batch.Deliveries
				first.Sending(d[:test.sent])
				test.end(first)
				first.Close()
				g.wantAck(t, resultFenced, d...)
				var again []Delivery
				for range test.want {
					again = append(again, next(t, second, 1)...)
					g.wantAck(t, resultOK, again[len(again)-1])
				}
				wantDeliveries(t, again, test.want...)
				g.wantAck(t, resultSettled, d...)
				if _, err := first.Next(t.Context(), 1); !errors.Is(err, ErrClosed) {
					t.Errorf("Next() of a closed stream = %v, want ErrClosed", err)
				}
			})
		})
	}
}

func TestCommitCursor(t *testing.T) {
	g := startGateway(t, pebblelogtest.NewDisk())
	g.append(t, "a", "1", "2", "3", "4")
	g.create(t, "loose", nil)
	g.create(t, "s", &webhookgatewayv1.SubscriptionSettings{Ordering: webhookgatewayv1.Ordering_ORDERING_STRICT})
	if _, err := g.manager.CommitCursor(t.Context(), "loose", 1, ""); !errors.Is(err, ErrNotStrict) {
		t.Errorf("CommitCursor() = %v, want ErrNotStrict", err)
	}
	d := next(t, g.attach(t), 3)
	if _, err := g.manager.CommitCursor(t.Context(), "s", 3, d[0].AckToken()); !errors.Is(err, ErrCursorNotDelivered) {
		t.Errorf("CommitCursor() = %v, want ErrCursorNotDelivered", err)
	}
	if result, err := g.manager.CommitCursor(t.Context(), "s", 2, "x"); result != resultUnknown || err != nil {
		t.Errorf("CommitCursor() = %v, %v, want UNKNOWN", result, err)
	}
	if result, err := g.manager.CommitCursor(t.Context(), "s", 2, d[1].AckToken()); result != resultOK || err != nil {
		t.Errorf("CommitCursor() = %v, %v, want OK", result, err)
	}
	old := d
	g = g.crash(t)
	wantDeliveries(t, next(t, g.attach(t), 2), "3/1", "4/1")
	if result, err := g.manager.CommitCursor(t.Context(), "s", 3, old[2].AckToken()); result != resultFenced || err != nil {
		t.Errorf("CommitCursor() = %v, %v, want FENCED", result, err)
	}
}
