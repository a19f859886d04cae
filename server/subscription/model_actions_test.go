package subscription

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"pgregory.net/rapid"

	webhookgatewayv1 "github.com/webhook-gateway/webhook-gateway/gen/webhookgateway/v1"
	"github.com/webhook-gateway/webhook-gateway/server/eventlog"
)

// What the random test does: each method is one action, on the machine and on the
// model.

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
		if !e.settled && !e.apart && e.stream == 0 {
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
		case discardIt, sweepIt:
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
	h.snapshot, h.fenced = slices.Clone(h.events), h.sought
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
		e.sent, e.handed = false, false
	}
	h.term++
	h.streams, h.told, h.sought = nil, modelGap{}, h.fenced
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
	known := h.wanted(p) && (e.apart || e.stream != 0 || eventlog.Position(p) <= h.machine.read)
	e.settled, e.apart, e.copied = false, true, true
	if e.attempts = 0; e.stream == 0 {
		e.limit, e.rounds, e.ready = 0, 0, h.now
	}
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
		if !e.settled && e.handed {
			e.apart = true
		}
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
