package subscription

import "github.com/webhook-gateway/webhook-gateway/server/eventlog"

// A slot is where an entry is in the arena; 0 is none.
type slot uint32

// entryState says where an entry stands.
type entryState uint8

const (
	// free: the slot holds no entry.
	free entryState = iota
	// blocked: an earlier event of its group must be settled first.
	blocked
	// ready for any stream.
	ready
	// reserved for the stream that holds the event before it in its group.
	reserved
	// waiting for its next attempt.
	waiting
	// held by a stream.
	held
)

// An entry is an event that was read and is not settled. It takes 64 bytes.
type entry struct {
	position eventlog.Position
	// hash is the ordering group of the record.
	hash uint64
	// lease is the number of the last delivery, unless that was fenced.
	lease uint64
	// due is the deadline if held, and the end of the wait if waiting, in
	// nanoseconds on the clock of the machine.
	due int64
	// The neighbours in the list of entries, by position. Not of replayed ones.
	prev, next slot
	// The neighbours in the group, by position.
	before, after slot
	// index in the heap that the state tells.
	index uint32
	// stream that holds it, or that it is reserved for.
	stream   uint32
	attempts uint16
	state    entryState
	replayed bool
	// ahead: replayed, and waits until the log is read up to it.
	ahead bool
}

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
	if s == 0 || int(s>>chunkBits) >= len(a.chunks) || a.at(s).state == free {
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

// A heap is a binary heap of entries that knows where each is.
type heap struct {
	arena *arena
	less  func(a, b *entry) bool
	slots []slot
}

func byPosition(a, b *entry) bool { return a.position < b.position }

// byDue puts what is due at the same time, as the events of a batch are, in the
// order of positions: the first of a group that expires revokes the others.
func byDue(a, b *entry) bool { return a.due < b.due || a.due == b.due && byPosition(a, b) }

// first returns the least entry, or 0.
func (h *heap) first() slot {
	if len(h.slots) == 0 {
		return 0
	}
	return h.slots[0]
}

func (h *heap) push(s slot) {
	h.slots = append(h.slots, s)
	h.up(len(h.slots) - 1)
}

func (h *heap) remove(s slot) {
	i := int(h.arena.at(s).index)
	last := len(h.slots) - 1
	moved := h.slots[last]
	h.slots = h.slots[:last]
	if i < last {
		h.put(i, moved)
		h.fix(moved)
	}
}

// fix restores the order after an entry has changed.
func (h *heap) fix(s slot) {
	h.up(int(h.arena.at(s).index))
	h.down(int(h.arena.at(s).index))
}

func (h *heap) put(i int, s slot) {
	h.slots[i] = s
	h.arena.at(s).index = uint32(i) //nolint:gosec // fewer than slots
}

func (h *heap) up(i int) {
	s := h.slots[i]
	for i > 0 {
		parent := (i - 1) / 2
		if !h.less(h.arena.at(s), h.arena.at(h.slots[parent])) {
			break
		}
		h.put(i, h.slots[parent])
		i = parent
	}
	h.put(i, s)
}

func (h *heap) down(i int) {
	s := h.slots[i]
	for {
		child := 2*i + 1
		if child >= len(h.slots) {
			break
		}
		if right := child + 1; right < len(h.slots) && h.less(h.arena.at(h.slots[right]), h.arena.at(h.slots[child])) {
			child = right
		}
		if !h.less(h.arena.at(h.slots[child]), h.arena.at(s)) {
			break
		}
		h.put(i, h.slots[child])
		i = child
	}
	h.put(i, s)
}
