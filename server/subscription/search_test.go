package subscription

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	webhookgatewayv1 "github.com/webhook-gateway/webhook-gateway/gen/webhookgateway/v1"
	"github.com/webhook-gateway/webhook-gateway/server/eventlog"
	"github.com/webhook-gateway/webhook-gateway/server/eventlog/pebblelog/pebblelogtest"
)

// journal is what workers did.
type journal struct {
	mu      sync.Mutex
	handled map[eventlog.Position]int
	order   []eventlog.Position
}

func (j *journal) acknowledged(p eventlog.Position) int {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.handled == nil {
		j.handled = make(map[eventlog.Position]int)
	}
	j.handled[p]++
	j.order = append(j.order, p)
	return len(j.handled)
}

// consume is a worker behind a connection: what is sent waits at the client, which
// handles one event after another.
func (g *gateway) consume(ctx context.Context, t *testing.T, each time.Duration, done func(eventlog.Position)) {
	stream := g.attach(t)
	client := make(chan Delivery, 100_000)
	var worker sync.WaitGroup
	worker.Go(func() {
		for d := range client {
			<-time.After(each)
			results, err := g.manager.Acknowledge(t.Context(), "s", tokens(d))
			if err != nil {
				t.Error(err)
			} else if results[0] != resultOK {
				t.Errorf("event %d: %v", d.Position, results[0])
			}
			done(d.Position)
		}
	})
	for {
		batch, err := stream.Next(ctx, 1000)
		if err != nil {
			break
		}
		for _, d := range stream.Sending(batch.Deliveries) {
			client <- d
		}
	}
	close(client)
	worker.Wait()
	stream.Close()
}

// With the default settings a worker that takes 90 ms an event, or a second, loses
// nothing: everything is acknowledged once and in time.
func TestDefaultsSuitWorkers(t *testing.T) {
	for _, test := range []struct {
		name           string
		deadline, each time.Duration
	}{
		{"90 ms an event, 1:30", time.Second, 3 * time.Millisecond},
		{"1 s an event", 30 * time.Second, time.Second},
		{"1 ms an event", 30 * time.Second, time.Millisecond},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				g := startGateway(t, pebblelogtest.NewDisk())
				const events = 1000
				for range events {
					g.append(t, "a", "")
				}
				g.create(t, "s", &webhookgatewayv1.SubscriptionSettings{AckDeadline: durationpb.New(test.deadline)})
				ctx, cancel := context.WithCancel(t.Context())
				var j journal
				took := elapsed(func() {
					g.consume(ctx, t, test.each, func(p eventlog.Position) {
						if j.acknowledged(p) == events {
							cancel()
						}
					})
				})
				if len(j.order) != events || len(j.handled) != events {
					t.Errorf("%d handlings of %d events, want %d of each", len(j.order), len(j.handled), events)
				}
				if least := events * test.each; took > least+least/50 {
					t.Errorf("it took %v, want about %v: the worker waited", took, least)
				}
				if got := g.status(t); got.GetParkedEvents() != 0 || got.GetWaitingEvents() != 0 || got.GetLagEvents() != 0 {
					t.Errorf("status %v", got)
				}
			})
		})
	}
}

// An event that ends every worker that receives it is found and parked, alone; its
// neighbours are delivered, in their order.
func TestKiller(t *testing.T) {
	for _, ordering := range []webhookgatewayv1.Ordering{
		webhookgatewayv1.Ordering_ORDERING_NONE, webhookgatewayv1.Ordering_ORDERING_BY_SUBJECT, webhookgatewayv1.Ordering_ORDERING_STRICT,
	} {
		for _, workers := range []int{1, 4} {
			for _, hangs := range []bool{false, true} {
				t.Run(fmt.Sprintf("%v/%d workers/hangs=%t", ordering, workers, hangs), func(t *testing.T) {
					synctest.Test(t, func(t *testing.T) { testKiller(t, ordering, workers, hangs) })
				})
			}
		}
	}
}

