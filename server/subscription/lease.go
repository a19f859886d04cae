package subscription

import (
	"slices"
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
)

// A lease names one delivery of an event.
type lease struct {
	position eventlog.Position
	number   uint64
	slot     slot
}

// connect adds a stream.
func (m *machine) connect(id uint32) {
	m.streams[id] = &stream{reserved: heap{arena: &m.arena, less: byPosition}}
}

// disconnect removes a stream. What it holds is given back at once.
func (m *machine) disconnect(id uint32, now time.Time) {
	var mine []slot
	for _, s := range m.timers.slots {
		if e := m.at(s); e.state == held && e.stream == id {
			mine = append(mine, s)
		}
	}
	slices.SortFunc(mine, func(a, b slot) int { return int(m.at(a).position) - int(m.at(b).position) }) //nolint:gosec // positions are far from 2^63
	for _, s := range mine {
		// NOTE The first of a group revokes the others: they must not count.
		if e := m.at(s); e.state == held && e.stream == id {
			e.lease = 0
			m.giveBack(s, 0, now)
		}
	}
	delete(m.streams, id)
}

// credit returns how many events a stream may be given. No stream gets more than
// its share of what all streams together may hold, so that slow ones leave room
// for the others.
func (m *machine) credit(id uint32) int {
	st := m.streams[id]
	share := max(1, m.settings.maxInFlight/len(m.streams))
	return max(0, min(min(m.settings.maxInFlightPerStream, share)-st.held, m.settings.maxInFlight-m.held))
}

// available returns how many events may be delivered to a stream at present, not
// regarding its credit.
func (m *machine) available(id uint32) int {
	return len(m.ready.slots) + len(m.streams[id].reserved.slots)
}

// deliver leases up to n events to a stream, in order of their positions: up to
// share of those that any stream may have, and those that become free by that for
// this one.
func (m *machine) deliver(id uint32, n, share int, now time.Time) []Delivery {
	st := m.streams[id]
	n = min(n, m.credit(id))
	due := m.clock(now.Add(m.settings.ackDeadline))
	deliveries := make([]Delivery, 0, min(n, share+len(st.reserved.slots)))
	for len(deliveries) < n {
		s := st.reserved.first()
		if r := m.ready.first(); r != 0 && share > 0 && (s == 0 || byPosition(m.at(r), m.at(s))) {
			s = r
			share--
		}
		if s == 0 {
			break
		}
		m.leaveHeap(s)
		m.lease++
		e := m.at(s)
		e.state, e.stream, e.lease, e.due = held, id, m.lease, due
		e.attempts++
		m.timers.push(s)
		m.held++
		st.held++
		m.promote(e.after)
		deliveries = append(deliveries, Delivery{
			Position: e.position,
			Attempt:  int(e.attempts),
			lease:    lease{position: e.position, number: e.lease, slot: s},
		})
	}
	return deliveries
}

// holder returns the entry that a lease holds, or why it does not hold it.
func (m *machine) holder(l lease, now time.Time) (slot, webhookgatewayv1.TokenResult) {
	e := m.arena.find(l.slot)
	switch {
	case e == nil || e.position != l.position:
		if m.isSettled(l.position) {
			return 0, resultUnknown
		}
		return 0, resultFenced
	case e.lease != l.number:
		return 0, resultFenced
	case e.state != held || m.clock(now) >= e.due:
		return 0, resultExpired
	}
	return l.slot, resultOK
}

// acknowledge settles an event.
func (m *machine) acknowledge(l lease, now time.Time) webhookgatewayv1.TokenResult {
	s, result := m.holder(l, now)
	if result == resultOK {
		m.settle(s)
	}
	return result
}

// retry gives an event back. A negative delay is the backoff of the subscription.
func (m *machine) retry(l lease, delay time.Duration, reason string, now time.Time) webhookgatewayv1.TokenResult {
	s, result := m.holder(l, now)
	if result != resultOK {
		return result
	}
	e := m.at(s)
	if delay < 0 {
		delay = m.settings.backoff(int(e.attempts))
	}
	e.lease = 0
	m.giveBackBecause(s, delay, reason, now)
	return result
}

// park parks an event.
func (m *machine) park(l lease, reason string, now time.Time) webhookgatewayv1.TokenResult {
	s, result := m.holder(l, now)
	if result == resultOK {
		m.parkEntry(s, webhookgatewayv1.ParkReason_PARK_REASON_REJECTED, reason, now)
	}
	return result
}

// extend sets a new deadline.
func (m *machine) extend(l lease, deadline time.Duration, now time.Time) webhookgatewayv1.TokenResult {
	s, result := m.holder(l, now)
	if result == resultOK {
		m.at(s).due = m.clock(now.Add(deadline))
		m.timers.fix(s)
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
	if upTo < l.position || upTo > m.read || next != 0 && m.at(next).position <= upTo {
		return 0, ErrCursorNotDelivered
	}
	for s != 0 {
		before := m.at(s).before
		m.settle(s)
		s = before
	}
	return resultOK, nil
}

// expire gives back what was held for too long, and ends waits.
func (m *machine) expire(now time.Time) {
	clock := m.clock(now)
	for s := m.timers.first(); s != 0 && m.at(s).due <= clock; s = m.timers.first() {
		e := m.at(s)
		if e.state == held {
			m.giveBack(s, m.settings.backoff(int(e.attempts)), now)
			continue
		}
		m.leaveHeap(s)
		e.state = blocked
		m.promote(s)
	}
}

func (m *machine) giveBack(s slot, delay time.Duration, now time.Time) {
	m.giveBackBecause(s, delay, "", now)
}

// giveBackBecause ends a delivery that failed: the event is delivered again after
// the delay, or parked after too many attempts, or lost if the log no longer has
// it.
func (m *machine) giveBackBecause(s slot, delay time.Duration, reason string, now time.Time) {
	e := m.at(s)
	if int(e.attempts) >= m.settings.maxAttempts {
		m.parkEntry(s, webhookgatewayv1.ParkReason_PARK_REASON_MAX_ATTEMPTS, reason, now)
		return
	}
	if e.position <= m.trimmed {
		m.lose(s)
		return
	}
	m.attempts[e.position] = e.attempts
	m.touch(changeAttempts, e.position)
	m.leaveHeap(s)
	e.state = blocked
	m.revokeAfter(s)
	if delay > 0 {
		e.state, e.due = waiting, m.clock(now.Add(delay))
		m.timers.push(s)
		m.waiting++
		return
	}
	m.promote(s)
}

// lose ends an entry whose event the log no longer has.
func (m *machine) lose(s slot) {
	p := m.at(s).position
	m.widenGap(p-1, p)
	m.settle(s)
}

// missing takes note that the event of a delivery cannot be read any more.
func (m *machine) missing(l lease, now time.Time) {
	if s, result := m.holder(l, now); result == resultOK {
		m.lose(s)
	}
}
