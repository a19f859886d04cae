package subscription

import (
	"context"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	webhookgatewayv1 "github.com/webhook-gateway/webhook-gateway/gen/webhookgateway/v1"
	"github.com/webhook-gateway/webhook-gateway/server/eventlog"
	"github.com/webhook-gateway/webhook-gateway/server/eventlog/pebblelog"
)

// BenchmarkAges looks at the oldest events of 1,000 subscriptions, none of which is known:
// what is done every two seconds, at most.
func BenchmarkAges(b *testing.B) {
	const subscriptions = 1000
	g := startOnFiles(b)
	for i := range subscriptions {
		g.create(b, fmt.Sprintf("s%d", i), nil)
	}
	fill(b, g.log, subscriptions)
	all := g.manager.all()
	for i, s := range all {
		p := eventlog.Position(i)
		s.machine.seek(p)
		s.machine.offer([]offer{{position: p + 1}}, p+1)
	}
	for b.Loop() {
		for _, s := range all {
			s.oldest = oldestEvent{}
			s.lookAtOldest(b.Context())
		}
	}
}

// BenchmarkWorkers has 8 workers take events of one subscription from a log on
// disk, read them and acknowledge them in batches, durably.
func BenchmarkWorkers(b *testing.B) {
	const workers = 8
	for _, ordering := range []webhookgatewayv1.Ordering{webhookgatewayv1.Ordering_ORDERING_NONE, webhookgatewayv1.Ordering_ORDERING_BY_SUBJECT} {
		for _, batch := range []int{10, 100, 1000} {
			b.Run(fmt.Sprintf("%v/batch=%d", ordering, batch), func(b *testing.B) {
				g := startOnFiles(b)
				fill(b, g.log, b.N)
				g.create(b, "s", &webhookgatewayv1.SubscriptionSettings{Ordering: ordering})
				ctx, cancel := context.WithCancel(b.Context())
				defer cancel()
				var settled atomic.Int64
				var group sync.WaitGroup
				b.ResetTimer()
				for range workers {
					group.Go(func() {
						stream, err := g.manager.Attach("s", StreamOptions{})
						if err != nil {
							b.Error(err)
							return
						}
						defer stream.Close()
						var tokens []string
						for {
							got, err := stream.Next(ctx, batch)
							if err != nil {
								return
							}
							tokens = tokens[:0]
							for event, err := range stream.Read(ctx, stream.Sending(got.Deliveries)) {
								if err != nil {
									b.Error(err)
									return
								}
								tokens = append(tokens, event.AckToken())
							}
							if _, err := g.manager.Acknowledge(b.Context(), "s", tokens); err != nil {
								b.Error(err)
							}
							if settled.Add(int64(len(tokens))) == int64(b.N) {
								cancel()
							}
						}
					})
				}
				group.Wait()
				b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "events/s")
			})
		}
	}
}

func fill(b *testing.B, log *pebblelog.Log, events int) {
	var next atomic.Int64
	var group sync.WaitGroup
	for range 256 {
		group.Go(func() {
			for i := next.Add(1); i <= int64(events); i = next.Add(1) {
				if _, err := log.Append(context.Background(), logEntry(b, "client", fmt.Sprint(i%1000))); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	group.Wait()
}

// BenchmarkInFlightMemory holds a million events, each of a subject of its own,
// then settles every second one.
func BenchmarkInFlightMemory(b *testing.B) {
	const events = 1_000_000
	for b.Loop() {
		before := heapBytes()
		s := defaultSettings()
		s.ordering = webhookgatewayv1.Ordering_ORDERING_BY_SUBJECT
		s.maxInFlight, s.maxInFlightPerStream = events, events
		now := time.Now()
		m := newMachine(s, 0, 1, now)
		m.connect(1, 0)
		for p := eventlog.Position(1); p <= events; p += feedEvents {
			var offers []offer
			for q := p; q < p+feedEvents && q <= events; q++ {
				offers = append(offers, offer{q, uint64(q) * 0x9e3779b97f4a7c15})
			}
			m.offer(offers, offers[len(offers)-1].position)
			m.workers[1].credit = events
			m.want(1, events)
			for w, share := m.next(); w != nil; w, share = m.next() {
				m.deliver(w, share, now)
			}
		}
		m.takeChanges()
		if m.held != events {
			b.Fatalf("%d events are held", m.held)
		}
		b.ReportMetric(float64(heapBytes()-before)/1e6, "MB-held")
		for s := slot(2); s <= events; s += 2 {
			m.settle(s)
		}
		m.takeChanges()
		b.ReportMetric(float64(heapBytes()-before)/1e6, "MB-half-settled")
		runtime.KeepAlive(m)
	}
}

func heapBytes() uint64 {
	runtime.GC()
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	return stats.HeapAlloc
}

// BenchmarkMachine delivers and settles events.
func BenchmarkMachine(b *testing.B) {
	for ordering, name := range webhookgatewayv1.Ordering_name {
		if ordering == 0 {
			continue
		}
		b.Run(name, func(b *testing.B) {
			s := defaultSettings()
			s.ordering = webhookgatewayv1.Ordering(ordering)
			now := time.Now()
			m := newMachine(s, 0, 1, now)
			m.connect(1, 0)
			b.ReportAllocs()
			for p := eventlog.Position(1); b.Loop(); p++ {
				m.offer([]offer{{p, uint64(p) % 1000}}, p)
				if p%100 == 0 {
					m.workers[1].credit = 100
					m.want(1, 100)
					w, share := m.next()
					for _, d := range m.deliver(w, share, now) {
						m.sending(d.lease, now)
						m.acknowledge(d.lease, now)
					}
					m.takeChanges()
				}
			}
		})
	}
}

// BenchmarkToken makes a token and parses it.
func BenchmarkToken(b *testing.B) {
	seal := newSeal(newSealKey())
	buf := make([]byte, 0, TokenLen)
	b.ReportAllocs()
	for p := eventlog.Position(1); b.Loop(); p++ {
		buf = seal.appendToken(buf[:0], lease{position: p, number: 1 << termShift, slot: 1})
		if _, ok := seal.parseToken(string(buf)); !ok {
			b.Fatal("the token is not known")
		}
	}
}