func testKiller(t *testing.T, ordering webhookgatewayv1.Ordering, workers int, hangs bool) {
	const neighbours, killer, attempts, subjects = 300, 150, 3, 7
	g := startGateway(t, pebblelogtest.NewDisk())
	for i := range neighbours + 1 {
		g.append(t, "a", fmt.Sprint(i%subjects))
	}
	g.create(t, "s", &webhookgatewayv1.SubscriptionSettings{Ordering: ordering, MaxAttempts: attempts})
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var j journal
	var group sync.WaitGroup
	for range workers {
		group.Go(func() {
			for ctx.Err() == nil {
				stream := g.attach(t)
				g.workUntilKilled(ctx, t, stream, killer, hangs, func(p eventlog.Position) { j.acknowledged(p) })
				stream.Close()
			}
		})
	}
	for g.status(t).GetParkedEvents() == 0 || len(j.distinct()) < neighbours {
		if time.Since(time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)) > 2*time.Hour {
			t.Fatalf("after 2 h: %v, %d acknowledged", g.status(t), len(j.distinct()))
		}
		<-time.After(time.Second)
	}
	t.Logf("found after %v", time.Since(time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)))
	cancel()
	group.Wait()
	parked, err := g.manager.ListParked(t.Context(), "s", 0, 1000, 1<<20)
	if err != nil || len(parked) != 1 || parked[0].Position != killer || parked[0].Attempts != attempts {
		t.Errorf("parked %+v, %v, want event %d after %d attempts", parked, err, killer, attempts)
	}
	if len(j.order) != neighbours {
		t.Errorf("%d events acknowledged, want %d", len(j.order), neighbours)
	}
	last := make(map[eventlog.Position]eventlog.Position)
	for _, p := range j.order {
		var of eventlog.Position
		switch ordering {
		case webhookgatewayv1.Ordering_ORDERING_BY_SUBJECT:
			of = (p - 1) % subjects
		case webhookgatewayv1.Ordering_ORDERING_STRICT:
		default:
			continue
		}
		if p < last[of] {
			t.Errorf("event %d after event %d", p, last[of])
		}
		last[of] = p
	}
}

func (j *journal) distinct() []eventlog.Position {
	j.mu.Lock()
	defer j.mu.Unlock()
	return slices.Compact(slices.Sorted(slices.Values(j.order)))
}

// workUntilKilled handles batches until one has the killer: then it returns, or
// does nothing until the deadline has passed.
func (g *gateway) workUntilKilled(ctx context.Context, t *testing.T, stream *Stream, killer eventlog.Position, hangs bool, done func(eventlog.Position)) {
	for {
		batch, err := stream.Next(ctx, 50)
		if err != nil {
			return
		}
		d := stream.Sending(batch.Deliveries)
		if slices.ContainsFunc(d, func(d Delivery) bool { return d.Position == killer }) {
			if !hangs {
				return
			}
			<-time.After(31 * time.Second)
			continue
		}
		for _, d := range d {
			done(d.Position) // before others may be given what waits for it
			results, err := g.manager.Acknowledge(t.Context(), "s", tokens(d))
			if err != nil || results[0] != resultOK {
				t.Errorf("Acknowledge() of event %d = %v, %v", d.Position, results, err)
				return
			}
		}
	}
}

// Workers that crash with hundreds of events park none of them.
func TestCrashesParkNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const crashes, each = 10, 500
		g := startGateway(t, pebblelogtest.NewDisk())
		for range crashes * each {
			g.append(t, "a", "")
		}
		g.create(t, "s", &webhookgatewayv1.SubscriptionSettings{MaxAttempts: 1})
		for range crashes {
			stream := g.attach(t)
			g.setCredit(t, stream, each)
			if n := len(next(t, stream, each)); n != each {
				t.Fatalf("%d events, want %d", n, each)
			}
			stream.Close()
		}
		if got := g.status(t); got.GetWaitingEvents() != crashes*each || got.GetParkedEvents() != 0 {
			t.Fatalf("status %v", got)
		}
		stream := g.attach(t)
		for settled := 0; settled < crashes*each; {
			d := next(t, stream, 1)
			g.wantAck(t, resultOK, d...)
			settled += len(d)
		}
		if got := g.status(t); got.GetWaitingEvents() != 0 || got.GetParkedEvents() != 0 {
			t.Errorf("status %v", got)
		}
	})
}

