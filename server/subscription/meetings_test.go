package subscription

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	webhookgatewayv1 "github.com/webhook-gateway/webhook-gateway/gen/webhookgateway/v1"
	"github.com/webhook-gateway/webhook-gateway/server/eventlog"
	"github.com/webhook-gateway/webhook-gateway/server/eventlog/pebblelog/pebblelogtest"
)

// A batch is in log order also when what it hands out is all that waited: with each
// token comes the event that it settles.
func TestABatchIsInLogOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := startGateway(t, pebblelogtest.NewDisk())
		// 1 and 2 are of one subject.
		g.append(t, "a", "x", "x", "y", "z", "z1", "z2", "z3")
		g.create(t, "s", &webhookgatewayv1.SubscriptionSettings{Ordering: bySubject, MaxWaiting: 2})
		one := func() *Stream {
			st, err := g.manager.Attach("s", StreamOptions{MaxInFlight: 1})
			if err != nil {
				t.Fatal(err)
			}
			return st
		}
		first, second, third := one(), one(), one()
		d1, d3, d4 := next(t, first, 1), next(t, second, 1), next(t, third, 1)
		wantDeliveries(t, append(append(append([]Delivery(nil), d1...), d3...), d4...), "1/1", "3/1", "4/1")
		g.retry(t, time.Second, d3...)
		g.retry(t, time.Second, d4...) // max_waiting events wait
		g.wantAck(t, resultOK, d1...)  // 2 is ready, for the first time
		first.Close()
		second.Close()
		third.Close()
		<-time.After(2 * time.Second)
		st := g.attach(t)
		batch, err := st.Next(t.Context(), 10)
		if err != nil {
			t.Fatal(err)
		}
		d := st.Sending(batch.Deliveries)
		for i := 1; i < len(d); i++ {
			if d[i].Position < d[i-1].Position {
				t.Errorf("out of log order: %v", positions(d))
			}
		}
		readAll(t, st, d)
		// The worker acknowledges what it got: was 2 ever shown to anybody?
		g.wantAck(t, resultOK, d...)
	})
}

// Other filters apply to what was not delivered yet, and to nothing else.
func TestAnUpdateKeepsWhatWasDelivered(t *testing.T) {
	for name, up := range map[string]*webhookgatewayv1.Subscription{
		"filters only": {Name: "s", Filters: []*webhookgatewayv1.EventFilter{{ClientIds: []string{"b"}}}},
		"both": {
			Name: "s", Filters: []*webhookgatewayv1.EventFilter{{ClientIds: []string{"b"}}},
			Settings: &webhookgatewayv1.SubscriptionSettings{Ordering: bySubject},
		},
		"filters only, released": {Name: "s", Filters: []*webhookgatewayv1.EventFilter{{ClientIds: []string{"b"}}}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				g := startGateway(t, pebblelogtest.NewDisk())
				g.append(t, "a", "1", "2")
				g.create(t, "s", nil)
				st := g.attach(t)
				d := next(t, st, 2)
				if name == "filters only, released" {
					wantResults(t, resultOK, func() ([]webhookgatewayv1.TokenResult, error) {
						return g.manager.Release(t.Context(), "s", tokens(d...))
					})
				}
				if _, err := g.manager.Update(t.Context(), up, nil, nil); err != nil {
					t.Fatal(err)
				}
				<-time.After(time.Second)
				r, err := g.manager.Acknowledge(t.Context(), "s", tokens(d...))
				if err != nil {
					t.Fatal(err)
				}
				if r[0] == resultOK {
					return
				}
				ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
				defer cancel()
				for {
					b, err := st.Next(ctx, 10)
					if err != nil {
						t.Errorf("event 1 was delivered, was not acknowledged (%v), and does not come again: %v", r[0], err)
						return
					}
					if len(b.Deliveries) > 0 || len(b.Gaps) > 0 {
						return
					}
				}
			})
		})
	}
}

// An update that could not be stored is in force, or is not: the cursor belongs to
// the filters that are stored.
func TestAnUpdateThatFailsPassesOverNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g, store := hooked(t)
		g.append(t, "a", "1")
		g.append(t, "b", "2")
		g.create(t, "s", nil, "a")
		hook := func(m []eventlog.StateMutation) error {
			for _, mutation := range m {
				if string(mutation.Key) == keyDefinition {
					return errDisk
				}
			}
			return nil
		}
		store.beforeCommit.Store(&hook)
		_, err := g.manager.Update(t.Context(), &webhookgatewayv1.Subscription{
			Name: "s", Filters: []*webhookgatewayv1.EventFilter{{ClientIds: []string{"b"}}},
		}, nil, nil)
		if !errors.Is(err, errDisk) {
			t.Fatalf("Update() = %v", err)
		}
		st := g.attach(t)
		if _, err := g.manager.Acknowledge(t.Context(), "s", tokens(next(t, st, 1)...)); !errors.Is(err, errDisk) {
			t.Fatalf("Acknowledge() = %v", err)
		}
		g = g.crash(t)
		store.beforeCommit.Store(nil)
		wantDeliveries(t, next(t, g.attach(t), 1), "1/1") // the filters are those of before
	})
}

