package subscription

import (
	"fmt"
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
			"ack":        h.ack,
			"retry":      h.retry,
			"park":       h.park,
			"extend":     h.extend,
			"commit":     h.commitCursor,
			"pass":       h.pass,
			"durable":    h.durable,
			"fail":       h.failCommit,
			"crash":      h.crash,
			"seek":       h.seek,
			"trim":       h.trim,
			"gap":        h.gap,
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
	replayed bool
	kept     bool // does not match the filter any more, but was delivered
	lost     bool // removed before it was delivered, and nobody was told
	attempts int
	returned int // attempts when it was last given back
	stream   uint32
	lease    lease
	due      time.Time // of the delivery
	ready    time.Time // of the next attempt
}

type harness struct {
	machine  *machine
	settings settings
	filter   int
	now      time.Time
	epoch    uint64
	events   []modelEvent // by position, from 1
	trimmed  eventlog.Position
	streams  []uint32
	last     uint32
	leases   []lease // all ever given out

	// What is durable, and what the model knew then.
	store    map[string]string
	snapshot []modelEvent
}

func drawSettings(t *rapid.T) settings {
	s := defaultSettings()
	s.ackDeadline = 10 * time.Second
	s.maxAttempts = rapid.IntRange(1, 4).Draw(t, "max_attempts")
	s.minBackoff = time.Duration(rapid.IntRange(0, 2).Draw(t, "min_backoff")) * time.Second
	s.maxBackoff = 5 * time.Second
	s.maxInFlightPerStream = rapid.IntRange(1, 8).Draw(t, "max_in_flight_per_stream")
	s.maxInFlight = rapid.IntRange(1, 12).Draw(t, "max_in_flight")
	s.ordering = webhookgatewayv1.Ordering(rapid.Int32Range(1, 3).Draw(t, "ordering"))
	return s
}

func newHarness(t *rapid.T) *harness {
	h := &harness{
		settings: drawSettings(t),
		now:      time.Unix(1_700_000_000, 0),
		epoch:    1,
		events:   make([]modelEvent, 1),
		store:    make(map[string]string),
	}
	h.machine = newMachine(h.settings, 0, h.epoch, h.now)
	h.machine.touch(changeState, 0)
	h.durable(t)
	return h
}

func (h *harness) matches(p int) bool { return h.filter == 0 || p%3 != h.filter-1 }

// wanted says whether an event is still to be settled.
func (h *harness) wanted(p int) bool {
	e := &h.events[p]
	return !e.settled && (h.matches(p) || e.kept || e.replayed)
}

func (h *harness) group(p int) uint64 {
	switch h.settings.ordering {
	case webhookgatewayv1.Ordering_ORDERING_STRICT:
		return 1
	case webhookgatewayv1.Ordering_ORDERING_BY_CUSTOMER:
		return h.events[p].hash
	default:
		return 0
	}
}

func (h *harness) head() eventlog.Position { return eventlog.Position(len(h.events) - 1) }

func (h *harness) check(t *rapid.T) {
	held := 0
	byStream := make(map[uint32]int)
	for p := range h.events {
		e := &h.events[p]
		if e.stream != 0 {
			held++
			byStream[e.stream]++
		}
		if p > 0 && eventlog.Position(p) <= h.machine.cursor && !e.settled && !e.replayed {
			if h.wanted(p) {
				t.Fatalf("the cursor %d passed event %d, which is not settled", h.machine.cursor, p)
			}
			e.settled = true
		}
	}
	if held != h.machine.held {
		t.Fatalf("%d events are held, want %d", h.machine.held, held)
	}
	for id, n := range byStream {
		if n != h.machine.streams[id].held {
			t.Fatalf("stream %d holds %d events, want %d", id, h.machine.streams[id].held, n)
		}
	}
	parked := 0
	for p := range h.events {
		if h.events[p].parked {
			parked++
		}
	}
	if parked != len(h.machine.parked) {
		t.Fatalf("%d events are parked, want %d", len(h.machine.parked), parked)
	}
}

func (h *harness) append(t *rapid.T) {
	for range rapid.IntRange(1, 5).Draw(t, "events") {
		h.events = append(h.events, modelEvent{hash: rapid.Uint64Range(0, 3).Draw(t, "group")})
	}
}

func (h *harness) feed(t *rapid.T) {
	h.feedUpTo(min(h.head(), h.machine.read+eventlog.Position(rapid.IntRange(1, 10).Draw(t, "events"))))
}

