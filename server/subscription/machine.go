package subscription

import (
	"time"

	"github.com/webhook-gateway/webhook-gateway/server/eventlog"
)

// A machine is one subscription with its rules. It does no I/O, has no goroutine
// and is told the time; it is not safe for concurrent use.
//
// An event of the log is offered to it in order of positions, held by a worker
// from its delivery on, and at last settled: acknowledged, skipped or parked. What
// was given back as failed or suspect, and what is replayed, is apart: it is
// durable by itself, and the cursor passes it. Every other event up to the cursor
// that matched is settled; of those after it the settled ones are in a bitmap.
//
// Order is by groups of events. An event is delivered only when every earlier
// event of its group is read, and settled or held by the same worker. So the
// events of a group that are held are its earliest, and held by one worker. When
// one of them is given back, those after it are revoked.
type machine struct {
	settings settings
	start    time.Time
	// ahead is by how much the clock that start goes by is ahead of the time of the log.
	ahead time.Duration

	cursor eventlog.Position
	// read is the position up to which the log was offered, and seen up to which it
	// ever was, for other filters too.
	read, seen eventlog.Position
	// trimmed is the position up to which the log is known to be trimmed.
	trimmed eventlog.Position
	gaps    []untoldGap
	// lease is the number of the newest delivery, and sought that of the newest one
	// when the subscription was moved last.
	lease, sought uint64

	arena arena
	// The entries that are not apart, by position.
	first, last slot
	// tails has the last entry of each group.
	tails map[uint64]slot

	// Entries that are ready: to be delivered for the first time, to be delivered
	// again, and suspects.
	fresh, again, suspects slotHeap
	timers                 slotHeap // waiting entries
	aheads                 slotHeap // blocked until the log is read up to them
	apart                  map[eventlog.Position]slot
	// lowestApart is at most the lowest position of those apart that are not copied,
	// 0 if there are none; it is too low if stale.
	lowestApart eventlog.Position
	stale       bool
	held        int
	apartHeld   int

	workers map[uint32]*worker
	// takers are the workers that want deliveries, the one to serve first in front.
	takers workerHeap
	// reservists are those of them that something is reserved for.
	reservists map[*worker]struct{}
	// deadlines are the workers that hold something, by the earliest deadline.
	deadlines workerHeap
	resting   []*worker
	// prober is the worker that holds suspects; drained is to be the next.
	prober, drained *worker

	settled map[uint64]*[blockBytes]byte
	changed map[change]struct{}
	parking parkedChanges
}

// termShift leaves room for a trillion deliveries per term.
const termShift = 40

// newMachine returns the machine of a subscription that begins after a position.
// Of two machines of a subscription the later has the larger term: it never gives
// out a lease that the other did.
func newMachine(settings settings, after eventlog.Position, term uint64, now time.Time) *machine {
	m := &machine{
		settings:   settings,
		start:      now,
		cursor:     after,
		read:       after,
		seen:       after,
		lease:      term << termShift,
		workers:    make(map[uint32]*worker),
		reservists: make(map[*worker]struct{}),
		settled:    make(map[uint64]*[blockBytes]byte),
		changed:    make(map[change]struct{}),
		parking:    parkedChanges{each: make(map[eventlog.Position]parkedChange)},
	}
	m.takers = workerHeap{less: m.servedBefore, index: func(w *worker) *int { return &w.takersIndex }}
	m.deadlines = workerHeap{
		less:  func(a, b *worker) bool { return a.earliest < b.earliest },
		index: func(w *worker) *int { return &w.deadlinesIndex },
	}
	m.clear()
	return m
}

// clear forgets all entries.
func (m *machine) clear() {
	for _, w := range m.workers {
		m.deadlines.keep(w, false)
	}
	m.arena = newArena()
	m.first, m.last = 0, 0
	m.tails = make(map[uint64]slot)
	m.apart, m.lowestApart, m.stale = make(map[eventlog.Position]slot), 0, false
	for _, h := range []*slotHeap{&m.fresh, &m.again, &m.suspects, &m.aheads} {
		*h = slotHeap{arena: &m.arena}
	}
	m.timers = slotHeap{arena: &m.arena, byDue: true}
	m.held, m.apartHeld = 0, 0
	m.prober, m.drained = nil, nil
	for _, w := range m.workers {
		w.clear(&m.arena)
		m.refresh(w)
	}
}

func (m *machine) at(s slot) *entry { return m.arena.at(s) }

// clock returns how long the machine had been running at a time. It is not moved by
// somebody who sets the clock of the computer.
func (m *machine) clock(now time.Time) int64 {
	running := now.Sub(m.start)
	m.start = now.Add(-running) // the same moment, as the computer's clock would have it now
	return int64(running)
}

// time returns the time of the clock, as the computer's clock had it last.
func (m *machine) time(clock int64) time.Time { return m.start.Add(time.Duration(clock)) }

// offer is an event of the log that matches the filters.
type offer struct {
	position eventlog.Position
	hash     uint64
}

// offer takes the matching events between the position read up to and another.
// Those that are known already, or settled, are passed over.
func (m *machine) offer(offers []offer, upTo eventlog.Position) {
	for _, o := range offers {
		if o.position <= m.read || m.passed(o.position) {
			continue
		}
		m.readTo(o.position)
		s := m.newEntry(o)
		m.link(s)
		m.enter(s)
	}
	m.readTo(max(m.read, upTo))
	for s := m.aheads.first(); s != 0 && m.at(s).position <= m.read; s = m.aheads.first() {
		m.leaveHeap(s)
		m.promote(s)
	}
	m.advance()
}

// readTo takes note that everything up to a position was offered.
func (m *machine) readTo(p eventlog.Position) { m.read, m.seen = p, max(m.seen, p) }

