package subscription

import (
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	webhookgatewayv1 "github.com/webhook-gateway/webhook-gateway/gen/webhookgateway/v1"
	"github.com/webhook-gateway/webhook-gateway/server/eventlog"
)

// TestModel runs random commands against the machine and a model that is simple
// because it looks at every event each time.
func TestModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		h := newHarness(t)
		t.Repeat(map[string]func(*rapid.T){
			"":           h.check,
			"append":     h.append,
			"feed":       h.feed,
			"connect":    h.connect,
			"disconnect": h.disconnect,
			"deliver":    h.deliver,
			"send":       h.send,
			"ack":        h.ack,
			"retry":      h.retry,
			"release":    h.release,
			"park":       h.park,
			"extend":     h.extend,
			"commit":     h.commitCursor,
			"pass":       h.pass,
			"durable":    h.durable,
			"fail":       h.failFlush,
			"crash":      h.crash,
			"seek":       h.seek,
			"trim":       h.trim,
			"gap":        h.gap,
			"gap sent":   h.gapSent,
			"replay":     h.replay,
			"discard":    h.discard,
			"configure":  h.configure,
			"refilter":   h.refilter,
		})
		h.drain(t)
	})
}

// modelEvent is what the model knows of an event.
type modelEvent struct {
	hash     uint64
	settled  bool // or passed over, because no filter matched it
	parked   bool
	apart    bool
	copied   bool
	handed   bool
	beside   bool // held with one whose deadline passed
	lost     bool // removed before it was delivered, and nobody was told
	attempts int
	limit    int
	rounds   int
	stream   uint32
	sent     bool
	lease    lease
	due      time.Time // of the delivery
	ready    time.Time // of the next attempt
}

// modelGap is a gap that somebody is told of.
type modelGap struct {
	stream   uint32 // 0: nobody
	lease    uint64
	forgetAt time.Time
}

type harness struct {
	machine  *machine
	settings settings
	filter   int
	now      time.Time
	term     uint64
	events   []modelEvent // by position, from 1
	trimmed  eventlog.Position
	streams  []uint32
	last     uint32
	leases   []lease // all ever given out
	sought   uint64  // the newest lease when the subscription was moved last
	told     modelGap

	// What is durable, and what the model knew then.
	store    map[string]string
	parked   map[eventlog.Position]bool
	snapshot []modelEvent
	fenced   uint64 // sought, then
}

func drawSettings(t *rapid.T) settings {
	s := defaultSettings()
	s.ackDeadline = 10 * time.Second
	if s.maxAttempts = rapid.IntRange(0, 4).Draw(t, "max_attempts"); s.maxAttempts == 0 {
		s.maxAttempts = neverPark
	}
	s.minBackoff = time.Duration(rapid.IntRange(0, 2).Draw(t, "min_backoff")) * time.Second
	s.maxBackoff = 5 * time.Second
	s.maxInFlightPerStream = rapid.IntRange(1, 8).Draw(t, "max_in_flight_per_stream")
	s.maxInFlight = rapid.IntRange(1, 12).Draw(t, "max_in_flight")
	s.maxWaiting = rapid.IntRange(1, 12).Draw(t, "max_waiting")
	s.ordering = webhookgatewayv1.Ordering(rapid.Int32Range(1, 3).Draw(t, "ordering"))
	return s
}

func newHarness(t *rapid.T) *harness {
	h := &harness{
		settings: drawSettings(t),
		now:      time.Unix(1_700_000_000, 0),
		term:     1,
		events:   make([]modelEvent, 1),
		store:    make(map[string]string),
		parked:   make(map[eventlog.Position]bool),
	}
	h.machine = newMachine(h.settings, 0, h.term, h.now)
	h.machine.touch(pairPlace, 0)
	h.durable(t)
	return h
}