func (h *harness) feedUpTo(upTo eventlog.Position) {
	if h.machine.read < h.trimmed {
		h.modelTrim()
		h.machine.trim(h.trimmed)
	}
	var offers []offer
	for p := h.machine.read + 1; p <= upTo; p++ {
		e := &h.events[p]
		if !h.matches(int(p)) {
			continue
		}
		offers = append(offers, offer{p, e.hash})
		if !e.settled && !e.kept && !e.replayed && e.stream == 0 {
			h.revokeAfter(int(p)) // a new filter finds events between others
		}
	}
	h.machine.offer(offers, max(upTo, h.machine.read))
}

func (h *harness) connect(*rapid.T) {
	h.last++
	h.streams = append(h.streams, h.last)
	h.machine.connect(h.last)
}

func (h *harness) drawStream(t *rapid.T) uint32 {
	if len(h.streams) == 0 {
		t.Skip("no stream")
	}
	return rapid.SampledFrom(h.streams).Draw(t, "stream")
}

func (h *harness) disconnect(t *rapid.T) {
	id := h.drawStream(t)
	for p := range h.events {
		if h.events[p].stream == id {
			h.giveBack(p, 0)
		}
	}
	h.machine.disconnect(id, h.now)
	h.streams = slices.DeleteFunc(h.streams, func(s uint32) bool { return s == id })
}

func (h *harness) deliver(t *rapid.T) {
	n := rapid.IntRange(1, 6).Draw(t, "n")
	h.deliverTo(t, h.drawStream(t), n, rapid.IntRange(1, n).Draw(t, "share"))
}

func (h *harness) deliverTo(t *rapid.T, id uint32, n, share int) []Delivery {
	h.expire()
	h.machine.expire(h.now)
	deliveries := h.machine.deliver(id, n, share, h.now)
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
			t.Fatalf("event %d was delivered %v before its backoff ended", p, e.ready.Sub(h.now))
		case d.Attempt != e.attempts+1:
			t.Fatalf("attempt %d of event %d, want %d", d.Attempt, p, e.attempts+1)
		case d.Attempt > h.settings.maxAttempts && d.Attempt != e.returned+1:
			t.Fatalf("attempt %d of event %d, want at most %d", d.Attempt, p, h.settings.maxAttempts)
		}
		if g := h.group(p); g != 0 {
			for q := 1; q < p; q++ {
				if h.group(q) == g && h.wanted(q) && h.events[q].stream != id {
					t.Fatalf("event %d was delivered to stream %d before event %d of its group was settled", p, id, q)
				}
			}
		}
		e.attempts++
		e.stream, e.lease, e.due = id, d.lease, h.now.Add(h.settings.ackDeadline)
		h.leases = append(h.leases, d.lease)
		last = d.Position
	}
	held, mine := 0, 0
	for p := range h.events {
		if h.events[p].stream != 0 {
			held++
		}
		if h.events[p].stream == id {
			mine++
		}
	}
	if len(deliveries) > 0 && (held > h.settings.maxInFlight || mine > h.settings.maxInFlightPerStream) {
		t.Fatalf("%d events in flight and %d of the stream, want at most %d and %d",
			held, mine, h.settings.maxInFlight, h.settings.maxInFlightPerStream)
	}
	return deliveries
}

// drawLease returns a lease and, if it is in force, the event that it holds.
func (h *harness) drawLease(t *rapid.T) (lease, int) {
	if len(h.leases) == 0 {
		t.Skip("no lease")
	}
	l := h.leases[len(h.leases)-1-rapid.IntRange(0, min(30, len(h.leases)-1)).Draw(t, "lease")]
	e := &h.events[l.position]
	if e.stream != 0 && e.lease == l && h.now.Before(e.due) {
		return l, int(l.position)
	}
	return l, 0
}

func wantResult(t *rapid.T, got webhookgatewayv1.TokenResult, inForce bool) {
	if (got == resultOK) != inForce {
		t.Fatalf("result %v of a lease that is in force: %t", got, inForce)
	}
}

// finish ends a delivery.
func (e *modelEvent) finish() { e.stream, e.lease = 0, lease{} }

func (e *modelEvent) settle() {
	e.finish()
	e.settled, e.replayed, e.kept, e.returned, e.attempts = true, false, false, 0, 0
}

func (h *harness) ack(t *rapid.T) {
	l, p := h.drawLease(t)
	result := h.machine.acknowledge(l, h.now)
	wantResult(t, result, p != 0)
	if p == 0 && h.events[l.position].settled != (result == resultUnknown) {
		// A lease of an event that left the machine unsettled is fenced.
		if e := h.events[l.position]; !e.lost && l.position > h.trimmed {
			t.Fatalf("result %v for event %d, settled %t", result, l.position, e.settled)
		}
	}
	if p != 0 {
		h.events[p].settle()
	}
}

