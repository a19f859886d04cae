package subscription

import (
	"fmt"
	"maps"
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
	kept     bool // does not match the filter any more, but was delivered
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

func (h *harness) matches(p int) bool { return h.filter == 0 || p%3 != h.filter-1 }

// wanted reports whether an event is still to be settled.
func (h *harness) wanted(p int) bool {
	e := &h.events[p]
	return !e.settled && (h.matches(p) || e.kept || e.apart)
}

func (h *harness) group(p int) uint64 {
	switch h.settings.ordering {
	case webhookgatewayv1.Ordering_ORDERING_STRICT:
		return 1
	case webhookgatewayv1.Ordering_ORDERING_BY_SUBJECT:
		return h.events[p].hash
	default:
		return 0
	}
}

func (h *harness) head() eventlog.Position { return eventlog.Position(len(h.events) - 1) }

// heldBy returns the events that a stream holds, and how many of them were sent.
func (h *harness) heldBy(id uint32) (mine []int, n int) {
	for p := range h.events {
		if e := &h.events[p]; e.stream == id {
			mine = append(mine, p)
			if e.sent {
				n++
			}
		}
	}
	return mine, n
}

func (h *harness) waiting() int {
	n := 0
	for p := range h.events {
		if e := &h.events[p]; e.apart && e.stream == 0 {
			n++
		}
	}
	return n
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
		if p > 0 && h.wanted(p) && !e.apart && e.stream == 0 && (q <= h.machine.read || e.kept) {
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
		if !e.settled && !e.kept && !e.apart && e.stream == 0 {
			h.revokeAfter(int(p)) // a new filter finds events between others
		}
	}
	h.machine.offer(offers, max(upTo, h.machine.read))
}

func (h *harness) connect(t *rapid.T) {
	h.last++
	h.streams = append(h.streams, h.last)
	h.machine.connect(h.last, rapid.IntRange(0, 5).Draw(t, "max_in_flight"))
}

func (h *harness) drawStream(t *rapid.T) uint32 {
	if len(h.streams) == 0 {
		t.Skip("no stream")
	}
	return rapid.SampledFrom(h.streams).Draw(t, "stream")
}

func (h *harness) disconnect(t *rapid.T) { h.end(h.drawStream(t), rapid.Bool().Draw(t, "broke")) }

func (h *harness) end(id uint32, broke bool) {
	mine, n := h.heldBy(id)
	for _, p := range mine {
		h.events[p].finish()
	}
	h.machine.disconnect(id, broke, h.now)
	h.streams = slices.DeleteFunc(h.streams, func(s uint32) bool { return s == id })
	if h.told.stream == id {
		h.told = modelGap{}
	}
	for _, p := range mine {
		h.giveBack(p, n, broke)
	}
}

func (h *harness) deliver(t *rapid.T) {
	for _, id := range h.streams {
		if n := rapid.IntRange(0, 6).Draw(t, "n"); n > 0 {
			h.machine.want(id, n)
		}
	}
	h.serve(t)
	for _, id := range h.streams {
		h.machine.want(id, 0)
	}
}

// serve delivers what there is to the streams that want it.
func (h *harness) serve(t *rapid.T) []Delivery {
	h.expire()
	h.machine.expire(h.now)
	var all []Delivery
	for {
		w, share := h.machine.next()
		if w == nil {
			return all
		}
		wanted, full := w.wanted, h.machine.full()
		deliveries := h.machine.deliver(w, share, h.now)
		if len(deliveries) == 0 || len(deliveries) > wanted {
			t.Fatalf("stream %d was given %d events, and wanted %d", w.id, len(deliveries), wanted)
		}
		h.checkBatch(t, w.id, deliveries, full)
		all = append(all, deliveries...)
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
		e.handed = true
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

func (h *harness) send(t *rapid.T) {
	for p := range h.events {
		e := &h.events[p]
		if e.stream == 0 || !rapid.Bool().Draw(t, "send") {
			continue
		}
		deadline, ok := h.machine.sending(e.lease, h.now)
		if inForce := h.now.Before(e.due); ok != inForce {
			t.Fatalf("event %d may be sent: %t, want %t", p, ok, inForce)
		}
		if !ok {
			continue
		}
		if !e.sent {
			e.sent, e.due = true, h.now.Add(h.settings.ackDeadline)
		}
		if !deadline.Equal(e.due) {
			t.Fatalf("the deadline of event %d is %v, want %v", p, deadline, e.due)
		}
	}
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

// dealtWith takes note that a stream has dealt with an event.
func (h *harness) dealtWith(p int) {
	if e := &h.events[p]; h.told.stream == e.stream && e.lease.number > h.told.lease {
		h.forgetLost()
	}
}

func (h *harness) forgetLost() {
	h.told = modelGap{}
	for p := range h.events {
		h.events[p].lost = false
	}
}

// finish ends a delivery.
func (e *modelEvent) finish() { e.stream, e.lease = 0, lease{} }

func (e *modelEvent) settle() {
	*e = modelEvent{hash: e.hash, settled: true, parked: e.parked, lost: e.lost}
}

func (h *harness) lose(p int) {
	h.events[p].settle()
	h.events[p].lost = true
	h.told = modelGap{}
}

func (h *harness) gone(p int) bool {
	return eventlog.Position(p) <= h.machine.trimmed && !h.events[p].copied
}

func (h *harness) ack(t *rapid.T) {
	l, p := h.drawLease(t)
	result := h.machine.acknowledge(l, h.now)
	wantResult(t, result, p != 0)
	// NOTE What retention removed is fenced or settled, by how far the cursor is. A seek
	// fences every lease of before.
	known := h.events[l.position].settled && l.number > h.sought
	if p == 0 && l.position > h.trimmed && known != (result == resultSettled) {
		t.Fatalf("result %v for event %d, settled %t", result, l.position, h.events[l.position].settled)
	}
	if p != 0 {
		h.dealtWith(p)
		h.events[p].settle()
	}
}

func (h *harness) retry(t *rapid.T) {
	l, p := h.drawLease(t)
	may := p == 0 || h.settings.exhausted(h.events[p].attempts+1) || h.waiting() < h.settings.maxWaiting
	if got := h.machine.mayRetry([]lease{l}, h.now); got != may {
		t.Fatalf("event %d may be retried: %t, want %t", p, got, may)
	}
	if !may {
		return
	}
	delay := time.Duration(rapid.IntRange(-1, 3).Draw(t, "delay")) * time.Second
	wantResult(t, h.machine.retry(l, delay, "", h.now), p != 0)
	if p != 0 {
		h.dealtWith(p)
		e := &h.events[p]
		e.finish()
		e.limit, e.rounds = 0, 0
		h.revokeAfter(p)
		h.failed(p, delay)
	}
}

func (h *harness) release(t *rapid.T) {
	l, p := h.drawLease(t)
	wantResult(t, h.machine.release(l, h.now), p != 0)
	if p != 0 {
		h.events[p].finish()
		h.revokeAfter(p)
		h.giveBack(p, 0, false)
	}
}

func (h *harness) park(t *rapid.T) {
	l, p := h.drawLease(t)
	wantResult(t, h.machine.park(l, "bad", h.now), p != 0)
	if p != 0 {
		h.dealtWith(p)
		h.parkIt(p)
	}
}

func (h *harness) parkIt(p int) {
	h.events[p].settle()
	h.events[p].parked = true
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
		for q := p; q >= 1; q-- {
			if h.wanted(q) {
				h.dealtWith(q)
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

// expire gives back what is due.
func (h *harness) expire() {
	for _, id := range h.streams {
		mine, n := h.heldBy(id)
		late := slices.DeleteFunc(mine, func(p int) bool { return h.now.Before(h.events[p].due) })
		for _, p := range late {
			h.events[p].finish()
		}
		for _, p := range late {
			h.revokeAfter(p)
		}
		for _, p := range late {
			h.giveBack(p, n, true)
		}
	}
	if h.told.stream != 0 && !h.told.forgetAt.IsZero() && !h.now.Before(h.told.forgetAt) {
		h.forgetLost()
	}
}

// giveBack takes an event back from a stream that had n events sent.
func (h *harness) giveBack(p, n int, failed bool) {
	e := &h.events[p]
	wasSent := e.sent
	e.sent = false
	switch {
	case failed && wasSent && n == 1:
		h.failed(p, -1)
	case failed && wasSent:
		if e.limit > 0 {
			n = min(n, e.limit)
		}
		e.limit = max(1, n/2)
		e.rounds++
		h.postpone(p, h.settings.suspectBackoff(e.rounds))
	case h.gone(p):
		h.lose(p)
	}
}

func (h *harness) failed(p int, delay time.Duration) {
	e := &h.events[p]
	e.sent = false
	if e.attempts++; h.settings.maxAttempts > 0 && e.attempts >= h.settings.maxAttempts {
		h.parkIt(p)
		return
	}
	if delay < 0 {
		delay = h.settings.backoff(e.attempts)
	}
	h.postpone(p, delay)
}

func (h *harness) postpone(p int, delay time.Duration) {
	if h.gone(p) {
		h.lose(p)
		return
	}
	e := &h.events[p]
	e.apart, e.ready = true, h.now.Add(delay)
}

// revokeAfter revokes the later events of a group.
func (h *harness) revokeAfter(p int) {
	g := h.group(p)
	for q := p + 1; g != 0 && q < len(h.events); q++ {
		if later := &h.events[q]; h.group(q) == g && later.stream != 0 {
			later.finish()
			later.sent = false
			if h.gone(q) {
				h.lose(q)
			}
		}
	}
}

func (h *harness) durable(t *rapid.T) {
	if h.last > 0 { // the model knows nothing before
		h.check(t)
	}
	taken := h.machine.takeChanges()
	if taken.parking.discardAll {
		clear(h.parked)
	}
	for p, c := range taken.parking.each {
		switch c.action {
		case parkIt:
			h.parked[p] = true
		case replayIt:
			if h.parked[p] {
				h.store[string(keyOf(pairCopy, p))] = "copy"
			}
			delete(h.parked, p)
		case discardIt:
			delete(h.parked, p)
		}
	}
	for _, m := range taken.pairs {
		if m.Delete {
			delete(h.store, string(m.Key))
		} else {
			h.store[string(m.Key)] = string(m.Value)
		}
	}
	for p := range h.events {
		q, e := eventlog.Position(p), &h.events[p]
		if e.parked != h.parked[q] {
			t.Fatalf("event %d is parked: %t, want %t", p, h.parked[q], e.parked)
		}
		if _, copied := h.store[string(keyOf(pairCopy, q))]; copied != e.copied {
			t.Fatalf("event %d has a copy: %t, want %t", p, copied, e.copied)
		}
	}
	h.snapshot = slices.Clone(h.events)
}

func (h *harness) failFlush(*rapid.T) { h.machine.untakeChanges(h.machine.takeChanges()) }

func (h *harness) crash(t *rapid.T) {
	events := h.events
	h.events = slices.Clone(h.snapshot)
	for _, e := range events[len(h.events):] {
		h.events = append(h.events, modelEvent{hash: e.hash})
	}
	for p := range h.events {
		e := &h.events[p]
		e.finish()
		e.kept, e.sent, e.handed = false, false, false
	}
	h.term++
	h.streams, h.told = nil, modelGap{}
	h.sought = 0 // forgotten
	h.machine = newMachine(h.settings, 0, h.term, h.now)
	for _, key := range slices.Sorted(maps.Keys(h.store)) {
		if key[0] == byte(pairCopy) {
			continue
		}
		if err := h.machine.loadPair([]byte(key), []byte(h.store[key])); err != nil {
			t.Fatal(err)
		}
	}
	h.modelTrim()
	h.machine.trim(h.trimmed)
}

func (h *harness) seek(t *rapid.T) {
	after := rapid.IntRange(int(h.trimmed), int(h.head())).Draw(t, "after")
	for p := range h.events {
		e := &h.events[p]
		e.settle()
		e.settled, e.lost = p <= after, false
	}
	h.told = modelGap{}
	h.sought = h.machine.lease
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
		if p == 0 || eventlog.Position(p) > h.trimmed || e.settled || e.stream != 0 || e.copied {
			continue
		}
		if h.wanted(p) {
			h.lose(p)
		} else {
			e.settle()
		}
	}
}

func (h *harness) gap(t *rapid.T) {
	id := h.drawStream(t)
	if gaps := h.machine.takeGaps(h.machine.workers[id]); len(gaps) > 0 {
		h.told = modelGap{stream: id, lease: h.machine.lease}
	}
}

func (h *harness) gapSent(t *rapid.T) {
	id := h.drawStream(t)
	h.machine.gapsSent(id, h.now)
	if h.told.stream == id && h.told.forgetAt.IsZero() {
		h.told.forgetAt = h.now.Add(gapSettles)
	}
}

func (h *harness) drawParked(t *rapid.T) int {
	h.durable(t)
	if len(h.parked) == 0 {
		t.Skip("none is parked")
	}
	return int(rapid.SampledFrom(slices.Sorted(maps.Keys(h.parked))).Draw(t, "parked"))
}

func (h *harness) replay(t *rapid.T) {
	p := h.drawParked(t)
	e := &h.events[p]
	h.machine.replay(offer{eventlog.Position(p), e.hash}, true)
	e.parked = false
	known := h.wanted(p) && (e.apart || e.stream != 0 || e.kept || eventlog.Position(p) <= h.machine.read)
	e.settled, e.apart, e.copied = false, true, true
	if !known {
		h.revokeAfter(p)
	}
}

func (h *harness) discard(t *rapid.T) {
	p := h.drawParked(t)
	if rapid.Bool().Draw(t, "all") {
		h.machine.discardAll()
		for p := range h.events {
			h.events[p].parked = false
		}
		return
	}
	h.machine.discard(eventlog.Position(p))
	h.events[p].parked = false
}

func (h *harness) configure(t *rapid.T) {
	to := drawSettings(t)
	if to.ordering != h.settings.ordering {
		for p := range h.events {
			if e := &h.events[p]; e.stream != 0 {
				e.finish()
				e.sent = false
				if eventlog.Position(p) <= h.trimmed && !e.copied {
					h.lose(p)
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
		e.kept = !e.settled && e.stream != 0
		e.handed = e.kept
	}
	h.filter = rapid.IntRange(0, 3).Draw(t, "filter")
	h.machine.refilter()
}

// drain settles everything: nothing may be left.
func (h *harness) drain(t *rapid.T) {
	for len(h.streams) > 0 {
		h.end(h.streams[0], true)
	}
	h.connect(t)
	id := h.last
	for range 50 + 20*len(h.events) {
		h.feedUpTo(h.head())
		h.machine.want(id, 10)
		for _, d := range h.serve(t) {
			wantResult(t, h.machine.acknowledge(d.lease, h.now), true)
			h.events[d.Position].settle()
		}
		h.now = h.now.Add(time.Second)
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
	m := h.machine
	if got := fmt.Sprint(m.arena.live, len(m.tails), m.timers.len(), len(m.apart), m.aheads.len(), m.fresh.len(), m.again.len(), m.suspects.len(), m.held, m.apartHeld); got != "0 0 0 0 0 0 0 0 0 0" {
		t.Fatalf("the machine keeps %s at the end", got)
	}
	if len(m.settled) > 1 {
		t.Fatalf("the machine keeps %d blocks at the end", len(m.settled))
	}
	h.durable(t)
}
