package eventlog

import "sync"

// recordOverhead is what a record costs a window besides its value.
const recordOverhead = 64

// Window holds the newest durable records of a log in memory, so that those who
// follow the log are served without touching the disk. It is bounded in bytes
// and always holds an unbroken range of positions.
//
// All methods are safe for concurrent use.
type Window struct {
	mu       sync.RWMutex
	maxBytes int
	ring     []Record // the length is a power of two
	first    Position // of the oldest record held
	count    int
	bytes    int
}

// NewWindow returns an empty window that holds at most maxBytes.
func NewWindow(maxBytes int) *Window {
	return &Window{maxBytes: maxBytes, ring: make([]Record, 64)}
}

// Append adds the newest records, oldest first and without holes between them.
// Records that do not follow what the window holds replace it. The records must
// be live: their bytes never change.
func (w *Window) Append(records []Record) {
	if len(records) == 0 {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if records[0].Position != w.end() {
		w.clear(records[0].Position)
	}
	for _, r := range records {
		if w.count == len(w.ring) {
			w.grow()
		}
		*w.at(r.Position) = r
		w.count++
		w.bytes += r.Size() + recordOverhead
	}
	w.fit()
}

// Resize changes how many bytes the window holds at most. With 0 it holds nothing.
func (w *Window) Resize(maxBytes int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.maxBytes = maxBytes
	w.fit()
}

func (w *Window) fit() {
	for w.bytes > w.maxBytes {
		w.dropOldest()
	}
}

// Read copies records strictly after a position and up to another, in order, to
// dst and returns how many: 0 if the window does not hold the first of them.
// Beyond the first, it stops before their sizes exceed maxBytes in all.
func (w *Window) Read(after, upTo Position, maxBytes int, dst []Record) int {
	w.mu.RLock()
	defer w.mu.RUnlock()
	if w.count == 0 || after+1 < w.first {
		return 0
	}
	n := 0
	last := min(upTo, w.end()-1)
	for p := after + 1; p <= last && n < len(dst); p++ {
		record := *w.at(p)
		if maxBytes -= record.Size(); maxBytes < 0 && n > 0 {
			break
		}
		dst[n] = record
		n++
	}
	return n
}

// Trim drops the records up to and including a position.
func (w *Window) Trim(upTo Position) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for w.count > 0 && w.first <= upTo {
		w.dropOldest()
	}
}

func (w *Window) at(p Position) *Record { return &w.ring[int(p)&(len(w.ring)-1)] } //nolint:gosec // only the low bits matter

// end returns the position after the newest record held.
func (w *Window) end() Position { return w.first + Position(w.count) } //nolint:gosec // not negative

func (w *Window) dropOldest() {
	oldest := w.at(w.first)
	w.bytes -= oldest.Size() + recordOverhead
	*oldest = Record{}
	w.first++
	w.count--
}

func (w *Window) clear(first Position) {
	clear(w.ring)
	w.first, w.count, w.bytes = first, 0, 0
}

func (w *Window) grow() {
	old := w.ring
	w.ring = make([]Record, 2*len(old))
	for _, r := range old {
		*w.at(r.Position) = r
	}
}