func (h *harness) retry(t *rapid.T) {
	l, p := h.drawLease(t)
	delay := time.Duration(rapid.IntRange(-1, 3).Draw(t, "delay")) * time.Second
	wantResult(t, h.machine.retry(l, delay, "", h.now), p != 0)
	if p != 0 {
		if delay < 0 {
			delay = h.settings.backoff(h.events[p].attempts)
		}
		h.giveBack(p, delay)
	}
}

func (h *harness) park(t *rapid.T) {
	l, p := h.drawLease(t)
	wantResult(t, h.machine.park(l, "bad", h.now), p != 0)
	if p != 0 {
		h.events[p].settle()
		h.events[p].parked = true
	}
}

func (h *harness) extend(t *rapid.T) {
	l, p := h.drawLease(t)
	by := time.Duration(rapid.IntRange(1, 20).Draw(t, "deadline")) * time.Second
	wantResult(t, h.machine.extend(l, by, h.now), p != 0)
	if p != 0 {
		h.events[p].due = h.now.Add(by)
	}
}

func (h *harness) commitCursor(t *rapid.T) {
	if h.settings.ordering != webhookgatewayv1.Ordering_ORDERING_STRICT {
		t.Skip("not strict")
	}
	l, p := h.drawLease(t)
	upTo := l.position + eventlog.Position(rapid.IntRange(-1, 3).Draw(t, "beyond"))
	result, err := h.machine.commitCursor(upTo, l, h.now)
	if p == 0 {
		if err != nil || result == resultOK {
			t.Fatalf("result %v, %v of a lease that is not in force", result, err)
		}
		return
	}
	refuse := upTo < l.position || upTo > h.machine.read
	for q := p + 1; q <= int(min(upTo, h.head())); q++ {
		refuse = refuse || h.wanted(q)
	}
	if refuse != (err != nil) {
		t.Fatalf("commit of %d by the lease of %d: %v, want an error: %t", upTo, p, err, refuse)
	}
	if err == nil {
		for q := 1; q <= p; q++ {
			if h.wanted(q) {
				h.events[q].settle()
			}
		}
	}
}

func (h *harness) pass(t *rapid.T) {
	h.now = h.now.Add(time.Duration(rapid.IntRange(1, 12).Draw(t, "seconds")) * time.Second)
	if rapid.Bool().Draw(t, "expire") {
		h.expire()
		h.machine.expire(h.now)
	}
}

// expire gives back what is due, in the order in which it became due.
func (h *harness) expire() {
	for {
		first := 0
		for p := range h.events {
			if e := &h.events[p]; e.stream != 0 && !h.now.Before(e.due) && (first == 0 || e.due.Before(h.events[first].due)) {
				first = p
			}
		}
		if first == 0 {
			return
		}
		h.giveBack(first, h.settings.backoff(h.events[first].attempts))
	}
}

func (h *harness) giveBack(p int, delay time.Duration) {
	e := &h.events[p]
	e.finish()
	switch {
	case e.attempts >= h.settings.maxAttempts:
		e.settle()
		e.parked = true
		return
	case eventlog.Position(p) <= h.trimmed && h.machine.trimmed >= eventlog.Position(p):
		e.settle()
		e.lost = true
		return
	}
	e.returned, e.ready = e.attempts, h.now.Add(delay)
	h.revokeAfter(p)
}

// revokeAfter revokes the later events of a group.
func (h *harness) revokeAfter(p int) {
	g := h.group(p)
	for q := p + 1; g != 0 && q < len(h.events); q++ {
		if later := &h.events[q]; h.group(q) == g && later.stream != 0 {
			later.finish()
			later.attempts--
		}
	}
}

func (h *harness) durable(t *rapid.T) {
	if h.last > 0 { // the model knows nothing before
		h.check(t)
	}
	for _, m := range h.machine.takeChanges() {
		if m.Delete {
			delete(h.store, string(m.Key))
		} else {
			h.store[string(m.Key)] = string(m.Value)
		}
	}
	h.snapshot = slices.Clone(h.events)
}

func (h *harness) failCommit(*rapid.T) { h.machine.untakeChanges(h.machine.takeChanges()) }

func (h *harness) crash(t *rapid.T) {
	events := h.events
	h.events = slices.Clone(h.snapshot)
	for _, e := range events[len(h.events):] {
		h.events = append(h.events, modelEvent{hash: e.hash})
	}
	for p := range h.events {
		e := &h.events[p]
		e.finish()
		e.kept, e.attempts, e.ready = false, e.returned, time.Time{}
	}
	h.epoch++
	h.streams = nil
	h.machine = newMachine(h.settings, 0, h.epoch, h.now)
	var replays []eventlog.Position
	for key, value := range h.store {
		replay, err := h.machine.load([]byte(key), []byte(value))
		if err != nil {
			t.Fatal(err)
		}
		if replay > 0 {
			replays = append(replays, replay)
		}
	}
	for _, p := range replays {
		h.machine.addReplay(offer{p, h.events[p].hash})
	}
	h.modelTrim()
	h.machine.trim(h.trimmed)
}

