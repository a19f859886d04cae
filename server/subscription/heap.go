package subscription

import (
	"container/heap"

	"github.com/webhook-gateway/webhook-gateway/server/eventlog"
)

// A slotHeap is a binary heap of entries that knows where each is. It orders them
// by position or, with byDue, by when they are due. What is due at the same time, as
// the events of a batch are, is then in order of position: the first of a group that
// expires revokes the others.
type slotHeap struct {
	arena *arena
	byDue bool
	items []heapItem
}

// heapItem has what it is ordered by beside it: looking it up in the arena would
// miss the processor's cache at each step.
type heapItem struct {
	due      int64
	position eventlog.Position
	slot     slot
}

func (a *heapItem) before(b *heapItem) bool {
	return a.due < b.due || a.due == b.due && a.position < b.position
}

func byPosition(a, b *entry) bool { return a.position < b.position }

// first returns the least entry, or 0.
func (h *slotHeap) first() slot {
	if len(h.items) == 0 {
		return 0
	}
	return h.items[0].slot
}

func (h *slotHeap) push(s slot) {
	h.items = append(h.items, h.item(s))
	h.up(len(h.items) - 1)
}

func (h *slotHeap) item(s slot) heapItem {
	e := h.arena.at(s)
	item := heapItem{position: e.position, slot: s}
	if h.byDue {
		item.due = e.due
	}
	return item
}

func (h *slotHeap) remove(s slot) {
	i := int(h.arena.at(s).index)
	last := len(h.items) - 1
	moved := h.items[last]
	h.items = h.items[:last]
	if i < last {
		h.items[i] = moved
		h.down(h.up(i))
	}
}

// fix restores the order after an entry has changed.
func (h *slotHeap) fix(s slot) {
	i := int(h.arena.at(s).index)
	h.items[i] = h.item(s)
	h.down(h.up(i))
}

func (h *slotHeap) put(i int, item heapItem) {
	h.items[i] = item
	h.arena.at(item.slot).index = uint32(i) //nolint:gosec // fewer than slots
}

// up moves an item to where it belongs towards the least, and returns where that is.
func (h *slotHeap) up(i int) int {
	item := h.items[i]
	for i > 0 {
		parent := (i - 1) / 2
		if !item.before(&h.items[parent]) {
			break
		}
		h.put(i, h.items[parent])
		i = parent
	}
	h.put(i, item)
	return i
}

// down moves an item to where it belongs towards the greatest.
func (h *slotHeap) down(i int) {
	item := h.items[i]
	for {
		child := 2*i + 1
		if child >= len(h.items) {
			break
		}
		if right := child + 1; right < len(h.items) && h.items[right].before(&h.items[child]) {
			child = right
		}
		if !h.items[child].before(&item) {
			break
		}
		h.put(i, h.items[child])
		i = child
	}
	h.put(i, item)
}

// all returns the entries, in any order.
func (h *slotHeap) all() []slot {
	all := make([]slot, len(h.items))
	for i := range h.items {
		all[i] = h.items[i].slot
	}
	return all
}

func (h *slotHeap) len() int { return len(h.items) }

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
