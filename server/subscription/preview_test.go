package subscription

import (
	"context"
	"errors"
	"iter"
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
		search := search{log: test.log, filter: s.def.filter, cursor: 100, head: test.head, until: time.Now().Add(test.patience)}
		got, err := search.run(t.Context(), 0)
		if err != nil || got != test.want {
			t.Errorf("%s: %+v, %v; want %+v", name, got, err, test.want)
		}
	}
}
