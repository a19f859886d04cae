package subscription

import (
	"maps"
	"slices"

	"pgregory.net/rapid"

	"github.com/webhook-gateway/webhook-gateway/server/eventlog"
)

// What the random test does: each method is one action, on the machine and on the
// model. Here are those of the store.

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
