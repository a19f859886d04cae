package subscription

import (
	"time"

	webhookgatewayv1 "github.com/webhook-gateway/webhook-gateway/gen/webhookgateway/v1"
	"github.com/webhook-gateway/webhook-gateway/server/eventlog"
)

// Results of settling, as in the API.
const (
	resultOK      = webhookgatewayv1.TokenResult_TOKEN_RESULT_OK
	resultExpired = webhookgatewayv1.TokenResult_TOKEN_RESULT_EXPIRED
	resultFenced  = webhookgatewayv1.TokenResult_TOKEN_RESULT_FENCED
	resultUnknown = webhookgatewayv1.TokenResult_TOKEN_RESULT_UNKNOWN
	resultSettled = webhookgatewayv1.TokenResult_TOKEN_RESULT_SETTLED
)

// A lease names one delivery of an event.
type lease struct {
	position eventlog.Position
	number   uint64
	slot     slot
}

// holder returns the entry that a lease holds, or why it does not hold it.
func (m *machine) holder(l lease, now time.Time) (slot, webhookgatewayv1.TokenResult) {
	e := m.arena.find(l.slot)
	switch {
	case e == nil || e.position != l.position:
		if m.isSettled(l.position) && l.number > m.sought {
			return 0, resultSettled
		}
		return 0, resultFenced
	case e.lease != l.number:
		return 0, resultFenced
	case e.stage != held || m.clock(now) >= e.due:
		return 0, resultExpired
	}
	return l.slot, resultOK
}

// sending takes note that a delivery is about to be sent: its deadline begins to
// run. It returns false if it must not be sent.
func (m *machine) sending(l lease, now time.Time) (time.Time, bool) {
	s, result := m.holder(l, now)
	if result != resultOK {
		return time.Time{}, false
	}
	if e := m.at(s); !e.is(sent) {
		e.set(sent, true)
		m.workers[e.worker].sent++
		m.setDue(s, m.clock(now.Add(m.settings.ackDeadline)))
	}
	return m.time(m.at(s).due), true
}

// acknowledge settles an event.
func (m *machine) acknowledge(l lease, now time.Time) webhookgatewayv1.TokenResult {
	s, result := m.holder(l, now)
	if result == resultOK {
		m.dealtWith(s, now)
		m.settle(s)
	}
	return result
}

// dealtWith takes note that a worker has dealt with an event in time.
func (m *machine) dealtWith(s slot, now time.Time) {
	e := m.at(s)
	m.measure(e, m.clock(now))
	m.forgetGaps(func(g *untoldGap) bool { return g.teller == e.worker && e.lease > g.lease })
}

// mayRetry reports whether the events of leases may wait for another attempt.
func (m *machine) mayRetry(leases []lease, now time.Time) bool {
	more := make(map[slot]struct{}, len(leases)) // a token may be there twice
	for _, l := range leases {
		if s, result := m.holder(l, now); result == resultOK && !m.settings.exhausted(int(m.at(s).attempts)+1) {
			more[s] = struct{}{}
		}
	}
	return len(more) == 0 || len(more) <= m.mayWait()
}

// retry gives an event back as failed. A negative delay is the backoff of the
// subscription.
func (m *machine) retry(l lease, delay time.Duration, reason string, now time.Time) webhookgatewayv1.TokenResult {
	s, result := m.holder(l, now)
	if result != resultOK {
		return result
	}
	m.dealtWith(s, now)
	m.leaveHeap(s)
	e := m.at(s)
	e.stage, e.lease = blocked, 0
	e.limit, e.rounds = 0, 0 // its worker lives
	m.revokeAfter(s)
	m.fail(s, delay, reason, now)
	return result
}

// release gives an event back unused.
func (m *machine) release(l lease, now time.Time) webhookgatewayv1.TokenResult {
	s, result := m.holder(l, now)
	if result != resultOK {
		return result
	}
	w := m.workers[m.at(s).worker]
	m.leaveHeap(s)
	e := m.at(s)
	e.stage, e.lease = blocked, 0
	m.revokeAfter(s)
	m.setResting(w, m.clock(now))
	m.giveBack(s, 0, false, now)
	return result
}

// park parks an event.
func (m *machine) park(l lease, reason string, now time.Time) webhookgatewayv1.TokenResult {
	s, result := m.holder(l, now)
	if result == resultOK {
		m.dealtWith(s, now)
		m.at(s).countFailed()
		m.parkEntry(s, webhookgatewayv1.ParkReason_PARK_REASON_REJECTED, reason)
	}
	return result
}

// extend sets a new deadline.
func (m *machine) extend(l lease, deadline time.Duration, now time.Time) webhookgatewayv1.TokenResult {
	s, result := m.holder(l, now)
	if result == resultOK {
		m.at(s).set(extended, true)
		m.setDue(s, m.clock(now.Add(deadline)))
	}
	return result
}

// commitCursor settles everything up to a position. The lease is of the newest
// event up to there.
func (m *machine) commitCursor(upTo eventlog.Position, l lease, now time.Time) (webhookgatewayv1.TokenResult, error) {
	s, result := m.holder(l, now)
	if result != resultOK {
		return result, nil
	}
	next := m.at(s).after // the ordering is strict: all events are of one group
	if upTo < l.position || upTo > m.seen || next != 0 && m.at(next).position <= upTo {
		return 0, ErrCursorNotDelivered
	}
	for s != 0 {
		before := m.at(s).before
		m.dealtWith(s, now)
		m.settle(s)
		s = before
	}
	return resultOK, nil
}