func (h *harness) check(t *rapid.T) {
	held, known := 0, 0
	for p := range h.events {
		e := &h.events[p]
		if e.stream != 0 {
			held++
		}
		q := eventlog.Position(p)
		if p > 0 && q <= h.machine.cursor && !e.settled && !e.apart {
			if h.wanted(p) {
				t.Fatalf("the cursor %d passed event %d, which is not settled", h.machine.cursor, p)
			}
			e.settled = true
		}
		if p > 0 && h.wanted(p) && !e.apart && e.stream == 0 && q <= h.machine.read {
			known++
		}
		if e.lost && !slices.ContainsFunc(h.machine.gaps, func(g untoldGap) bool { return q > g.From && q <= g.To }) {
			t.Fatalf("event %d is lost, and in no gap of %v", p, h.machine.gaps)
		}
	}
	if held != h.machine.held || known != h.machine.readyEvents() || h.waiting() != h.machine.waitingEvents() {
		t.Fatalf("%d events are held, %d ready and %d waiting, want %d, %d and %d",
			h.machine.held, h.machine.readyEvents(), h.machine.waitingEvents(), held, known, h.waiting())
	}
	probers := 0
	for _, id := range h.streams {
		w := h.machine.workers[id]
		mine, n := h.heldBy(id)
		if len(mine) != w.held.len() || n != w.sent {
			t.Fatalf("stream %d holds %d events, %d sent, want %d and %d", id, w.held.len(), w.sent, len(mine), n)
		}
		if w.probing {
			probers++
		}
		for _, p := range mine {
			if e := &h.events[p]; (e.limit > 0) != w.probing || e.limit > 0 && len(mine) > e.limit {
				t.Fatalf("stream %d holds %d events, one of them a suspect with limit %d", id, len(mine), e.limit)
			}
		}
	}
	if probers > 1 {
		t.Fatalf("%d streams probe", probers)
	}
}

func (h *harness) checkBatch(t *rapid.T, id uint32, deliveries []Delivery, full bool) {
	before, _ := h.heldBy(id)
	waiting := h.waiting()
	last := eventlog.Position(0)
	for _, d := range deliveries {
		p := int(d.Position)
		e := &h.events[p]
		switch {
		case len(h.leases) > 0 && d.lease.number <= h.leases[len(h.leases)-1].number:
			t.Fatalf("lease %d after %d", d.lease.number, h.leases[len(h.leases)-1].number)
		case d.Position <= last:
			t.Fatalf("event %d after %d in a batch", p, last)
		case e.settled:
			t.Fatalf("event %d was delivered, and is settled", p)
		case !h.wanted(p):
			t.Fatalf("event %d was delivered, and matches no filter", p)
		case e.stream != 0:
			t.Fatalf("event %d was delivered, and is held by stream %d", p, e.stream)
		case h.now.Before(e.ready):
			t.Fatalf("event %d was delivered %v before its wait ended", p, e.ready.Sub(h.now))
		case d.Attempt != e.attempts+1:
			t.Fatalf("attempt %d of event %d, want %d", d.Attempt, p, e.attempts+1)
		case d.copied != e.copied:
			t.Fatalf("event %d is copied: %t, want %t", p, d.copied, e.copied)
		case full && !e.apart && !e.handed && waiting >= h.settings.maxWaiting:
			t.Fatalf("event %d was delivered while %d wait", p, waiting)
		case e.limit > 0 && len(before) > 0 && h.events[before[0]].limit == 0:
			t.Fatalf("suspect %d was delivered to a stream that holds others", p)
		}
		if g := h.group(p); g != 0 {
			for q := 1; q < p; q++ {
				if h.group(q) == g && h.wanted(q) && h.events[q].stream != id {
					t.Fatalf("event %d was delivered to stream %d before event %d of its group was settled", p, id, q)
				}
			}
		}
		if e.apart {
			waiting--
		}
		e.handed, e.beside = true, false
		e.stream, e.lease, e.due = id, d.lease, h.now.Add(h.settings.ackDeadline)
		h.leases = append(h.leases, d.lease)
		last = d.Position
	}
	held := 0
	for p := range h.events {
		if h.events[p].stream != 0 {
			held++
		}
	}
	mine, _ := h.heldBy(id)
	most := h.machine.mostCredit(h.machine.workers[id])
	if held > h.settings.maxInFlight || len(mine) > min(most, h.settings.maxInFlightPerStream) {
		t.Fatalf("%d events in flight and %d of the stream, want at most %d and %d", held, len(mine), h.settings.maxInFlight, most)
	}
}

func wantResult(t *rapid.T, got webhookgatewayv1.TokenResult, inForce bool) {
	if (got == resultOK) != inForce {
		t.Fatalf("result %v of a lease that is in force: %t", got, inForce)
	}
}
