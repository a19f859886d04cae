package subscription

import (
	"context"
	"errors"
	"iter"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/webhook-gateway/webhook-gateway/server/eventlog"
	"github.com/webhook-gateway/webhook-gateway/server/eventlog/pebblelog/pebblelogtest"
)

// rottenLog has events that cannot be read.
type rottenLog struct {
	eventlog.Log
	after, upTo eventlog.Position
}

func (l rottenLog) Read(ctx context.Context, after eventlog.Position) iter.Seq2[eventlog.Record, error] {
	return func(yield func(eventlog.Record, error) bool) {
		for record, err := range l.Log.Read(ctx, after) {
			if err == nil && record.Position > l.after && record.Position <= l.upTo {
				yield(eventlog.Record{}, &eventlog.DamagedError{After: max(after, l.after), UpTo: l.upTo, Err: errors.New("rot")})
				return
			}
			if !yield(record, err) {
				return
			}
		}
	}
}

// A preview that could not look at every event says so, and counts those that it has looked at.
func TestPreviewIsNotExact(t *testing.T) {
	t.Parallel()
	g := startGateway(t, pebblelogtest.NewDisk())
	g.create(t, "s", nil)
	const events = previewCheck + 44
	keys := make([]string, events)
	for i := range keys {
		keys[i] = string(rune('A' + i))
	}
	g.append(t, "client", keys...)
	s, err := g.manager.find("s")
	if err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		log      eventlog.Log
		patience time.Duration
		head     eventlog.Position
		want     Preview
	}{
		"in time":           {g.log, time.Hour, events, Preview{events, events, 100, true}},
		"too slow":          {g.log, -time.Second, events, Preview{events, previewCheck, 100, false}},
		"just in time":      {g.log, -time.Second, previewCheck, Preview{previewCheck, previewCheck, 100, true}},
		"damaged events":    {rottenLog{g.log, 90, 110}, time.Hour, events, Preview{events, events - 20, 90, false}},
		"a damaged end":     {rottenLog{g.log, 200, events}, time.Hour, events, Preview{events, 200, 100, false}},
		"only damaged":      {rottenLog{g.log, 0, events}, time.Hour, events, Preview{events, 0, 0, false}},
		"damaged, and slow": {rottenLog{g.log, 10, 20}, -time.Second, events, Preview{events, 10 + previewCheck, 90, false}},
	} {
		search := search{log: test.log, filter: s.def.filter, cursor: 100, head: test.head, until: time.Now().Add(test.patience), turn: g.manager.searching}
		got, err := search.run(t.Context(), 0)
		if err != nil || got != test.want {
			t.Errorf("%s: %+v, %v; want %+v", name, got, err, test.want)
		}
	}
}

// alternatingLog fails the test if two read it at the same time.
type alternatingLog struct {
	eventlog.Log
	t       *testing.T
	reading *atomic.Int64
}

func (l alternatingLog) Read(ctx context.Context, after eventlog.Position) iter.Seq2[eventlog.Record, error] {
	begin := func() {
		if l.reading.Add(1) > 1 {
			l.t.Error("two previews read the log at the same time")
		}
		runtime.Gosched()
	}
	return func(yield func(eventlog.Record, error) bool) {
		begin()
		for record, err := range l.Log.Read(ctx, after) {
			l.reading.Add(-1)
			if !yield(record, err) {
				return
			}
			begin()
		}
		l.reading.Add(-1)
	}
}

// Previews take turns, so that those who ask for many keep one core busy and not all.
func TestPreviewsTakeTurns(t *testing.T) {
	t.Parallel()
	g := startGateway(t, pebblelogtest.NewDisk())
	g.create(t, "s", nil)
	const events = 3*previewCheck + 1
	for range events {
		g.append(t, "client", "")
	}
	s, err := g.manager.find("s")
	if err != nil {
		t.Fatal(err)
	}
	begin := func(patience time.Duration) search {
		return search{
			log: alternatingLog{g.log, t, new(atomic.Int64)}, filter: s.def.filter, head: events,
			until: time.Now().Add(patience), turn: g.manager.searching,
		}
	}
	var all sync.WaitGroup
	log := begin(0).log
	for range 8 {
		all.Go(func() {
			one := begin(time.Hour)
			one.log = log
			if got, err := one.run(t.Context(), 0); err != nil || got != (Preview{events, events, 0, true}) {
				t.Errorf("a preview among others: %+v, %v", got, err)
			}
		})
	}
	all.Wait()

	<-g.manager.searching // it is not their turn
	late := begin(-time.Second)
	if got, err := late.run(t.Context(), 0); err != nil || got != (Preview{events, 0, 0, false}) {
		t.Errorf("a preview whose turn did not come in time: %+v, %v", got, err)
	}
	gone, leave := context.WithCancel(t.Context())
	leave()
	if _, err := g.manager.PreviewSeek(gone, "s", 0); !errors.Is(err, context.Canceled) {
		t.Errorf("a preview that nobody waits for: %v", err)
	}
	g.manager.searching <- struct{}{}
	if got, err := g.manager.PreviewSeek(t.Context(), "s", 0); err != nil || got.Events != events {
		t.Errorf("a preview after those: %+v, %v", got, err)
	}
}

// A subscription is previewed while its workers acknowledge, and until it is deleted: what was
// settled only becomes more.
func TestPreviewWhileAcknowledging(t *testing.T) {
	t.Parallel()
	const workers, previewers, events = 4, 4, 200
	g := startGateway(t, pebblelogtest.NewDisk())
	for range events {
		g.append(t, "a", "")
	}
	for range 3 {
		g.create(t, "s", nil)
		var settled atomic.Int64
		var enough sync.Once
		half := make(chan struct{})
		var all sync.WaitGroup
		for range workers {
			stream := g.attach(t)
			all.Go(func() {
				defer stream.Close()
				for {
					batch, err := stream.Next(t.Context(), 4)
					if errors.Is(err, ErrNotFound) {
						return
					} else if err != nil {
						t.Errorf("Next() = %v", err)
						return
					}
					sent := stream.Sending(batch.Deliveries)
					if _, err := g.manager.Acknowledge(t.Context(), "s", tokens(sent...)); err != nil && !errors.Is(err, ErrNotFound) {
						t.Errorf("Acknowledge() = %v", err)
						return
					}
					if settled.Add(int64(len(sent))) >= events/2 {
						enough.Do(func() { close(half) })
					}
				}
			})
		}
		for range previewers {
			all.Go(func() {
				for before := int64(0); ; {
					got, err := g.manager.PreviewSeek(t.Context(), "s", 0)
					if errors.Is(err, ErrNotFound) {
						return
					}
					if err != nil || got.Events != events || got.Exact && got.Matching != events || got.Exact && got.Repeated < before {
						t.Errorf("%+v, %v after %d were to come again", got, err, before)
						return
					}
					if got.Exact {
						before = got.Repeated
					}
				}
			})
		}
		<-half
		if err := g.manager.Delete(t.Context(), "s"); err != nil {
			t.Fatal(err)
		}
		all.Wait()
	}
}