// A Delete that failed may have removed the subscription: creating it again does.
func TestCreateAfterADeleteThatSeemedToFail(t *testing.T) {
	g, store := hooked(t)
	g.create(t, "s", nil)
	e := errDisk
	store.afterDrop.Store(&e)
	if err := g.manager.Delete(t.Context(), "s"); !errors.Is(err, errDisk) {
		t.Fatalf("Delete() = %v", err)
	}
	store.afterDrop.Store(nil)
	g.create(t, "s", nil)
	g.append(t, "a", "1")
	st := g.attach(t)
	d := next(t, st, 1)
	r, err := g.manager.Acknowledge(t.Context(), "s", tokens(d...))
	if err != nil {
		t.Errorf("Create() returned the subscription; Acknowledge() = %v, %v", r, err)
	}
	g2 := g.crash(t)
	if _, err := g2.manager.Get(t.Context(), "s"); errors.Is(err, ErrNotFound) {
		t.Errorf("Create() said OK, and after a crash it is gone")
	}
}

// Of two events that a worker hangs on, the one whose deadline passes last is not
// charged for it.
func TestWhoHangsIsFoundBesideAnInnocent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := startGateway(t, pebblelogtest.NewDisk())
		g.create(t, "s", &webhookgatewayv1.SubscriptionSettings{MaxAttempts: 1})
		st := g.attach(t)
		g.append(t, "a", "hangs")
		next(t, st, 1)
		<-time.After(time.Second)
		g.append(t, "a", "innocent")
		wantDeliveries(t, next(t, st, 1), "2/1")
		<-time.After(40 * time.Second)
		for _, p := range g.parked(t, 0, 10) {
			if p == 2 {
				t.Errorf("event 2 is parked: its stream held 1 and 2 all the time from when it was sent")
			}
		}
	})
}

// A subscription that becomes strictly ordered waits for what waits.
func TestStrictOrderWhileAnEventWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := startGateway(t, pebblelogtest.NewDisk())
		g.append(t, "a", "1", "2", "3", "4")
		g.create(t, "s", nil)
		st := g.attach(t)
		d := next(t, st, 3)
		g.retry(t, 10*time.Second, d[1])
		if _, err := g.manager.Update(t.Context(), &webhookgatewayv1.Subscription{Name: "s", Settings: &webhookgatewayv1.SubscriptionSettings{Ordering: webhookgatewayv1.Ordering_ORDERING_STRICT}}, nil, nil); err != nil {
			t.Fatal(err)
		}
		g.wantAck(t, resultFenced, d...)
		e := next(t, st, 1)
		wantDeliveries(t, e, "1/1")
		g.wantAck(t, resultOK, e...)
		took := elapsed(func() { wantDeliveries(t, next(t, st, 3), "2/2", "3/1", "4/1") })
		if took < 9*time.Second {
			t.Errorf("after %v", took)
		}
	})
}

// With room for one event that waits, a killer is found all the same.
func TestAKillerWithRoomForOneToWait(t *testing.T) {
	for _, most := range []int{0, 1} {
		for o := webhookgatewayv1.Ordering(1); o <= 3; o++ {
			t.Run(fmt.Sprint(most, o), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					g := startGateway(t, pebblelogtest.NewDisk())
					for i := range 20 {
						g.append(t, "a", fmt.Sprint(i%3))
					}
					g.create(t, "s", &webhookgatewayv1.SubscriptionSettings{Ordering: o, MaxWaiting: 1, MaxAttempts: 3})
					ctx, cancel := context.WithCancel(t.Context())
					var j journal
					var group sync.WaitGroup
					group.Go(func() {
						for ctx.Err() == nil {
							st, err := g.manager.Attach("s", StreamOptions{MaxInFlight: most})
							if err != nil {
								return
							}
							g.workUntilKilled(ctx, t, st, 5, false, func(p eventlog.Position) { j.acknowledged(p) })
							st.Close()
						}
					})
					<-time.After(5 * time.Minute)
					x := g.status(t)
					cancel()
					group.Wait()
					if len(j.order) != 19 || x.GetParkedEvents() != 1 || x.GetLagEvents() != 0 || x.GetWaitingEvents() != 0 {
						t.Errorf("%d acked; %v", len(j.order), x)
					}
				})
			})
		}
	}
}

