package subscription

import (
	"slices"
	"time"
)

const (
	// firstCredit is how many events a worker may hold at first.
	firstCredit = 16
	// rest is how long a worker that gave events back unused is passed over, if there
	// are others: it is likely to end.
	rest = time.Second
)

// worker is one stream of the subscription, as the machine sees it.
type worker struct {
	id uint32
	// most is the most it may hold by its own wish, 0 if it has none.
	most int
	// wanted is how many deliveries it waits for.
	wanted int

	held     slotHeap // by deadline
	earliest int64    // of the deadlines; it orders the workers
	sent     int      // how many of those held were sent
	reserved slotHeap // by position

	// credit is the most it may hold, by its measured rate of settling. peak is how
	// many it held after the last delivery: credit that is not used does not grow.
	credit, peak int
	// punished is the newest lease when the credit was halved last: deliveries up to
	// it do not halve it again.
	punished uint64

	// probing: it holds suspects and nothing else. given is how many it got so far, of
	// at most set.
	probing    bool
	given, set int
	// owed is how many events it is to be given before it probes again, if it is the
	// only worker.
	owed int

	restsUntil int64 // 0 if it does not rest
	reservist  bool  // it is one of the machine's reservists

	// One more than where it is in the heaps of workers.
	takersIndex, deadlinesIndex int
}

func (w *worker) clear(a *arena) {
	w.held = slotHeap{arena: a, byDue: true}
	w.reserved = slotHeap{arena: a}
	w.sent, w.peak = 0, 0
	w.probing, w.given, w.set, w.owed = false, 0, 0, 0
}

// connect adds a worker that holds at most some events, 0 for no limit of its own.
func (m *machine) connect(id uint32, most int) {
	w := &worker{id: id, most: most, credit: firstCredit}
	w.clear(&m.arena)
	m.workers[id] = w
	m.refreshAll()
}

// want has a worker wait for up to n deliveries; 0 ends that.
func (m *machine) want(id uint32, n int) {
	w := m.workers[id]
	w.wanted = n
	m.refresh(w)
}

// disconnect removes a worker. If it broke, what was sent to it counts as failed or
// becomes suspect; otherwise it is given back unused.
func (m *machine) disconnect(id uint32, broke bool, now time.Time) {
	w := m.workers[id]
	w.wanted = 0
	mine := w.held.all()
	m.sortByPosition(mine)
	n := w.sent
	for _, s := range mine {
		m.leaveHeap(s)
		e := m.at(s)
		e.stage, e.lease = blocked, 0
	}
	for _, s := range mine {
		m.revokeAfter(s)
	}
	m.endTelling(w)
	m.resting = slices.DeleteFunc(m.resting, func(r *worker) bool { return r == w })
	if m.drained == w {
		m.drained = nil
	}
	m.takers.keep(w, false)
	delete(m.reservists, w)
	delete(m.workers, id)
	m.refreshAll()
	for _, s := range mine {
		m.giveBack(s, n, broke, now)
	}
}

// limit returns how many events a worker may hold, not regarding the others.
func (m *machine) limit(w *worker) int { return min(w.credit, m.mostCredit(w)) }

func (m *machine) mostCredit(w *worker) int {
	if w.most > 0 {
		return min(w.most, m.settings.maxInFlightPerStream)
	}
	return m.settings.maxInFlightPerStream
}

// roomOf returns how many more events a worker may be given. No worker gets more
// than its share of what all together may hold, so that slow ones leave room for
// the others.
func (m *machine) roomOf(w *worker) int {
	share := max(1, m.settings.maxInFlight/len(m.workers))
	return max(0, min(min(m.limit(w), share)-w.held.len(), m.settings.maxInFlight-m.held))
}

// served reports whether a worker may be given what any may have.
func (m *machine) served(w *worker) bool {
	return !w.probing && w != m.drained && w.held.len() < m.limit(w) && !m.rests(w)
}

// rests reports whether a worker gave events back unused just now: it is about to
// leave, so that they would only come back. A lone one rests too.
func (m *machine) rests(w *worker) bool { return w.restsUntil != 0 }

