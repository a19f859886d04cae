package subscription

import (
	"math"

	"github.com/webhook-gateway/webhook-gateway/server/eventlog"
)

// A slot is where an entry is in the arena; 0 is none.
type slot uint32

// stage says where an entry stands.
type stage uint8

const (
	// free: the slot holds no entry.
	free stage = iota
	// blocked: an earlier event of its group must be settled first.
	blocked
	// ready for a worker.
	ready
	// reserved for the worker that holds the event before it in its group.
	reserved
	// waiting for its next attempt.
	waiting
	// held by a worker.
	held
)

// flags of an entry.
type flags uint8

const (
	// apart: the event was given back, or replayed. The cursor passes it; it is a
	// durable pair of its own until it is settled.
	apart flags = 1 << iota
	// copied: the store has a copy of the event, for it was parked once.
	copied
	// ahead: apart, and waits until the log is read up to it.
	ahead
	// sent to the worker that holds it: it counts when that fails.
	sent
	// extended: its deadline is not what it was when it was sent.
	extended
	// handed to a worker before.
	handed
	// beside one whose deadline passed, in the hands of the worker that holds it.
	beside
)

// An entry is an event that is known and not settled. It takes 64 bytes.
type entry struct {
	position eventlog.Position
	// hash is the ordering group of the record.
	hash uint64
	// lease is the number of the last delivery, unless that was fenced.
	lease uint64
	// due is the deadline if held, and the end of the wait if waiting, in
	// nanoseconds on the clock of the machine.
	due int64
	// The neighbours in the list of entries, by position. Not of those apart.
	prev, next slot
	// The neighbours in the group, by position.
	before, after slot
	// index in the heap that the stage tells.
	index uint32
	// worker that holds it, or that it is reserved for.
	worker uint32
	// attempts that failed.
	attempts uint16
	// limit, of a suspect, is how many suspects it is delivered together with at
	// most, itself included. 0: it is none.
	limit uint16
	// rounds of the search that it was suspected in.
	rounds uint8
	stage  stage
	flags  flags
}

// is reports whether the entry has any of some flags.
func (e *entry) is(f flags) bool { return e.flags&f != 0 }

func (e *entry) set(f flags, on bool) {
	if on {
		e.flags |= f
	} else {
		e.flags &^= f
	}
}

func (e *entry) countFailed() {
	if e.attempts < math.MaxUint16 {
		e.attempts++
	}
}

func (e *entry) suspect() bool { return e.limit > 0 }

const (
	chunkBits = 12
	chunkLen  = 1 << chunkBits
)

// An arena holds entries in chunks that never move.
type arena struct {
	chunks []*[chunkLen]entry
	free   slot // a list through next
	fresh  slot // the first slot that was never used
	live   int
}

func newArena() arena { return arena{fresh: 1} }

func (a *arena) at(s slot) *entry { return &a.chunks[s>>chunkBits][s&(chunkLen-1)] }

// find returns the entry in a slot that may be of another time, or nil.
func (a *arena) find(s slot) *entry {
	if s == 0 || int(s>>chunkBits) >= len(a.chunks) || a.at(s).stage == free {
		return nil
	}
	return a.at(s)
}

func (a *arena) alloc() slot {
	a.live++
	if s := a.free; s != 0 {
		a.free = a.at(s).next
		*a.at(s) = entry{}
		return s
	}
	s := a.fresh
	a.fresh++
	if int(s>>chunkBits) == len(a.chunks) {
		a.chunks = append(a.chunks, new([chunkLen]entry))
	}
	return s
}

// release frees a slot. When none is used any more the memory is given back.
func (a *arena) release(s slot) {
	*a.at(s) = entry{next: a.free}
	a.free = s
	if a.live--; a.live == 0 && len(a.chunks) > 1 {
		*a = newArena()
	}
}
