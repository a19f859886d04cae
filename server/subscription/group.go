package subscription

import webhookgatewayv1 "github.com/webhook-gateway/webhook-gateway/gen/webhookgateway/v1"

// groupOf returns the group of an entry, 0 for none.
func (m *machine) groupOf(e *entry) uint64 {
	switch m.settings.ordering {
	case webhookgatewayv1.Ordering_ORDERING_STRICT:
		return 1
	case webhookgatewayv1.Ordering_ORDERING_BY_CUSTOMER:
		return e.hash
	default:
		return 0
	}
}

// enter puts a new entry, or one whose group changed, where it belongs. Later
// events of its group that are held are revoked.
func (m *machine) enter(s slot) {
	m.joinGroup(s)
	m.revokeAfter(s)
	m.promote(s)
}

func (m *machine) joinGroup(s slot) {
	e := m.at(s)
	group := m.groupOf(e)
	if group == 0 {
		return
	}
	before, after := m.tails[group], slot(0)
	for before != 0 && m.at(before).position > e.position {
		before, after = m.at(before).before, before
	}
	e.before, e.after = before, after
	if before != 0 {
		m.at(before).after = s
	}
	if after != 0 {
		m.at(after).before = s
	} else {
		m.tails[group] = s
	}
}

// leaveGroup returns the next entry of the group, blocked if it was free to be
// delivered.
func (m *machine) leaveGroup(s slot) slot {
	e := m.at(s)
	group := m.groupOf(e)
	if group == 0 {
		return 0
	}
	if e.before != 0 {
		m.at(e.before).after = e.after
	}
	if e.after == 0 {
		if m.tails[group] = e.before; e.before == 0 {
			delete(m.tails, group)
		}
		return 0
	}
	m.at(e.after).before = e.before
	m.block(e.after)
	return e.after
}

// promote frees a blocked entry for delivery, if nothing of its group is in its
// way.
func (m *machine) promote(s slot) {
	if s == 0 {
		return
	}
	e := m.at(s)
	if e.state != blocked || e.position > m.read && m.groupOf(e) != 0 {
		return
	}
	if e.before == 0 {
		e.state = ready
		m.ready.push(s)
		return
	}
	if before := m.at(e.before); before.state == held {
		e.state, e.stream = reserved, before.stream
		m.streams[e.stream].reserved.push(s)
	}
}

// block takes back a promotion.
func (m *machine) block(s slot) {
	if e := m.at(s); e.state == ready || e.state == reserved {
		m.leaveHeap(s)
		e.state = blocked
	}
}

// revoke takes an entry back from the stream that holds it, without counting the
// attempt, and takes back a promotion.
func (m *machine) revoke(s slot) {
	m.block(s)
	if e := m.at(s); e.state == held {
		m.leaveHeap(s)
		e.state, e.lease = blocked, 0
		e.attempts--
	}
}

// revokeAfter revokes the later entries of a group.
func (m *machine) revokeAfter(s slot) {
	for s = m.at(s).after; s != 0 && m.at(s).state != blocked; s = m.at(s).after {
		m.revoke(s)
	}
}

// leaveHeap takes an entry out of the heap it is in, and out of the counts. Its
// state must change then.
func (m *machine) leaveHeap(s slot) {
	e := m.at(s)
	switch e.state {
	case ready:
		m.ready.remove(s)
	case reserved:
		m.streams[e.stream].reserved.remove(s)
	case waiting:
		m.timers.remove(s)
		m.waiting--
	case held:
		m.timers.remove(s)
		m.held--
		m.streams[e.stream].held--
	case free, blocked:
	}
}
