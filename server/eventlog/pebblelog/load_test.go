package pebblelog

import (
	"fmt"
	"maps"
	"strings"
	"sync"
	"testing"
	"time"

	webhookgatewayv1 "github.com/webhook-gateway/webhook-gateway/gen/webhookgateway/v1"
	"github.com/webhook-gateway/webhook-gateway/server/eventlog"
	"github.com/webhook-gateway/webhook-gateway/server/eventlog/eventlogtest"
)

// load appends from many goroutines, again and again until each event is
// acknowledged, as providers do.
type load struct {
	log   *Log
	body  string
	mu    sync.Mutex
	acked map[string]acknowledged // by event id
}

// acknowledged is what a subscriber may hold of an event.
type acknowledged struct {
	position eventlog.Position
	cursor   string
}

func newLoad(log *Log) *load {
	return &load{log: log, body: strings.Repeat("x", 2000), acked: make(map[string]acknowledged)}
}

func (l *load) run(t *testing.T, name string, events int) {
	var group sync.WaitGroup
	defer group.Wait()
	const appenders = 8
	for a := range appenders {
		group.Go(func() {
			for i := range events / appenders {
				l.appendUntilAcked(t, fmt.Sprintf("%s-%d-%d", name, a, i))
			}
		})
	}
}

func (l *load) appendUntilAcked(t *testing.T, id string) {
	for {
		receipt, err := l.log.Append(t.Context(), eventlogtest.Entry(t, "client", id, id+l.body))
		if err == nil {
			l.mu.Lock()
			defer l.mu.Unlock()
			l.acked[id] = acknowledged{receipt.Position, l.log.History().FormatCursor(receipt.Position)}
			return
		}
		select {
		case <-time.After(time.Millisecond):
		case <-t.Context().Done():
			t.Errorf("event %s was never acknowledged: %v", id, err)
			return
		}
	}
}

func (l *load) count() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.acked)
}

func (l *load) snapshot() map[string]acknowledged {
	l.mu.Lock()
	defer l.mu.Unlock()
	return maps.Clone(l.acked)
}

// verify checks that every acknowledged event is there once, at its position, that
// its cursor still names it, and that positions have no holes.
func (l *load) verify(t *testing.T, log *Log, acked map[string]acknowledged) {
	t.Helper()
	found := make(map[string]eventlog.Position)
	next := eventlog.Position(1)
	for record, err := range log.Read(t.Context(), 0) {
		if err != nil {
			t.Fatalf("Read() = %v", err)
		}
		if record.Position != next {
			t.Fatalf("event %d came, want %d", record.Position, next)
		}
		next++
		event, err := record.Event(log.History(), webhookgatewayv1.EventView_EVENT_VIEW_RAW)
		if err != nil {
			t.Fatal(err)
		}
		id, ok := strings.CutSuffix(string(event.GetRawBody()), l.body)
		if !ok {
			t.Fatalf("event %d has another body", record.Position)
		}
		if other, ok := found[id]; ok {
			t.Errorf("event %s is there twice, at %d and %d", id, other, record.Position)
		}
		found[id] = record.Position
	}
	for id, a := range acked {
		if found[id] != a.position {
			t.Errorf("event %s was acknowledged at %d and is at %d", id, a.position, found[id])
		}
		if p, err := log.History().ParseCursor(a.cursor); err != nil || p != a.position {
			t.Errorf("the cursor of event %d gives %d, %v", a.position, p, err)
		}
	}
}
