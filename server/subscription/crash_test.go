package subscription

import (
	"cmp"
	"context"
	"slices"
	"sync"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"google.golang.org/protobuf/types/known/durationpb"

	webhookgatewayv1 "github.com/webhook-gateway/webhook-gateway/gen/webhookgateway/v1"
	"github.com/webhook-gateway/webhook-gateway/server/eventlog"
	"github.com/webhook-gateway/webhook-gateway/server/eventlog/pebblelog/pebblelogtest"
)

func TestCrash(t *testing.T) {
	g := startGateway(t, pebblelogtest.NewDisk())
	g.append(t, "a", "1", "2", "3", "4", "5", "6")
	g.create(t, "s", &webhookgatewayv1.SubscriptionSettings{MinBackoff: durationpb.New(0)})
	d := next(t, g.attach(t), 6)
	g.wantAck(t, resultOK, d[0], d[3], d[5])
	wantResults(t, resultOK, func() ([]webhookgatewayv1.TokenResult, error) {
		return g.manager.Park(t.Context(), "s", tokens(d[4]), "no such account")
	})
	wantResults(t, resultOK, func() ([]webhookgatewayv1.TokenResult, error) {
		return g.manager.Retry(t.Context(), "s", tokens(d[2]), -1, "")
	})

	g = g.crash(t)
	stream := g.attach(t)
	again := next(t, stream, 2)
	// What waited is known at once, the log is read after it.
	slices.SortFunc(again, func(a, b Delivery) int { return cmp.Compare(a.Position, b.Position) })
	wantDeliveries(t, again, "2/1", "3/2")
	g.wantAck(t, resultFenced, d[1], d[2])
	g.wantAck(t, resultSettled, d[0], d[3], d[4], d[5])
	parked, err := g.manager.ListParked(t.Context(), "s", 0, 10, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	want := Parked{Position: 5, Reason: webhookgatewayv1.ParkReason_PARK_REASON_REJECTED, Message: "no such account", Attempts: 1, HasRecord: true}
	if len(parked) != 1 || parked[0].Time.IsZero() {
		t.Fatalf("parked %+v", parked)
	}
	if got := string(parked[0].Record.Subject()); got != "5" {
		t.Errorf("the copy is of the subject %q, want 5", got)
	}
	parked[0].Time, parked[0].Record = time.Time{}, eventlog.Record{}
	if diff := gocmp.Diff(want, parked[0], cmpopts.IgnoreUnexported(eventlog.Record{})); diff != "" {
		t.Errorf("parked (-want +got):\n%s", diff)
	}
	g.wantAck(t, resultOK, again...)

	n, unknown, err := g.manager.Replay(t.Context(), "s", []eventlog.Position{4, 5})
	if n != 1 || !slices.Equal(unknown, []eventlog.Position{4}) || err != nil {
		t.Errorf("Replay() = %d, %v, %v", n, unknown, err)
	}
	g = g.crash(t)
	if got := g.cursor(t); got != 6 {
		t.Errorf("cursor %d, want 6", got)
	}
	replayed := next(t, g.attach(t), 1)
	wantDeliveries(t, replayed, "5/1")
	g.wantAck(t, resultOK, replayed...)
	g = g.crash(t)
	if batch, err := g.attach(t).Next(t.Context(), 10); err != nil || !batch.CaughtUp || len(batch.Deliveries) > 0 {
		t.Errorf("Next() = %+v, %v, want caught up", batch, err)
	}
}

// TestCrashWhileAcknowledging crashes at any moment: an event is acknowledged
// with OK, or delivered again.
func TestCrashWhileAcknowledging(t *testing.T) {
	g := startGateway(t, pebblelogtest.NewDisk())
	const events = 300
	for range events {
		g.append(t, "a", "")
	}
	g.create(t, "s", nil)
	var mu sync.Mutex
	acknowledged := make(map[eventlog.Position]bool)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var workers sync.WaitGroup
	for range 4 {
		stream := g.attach(t)
		workers.Go(func() {
			defer stream.Close()
			for {
				batch, err := stream.Next(ctx, 3)
				if err != nil {
					return
				}
				results, err := g.manager.Acknowledge(t.Context(), "s", tokens(batch.Deliveries...))
				if err != nil {
					t.Error(err)
				}
				mu.Lock()
				for i, r := range results {
					if r == resultOK {
						acknowledged[batch.Deliveries[i].Position] = true
					}
				}
				if len(acknowledged) > events/2 {
					cancel()
				}
				mu.Unlock()
			}
		})
	}
	for ctx.Err() == nil {
		mu.Lock()
		before := make(map[eventlog.Position]bool, len(acknowledged))
		for p := range acknowledged {
			before[p] = true
		}
		mu.Unlock()
		crashed := g.crash(t)
		stream := crashed.attach(t)
		crashed.setCredit(t, stream, events)
		seen := make(map[eventlog.Position]bool)
		for {
			batch, err := stream.Next(t.Context(), 1000)
			if err != nil {
				t.Fatal(err)
			}
			for _, d := range batch.Deliveries {
				if before[d.Position] {
					t.Errorf("event %d was acknowledged and is delivered", d.Position)
				}
				seen[d.Position] = true
			}
			if batch.CaughtUp {
				break
			}
		}
		recovered := crashed.manager.byName["s"]
		for p := eventlog.Position(1); p <= events; p++ {
			recovered.mu.Lock()
			settled := recovered.machine.isSettled(p)
			recovered.mu.Unlock()
			if seen[p] == settled {
				t.Errorf("event %d is delivered: %t, and settled: %t", p, seen[p], settled)
			}
		}
		stream.Close()
	}
	workers.Wait()
}
