package subscription

import (
	"context"
	"fmt"
	"runtime"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	webhookgatewayv1 "github.com/webhook-gateway/webhook-gateway/gen/webhookgateway/v1"
	"github.com/webhook-gateway/webhook-gateway/server/eventlog"
	"github.com/webhook-gateway/webhook-gateway/server/eventlog/pebblelog/pebblelogtest"
)

// take returns up to n deliveries, which are taken for sent.
func take(t testing.TB, stream *Stream, n int) []Delivery {
	t.Helper()
	batch, err := stream.Next(t.Context(), n)
	if err != nil {
		t.Fatalf("Next() = %v", err)
	}
	return stream.Sending(batch.Deliveries)
}

// park parks the next n events.
func (g *gateway) park(t testing.TB, stream *Stream, n int) {
	t.Helper()
	for n > 0 {
		d := take(t, stream, n)
		wantResults(t, resultOK, func() ([]webhookgatewayv1.TokenResult, error) {
			return g.manager.Park(t.Context(), "s", tokens(d...), "bad")
		})
		n -= len(d)
	}
}

func (g *gateway) parked(t testing.TB, after eventlog.Position, limit int) []eventlog.Position {
	t.Helper()
	list, err := g.manager.ListParked(t.Context(), "s", after, limit, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	var positions []eventlog.Position
	for _, p := range list {
		positions = append(positions, p.Position)
	}
	return positions
}

// A parked event is kept after the log has removed it, through its replay, until
// it is settled.
func TestParkedOutlivesLog(t *testing.T) {
	g := startGateway(t, pebblelogtest.NewDisk())
	g.append(t, "a", "1", "2", "3")
	g.create(t, "s", &webhookgatewayv1.SubscriptionSettings{MinBackoff: durationpb.New(0)})
	g.park(t, g.attach(t), 3)
	if err := g.log.Trim(t.Context(), 3); err != nil {
		t.Fatal(err)
	}
	g = g.crash(t)
	if got := g.parked(t, 0, 2); !slices.Equal(got, []eventlog.Position{1, 2}) {
		t.Errorf("parked %v, want 1 and 2", got)
	}
	if got := g.parked(t, 2, 2); !slices.Equal(got, []eventlog.Position{3}) {
		t.Errorf("parked %v, want 3", got)
	}
	n, unknown, err := g.manager.Replay(t.Context(), "s", []eventlog.Position{2, 9})
	if n != 1 || !slices.Equal(unknown, []eventlog.Position{9}) || err != nil {
		t.Fatalf("Replay() = %d, %v, %v", n, unknown, err)
	}
	if got := g.parked(t, 0, 10); !slices.Equal(got, []eventlog.Position{1, 3}) {
		t.Errorf("parked %v, want 1 and 3", got)
	}
	for range 2 {
		g = g.crash(t)
		stream := g.attach(t)
		d := next(t, stream, 1)
		read := 0
		for event, err := range stream.Read(t.Context(), d) {
			if err != nil || string(event.Record.Subject()) != "2" {
				t.Errorf("read %q, %v", event.Record.Subject(), err)
			}
			read++
		}
		if read != 1 {
			t.Errorf("%d events read, want 1", read)
		}
		wantResults(t, resultOK, func() ([]webhookgatewayv1.TokenResult, error) {
			return g.manager.Retry(t.Context(), "s", tokens(d...), 0, "")
		})
		d = next(t, stream, 1)
		wantResults(t, resultOK, func() ([]webhookgatewayv1.TokenResult, error) {
			return g.manager.Park(t.Context(), "s", tokens(d...), "again")
		})
		if n, _, err := g.manager.Replay(t.Context(), "s", []eventlog.Position{2}); n != 1 || err != nil {
			t.Fatalf("Replay() = %d, %v", n, err)
		}
	}
	g.wantAck(t, resultOK, next(t, g.attach(t), 1)...)
	if n, err := g.discardAll(t); n != 2 || err != nil {
		t.Errorf("Discard() = %d, %v, want 2", n, err)
	}
	if got := g.status(t); got.GetParkedEvents() != 0 || got.GetOldestParkedAge() != nil || got.GetGap() != nil {
		t.Errorf("status %v", got)
	}
	for pair, err := range g.log.ReadScope(t.Context(), "s", nil, nil) {
		if err != nil {
			t.Fatal(err)
		}
		if kind := pairKind(pair.Key[0]); kind == pairCopy || kind == pairParked || kind == pairParkedTime || kind == pairApart {
			t.Errorf("the pair %q is left", pair.Key)
		}
	}
}

func (g *gateway) discardAll(t testing.TB) (int, error) {
	n, _, err := g.manager.Discard(t.Context(), "s", nil)
	return n, err
}

// Replaying all delivers as many as may wait, and again the others later.
func TestReplayAll(t *testing.T) {
	g := startGateway(t, pebblelogtest.NewDisk())
	const events = 1700
	for range events {
		g.append(t, "a", "")
	}
	g.create(t, "s", &webhookgatewayv1.SubscriptionSettings{MaxWaiting: 1200})
	stream := g.attach(t)
	g.park(t, stream, events)
	for total := 0; total < events; {
		n, unknown, err := g.manager.Replay(t.Context(), "s", nil)
		if n == 0 || len(unknown) > 0 || err != nil {
			t.Fatalf("Replay() = %d, %v, %v", n, unknown, err)
		}
		total += n
		for settled := 0; settled < n; {
			d := take(t, stream, 1000)
			if len(d) > 0 && d[0].Attempt != 1 {
				t.Errorf("delivered %v, want attempts counted anew", positions(d[:1]))
			}
			g.wantAck(t, resultOK, d...)
			settled += len(d)
		}
	}
	if got := g.status(t); got.GetParkedEvents() != 0 || got.GetWaitingEvents() != 0 {
		t.Errorf("status %v", got)
	}
}

// Parked events that are older than the subscription keeps them are removed.
func TestParkedRetention(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := startGateway(t, pebblelogtest.NewDisk())
		for range 3000 {
			g.append(t, "a", "")
		}
		g.create(t, "s", &webhookgatewayv1.SubscriptionSettings{ParkedRetention: durationpb.New(2 * time.Hour)})
		stream := g.attach(t)
		g.park(t, stream, 2500)
		<-time.After(time.Hour)
		g.park(t, stream, 500)
		<-time.After(time.Hour + 10*time.Second)
		if got := g.status(t); got.GetParkedEvents() != 500 || got.GetOldestParkedAge().AsDuration() > time.Hour+time.Minute {
			t.Errorf("status %v", got)
		}
		if got := g.parked(t, 0, 1); !slices.Equal(got, []eventlog.Position{2501}) {
			t.Errorf("the first parked event is %v, want 2501", got)
		}
	})
}