// servedBefore orders workers that wait: one that holds least first.
func (m *machine) servedBefore(a, b *worker) bool {
	if x, y := m.served(a), m.served(b); x != y {
		return x
	}
	if a.held.len() != b.held.len() {
		return a.held.len() < b.held.len()
	}
	return a.id < b.id
}

// refresh takes note that a worker has changed.
func (m *machine) refresh(w *worker) {
	if s := w.held.first(); s == 0 {
		m.deadlines.keep(w, false)
	} else if due := m.at(s).due; due != w.earliest || w.deadlinesIndex == 0 {
		w.earliest = due
		m.deadlines.keep(w, true)
	}
	m.takers.keep(w, w.wanted > 0)
	reservist := w.wanted > 0 && w.reserved.len() > 0 && w != m.drained && w.held.len() < m.limit(w) && !m.rests(w)
	if reservist != w.reservist {
		if w.reservist = reservist; reservist {
			m.reservists[w] = struct{}{}
		} else {
			delete(m.reservists, w)
		}
	}
}

// refreshAll takes note that what concerns all workers has changed.
func (m *machine) refreshAll() {
	// NOTE One at a time would compare with others that are not in their places.
	for _, w := range m.workers {
		m.takers.keep(w, false)
	}
	for _, w := range m.workers {
		m.refresh(w)
	}
}

// hold gives an entry to a worker.
func (m *machine) hold(s slot, w *worker, due int64) {
	m.leaveHeap(s)
	m.lease++
	e := m.at(s)
	e.stage, e.worker, e.lease, e.due = held, w.id, m.lease, due
	e.set(sent|extended|beside, false)
	e.set(handed, true)
	w.held.push(s)
	m.held++
	if e.is(apart) {
		m.apartHeld++
	}
	m.refresh(w)
}

// unhold takes an entry from the worker that holds it.
func (m *machine) unhold(s slot) {
	e := m.at(s)
	w := m.workers[e.worker]
	w.held.remove(s)
	m.held--
	if e.is(apart) {
		m.apartHeld--
	}
	if e.is(sent) {
		w.sent--
	}
	if w.probing && w.held.len() == 0 {
		w.probing, w.given, w.owed = false, 0, w.credit
		m.prober = nil
	}
	m.refresh(w)
}

// setDue changes the deadline of an entry that is held.
func (m *machine) setDue(s slot, due int64) {
	e := m.at(s)
	w := m.workers[e.worker]
	e.due = due
	w.held.fix(s)
	m.refresh(w)
}

// measure adapts the credit of a worker to how long it took to deal with an event.
func (m *machine) measure(e *entry, clock int64) {
	if !e.is(sent) || e.is(extended) {
		return
	}
	w := m.workers[e.worker]
	deadline := int64(m.settings.ackDeadline)
	switch took := deadline - (e.due - clock); {
	case took > deadline/2:
		m.punish(w, e.lease)
	case took < deadline/4 && w.credit < m.mostCredit(w) && 2*w.peak > w.credit:
		w.credit++
		m.refresh(w)
	}
}

// punish halves the credit of a worker for a delivery, once for all that it held.
func (m *machine) punish(w *worker, lease uint64) {
	if lease > w.punished {
		w.credit, w.punished = max(1, m.limit(w)/2), m.lease
		m.refresh(w)
	}
}

// setResting has a worker passed over for a while.
func (m *machine) setResting(w *worker, clock int64) {
	if w.restsUntil == 0 {
		m.resting = append(m.resting, w)
	}
	w.restsUntil = clock + int64(rest)
	m.refresh(w)
}

func (m *machine) endRests(clock int64) {
	m.resting = slices.DeleteFunc(m.resting, func(w *worker) bool {
		if w.restsUntil > clock {
			return false
		}
		w.restsUntil = 0
		m.refresh(w)
		return true
	})
}

func (m *machine) sortByPosition(slots []slot) {
	slices.SortFunc(slots, func(a, b slot) int {
		if m.at(a).position < m.at(b).position {
			return -1
		}
		return 1
	})
}
