package subscription

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	webhookgatewayv1 "github.com/webhook-gateway/webhook-gateway/gen/webhookgateway/v1"
	"github.com/webhook-gateway/webhook-gateway/server/eventlog"
	"github.com/webhook-gateway/webhook-gateway/server/eventlog/pebblelog/pebblelogtest"
)

// heldBeforeTheSweep parks an event, and delivers it again after a seek when it has
// ten seconds left until it is too old.
func (g *gateway) heldBeforeTheSweep(t *testing.T) []Delivery {
	t.Helper()
	g.append(t, "a", "1")
	g.create(t, "s", &webhookgatewayv1.SubscriptionSettings{ParkedRetention: durationpb.New(time.Hour)})
	st := g.attach(t)
	g.park(t, st, 1)
	<-time.After(time.Hour - 10*time.Second)
	if _, err := g.manager.Seek(t.Context(), "s", 0); err != nil {
		t.Fatal(err)
	}
	return next(t, st, 1)
}

// An event that was parked long ago, and again just now, is not too old.
func TestTheSweepLeavesWhatWasParkedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g, store := hooked(t)
		d := g.heldBeforeTheSweep(t)
		var once atomic.Bool
		hook := func(from, to []byte) {
			if len(from) == 1 && from[0] == 'q' && len(to) == 17 && once.CompareAndSwap(false, true) {
				wantResults(t, resultOK, func() ([]webhookgatewayv1.TokenResult, error) {
					return g.manager.Park(t.Context(), "s", tokens(d...), "again")
				})
			}
		}
		store.afterRead.Store(&hook)
		<-time.After(20 * time.Second)
		if !once.Load() {
			t.Fatal("no sweep")
		}
		if got := g.status(t).GetParkedEvents(); got != 1 {
			t.Errorf("%d parked events right after Park said OK, want 1 (parked_retention is 1 h)", got)
		}
	})
}

// A copy that cannot be read at present may be all that there is of an event.
func TestACopyThatCannotBeReadIsNotLost(t *testing.T) {
	g, store := hooked(t)
	g.append(t, "a", "1", "2")
	g.create(t, "s", nil)
	st := g.attach(t)
	g.park(t, st, 1)
	g.wantAck(t, resultOK, next(t, st, 1)...)
	if err := g.log.Trim(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	if n, _, err := g.manager.Replay(t.Context(), "s", nil); n != 1 || err != nil {
		t.Fatal(n, err)
	}
	d := next(t, st, 1)
	var fails atomic.Int32
	hook := func(from, _ []byte) error {
		if from != nil && from[0] == 'c' && fails.Add(1) == 1 {
			return errDisk
		}
		return nil
	}
	store.readErr.Store(&hook)
	if _, err := g.manager.Park(t.Context(), "s", tokens(d...), "again"); !errors.Is(err, errDisk) || fails.Load() == 0 {
		t.Fatalf("Park() = %v, want the error of the store", err)
	}
	store.readErr.Store(nil)
	parked, err := g.manager.ListParked(t.Context(), "s", 0, 10, 1<<20)
	if err != nil || len(parked) != 1 || !parked[0].HasRecord {
		t.Errorf("parked %+v, %v: want event 1 with its copy", parked, err)
	}
	n, unknown, err := g.manager.Replay(t.Context(), "s", []eventlog.Position{1})
	if n != 1 {
		t.Errorf("Replay() = %d, %v, %v: the event is lost", n, unknown, err)
	}
}

// An event that was handed out, and then replayed, is read from its copy.
func TestACopyThatCameLater(t *testing.T) {
	g := startGateway(t, pebblelogtest.NewDisk())
	g.append(t, "a", "1", "2")
	g.create(t, "s", nil)
	st := g.attach(t)
	g.park(t, st, 1)
	if _, err := g.manager.Seek(t.Context(), "s", 0); err != nil {
		t.Fatal(err)
	}
	batch, err := st.Next(t.Context(), 1)
	if err != nil || len(batch.Deliveries) != 1 || batch.Deliveries[0].Position != 1 {
		t.Fatal(batch, err)
	}
	if n, _, err := g.manager.Replay(t.Context(), "s", []eventlog.Position{1}); n != 1 || err != nil {
		t.Fatal(n, err)
	}
	if err := g.log.Trim(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	got := readAll(t, st, batch.Deliveries)
	if len(got) != 1 {
		t.Errorf("read %v: event 1 has a copy; gap %v", got, g.status(t).GetGap())
	}
}

// A replay counts attempts anew, also of an event that waits since a seek.
func TestReplayOfAnEventThatWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := startGateway(t, pebblelogtest.NewDisk())
		g.append(t, "a", "1")
		g.create(t, "s", &webhookgatewayv1.SubscriptionSettings{MaxAttempts: 3})
		st := g.attach(t)
		g.park(t, st, 1)
		if _, err := g.manager.Seek(t.Context(), "s", 0); err != nil {
			t.Fatal(err)
		}
		g.retry(t, 0, next(t, st, 1)...)
		g.retry(t, time.Hour, next(t, st, 1)...)
		if n, _, err := g.manager.Replay(t.Context(), "s", nil); n != 1 || err != nil {
			t.Fatal(n, err)
		}
		took := elapsed(func() { wantDeliveries(t, next(t, st, 1), "1/1") })
		if took > time.Second {
			t.Errorf("delivered after %v", took)
		}
	})
}