// BenchmarkParked has a million events parked.
func BenchmarkParked(b *testing.B) {
	const events = 1_000_000
	g := startOnFiles(b)
	fill(b, g.log, events+10_000)
	g.create(b, "s", &webhookgatewayv1.SubscriptionSettings{MaxInFlight: 10_000, MaxInFlightPerStream: 10_000})
	stream := g.attach(b)
	before := heapBytes()
	started := time.Now()
	for parked := 0; parked < events; {
		g.setCredit(b, stream, 10_000)
		batch, err := stream.Next(b.Context(), min(5000, events-parked))
		if err != nil {
			b.Fatal(err)
		}
		d := stream.Sending(batch.Deliveries)
		if _, err := g.manager.Park(b.Context(), "s", tokens(d...), "bad"); err != nil {
			b.Fatal(err)
		}
		parked += len(d)
	}
	ms := func(what string, d time.Duration) { b.ReportMetric(float64(d.Microseconds())/1000, what+"-ms") }
	ms("park-million", time.Since(started))
	b.ReportMetric((float64(heapBytes())-float64(before))/1e6, "MB-more")
	timed := func(what string, f func() error) {
		started := time.Now()
		if err := f(); err != nil {
			b.Fatal(what, err)
		}
		ms(what, time.Since(started))
	}
	for _, after := range []eventlog.Position{0, events / 2, events - 100} {
		timed(fmt.Sprintf("page100-after-%d", after), func() error {
			_, err := g.manager.ListParked(b.Context(), "s", after, 100, 1<<20)
			return err
		})
	}
	for _, p := range []eventlog.Position{1, events / 2, events} {
		timed(fmt.Sprintf("replay-%d", p), func() error {
			_, _, err := g.manager.Replay(b.Context(), "s", []eventlog.Position{p})
			return err
		})
	}
	// Acknowledgements meanwhile.
	ctx, cancel := context.WithCancel(b.Context())
	var worst, count atomic.Int64
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			batch, err := stream.Next(ctx, 1)
			if err != nil {
				return
			}
			for _, d := range stream.Sending(batch.Deliveries) {
				started := time.Now()
				if _, err := g.manager.Acknowledge(b.Context(), "s", tokens(d)); err != nil {
					b.Error(err)
				}
				worst.Store(max(worst.Load(), int64(time.Since(started))))
				count.Add(1)
			}
		}
	}()
	for count.Load() < 200 {
		runtime.Gosched()
	}
	ms("worst-ack-before", time.Duration(worst.Swap(0)))
	timed("status", func() error { _, err := g.manager.Get(b.Context(), "s"); return err })
	timed("discard-10000", func() error {
		positions := make([]eventlog.Position, 10_000)
		for i := range positions {
			positions[i] = eventlog.Position(1000 + 7*i)
		}
		_, _, err := g.manager.Discard(b.Context(), "s", positions)
		return err
	})
	timed("discard-all", func() error { _, err := g.discardAll(b); return err })
	ms("worst-ack-meanwhile", time.Duration(worst.Load()))
	timed("page100-after-all", func() error {
		_, err := g.manager.ListParked(b.Context(), "s", 0, 100, 1<<20)
		return err
	})
	cancel()
	<-done
}

