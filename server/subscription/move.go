package subscription

import (
	webhookgatewayv1 "github.com/webhook-gateway/webhook-gateway/gen/webhookgateway/v1"
	"github.com/webhook-gateway/webhook-gateway/server/eventlog"
)

// seek moves the subscription to after a position. Everything held is fenced, and
// what is apart ends. What is parked stays.
func (m *machine) seek(after eventlog.Position) {
	for p, s := range m.apart {
		m.touch(pairApart, p)
		if m.at(s).is(copied) {
			m.touch(pairCopy, p)
		}
	}
	for b := range m.settled {
		m.touch(pairBlock, eventlog.Position(b))
	}
	m.clear()
	clear(m.settled)
	m.cursor, m.read, m.seen, m.trimmed, m.gaps = after, after, after, 0, nil
	m.sought = m.lease
	m.touch(pairPlace, 0)
}

// configure changes the settings. What is held stays so, unless the ordering
// changes.
func (m *machine) configure(to settings) {
	reorder := to.ordering != m.settings.ordering
	for _, s := range m.entriesByPosition(reorder) {
		m.revoke(s)
	}
	m.settings = to
	if reorder {
		m.reorder()
	}
	m.refreshAll()
}

// entriesByPosition returns all entries, or none.
func (m *machine) entriesByPosition(wanted bool) []slot {
	if !wanted {
		return nil
	}
	var all []slot
	for s := m.first; s != 0; s = m.at(s).next {
		all = append(all, s)
	}
	for _, s := range m.apart {
		all = append(all, s)
	}
	m.sortByPosition(all)
	return all
}

// refilter forgets the events that were never handed out and has the log offered
// again from the cursor on. The others are apart from now on: they are delivered
// until they are settled, whatever the filters are.
func (m *machine) refilter() {
	// What is trimmed cannot be read again: of it only what is held was left.
	m.read = max(m.cursor, min(m.read, m.trimmed))
	for s := m.first; s != 0; {
		next := m.at(s).next
		if m.at(s).is(handed) {
			m.detach(s)
		} else {
			m.remove(s)
		}
		s = next
	}
	for _, s := range m.apart {
		m.blockAhead(s)
	}
}

// blockAhead blocks an entry that is after the position read to: earlier events of
// its group may still be offered.
func (m *machine) blockAhead(s slot) {
	if e := m.at(s); e.position > m.read && m.groupOf(e) != 0 {
		m.block(s)
		m.promote(s)
	}
}

// reorder puts the entries, none of which is held, into the groups of another
// ordering.
func (m *machine) reorder() {
	all := m.entriesByPosition(true)
	m.tails = make(map[uint64]slot)
	for _, s := range all {
		e := m.at(s)
		e.before, e.after = 0, 0
		if e.is(ahead) {
			m.leaveHeap(s)
		}
		m.joinGroup(s)
	}
	for _, s := range all {
		if e := m.at(s); e.stage != free && m.gone(e) { // it was held
			m.lose(s, webhookgatewayv1.GapReason_GAP_REASON_RETENTION)
			continue
		}
		m.promote(s)
	}
}

// trim takes note that the log is trimmed up to a position. Events that are held
// may still be acknowledged; of the others there is a gap.
func (m *machine) trim(upTo eventlog.Position) {
	if upTo <= m.trimmed {
		return
	}
	m.trimmed = upTo
	const reason = webhookgatewayv1.GapReason_GAP_REASON_RETENTION
	read := m.read
	for read < upTo && m.passed(read+1) { // nothing of these is missing
		read++
	}
	from, lost := m.cursor, read < upTo
	for s := m.first; s != 0 && m.at(s).position <= upTo; {
		next := m.at(s).next
		if m.at(s).stage != held {
			m.remove(s)
			lost = true
		}
		s = next
	}
	if lost {
		m.widenGap(from, upTo, reason)
	}
	m.trimApart(upTo)
	m.offer(nil, max(m.read, upTo))
}

// trimApart ends what is apart and not copied.
func (m *machine) trimApart(upTo eventlog.Position) {
	if m.lowestApart == 0 || m.lowestApart > upTo {
		return
	}
	var lost []slot
	for p, s := range m.apart {
		if e := m.at(s); p <= upTo && e.stage != held && !e.is(copied) {
			lost = append(lost, s)
		}
	}
	m.sortByPosition(lost)
	for _, s := range lost {
		m.lose(s, webhookgatewayv1.GapReason_GAP_REASON_RETENTION)
	}
	m.findLowestApart()
}