// readyEvents is how many events were found and not delivered yet.
func (m *machine) readyEvents() int {
	return m.arena.live - len(m.apart) - (m.held - m.apartHeld)
}

// waitingEvents is how many events are apart, and not held.
func (m *machine) waitingEvents() int { return len(m.apart) - m.apartHeld }

// room returns how many events may be offered.
func (m *machine) room() int { return max(0, m.settings.readAhead()-m.readyEvents()) }

func (m *machine) newEntry(o offer) slot {
	s := m.arena.alloc()
	e := m.at(s)
	e.position, e.hash, e.stage = o.position, o.hash, blocked
	return s
}

// link appends an entry to the list: events are offered in order.
func (m *machine) link(s slot) {
	m.at(s).prev, m.at(s).next = m.last, 0
	if m.last == 0 {
		m.first = s
	} else {
		m.at(m.last).next = s
	}
	m.last = s
}

func (m *machine) unlink(s slot) {
	e := m.at(s)
	if e.prev == 0 {
		m.first = e.next
	} else {
		m.at(e.prev).next = e.next
	}
	if e.next == 0 {
		m.last = e.prev
	} else {
		m.at(e.next).prev = e.prev
	}
	e.prev, e.next = 0, 0
}

// remove ends an entry. The next of its group moves up.
func (m *machine) remove(s slot) {
	e := m.at(s)
	m.leaveHeap(s)
	after := m.leaveGroup(s)
	if e.is(apart) {
		delete(m.apart, e.position)
		m.touch(pairApart, e.position)
		m.stale = m.stale || e.position == m.lowestApart
		if e.is(copied) {
			m.touch(pairCopy, e.position)
		}
	} else {
		m.unlink(s)
	}
	m.arena.release(s)
	m.promote(after)
}

// settle ends an entry that will not be delivered any more.
func (m *machine) settle(s slot) {
	if !m.at(s).is(apart) {
		m.pass(s)
	}
	m.remove(s)
	m.advance()
}

// pass lets the cursor pass an entry that is still in the list.
func (m *machine) pass(s slot) {
	if p := m.at(s).position; s != m.first || p > m.read {
		m.markSettled(p)
	}
}

// setApart takes an entry out of the list: the cursor passes it. It must not be in
// a heap of those that are ready.
func (m *machine) setApart(s slot) {
	e := m.at(s)
	m.touch(pairApart, e.position)
	if e.is(apart) {
		return
	}
	m.pass(s)
	m.unlink(s)
	m.addApart(s)
	m.advance()
}

// detach has an entry be apart, held or not.
func (m *machine) detach(s slot) {
	switch e := m.at(s); {
	case e.is(apart):
	case e.stage == held:
		m.apartHeld++
		m.setApart(s)
	default:
		m.block(s)
		m.setApart(s)
		m.promote(s)
	}
}

// addApart makes an entry that is not in the list one that is apart.
func (m *machine) addApart(s slot) {
	e := m.at(s)
	e.set(apart, true)
	m.apart[e.position] = s
	if !e.is(copied) && (e.position < m.lowestApart || m.lowestApart == 0) {
		m.lowestApart = e.position
	}
}

// advance moves the cursor as far as everything is settled or apart.
func (m *machine) advance() {
	to := m.read
	if m.first != 0 {
		to = min(to, m.at(m.first).position-1)
	}
	if to <= m.cursor {
		return
	}
	m.dropBlocks(m.cursor, to)
	m.cursor = to
	m.touch(pairPlace, 0)
}

// isSettled reports whether an event is settled.
func (m *machine) isSettled(p eventlog.Position) bool {
	_, isApart := m.apart[p]
	return !isApart && m.passed(p)
}

// passed reports whether an event is settled or apart.
func (m *machine) passed(p eventlog.Position) bool { return p <= m.cursor || m.markedSettled(p) }

// nextDue returns when expire has something to do.
func (m *machine) nextDue() (time.Time, bool) {
	least, found := int64(0), false
	due := func(clock int64) {
		if !found || clock < least {
			least, found = clock, true
		}
	}
	if s := m.timers.first(); s != 0 {
		due(m.at(s).due)
	}
	if w := m.deadlines.first(); w != nil {
		due(w.earliest)
	}
	for _, w := range m.resting {
		due(w.restsUntil)
	}
	for _, g := range m.gaps {
		if g.forgetAt != 0 {
			due(g.forgetAt)
		}
	}
	return m.time(least), found
}

// delivered returns the position up to which nothing is left to deliver for the
// first time.
func (m *machine) delivered() eventlog.Position {
	for s := m.first; s != 0; s = m.at(s).next {
		if e := m.at(s); e.stage != held {
			return min(m.read, e.position-1)
		}
	}
	return m.read
}

// idle reports whether everything up to the head is delivered.
func (m *machine) idle(head eventlog.Position) bool {
	return m.read >= head && m.readyEvents() == 0 && m.again.len() == 0
}

// oldestOwed returns the position of the earliest event of the subscription's own
// that is known not to be settled and is not copied.
func (m *machine) oldestOwed() (eventlog.Position, bool) {
	var oldest eventlog.Position
	if m.first != 0 {
		oldest = m.at(m.first).position
	}
	if m.stale {
		m.findLowestApart()
	}
	if m.lowestApart != 0 && (oldest == 0 || m.lowestApart < oldest) {
		oldest = m.lowestApart
	}
	return oldest, oldest != 0
}

func (m *machine) findLowestApart() {
	m.lowestApart, m.stale = 0, false
	for p, s := range m.apart {
		if !m.at(s).is(copied) && (p < m.lowestApart || m.lowestApart == 0) {
			m.lowestApart = p
		}
	}
}
