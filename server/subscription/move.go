package subscription

import (
	"slices"

	"github.com/webhook-gateway/webhook-gateway/server/eventlog"
)

// seek moves the subscription to after a position. Everything held is fenced, and
// replays end.
func (m *machine) seek(after eventlog.Position) {
	for p := range m.replays {
		m.touch(changeReplay, p)
	}
	for p := range m.attempts {
		m.touch(changeAttempts, p)
	}
	for b := range m.settled {
		m.touch(changeBlock, eventlog.Position(b))
	}
	m.clear()
	clear(m.attempts)
	clear(m.settled)
	m.cursor, m.read, m.trimmed, m.gap = after, after, 0, Gap{}
	m.touch(changeState, 0)
}

// configure changes the settings. What is held stays so, unless the ordering
// changes.
func (m *machine) configure(to settings) {
	reorder := to.ordering != m.settings.ordering
	m.settings = to
	if reorder {
		m.reorder()
	}
}

// refilter forgets the events that were not delivered and has the log offered
// again from the cursor on.
func (m *machine) refilter() {
	// Of what is trimmed nothing was left but what is held.
	m.read = max(m.cursor, min(m.read, m.trimmed))
	for s := m.first; s != 0; {
		next := m.at(s).next
		if e := m.at(s); e.state != held && e.attempts == 0 {
			m.remove(s)
		}
		s = next
	}
	m.offered = 0
	for s := m.first; s != 0; s = m.at(s).next {
		m.blockAhead(s)
	}
	for _, s := range m.replays {
		m.blockAhead(s)
	}
}

// blockAhead blocks what is ahead of the position read to: earlier events of its
// group may be offered yet.
func (m *machine) blockAhead(s slot) {
	e := m.at(s)
	if e.position <= m.read || m.groupOf(e) == 0 {
		return
	}
	m.block(s)
	if e.replayed && !e.ahead {
		e.ahead = true
		m.ahead++
	}
}

// reorder puts the entries into the groups of another ordering, and revokes what
// is held.
func (m *machine) reorder() {
	var all []slot
	for s := m.first; s != 0; s = m.at(s).next {
		all = append(all, s)
	}
	for _, s := range m.replays {
		all = append(all, s)
	}
	slices.SortFunc(all, func(a, b slot) int { return int(m.at(a).position) - int(m.at(b).position) }) //nolint:gosec // positions are far from 2^63
	for _, s := range all {
		m.revoke(s)
	}
	m.tails = make(map[uint64]slot)
	for _, s := range all {
		e := m.at(s)
		e.before, e.after = 0, 0
		if e.state == waiting {
			m.joinGroup(s)
			continue
		}
		m.enter(s)
	}
	for _, s := range all {
		m.blockAhead(s)
		if m.at(s).position <= m.trimmed { // it was held
			m.lose(s)
		}
	}
}

// trim takes note that the log is trimmed up to a position. Events that are held
// may still be acknowledged; of the others there is a gap.
func (m *machine) trim(upTo eventlog.Position) {
	if upTo <= m.trimmed {
		return
	}
	m.trimmed = upTo
	from, lost := m.cursor, m.read < upTo
	for s := m.first; s != 0 && m.at(s).position <= upTo; {
		next := m.at(s).next
		if m.at(s).state != held {
			m.remove(s)
			lost = true
		}
		s = next
	}
	for p, s := range m.replays {
		if p <= upTo && m.at(s).state != held {
			m.remove(s)
			m.widenGap(p-1, p)
		}
	}
	for p := range m.attempts {
		if p <= upTo {
			delete(m.attempts, p)
			m.touch(changeAttempts, p)
		}
	}
	if lost {
		m.widenGap(from, upTo)
	}
	m.read = max(m.read, upTo)
	m.advance()
}

func (m *machine) widenGap(from, to eventlog.Position) {
	if m.gap == (Gap{}) {
		m.gap = Gap{From: from, To: to}
	} else {
		m.gap = Gap{From: min(m.gap.From, from), To: max(m.gap.To, to)}
	}
	m.touch(changeState, 0)
}

// takeGap returns the gap that no stream was told of, if any, and forgets it.
func (m *machine) takeGap() Gap {
	gap := m.gap
	if gap != (Gap{}) {
		m.gap = Gap{}
		m.touch(changeState, 0)
	}
	return gap
}
