package subscription

import (
	"math"
	"time"

	webhookgatewayv1 "github.com/webhook-gateway/webhook-gateway/gen/webhookgateway/v1"
)

// expire ends deadlines, waits and rests that are over.
func (m *machine) expire(now time.Time) {
	clock := m.clock(now)
	for s := m.timers.first(); s != 0 && m.at(s).due <= clock; s = m.timers.first() {
		m.leaveHeap(s)
		m.at(s).stage = blocked
		m.promote(s)
	}
	for w := m.deadlines.first(); w != nil && w.earliest <= clock; w = m.deadlines.first() {
		m.expireWorker(w, now)
	}
	m.endRests(clock)
	m.forgetGaps(func(g *untoldGap) bool { return g.forgetAt != 0 && g.forgetAt <= clock })
}

// expireWorker takes from a worker what it has held for too long. What was sent
// counts as failed if it held nothing else, and becomes suspect otherwise.
func (m *machine) expireWorker(w *worker, now time.Time) {
	clock := m.clock(now)
	n := w.sent
	var late []slot
	for s := w.held.first(); s != 0 && m.at(s).due <= clock; s = w.held.first() {
		if e := m.at(s); e.is(sent) {
			m.punish(w, e.lease)
		}
		m.leaveHeap(s)
		m.at(s).stage = blocked
		late = append(late, s)
	}
	if n > 1 { // their deadlines pass later, and may do so for the same reason
		for _, s := range w.held.all() {
			m.at(s).set(beside, true)
		}
	}
	m.sortByPosition(late)
	for _, s := range late {
		m.revokeAfter(s)
	}
	for _, s := range late {
		m.giveBack(s, n, true, now)
	}
}

// giveBack takes back an event, which nobody holds now, whose worker had n events
// that were sent. If the worker failed, and the event was sent, it counts as
// failed or becomes suspect. Otherwise it is delivered again as if it had not been handed out.
func (m *machine) giveBack(s slot, n int, failed bool, now time.Time) {
	m.block(s) // it may have become ready when the one before it was settled
	e := m.at(s)
	switch {
	case failed && e.is(sent) && n == 1 && !e.is(beside):
		m.fail(s, -1, "", now)
	case failed && e.is(sent):
		m.suspect(s, n, now)
	case m.gone(e):
		m.lose(s, webhookgatewayv1.GapReason_GAP_REASON_RETENTION)
	default:
		m.promote(s)
	}
}

// fail counts a failed attempt of an event, which is blocked: it waits, or is
// parked after too many. A negative delay is the backoff of the subscription.
func (m *machine) fail(s slot, delay time.Duration, reason string, now time.Time) {
	e := m.at(s)
	e.countFailed()
	if m.settings.exhausted(int(e.attempts)) {
		m.parkEntry(s, webhookgatewayv1.ParkReason_PARK_REASON_MAX_ATTEMPTS, reason)
		return
	}
	if delay < 0 {
		delay = m.settings.backoff(int(e.attempts))
	}
	m.postpone(s, delay, now)
}

// suspect has an event, which is blocked, wait as one of several that may have
// ended their worker.
func (m *machine) suspect(s slot, n int, now time.Time) {
	e := m.at(s)
	if e.limit > 0 {
		n = min(n, int(e.limit))
	}
	e.limit = uint16(min(max(1, n/2), math.MaxUint16))
	if e.rounds < math.MaxUint8 {
		e.rounds++
	}
	m.postpone(s, m.settings.suspectBackoff(int(e.rounds)), now)
}

// postpone has an event, which is blocked, wait for another attempt.
func (m *machine) postpone(s slot, delay time.Duration, now time.Time) {
	e := m.at(s)
	if m.gone(e) {
		m.lose(s, webhookgatewayv1.GapReason_GAP_REASON_RETENTION)
		return
	}
	e.due = m.clock(now.Add(delay))
	m.setApart(s)
	if delay > 0 {
		e.stage = waiting
		m.timers.push(s)
		return
	}
	m.promote(s)
}

// gone reports whether the event of an entry was removed by retention.
func (m *machine) gone(e *entry) bool { return e.position <= m.trimmed && !e.is(copied) }

// lose ends an entry whose event cannot be read any more.
func (m *machine) lose(s slot, reason webhookgatewayv1.GapReason) {
	p := m.at(s).position
	m.widenGap(p-1, p, reason)
	m.settle(s)
}

// isCopied reports whether there is a copy of the event of a delivery.
func (m *machine) isCopied(l lease, now time.Time) bool {
	s, result := m.holder(l, now)
	return result == resultOK && m.at(s).is(copied)
}

// missing takes note that the event of a delivery cannot be read.
func (m *machine) missing(l lease, reason webhookgatewayv1.GapReason, now time.Time) {
	if s, result := m.holder(l, now); result == resultOK {
		m.lose(s, reason)
	}
}
