package subscription

import (
	"pgregory.net/rapid"

	"github.com/webhook-gateway/webhook-gateway/server/eventlog"
)

// What the random test does: each method is one action, on the machine and on the
// model. Here are those of the operator and of retention.

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