// A reader that stopped holds up nobody, and nothing that was not sent is charged.
func TestAReaderThatStopped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := startGateway(t, pebblelogtest.NewDisk())
		g.append(t, "a", "1", "2", "3")
		g.create(t, "s", &webhookgatewayv1.SubscriptionSettings{MaxAttempts: 1, Ordering: webhookgatewayv1.Ordering_ORDERING_STRICT})
		stopped := g.attach(t)
		b, err := stopped.Next(t.Context(), 3)
		if err != nil || len(b.Deliveries) != 3 {
			t.Fatal(b, err)
		}
		other := g.attach(t)
		wantDeliveries(t, next(t, other, 3), "1/1", "2/1", "3/1")
		if s := stopped.Sending(b.Deliveries); len(s) != 0 {
			t.Errorf("sent after the deadline: %v", positions(s))
		}
		stopped.Close()
		if x := g.status(t); x.GetParkedEvents() != 0 || x.GetWaitingEvents() != 0 {
			t.Errorf("%v", x)
		}
	})
}

// After a Delete that failed and did nothing everything goes on.
func TestADeleteThatFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &failingStore{}
		g := startGatewayWith(t, store)
		g.append(t, "a", "1", "2", "3", "4")
		g.create(t, "s", &webhookgatewayv1.SubscriptionSettings{MaxAttempts: 1, AckDeadline: durationpb.New(5 * time.Second)})
		st := g.attach(t)
		g.park(t, st, 1)
		d := next(t, st, 1)
		store.fails.Store(true)
		if err := g.manager.Delete(t.Context(), "s"); !errors.Is(err, errDisk) {
			t.Fatal(err)
		}
		store.fails.Store(false)
		g.wantAck(t, resultOK, d...)
		wantDeliveries(t, next(t, st, 2), "3/1", "4/1")
		if x := g.status(t); x.GetParkedEvents() != 1 || x.GetStreams() != 1 || x.GetInFlightEvents() != 2 {
			t.Errorf("%v", x)
		}
	})
}

// A worker that gives back what it holds, because it ends, is given no suspects.
func TestSuspectsAreNotGivenToAWorkerThatReleases(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := startGateway(t, pebblelogtest.NewDisk())
		g.append(t, "a", "1", "2", "3")
		g.create(t, "s", &webhookgatewayv1.SubscriptionSettings{MaxAttempts: 1})
		dies, ends := g.attach(t), g.attach(t)
		next(t, dies, 2)
		d := next(t, ends, 1)
		dies.Close()
		<-time.After(5 * time.Second)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second/2)
		defer cancel()
		done := make(chan struct{})
		go func() {
			defer close(done)
			for ctx.Err() == nil {
				if batch, err := ends.Next(ctx, 10); err == nil {
					if sent := ends.Sending(batch.Deliveries); len(sent) > 0 {
						t.Errorf("was given %v", positions(sent))
					}
				}
			}
		}()
		synctest.Wait()
		wantResults(t, resultOK, func() ([]webhookgatewayv1.TokenResult, error) {
			return g.manager.Release(t.Context(), "s", tokens(d...))
		})
		<-done
		ends.Close()
		<-time.After(time.Second)
		if x := g.status(t); x.GetParkedEvents() != 0 {
			t.Errorf("an event was charged with a worker that ended in order: %v", x)
		}
	})
}

// A strictly ordered reader commits what it holds also while the log is read again for
// other filters.
func TestCommitCursorRightAfterOtherFilters(t *testing.T) {
	settings, now := defaultSettings(), time.Now()
	settings.ordering = webhookgatewayv1.Ordering_ORDERING_STRICT
	m := newMachine(settings, 0, 1, now)
	m.offer([]offer{{position: 1}, {position: 2}}, 4)
	m.connect(1, 0)
	m.want(1, 10)
	w, share := m.next()
	d := m.deliver(w, share, now)
	wantDeliveries(t, d, "1/1", "2/1")
	m.refilter()
	for _, upTo := range []eventlog.Position{5, 4} { // 4 may be of a heartbeat
		result, err := m.commitCursor(upTo, d[1].lease, now)
		if upTo == 5 && !errors.Is(err, ErrCursorNotDelivered) || upTo == 4 && (err != nil || result != resultOK) {
			t.Errorf("commitCursor(%d) = %v, %v", upTo, result, err)
		}
	}
	// An event that only the other filters match was not delivered, and is not settled.
	m.offer([]offer{{position: 2}, {position: 3}}, 4)
	m.want(1, 10)
	w, share = m.next()
	if w == nil {
		t.Fatal("event 3 is not delivered")
	}
	wantDeliveries(t, m.deliver(w, share, now), "3/1")
}
