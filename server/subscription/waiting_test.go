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

// Events that wait for another attempt leave room for others, up to a limit, and
// keep their attempts and their wait over a crash.
func TestWaiting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := startGateway(t, pebblelogtest.NewDisk())
		for range 100 {
			g.append(t, "a", "")
		}
		g.create(t, "s", &webhookgatewayv1.SubscriptionSettings{MaxInFlight: 20, MaxWaiting: 50})
		stream := g.attach(t)
		for range 5 {
			d := next(t, stream, 10)
			wantResults(t, resultOK, func() ([]webhookgatewayv1.TokenResult, error) {
				return g.manager.Retry(t.Context(), "s", tokens(d...), 24*time.Hour, "")
			})
			if d[0].Position == 41 {
				break
			}
		}
		if got := g.status(t); got.GetWaitingEvents() != 50 || got.GetInFlightEvents() != 0 || g.cursor(t) != 50 {
			t.Errorf("status %v", got)
		}
		<-time.After(time.Hour)
		g = g.crash(t)
		if got := g.status(t); got.GetWaitingEvents() != 50 || g.cursor(t) != 50 {
			t.Errorf("status after a crash: %v", got)
		}
		stream = g.attach(t)
		var d []Delivery
		if took := elapsed(func() { d = next(t, stream, 10) }); took != 23*time.Hour || d[0].Position != 1 || d[0].Attempt != 2 {
			t.Errorf("delivered %v after %v, want event 1 for the second time after 23 h", positions(d), took)
		}
		// Ten of the fifty are held: there is room for ten more.
		more := next(t, stream, 6)
		if _, err := g.manager.Retry(t.Context(), "s", tokens(append(more, d...)...), time.Hour, ""); err != nil {
			t.Errorf("Retry() = %v", err)
		}
	})
}

func TestTooManyWaiting(t *testing.T) {
	g := startGateway(t, pebblelogtest.NewDisk())
	g.append(t, "a", "1", "2", "3", "4")
	g.create(t, "s", &webhookgatewayv1.SubscriptionSettings{MaxWaiting: 2})
	d := next(t, g.attach(t), 4)
	retry := func(d ...Delivery) error {
		_, err := g.manager.Retry(t.Context(), "s", tokens(d...), time.Hour, "")
		return err
	}
	if err := retry(d[0], d[1], d[2]); !errors.Is(err, ErrTooManyWaiting) {
		t.Errorf("Retry() = %v, want ErrTooManyWaiting", err)
	}
	if got := g.status(t); got.GetWaitingEvents() != 0 || got.GetInFlightEvents() != 4 {
		t.Errorf("something was done: %v", got)
	}
	if err := retry(d[0], d[1]); err != nil {
		t.Errorf("Retry() = %v", err)
	}
	if err := retry(d[2]); !errors.Is(err, ErrTooManyWaiting) {
		t.Errorf("Retry() = %v, want ErrTooManyWaiting", err)
	}
	g.wantAck(t, resultOK, d[2])
	wantResults(t, resultOK, func() ([]webhookgatewayv1.TokenResult, error) {
		return g.manager.Park(t.Context(), "s", tokens(d[3]), "bad")
	})
	if _, _, err := g.manager.Replay(t.Context(), "s", nil); !errors.Is(err, ErrTooManyWaiting) {
		t.Errorf("Replay() = %v, want ErrTooManyWaiting", err)
	}
}

// An event that waits holds up its subject, and nobody else.
func TestWaitingInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := startGateway(t, pebblelogtest.NewDisk())
		g.append(t, "a", "x", "y", "x", "y")
		g.create(t, "s", &webhookgatewayv1.SubscriptionSettings{
			Ordering: webhookgatewayv1.Ordering_ORDERING_BY_SUBJECT, MinBackoff: durationpb.New(time.Minute),
		})
		stream := g.attach(t)
		d := next(t, stream, 1)
		wantResults(t, resultOK, func() ([]webhookgatewayv1.TokenResult, error) {
			return g.manager.Retry(t.Context(), "s", tokens(d...), -1, "")
		})
		d = next(t, stream, 2)
		wantDeliveries(t, d, "2/1", "4/1")
		g.wantAck(t, resultOK, d...)
		if took := elapsed(func() { d = next(t, stream, 2) }); took != time.Minute {
			t.Errorf("delivered after %v, want 1 min", took)
		}
		wantDeliveries(t, d, "1/2", "3/1")
		if err := g.log.Trim(t.Context(), 4); err != nil {
			t.Fatal(err)
		}
		wantResults(t, resultOK, func() ([]webhookgatewayv1.TokenResult, error) {
			return g.manager.Retry(t.Context(), "s", tokens(d[0]), -1, "")
		})
		synctest.Wait()
		if gap := g.status(t).GetGap(); gap == nil || gap.GetReason() != webhookgatewayv1.GapReason_GAP_REASON_RETENTION {
			t.Errorf("gap %v, want one by retention", gap)
		}
	})
}
