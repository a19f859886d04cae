package subscription

import "time"

// How suspects are searched. When a stream or several deadlines of it end while
// it held several events, any of these may be why. Each gets a limit, half of what
// was held, waits, and is delivered again only to a worker that holds nothing
// else, together with no more suspects than its limit. One worker probes at a time,
// the others are served; a single one takes turns. The innocent are settled, the
// others come again in halves, until one is held alone: then its attempt counts.

// next returns the worker to be served next, and how many of the events that any
// worker may have are its share; nil if nobody can be served.
func (m *machine) next() (*worker, int) {
	m.planProbe()
	if m.mayProbe(m.drained) && m.drained.wanted > 0 && m.roomOf(m.drained) > 0 {
		return m.drained, 0
	}
	if w := m.takers.first(); w != nil && m.served(w) && m.roomOf(w) > 0 {
		if n := m.common(); n > 0 {
			return w, (n + m.takers.Len() - 1) / m.takers.Len()
		}
	}
	full := m.full()
	for w := range m.reservists {
		if m.roomOf(w) > 0 && m.reservedFor(w, full) != 0 {
			return w, 0
		}
	}
	return nil, 0
}

// common returns how many events any worker may be given.
func (m *machine) common() int {
	if m.full() {
		return m.again.len()
	}
	return m.again.len() + m.fresh.len()
}

// full reports whether so many events wait that nothing is delivered for the first
// time. It is not full if none of them can come again before an event of its group
// that was never delivered: then that one has to be delivered.
func (m *machine) full() bool {
	return m.waitingEvents() >= m.settings.maxWaiting &&
		m.timers.len()+m.again.len()+m.suspects.len()+m.apartHeld > 0
}

// mayProbe reports whether a worker is to be given suspects now.
func (m *machine) mayProbe(w *worker) bool {
	return w != nil && w == m.drained && w.held.len() == 0 && !m.rests(w) && m.suspects.len() > 0
}

// planProbe chooses the worker that is given nothing until it holds nothing, and
// then suspects.
func (m *machine) planProbe() {
	if m.suspects.len() == 0 || m.prober != nil {
		m.setDrained(nil)
		return
	}
	d, w := m.drained, m.takers.first()
	if d != nil && d.held.len() == 0 && d.wanted > 0 && !m.rests(d) || w == nil || w == d || !m.served(w) {
		return
	}
	if d != nil && d.held.len() > 0 && w.held.len() > 0 {
		return // the other would have to be drained, too
	}
	if len(m.workers) == 1 && w.owed > 0 && m.common() > 0 {
		return // its turn to be served
	}
	m.setDrained(w)
}

func (m *machine) setDrained(w *worker) {
	before := m.drained
	if before == w {
		return
	}
	for _, changed := range []*worker{before, w} {
		if changed != nil { // NOTE Out of the heap while its place in it changes.
			m.takers.keep(changed, false)
		}
	}
	m.drained = w
	for _, changed := range []*worker{before, w} {
		if changed != nil {
			m.refresh(changed)
		}
	}
}

// deliver leases events to a worker, as many as it wants, in order of their
// positions. At most share of them are events that any worker may have; the others
// are reserved for this one, some by what it is given here.
func (m *machine) deliver(w *worker, share int, now time.Time) []Delivery {
	n := min(w.wanted, m.roomOf(w))
	w.wanted = 0
	m.refresh(w)
	if m.mayProbe(w) {
		m.prober = w
		w.probing, w.given, w.set = true, 0, n
		m.setDrained(nil)
	}
	deadline := now.Add(m.settings.ackDeadline)
	due := m.clock(deadline)
	deliveries := make([]Delivery, 0, min(n, m.arena.live-m.held))
	// NOTE Asked once for the batch. What is handed out does not wait any more, so the
	// answer may change, and an earlier event that was held back would come after it.
	full := m.full()
	for len(deliveries) < n {
		s, common := m.choose(w, share, full)
		if s == 0 {
			break
		}
		if common {
			share--
		}
		first := !m.at(s).is(handed | apart)
		m.hold(s, w, due)
		e := m.at(s)
		w.given++
		w.owed = max(0, w.owed-1)
		m.promote(e.after)
		deliveries = append(deliveries, Delivery{
			Position: e.position,
			Attempt:  int(e.attempts) + 1,
			First:    first,
			Deadline: deadline,
			lease:    lease{position: e.position, number: e.lease, slot: s},
			copied:   e.is(copied),
		})
	}
	w.peak = w.held.len()
	if w.probing && w.held.len() == 0 { // there was nothing after all
		w.probing, m.prober = false, nil
		m.refresh(w)
	}
	return deliveries
}

// choose returns the next entry for a worker, and whether any might have it. full
// tells that nothing is delivered for the first time.
func (m *machine) choose(w *worker, share int, full bool) (slot, bool) {
	if w.probing {
		return m.chooseSuspect(w), false
	}
	s, common := m.reservedFor(w, full), false
	if share > 0 && m.served(w) {
		heaps := []*slotHeap{&m.again, &m.fresh}
		if full {
			heaps = heaps[:1]
		}
		for _, h := range heaps {
			if r := h.first(); r != 0 && (s == 0 || byPosition(m.at(r), m.at(s))) {
				s, common = r, true
			}
		}
	}
	return s, common
}

// reservedFor returns the first entry reserved for a worker that it may be given.
func (m *machine) reservedFor(w *worker, full bool) slot {
	s := w.reserved.first()
	switch {
	case s == 0 || w == m.drained || !m.at(s).is(apart|handed) && full:
		return 0
	case w.probing && !m.fits(w, s):
		return 0
	}
	return s
}

func (m *machine) chooseSuspect(w *worker) slot {
	var s slot
	for _, c := range []slot{w.reserved.first(), m.suspects.first()} {
		if c != 0 && m.fits(w, c) && (s == 0 || byPosition(m.at(c), m.at(s))) {
			s = c
		}
	}
	if s != 0 {
		w.set = min(w.set, int(m.at(s).limit))
	}
	return s
}

// fits reports whether a suspect may be added to what a worker probes.
func (m *machine) fits(w *worker, s slot) bool {
	return w.given < min(w.set, int(m.at(s).limit))
}