func (h *harness) seek(t *rapid.T) {
	after := rapid.IntRange(int(h.trimmed), int(h.head())).Draw(t, "after")
	for p := range h.events {
		e := &h.events[p]
		parked := e.parked
		e.settle()
		e.settled, e.parked, e.lost, e.ready = p <= after, parked, false, time.Time{}
	}
	h.machine.seek(eventlog.Position(after))
}

func (h *harness) trim(t *rapid.T) {
	h.trimmed = max(h.trimmed, eventlog.Position(rapid.IntRange(0, int(h.head())).Draw(t, "up_to")))
	h.modelTrim()
	h.machine.trim(h.trimmed)
}

func (h *harness) modelTrim() {
	for p := range h.events {
		e := &h.events[p]
		if p == 0 || eventlog.Position(p) > h.trimmed || e.settled || e.stream != 0 {
			continue
		}
		lost := h.wanted(p)
		e.settle()
		e.lost = lost
	}
}

func (h *harness) gap(t *rapid.T) {
	gap := h.machine.takeGap()
	for p := range h.events {
		e := &h.events[p]
		if q := eventlog.Position(p); e.lost && (q <= gap.From || q > gap.To) {
			t.Fatalf("event %d is lost, and the gap is %v", p, gap)
		}
		e.lost = false
	}
}

func (h *harness) drawParked(t *rapid.T) int {
	var parked []int
	for p := range h.events {
		if h.events[p].parked && eventlog.Position(p) > h.trimmed {
			parked = append(parked, p)
		}
	}
	if len(parked) == 0 {
		t.Skip("none is parked")
	}
	return rapid.SampledFrom(parked).Draw(t, "parked")
}

func (h *harness) replay(t *rapid.T) {
	p := h.drawParked(t)
	e := &h.events[p]
	if !h.machine.replay(offer{eventlog.Position(p), e.hash}) {
		t.Fatalf("event %d is not parked", p)
	}
	e.parked = false
	if e.settled {
		e.settled, e.replayed = false, true
		h.revokeAfter(p)
	}
}

func (h *harness) discard(t *rapid.T) {
	p := h.drawParked(t)
	if !h.machine.discard(eventlog.Position(p)) || h.machine.discard(eventlog.Position(p)) {
		t.Fatalf("event %d is not discarded once", p)
	}
	h.events[p].parked = false
}

func (h *harness) configure(t *rapid.T) {
	to := drawSettings(t)
	if to.ordering != h.settings.ordering {
		for p := range h.events {
			if e := &h.events[p]; e.stream != 0 {
				e.finish()
				e.attempts--
				if eventlog.Position(p) <= h.trimmed {
					e.settle()
					e.lost = true
				}
			}
		}
	}
	h.settings = to
	h.machine.configure(to)
}

func (h *harness) refilter(t *rapid.T) {
	for p := range h.events {
		e := &h.events[p]
		known := h.matches(p) && eventlog.Position(p) <= h.machine.read || e.kept
		e.kept = !e.settled && (e.stream != 0 || known && e.attempts > 0)
	}
	h.filter = rapid.IntRange(0, 3).Draw(t, "filter")
	h.machine.refilter()
}

// drain settles everything: nothing may be left.
func (h *harness) drain(t *rapid.T) {
	h.connect(t)
	id := h.streams[len(h.streams)-1]
	for _, other := range h.streams[:len(h.streams)-1] {
		for p := range h.events {
			if h.events[p].stream == other {
				h.giveBack(p, 0)
			}
		}
		h.machine.disconnect(other, h.now)
	}
	h.streams = []uint32{id}
	for range 20 + 2*len(h.events) {
		h.feedUpTo(h.head())
		for _, d := range h.deliverTo(t, id, 10, 10) {
			wantResult(t, h.machine.acknowledge(d.lease, h.now), true)
			h.events[d.Position].settle()
		}
		h.now = h.now.Add(5 * time.Second)
	}
	h.check(t)
	for p := range h.events {
		if p > 0 && h.wanted(p) {
			t.Fatalf("event %d was never settled: %+v", p, h.events[p])
		}
	}
	if h.machine.cursor != h.head() {
		t.Fatalf("the cursor is %d at the end, want %d", h.machine.cursor, h.head())
	}
	h.gap(t)
	if got := fmt.Sprint(h.machine.arena.live, len(h.machine.tails), len(h.machine.timers.slots), len(h.machine.replays), len(h.machine.settled)); h.head()%blockBits != blockBits-1 && got != "0 0 0 0 0" && len(h.machine.settled) > 1 {
		t.Fatalf("the machine keeps %s at the end", got)
	}
}
