package subscription

import (
	"time"

	"github.com/webhook-gateway/webhook-gateway/server/eventlog"
)

// A machine is the state of one subscription and its rules. It does no I/O, has
// no goroutine and is told the time; it is not safe for concurrent use.
//
// An event of the log is offered to it in order of positions, held by a stream
// from its delivery on, and at last settled: acknowledged, skipped or parked.
// Every event up to the cursor that matched is settled; of those after it the
// settled ones are in a bitmap. The only events at or before the cursor that are
// not settled are those replayed after they were parked.
//
// Order is by groups of events. An event is delivered only when every earlier
// event of its group is read, and settled or held by the same stream. So the events of a
// group that are held are its earliest, and held by one stream. When one of them
// is given back, those after it are revoked.
type machine struct {
	settings settings
	start    time.Time

	cursor eventlog.Position
	// read is the position up to which the log was offered.
	read eventlog.Position
	// trimmed is the position up to which the log is known to be trimmed.
	trimmed eventlog.Position
	gap     Gap
	// lease is the number of the newest delivery.
	lease uint64

	arena       arena
	first, last slot
	// offered is the entry at or before the newest event offered.
	offered slot
	replays map[eventlog.Position]slot
	// ahead is the number of replayed entries that wait until the log is read up
	// to them.
	ahead int
	// tails has the last entry of each group.
	tails map[uint64]slot

	ready   heap
	timers  heap // waiting and held entries
	streams map[uint32]*stream
	held    int
	waiting int

	settled map[uint64]*[blockBytes]byte
	// attempts of events that were given back. Also of events that were not read
	// again since the state was loaded.
	attempts map[eventlog.Position]uint16
	parked   []parked // by position
	changed  map[change]struct{}
}

// stream is what a stream holds.
type stream struct {
	held     int
	reserved heap
}

// epochShift leaves room for a trillion deliveries per epoch.
const epochShift = 40

// newMachine returns the machine of a subscription that begins after a position.
// Of two machines of a subscription the later has the larger epoch: it never
// gives out a lease that the other did.
func newMachine(settings settings, after eventlog.Position, epoch uint64, now time.Time) *machine {
	m := &machine{
		settings: settings,
		start:    now,
		cursor:   after,
		read:     after,
		lease:    epoch << epochShift,
		streams:  make(map[uint32]*stream),
		attempts: make(map[eventlog.Position]uint16),
		changed:  make(map[change]struct{}),
	}
	m.clear()
	m.settled = make(map[uint64]*[blockBytes]byte)
	return m
}

// clear forgets all entries.
func (m *machine) clear() {
	m.arena = newArena()
	m.first, m.last, m.offered = 0, 0, 0
	m.replays, m.ahead = make(map[eventlog.Position]slot), 0
	m.tails = make(map[uint64]slot)
	m.ready = heap{arena: &m.arena, less: byPosition}
	m.timers = heap{arena: &m.arena, less: byDue}
	m.held, m.waiting = 0, 0
	for _, st := range m.streams {
		*st = stream{reserved: heap{arena: &m.arena, less: byPosition}}
	}
}

func (m *machine) at(s slot) *entry { return m.arena.at(s) }

func (m *machine) clock(now time.Time) int64 { return int64(now.Sub(m.start)) }

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
		if m.offered != 0 && m.at(m.offered).position == o.position {
			continue
		}
		s := m.newEntry(o)
		m.link(s, m.offered)
		m.offered = s
		m.enter(s)
	}
	m.readTo(max(m.read, upTo))
	for p, s := range m.replays {
		if m.ahead == 0 {
			break
		}
		if m.at(s).ahead && p <= m.read {
			m.at(s).ahead = false
			m.ahead--
			m.promote(s)
		}
	}
	m.advance()
}

// readTo takes note that everything before a position was offered. What is known
// up to there from before waited for that.
func (m *machine) readTo(p eventlog.Position) {
	m.read = p
	for n := m.following(m.offered); n != 0 && m.at(n).position <= p; n = m.following(n) {
		m.offered = n
		m.promote(n)
	}
}

// room returns how many events may be offered.
func (m *machine) room() int {
	return max(0, m.settings.readAhead()-(m.arena.live-m.held))
}

func (m *machine) newEntry(o offer) slot {
	s := m.arena.alloc()
	e := m.at(s)
	e.position, e.hash, e.state = o.position, o.hash, blocked
	e.attempts = m.attempts[o.position]
	return s
}

// following returns the entry after another; 0 is before the first.
func (m *machine) following(s slot) slot {
	if s == 0 {
		return m.first
	}
	return m.at(s).next
}

// link puts an entry into the list after another.
func (m *machine) link(s, prev slot) {
	next := m.following(prev)
	e := m.at(s)
	e.prev, e.next = prev, next
	if prev == 0 {
		m.first = s
	} else {
		m.at(prev).next = s
	}
	if next == 0 {
		m.last = s
	} else {
		m.at(next).prev = s
	}
}

func (m *machine) unlink(s slot) {
	e := m.at(s)
	if m.offered == s {
		m.offered = e.prev
	}
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
}

// remove ends an entry. The next of its group moves up.
func (m *machine) remove(s slot) {
	e := m.at(s)
	m.leaveHeap(s)
	after := m.leaveGroup(s)
	if e.replayed {
		delete(m.replays, e.position)
		if e.ahead {
			m.ahead--
		}
		m.touch(changeReplay, e.position)
	} else {
		m.unlink(s)
	}
	if _, kept := m.attempts[e.position]; kept {
		delete(m.attempts, e.position)
		m.touch(changeAttempts, e.position)
	}
	m.arena.release(s)
	m.promote(after)
}

// settle ends an entry that will not be delivered any more.
func (m *machine) settle(s slot) {
	e := m.at(s)
	position := e.position
	switch {
	case e.replayed:
	case s == m.first && position <= m.read:
		// The cursor passes it.
	default:
		m.markSettled(position)
	}
	m.remove(s)
	m.advance()
}

// advance moves the cursor as far as everything is settled.
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
	m.touch(changeState, 0)
}

// isSettled says whether an event up to the position read to is settled.
func (m *machine) isSettled(p eventlog.Position) bool {
	_, replayed := m.replays[p]
	return !replayed && m.passed(p)
}

// passed says whether an event was settled, though it may be replayed now.
func (m *machine) passed(p eventlog.Position) bool { return p <= m.cursor || m.markedSettled(p) }

// nextDue returns when expire has something to do.
func (m *machine) nextDue() (time.Time, bool) {
	s := m.timers.first()
	if s == 0 {
		return time.Time{}, false
	}
	return m.start.Add(time.Duration(m.at(s).due)), true
}

// delivered returns the position up to which nothing is left to deliver, other
// than again.
func (m *machine) delivered() eventlog.Position {
	for s := m.first; s != 0; s = m.at(s).next {
		if e := m.at(s); e.state != held {
			return min(m.read, e.position-1)
		}
	}
	return m.read
}

// idle says whether everything up to the head is settled or held.
func (m *machine) idle(head eventlog.Position) bool {
	return m.read >= head && m.arena.live == m.held
}