// A gateway that shuts down gives back what workers hold, without an attempt.
func TestDrainParksNothing(t *testing.T) {
	g := startGateway(t, pebblelogtest.NewDisk())
	g.append(t, "a", "1", "2", "3")
	g.create(t, "s", &webhookgatewayv1.SubscriptionSettings{MaxAttempts: 1})
	alone, several := g.attach(t), g.attach(t)
	next(t, alone, 1)
	next(t, several, 2)
	if err := g.manager.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	again := g.crash(t)
	if got := again.status(t); got.GetParkedEvents() != 0 || got.GetWaitingEvents() != 0 {
		t.Errorf("status %v", got)
	}
	wantDeliveries(t, next(t, again.attach(t), 3), "1/1", "2/1", "3/1")
}

// While one worker probes suspects, and with a single worker in turns, fresh events
// are delivered.
func TestSuspectsDoNotStarve(t *testing.T) {
	for _, workers := range []int{1, 2} {
		t.Run(fmt.Sprint(workers), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				g := startGateway(t, pebblelogtest.NewDisk())
				for range 100 {
					g.append(t, "a", "")
				}
				g.create(t, "s", nil)
				broken := g.attach(t)
				g.setCredit(t, broken, 100)
				next(t, broken, 100)
				broken.Close()
				for range 2000 {
					g.append(t, "a", "")
				}
				<-time.After(time.Minute)
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				var j journal
				var group sync.WaitGroup
				for range workers {
					group.Go(func() {
						g.consume(ctx, t, 10*time.Millisecond, func(p eventlog.Position) {
							if j.acknowledged(p) == 2100 {
								cancel()
							}
						})
					})
				}
				group.Wait()
				lastSuspect, fresh := 0, 0
				for i, p := range j.order {
					if p <= 100 {
						lastSuspect = i
					} else if lastSuspect == 0 || i < 500 {
						fresh++
					}
				}
				if lastSuspect > 1500 {
					t.Errorf("the last suspect was settled as number %d of %d", lastSuspect, len(j.order))
				}
				if fresh < 50 {
					t.Errorf("%d of the first 500 events were fresh", fresh)
				}
			})
		})
	}
}

// What a worker releases goes to another, at once and without an attempt.
func TestRelease(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := startGateway(t, pebblelogtest.NewDisk())
		g.append(t, "a", "1", "2")
		g.create(t, "s", &webhookgatewayv1.SubscriptionSettings{MaxAttempts: 1})
		leaving, other := g.attach(t), g.attach(t)
		d := next(t, leaving, 2)
		wantResults(t, resultOK, func() ([]webhookgatewayv1.TokenResult, error) {
			return g.manager.Release(t.Context(), "s", tokens(d...))
		})
		g.wantAck(t, resultFenced, d...)
		ctx, cancel := context.WithTimeout(t.Context(), rest/2)
		defer cancel()
		if batch, err := leaving.Next(ctx, 2); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Next() = %+v, %v of a worker that just released", batch, err)
		}
		var again []Delivery
		if took := elapsed(func() { again = next(t, other, 2) }); took != 0 {
			t.Errorf("delivered again after %v, want at once", took)
		}
		wantDeliveries(t, again, "1/1", "2/1")
		// The only worker gets it back, when it has rested.
		other.Release()
		if took := elapsed(func() { again = next(t, leaving, 2) }); took > rest {
			t.Errorf("delivered again after %v, want within %v", took, rest)
		}
		g.wantAck(t, resultOK, again...)
	})
}

// What a lone worker gives back before it leaves is not handed to it again: with
// its stream's end an attempt would count.
func TestReleaseOfALoneWorker(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := startGateway(t, pebblelogtest.NewDisk())
		g.append(t, "a", "1")
		g.create(t, "s", &webhookgatewayv1.SubscriptionSettings{MaxAttempts: 1})
		leaving := g.attach(t)
		wantResults(t, resultOK, func() ([]webhookgatewayv1.TokenResult, error) {
			return g.manager.Release(t.Context(), "s", tokens(next(t, leaving, 1)...))
		})
		ctx, cancel := context.WithTimeout(t.Context(), rest/2)
		defer cancel()
		if batch, err := leaving.Next(ctx, 1); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Next() = %+v, %v of a worker that just released", batch, err)
		}
		leaving.Close()
		if parked := g.status(t).GetParkedEvents(); parked != 0 {
			t.Errorf("%d events are parked", parked)
		}
		again := next(t, g.attach(t), 1)
		wantDeliveries(t, again, "1/1")
		g.wantAck(t, resultOK, again...)
	})
}
