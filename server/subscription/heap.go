package subscription

import (
	"container/heap"
)

// A slotHeap is a binary heap of entries that knows where each is.
type slotHeap struct {
	arena *arena
	less  func(a, b *entry) bool
	slots []slot
}

func byPosition(a, b *entry) bool { return a.position < b.position }

// byDue puts what is due at the same time, as the events of a batch are, in the
// order of positions: the first of a group that expires revokes the others.
func byDue(a, b *entry) bool { return a.due < b.due || a.due == b.due && byPosition(a, b) }

// first returns the least entry, or 0.
func (h *slotHeap) first() slot {
	if len(h.slots) == 0 {
		return 0
	}
	return h.slots[0]
}

func (h *slotHeap) push(s slot) {
	h.slots = append(h.slots, s)
	h.up(len(h.slots) - 1)
}

func (h *slotHeap) remove(s slot) {
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
func (h *slotHeap) fix(s slot) {
	h.up(int(h.arena.at(s).index))
	h.down(int(h.arena.at(s).index))
}

func (h *slotHeap) put(i int, s slot) {
	h.slots[i] = s
	h.arena.at(s).index = uint32(i) //nolint:gosec // fewer than slots
}

func (h *slotHeap) up(i int) {
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

func (h *slotHeap) down(i int) {
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

func (h *slotHeap) len() int { return len(h.slots) }

// A workerHeap is a binary heap of workers that knows where each is.
type workerHeap struct {
	workers []*worker
	less    func(a, b *worker) bool
	index   func(*worker) *int // one more than where it is, 0 if it is not in the heap
}

// first returns the least worker, or nil.
func (h *workerHeap) first() *worker {
	if len(h.workers) == 0 {
		return nil
	}
	return h.workers[0]
}

// keep has a worker in the heap, in its place, or not in it.
func (h *workerHeap) keep(w *worker, in bool) {
	switch i := *h.index(w); {
	case in && i == 0:
		heap.Push(h, w)
	case in:
		heap.Fix(h, i-1)
	case i != 0:
		heap.Remove(h, i-1)
	}
}

// Len implements heap.Interface.
func (h *workerHeap) Len() int { return len(h.workers) }

// Less implements heap.Interface.
func (h *workerHeap) Less(i, j int) bool { return h.less(h.workers[i], h.workers[j]) }

// Swap implements heap.Interface.
func (h *workerHeap) Swap(i, j int) {
	h.workers[i], h.workers[j] = h.workers[j], h.workers[i]
	*h.index(h.workers[i]), *h.index(h.workers[j]) = i+1, j+1
}

// Push implements heap.Interface.
func (h *workerHeap) Push(x any) {
	if w, ok := x.(*worker); ok {
		h.workers = append(h.workers, w)
		*h.index(w) = len(h.workers)
	}
}

// Pop implements heap.Interface.
func (h *workerHeap) Pop() any {
	last := len(h.workers) - 1
	w := h.workers[last]
	h.workers[last] = nil
	h.workers = h.workers[:last]
	*h.index(w) = 0
	return w
}
