package subscription

import (
	"maps"
	"slices"

	"pgregory.net/rapid"

	"github.com/webhook-gateway/webhook-gateway/server/eventlog"
)

// What the random test does: each method is one action, on the machine and on the
// model. Here are those that concern parked events.

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