// BenchmarkWaitingMemory has a million events wait for another attempt.
func BenchmarkWaitingMemory(b *testing.B) {
	const events = 1_000_000
	for _, ordering := range []webhookgatewayv1.Ordering{webhookgatewayv1.Ordering_ORDERING_NONE, webhookgatewayv1.Ordering_ORDERING_BY_SUBJECT} {
		b.Run(ordering.String(), func(b *testing.B) {
			for b.Loop() {
				before := heapBytes()
				s := defaultSettings()
				s.ordering, s.maxWaiting = ordering, events
				now := time.Now()
				m := newMachine(s, 0, 1, now)
				m.connect(1, 0)
				for p := eventlog.Position(1); p <= events; p += 1000 {
					var offers []offer
					for q := p; q < p+1000; q++ {
						offers = append(offers, offer{q, uint64(q) * 0x9e3779b97f4a7c15})
					}
					m.offer(offers, p+999)
					m.workers[1].credit = 1000
					m.want(1, 1000)
					w, share := m.next()
					for _, d := range m.deliver(w, share, now) {
						m.retry(d.lease, time.Hour, "", now)
					}
					m.takeChanges()
				}
				if m.waitingEvents() != events {
					b.Fatalf("%d events wait", m.waitingEvents())
				}
				b.ReportMetric(float64(heapBytes()-before)/1e6, "MB")
				started := time.Now()
				m.trim(events / 2)
				b.ReportMetric(float64(time.Since(started).Milliseconds()), "ms-trim-half")
				runtime.KeepAlive(m)
			}
		})
	}
}
