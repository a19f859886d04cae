package subscription

import webhookgatewayv1 "github.com/webhook-gateway/webhook-gateway/gen/webhookgateway/v1"

// groupOf returns the group of an entry, 0 for none.
func (m *machine) groupOf(e *entry) uint64 {
	switch m.settings.ordering {
	case webhookgatewayv1.Ordering_ORDERING_STRICT:
		return 1
	case webhookgatewayv1.Ordering_ORDERING_BY_SUBJECT:
		return e.hash
	default:
		return 0
	}
}

// enter puts a new entry into its group. Later events of the group that are held are
// revoked.
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
	if e.stage != blocked {
		return
	}
	if e.position > m.read && m.groupOf(e) != 0 {
		// Earlier events of its group may still be offered.
		if e.is(apart) && !e.is(ahead) {
			e.set(ahead, true)
			m.aheads.push(s)
		}
		return
	}
	if e.before == 0 {
		e.stage = ready
		m.readyHeap(e).push(s)
		return
	}
	if before := m.at(e.before); before.stage == held {
		w := m.workers[before.worker]
		// NOTE A worker that holds suspects is given nothing else, and no other is given
		// suspects: they follow once the event before them is settled.
		if w.probing == e.suspect() {
			e.stage, e.worker = reserved, w.id
			w.reserved.push(s)
			m.refresh(w)
		}
	}
}

// readyHeap returns the heap of an entry that is ready.
func (m *machine) readyHeap(e *entry) *slotHeap {
	switch {
	case e.suspect():
		return &m.suspects
	case e.is(apart | handed):
		return &m.again
	default:
		return &m.fresh
	}
}

// block takes back a promotion.
func (m *machine) block(s slot) {
	if e := m.at(s); e.stage == ready || e.stage == reserved {
		m.leaveHeap(s)
		e.stage = blocked
	}
}

// revoke takes an entry back from the worker that holds it, and takes back a
// promotion.
func (m *machine) revoke(s slot) {
	m.block(s)
	if e := m.at(s); e.stage == held {
		m.leaveHeap(s)
		e.stage, e.lease = blocked, 0
	}
}

// revokeAfter revokes the later entries of a group.
func (m *machine) revokeAfter(s slot) {
	for n := m.at(s).after; n != 0 && m.at(n).stage != blocked; {
		e := m.at(n)
		next, wasHeld := e.after, e.stage == held
		m.revoke(n)
		if wasHeld && m.gone(e) {
			m.lose(n, webhookgatewayv1.GapReason_GAP_REASON_RETENTION)
		}
		n = next
	}
}

// leaveHeap takes an entry out of the heap it is in, and out of the counts. Its
// stage must change then.
func (m *machine) leaveHeap(s slot) {
	e := m.at(s)
	switch e.stage {
	case ready:
		m.readyHeap(e).remove(s)
	case reserved:
		w := m.workers[e.worker]
		w.reserved.remove(s)
		m.refresh(w)
	case waiting:
		m.timers.remove(s)
	case held:
		m.unhold(s)
	case blocked:
		if e.is(ahead) {
			e.set(ahead, false)
			m.aheads.remove(s)
		}
	case free:
	}
}