// An event is parked or not, whenever the disk fails.
func TestCloseWhileParkingFails(t *testing.T) {
	for _, failsFor := range []int32{1, 2, 1000} {
		t.Run(fmt.Sprint(failsFor), func(t *testing.T) {
			g, store := hooked(t)
			g.append(t, "a", "1", "2")
			g.create(t, "s", nil)
			d := next(t, g.attach(t), 2)
			var n atomic.Int32
			hook := func([]eventlog.StateMutation) error {
				if n.Add(1) <= failsFor {
					return errDisk
				}
				return nil
			}
			store.beforeCommit.Store(&hook)
			_, err := g.manager.Park(t.Context(), "s", tokens(d[0]), "x")
			if !errors.Is(err, errDisk) {
				t.Errorf("Park() = %v", err)
			}
			err = g.manager.Close(t.Context())
			store.beforeCommit.Store(nil)
			again := g.crash(t)
			parked := again.parked(t, 0, 10)
			st := again.attach(t)
			if failsFor == 1 && len(parked) != 1 {
				t.Errorf("parked %v after Close() = %v", parked, err)
			}
			if len(parked) < 2 {
				next(t, st, 2-len(parked))
			}
		})
	}
}

// A subscription that is deleted while its parked events are replayed leaves
// nothing to the next of its name.
func TestDeleteWhileReplaying(t *testing.T) {
	for range 20 {
		g := startGateway(t, pebblelogtest.NewDisk())
		for range 60 {
			g.append(t, "a", "")
		}
		g.create(t, "s", nil)
		st := g.attach(t)
		g.setCredit(t, st, 100)
		g.park(t, st, 60)
		var group sync.WaitGroup
		for range 3 {
			group.Go(func() {
				if _, _, err := g.manager.Replay(t.Context(), "s", nil); err != nil && !errors.Is(err, ErrNotFound) {
					t.Errorf("Replay() = %v", err)
				}
			})
			group.Go(func() {
				if err := g.manager.Delete(t.Context(), "s"); err != nil && !errors.Is(err, ErrNotFound) {
					t.Errorf("Delete() = %v", err)
				}
			})
		}
		group.Wait()
		g.create(t, "s", nil)
		if x := g.status(t); x.GetParkedEvents()+x.GetWaitingEvents() != 0 {
			t.Errorf("%v", x)
		}
		g = g.crash(t)
		if x := g.status(t); x.GetParkedEvents()+x.GetWaitingEvents() != 0 {
			t.Errorf("after a crash %v", x)
		}
		if d := next(t, g.attach(t), 16); d[0].Position != 1 {
			t.Errorf("%v", positions(d))
		}
	}
}

// An event that retention removed after it was handed out takes nothing with it that
// has a copy.
func TestACopyBesideAnEventThatIsGone(t *testing.T) {
	g := startGateway(t, pebblelogtest.NewDisk())
	g.append(t, "a", "1", "2", "3")
	g.create(t, "s", nil)
	st := g.attach(t)
	d := next(t, st, 2)
	wantResults(t, resultOK, func() ([]webhookgatewayv1.TokenResult, error) {
		return g.manager.Park(t.Context(), "s", tokens(d[1]), "bad")
	})
	st.Release()
	if n, _, err := g.manager.Replay(t.Context(), "s", nil); n != 1 || err != nil {
		t.Fatal(n, err)
	}
	st = g.attach(t)
	var batch Batch
	for len(batch.Deliveries) == 0 {
		var err error
		if batch, err = st.Next(t.Context(), 10); err != nil {
			t.Fatal(err)
		}
	}
	wantDeliveries(t, batch.Deliveries[:2], "1/1", "2/1")
	if err := g.log.Trim(t.Context(), 2); err != nil {
		t.Fatal(err)
	}
	if got := readAll(t, st, batch.Deliveries[:2]); got[2] != 2 {
		t.Errorf("read %v: event 2 has a copy; gap %v", got, g.status(t).GetGap())
	}
}

// A sweep while an event is parked again does not undo that, also if the write fails
// and is repeated.
func TestTheSweepLeavesWhatCouldNotBeParkedAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g, store := hooked(t)
		d := g.heldBeforeTheSweep(t)
		// The write of the parking is under way for half a minute, and fails.
		var once atomic.Bool
		hook := func([]eventlog.StateMutation) error {
			if once.CompareAndSwap(false, true) {
				<-time.After(30 * time.Second)
				return errDisk
			}
			return nil
		}
		store.beforeCommit.Store(&hook)
		<-time.After(5 * time.Second)
		if _, err := g.manager.Park(t.Context(), "s", tokens(d...), "again"); !errors.Is(err, errHangs) {
			t.Fatalf("Park() = %v", err)
		}
		<-time.After(40 * time.Second)
		x := g.status(t)
		if x.GetParkedEvents() != 1 {
			t.Errorf("event 1 is not parked, and not to be delivered: %v", x)
		}
	})
}

// A stream that reads what it was given, while its subscription is deleted and the log
// is trimmed, ends because there is no such subscription.
func TestAReadWhileTheSubscriptionIsDeleted(t *testing.T) {
	g := startGateway(t, pebblelogtest.NewDisk())
	g.append(t, "a", "1", "2")
	g.create(t, "s", nil)
	st := g.attach(t)
	batch, err := st.Next(t.Context(), 1)
	if err != nil || len(batch.Deliveries) != 1 {
		t.Fatal(batch, err)
	}
	if err := g.manager.Delete(t.Context(), "s"); err != nil {
		t.Fatal(err)
	}
	if err := g.log.Trim(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	for _, err := range st.Read(t.Context(), batch.Deliveries) {
		if !errors.Is(err, ErrNotFound) {
			t.Errorf("Read() = %v, want ErrNotFound", err)
		}
	}
}
