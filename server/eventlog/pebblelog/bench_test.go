package pebblelog

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	vezgov1 "github.com/webhook-gateway/webhook-gateway/gen/vezgo/v1"
	webhookgatewayv1 "github.com/webhook-gateway/webhook-gateway/gen/webhookgateway/v1"
	"github.com/webhook-gateway/webhook-gateway/server/eventlog"
)

// benchBody is a body that compresses about as well as those of providers.
func benchBody(size int) []byte {
	random := rand.New(rand.NewPCG(1, 2))
	body := []byte(`{"data":"`)
	for len(body) < size {
		body = fmt.Appendf(body, `account %x available `, random.Uint64())
	}
	return body[:size]
}

func benchEntry(tb testing.TB, body []byte, eventID string) eventlog.Entry {
	entry, err := eventlog.NewEntry(&webhookgatewayv1.Event{
		Provider: webhookgatewayv1.Provider_PROVIDER_VEZGO,
		Type:     webhookgatewayv1.EventType_EVENT_TYPE_VEZGO_SYNC_ACCOUNT,
		ClientId: "client",
		Payload:  &webhookgatewayv1.Event_Vezgo{Vezgo: &vezgov1.SyncEvent{}},

		ProviderEventId: eventID,
		RawBody:         body,
	})
	if err != nil {
		tb.Fatal(err)
	}
	return entry
}

func BenchmarkAppend(b *testing.B) {
	body := benchBody(750)
	for _, ids := range []bool{false, true} {
		for _, appenders := range []int{1, 64, 256} {
			b.Run(fmt.Sprintf("ids=%t/appenders=%d", ids, appenders), func(b *testing.B) {
				log := mustOpen(b, testConfig(b.TempDir()))
				var next atomic.Int64
				b.SetBytes(int64(benchEntry(b, body, "").Size()))
				b.ReportAllocs()
				b.ResetTimer()
				var group sync.WaitGroup
				for range appenders {
					group.Go(func() {
						for {
							i := next.Add(1)
							if i > int64(b.N) {
								return
							}
							id := ""
							if ids {
								id = fmt.Sprintf("%016x-%016x", uint64(i)*0x9e3779b97f4a7c15, i)
							}
							if _, err := log.Append(b.Context(), benchEntry(b, body, id)); err != nil {
								b.Error(err)
								return
							}
						}
					})
				}
				group.Wait()
				b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "appends/s")
			})
		}
	}
}

// fill stores events without waiting for each, many times faster than Append.
func fill(tb testing.TB, log *Log, body []byte, events int) {
	const step = 1000
	for done := 0; done < events; done += step {
		requests := make([]*request, min(step, events-done))
		for i := range requests {
			requests[i] = log.queue.request()
			requests[i].entry = benchEntry(tb, body, "")
			if err := log.queue.put(context.Background(), requests[i]); err != nil {
				tb.Fatal(err)
			}
		}
		for _, r := range requests {
			<-r.done
			if r.err != nil {
				tb.Fatal(r.err)
			}
		}
	}
}

func BenchmarkReadCatchUp(b *testing.B) {
	const events = 300_000
	config := testConfig(b.TempDir())
	log := mustOpen(b, config)
	fill(b, log, benchBody(750), events)
	if err := log.Close(); err != nil {
		b.Fatal(err)
	}
	log = mustOpen(b, config)
	b.ReportAllocs()
	for b.Loop() {
		n := 0
		for _, err := range log.Read(b.Context(), 0) {
			if err != nil {
				b.Fatal(err)
			}
			n++
		}
		if n != events {
			b.Fatalf("read %d events, want %d", n, events)
		}
	}
	b.ReportMetric(float64(b.N)*events/b.Elapsed().Seconds(), "events/s")
}

func BenchmarkReadLive(b *testing.B) {
	const events = 10_000
	log := mustOpen(b, testConfig(b.TempDir()))
	fill(b, log, benchBody(750), events)
	b.ReportAllocs()
	for b.Loop() {
		for record, err := range log.Read(b.Context(), 0) {
			if err != nil || !record.Live {
				b.Fatal(record.Live, err)
			}
		}
	}
	b.ReportMetric(float64(b.N)*events/b.Elapsed().Seconds(), "events/s")
}

// BenchmarkOpen opens a log of ten million events that was not closed: the part
// that was not flushed is recovered.
func BenchmarkOpen(b *testing.B) {
	if testing.Short() {
		b.Skip("writes 10 million events")
	}
	const events = 10_000_000
	config := testConfig(b.TempDir())
	log := mustOpen(b, config)
	fill(b, log, benchBody(100), events)
	log.store.fence.fail(errCrash)
	if err := log.Close(); err != nil {
		b.Fatal(err)
	}
	b.ResetTimer()
	for b.Loop() {
		log, err := Open(config, testLogger())
		if err != nil {
			b.Fatal(err)
		}
		if head := log.Bounds().Head; head != events {
			b.Fatalf("head %d, want %d", head, events)
		}
		log.store.fence.fail(errCrash)
		if err := log.Close(); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkBarePebble is what Append is measured against: one writer that puts 64
// values of the same size in a synced batch.
func BenchmarkBarePebble(b *testing.B) {
	body := benchBody(800)
	s, err := openStore(testConfig(b.TempDir()), eventlog.NewID(), headMark{}, vfs.Default, testLogger())
	if err != nil {
		b.Fatal(err)
	}
	defer func() {
		if err := s.close(); err != nil {
			b.Error(err)
		}
	}()
	position := eventlog.Position(0)
	b.ResetTimer()
	start := time.Now()
	for done := 0; done < b.N; done += 64 {
		batch := s.db.NewBatch()
		for range 64 {
			position++
			if err := batch.Set(eventKey(position), body, nil); err != nil {
				b.Fatal(err)
			}
		}
		if err := errors.Join(batch.Commit(pebble.Sync), batch.Close()); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.N)/time.Since(start).Seconds(), "appends/s")
}
