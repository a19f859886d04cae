package subscription

import (
	"time"

	webhookgatewayv1 "github.com/webhook-gateway/webhook-gateway/gen/webhookgateway/v1"
	"github.com/webhook-gateway/webhook-gateway/server/eventlog"
)

// The rules, as simply as they can be said: the machine must come to the same.

func (h *harness) matches(p int) bool { return h.filter == 0 || p%3 != h.filter-1 }

// wanted reports whether an event is still to be settled.
func (h *harness) wanted(p int) bool {
	e := &h.events[p]
	return !e.settled && (h.matches(p) || e.apart)
}

// known reports whether the machine knows an event that is still to be settled: after
// other filters it may not have been offered again yet.
func (h *harness) known(p int) bool {
	return h.events[p].apart || eventlog.Position(p) <= h.machine.read
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

func (h *harness) parkIt(p int) {
	h.events[p].settle()
	h.events[p].parked = true
}

// expire gives back what is due.
func (h *harness) expire() {
	for _, id := range h.streams {
		mine, n := h.heldBy(id)
		var late []int
		for _, p := range mine {
			if !h.now.Before(h.events[p].due) {
				late = append(late, p)
			}
		}
		for _, p := range mine {
			h.events[p].beside = h.events[p].beside || len(late) > 0 && n > 1 && h.now.Before(h.events[p].due)
		}
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
	case failed && wasSent && n == 1 && !e.beside:
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
