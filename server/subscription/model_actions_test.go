package subscription

import (
	"fmt"
	"slices"
	"time"

	"pgregory.net/rapid"

	"github.com/webhook-gateway/webhook-gateway/server/eventlog"
)

// What the random test does: each method is one action, on the machine and on the
// model. Here are those of the log, the streams and the clock.

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

func (h *harness) pass(t *rapid.T) {
	h.now = h.now.Add(time.Duration(rapid.IntRange(1, 12).Draw(t, "seconds")) * time.Second)
	if rapid.Bool().Draw(t, "expire") {
		h.expire()
		h.machine.expire(h.now)
	}
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
