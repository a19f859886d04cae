package subscription

import (
	"time"

	webhookgatewayv1 "github.com/webhook-gateway/webhook-gateway/gen/webhookgateway/v1"
	"github.com/webhook-gateway/webhook-gateway/server/eventlog"
)

// Parked events are in the store and nowhere else. The machine only says what is
// to become of them; parkedStore does it, with the next write.

// parkedAction is what is to become of a parked event.
type parkedAction uint8

const (
	// parkIt: the event is parked, with a copy of what the log has of it.
	parkIt parkedAction = iota + 1
	// replayIt: it is not parked any more; its copy is kept.
	replayIt
	// discardIt: it is not parked any more.
	discardIt
	// sweepIt: it is not parked any more, if it was parked before a time.
	sweepIt
)

// parkedChange is what is to become of one parked event, and why it is parked.
type parkedChange struct {
	action   parkedAction
	reason   webhookgatewayv1.ParkReason
	message  string
	attempts uint16
	// time before which it was parked, for sweepIt.
	time time.Time
}

// parkedChanges are what is to become of parked events: first all of them are
// discarded, or not, then each.
type parkedChanges struct {
	discardAll bool
	each       map[eventlog.Position]parkedChange
}

func (c parkedChanges) empty() bool { return !c.discardAll && len(c.each) == 0 }

// precede puts earlier changes in front.
func (c *parkedChanges) precede(earlier parkedChanges) {
	for p, change := range earlier.each {
		// NOTE A sweep was of what was parked before: of what has become of it since it
		// undoes nothing.
		later, changed := c.each[p]
		if changed && later.action != sweepIt || c.discardAll && change.action != replayIt {
			continue
		}
		c.each[p] = change
	}
	c.discardAll = c.discardAll || earlier.discardAll
}

// parkEntry settles an entry and has its event parked.
func (m *machine) parkEntry(s slot, reason webhookgatewayv1.ParkReason, message string) {
	e := m.at(s)
	m.parking.each[e.position] = parkedChange{action: parkIt, reason: reason, message: message, attempts: e.attempts}
	m.settle(s)
}

// discard has a parked event forgotten.
func (m *machine) discard(p eventlog.Position) {
	m.parking.each[p] = parkedChange{action: discardIt}
}

// sweep has a parked event forgotten that was parked before a time, unless something
// else is to become of it.
func (m *machine) sweep(p eventlog.Position, before time.Time) {
	if _, changing := m.parking.each[p]; !changing {
		m.parking.each[p] = parkedChange{action: sweepIt, time: before}
	}
}

// discardAll has all parked events forgotten.
func (m *machine) discardAll() {
	earlier := m.parking
	m.parking = parkedChanges{discardAll: true, each: make(map[eventlog.Position]parkedChange)}
	m.parking.precede(earlier)
}

// mayWait returns how many more events may wait.
func (m *machine) mayWait() int { return max(0, m.settings.maxWaiting-m.waitingEvents()) }

// replay has a parked event delivered again, with its attempts counted anew. Without
// a copy it is read from the log.
//
// After a seek, an event may be parked and still to be delivered: it is delivered
// once then, and from its copy too, because the filters or the retention of the log
// may have changed since.
func (m *machine) replay(o offer, isCopy bool) {
	m.parking.each[o.position] = parkedChange{action: replayIt}
	m.touch(pairApart, o.position)
	if s := m.find(o.position); s != 0 {
		m.keepCopy(s, isCopy)
		return
	}
	s := m.newEntry(o)
	m.at(s).set(copied, isCopy)
	if !m.passed(o.position) {
		m.markSettled(o.position)
	}
	m.addApart(s)
	m.enter(s)
	m.advance()
}

// find returns the entry of an event, 0 if there is none. It looks through those
// that were offered only after a seek: see replay.
func (m *machine) find(p eventlog.Position) slot {
	if s, known := m.apart[p]; known || m.passed(p) {
		return s
	}
	for s := m.first; s != 0 && m.at(s).position <= p; s = m.at(s).next {
		if m.at(s).position == p {
			return s
		}
	}
	return 0
}

// keepCopy takes note that there is a copy of the event of an entry, which is apart
// from now on.
func (m *machine) keepCopy(s slot, isCopy bool) {
	e := m.at(s)
	m.stale = m.stale || isCopy && e.is(apart) && e.position == m.lowestApart
	e.set(copied, e.is(copied) || isCopy)
	m.detach(s)
	if e.attempts = 0; e.stage == held {
		return
	}
	m.leaveHeap(s)
	e.stage, e.limit, e.rounds = blocked, 0, 0
	m.promote(s)
}
