package pebblelog

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"sort"
	"time"

	"github.com/webhook-gateway/webhook-gateway/server/eventlog"
)

const (
	// Events are read from the database in chunks. While a reader consumes a chunk it
	// has no iterator open: that would keep memory tables and files alive for as long
	// as a slow subscriber takes.
	minChunkBytes = 16 << 10
	maxChunkBytes = 256 << 10
	// liveRecords is how many records are taken from the window at a time.
	liveRecords = 64
)

// Read implements eventlog.Log.
func (l *Log) Read(ctx context.Context, after eventlog.Position) iter.Seq2[eventlog.Record, error] {
	return func(yield func(eventlog.Record, error) bool) {
		if l.isClosed() {
			yield(eventlog.Record{}, eventlog.ErrClosed)
			return
		}
		r := reader{log: l, after: after, head: l.Bounds().Head, chunkBytes: minChunkBytes, chunk: l.chunk()}
		defer r.close()
		for r.after < r.head {
			records, err := r.next(ctx)
			if err != nil {
				yield(eventlog.Record{}, err)
				return
			}
			for _, record := range records {
				if !yield(record, nil) {
					return
				}
			}
			r.after = records[len(records)-1].Position
		}
	}
}

// reader is one call of Read.
type reader struct {
	log         *Log
	after, head eventlog.Position
	chunk       *chunk
	chunkBytes  int
}

// A chunk holds records that follow each other.
type chunk struct {
	records []eventlog.Record
	buf     []byte // their values, unless they are live
	ends    []int
}

func (l *Log) chunk() *chunk {
	if c, ok := l.chunks.Get().(*chunk); ok {
		return c
	}
	return &chunk{records: make([]eventlog.Record, 0, liveRecords)}
}

func (r *reader) close() {
	clear(r.chunk.records[:cap(r.chunk.records)])
	if cap(r.chunk.buf) <= 2*maxChunkBytes {
		r.log.chunks.Put(r.chunk)
	}
}

// next returns at least one record, valid until the next call.
func (r *reader) next(ctx context.Context) ([]eventlog.Record, error) {
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	if trimmed := r.log.Bounds().Trimmed; r.after < trimmed {
		return nil, &eventlog.TrimmedError{After: r.after, Trimmed: trimmed}
	}
	if n := r.log.window.Read(r.after, r.head, maxChunkBytes, r.chunk.records[:liveRecords]); n > 0 {
		return r.chunk.records[:n], nil
	}
	limit := r.chunkBytes
	r.chunkBytes = min(2*r.chunkBytes, maxChunkBytes)
	for {
		opening, err := r.log.readChunk(r.chunk, r.after, r.head, limit)
		if err == nil {
			return r.chunk.records, nil
		}
		if trimmed := r.log.Bounds().Trimmed; r.after < trimmed {
			return nil, &eventlog.TrimmedError{After: r.after, Trimmed: trimmed}
		}
		if r.log.replaced(opening) {
			continue
		}
		if damaged := (*eventlog.DamagedError)(nil); errors.As(err, &damaged) {
			r.log.damage.found(damaged.After, damaged.UpTo)
			return nil, damaged
		}
		return nil, fmt.Errorf("read events after %d: %w", r.after, err)
	}
}

// replaced reports whether a store has been replaced since: what it failed to read
// may be readable now.
func (l *Log) replaced(s *store) bool {
	l.storeMu.RLock()
	defer l.storeMu.RUnlock()
	return s != nil && l.store != nil && s != l.store
}

// readChunk fills a chunk with at least the event after a position, and returns
// the store that it read from.
func (l *Log) readChunk(c *chunk, after, head eventlog.Position, limit int) (*store, error) {
	l.storeMu.RLock()
	defer l.storeMu.RUnlock()
	if l.store == nil {
		return nil, eventlog.ErrClosed
	}
	err := c.fill(l.store, after, head, limit)
	ended := l.shared != nil && l.shared.ended.Load() != nil
	if !ended {
		l.spoilBy(err)
	}
	if err != nil && (ended || l.store.fence.err() != nil) {
		// NOTE: Behind a raised fence what Pebble says of its files is not to be trusted. And
		// what a commit log has lost is missing before it is decided what becomes of it.
		if damaged := (*eventlog.DamagedError)(nil); errors.As(err, &damaged) {
			err = damaged.Err
		}
	}
	return l.store, err
}

// spoilBy ends the use of a copy if an event in it is damaged that was neither lost nor
// trimmed meanwhile.
func (l *Log) spoilBy(err error) {
	damaged := (*eventlog.DamagedError)(nil)
	if l.store.copy != nil && errors.As(err, &damaged) && damaged.After >= l.Bounds().Trimmed && !l.store.isLost(damaged.After+1) {
		l.store.isDamage(damaged.Err)
	}
}

// fill reads the events that follow a position, up to what is damaged. It returns
// a *eventlog.DamagedError if that is the first of them.
func (c *chunk) fill(s *store, after, head eventlog.Position, limit int) error {
	c.buf, c.ends, c.records = c.buf[:0], c.ends[:0], c.records[:0]
	next, err := c.copyValues(s, after, head, limit)
	if len(c.ends) == 0 {
		if err == nil || !isDamage(err) {
			return err
		}
		if next == after+1 { // its end is not known: each event has to be tried
			next = s.readableFrom(after+2, head)
		}
		return &eventlog.DamagedError{After: after, UpTo: next - 1, Err: err}
	}
	if err != nil && !isDamage(err) {
		return err
	}
	start := 0
	for i, end := range c.ends {
		record, err := parseEvent(after+1+eventlog.Position(i), c.buf[start:end:end])
		if err != nil {
			if i > 0 {
				break // it comes first in the next chunk
			}
			return &eventlog.DamagedError{After: after, UpTo: after + 1, Err: err}
		}
		c.records = append(c.records, record)
		start = end
	}
	return nil
}

// copyValues copies the values of the events that follow a position, as many as fit
// and at least one. It returns the position at which it stopped. With errMissing
// that is the next event that is there, or the one after the head: those before it
// are missing. With another error it is the event that cannot be read.
func (c *chunk) copyValues(s *store, after, head eventlog.Position, limit int) (next eventlog.Position, err error) {
	it, err := s.events(after, head)
	if err != nil {
		return after + 1, err
	}
	defer it.Close() // it.Error has returned its error before
	next = after + 1
	for ok := it.First(); ok; ok = it.Next() {
		position, err := parseEventKey(it.Key())
		if err != nil {
			return next, err
		}
		if position != next { // a hole: the rest was trimmed meanwhile, or is lost
			return position, errMissing
		}
		value, err := it.ValueAndErr()
		if err != nil {
			return next, err
		}
		if len(c.ends) > 0 && len(c.buf)+len(value) > limit {
			return next, nil
		}
		c.buf = append(c.buf, value...)
		c.ends = append(c.ends, len(c.buf))
		next++
	}
	if err := it.Error(); err != nil {
		return next, err
	}
	if next <= head {
		return head + 1, errMissing
	}
	return next, nil
}

// Seek implements eventlog.Log.
func (l *Log) Seek(ctx context.Context, t time.Time) (eventlog.Position, error) {
	if l.isClosed() {
		return 0, eventlog.ErrClosed
	}
	first, err := l.search(ctx, func(m mark) bool { return !m.receiveTime.Before(t) })
	if err != nil {
		return 0, fmt.Errorf("seek the first event received at %v: %w", t, err)
	}
	return max(first-1, l.Bounds().Trimmed), nil
}

// Stats implements eventlog.Log.
func (l *Log) Stats(ctx context.Context) (eventlog.Stats, error) {
	if l.isClosed() {
		return eventlog.Stats{}, eventlog.ErrClosed
	}
	for {
		head, trimmed := l.published.get()
		stats := eventlog.Stats{
			Bounds: eventlog.Bounds{Trimmed: trimmed.position, Head: head.position},
		}
		retained := head.totals.Minus(trimmed.totals)
		stats.Bytes, stats.FailedBytes = retained.Bytes, retained.FailedBytes
		if stats.Bounds.Len() == 0 {
			return stats, nil
		}
		stats.HeadTime = head.receiveTime
		earliest, err := l.markAt(ctx, trimmed.position+1)
		if err == nil {
			stats.EarliestTime = earliest.receiveTime
			return stats, nil
		}
		if l.Bounds().Trimmed == trimmed.position {
			return eventlog.Stats{}, fmt.Errorf("read the earliest event: %w", err)
		}
	}
}

// search returns the first retained position whose mark satisfies a condition, or
// the position after the head if none does. The condition must stay true from one
// position to the next.
func (l *Log) search(ctx context.Context, condition func(mark) bool) (eventlog.Position, error) {
	for {
		bounds := l.Bounds()
		var failure error
		n := sort.Search(int(bounds.Len()), func(i int) bool { //nolint:gosec // fits
			if failure != nil {
				return true
			}
			m, err := l.markAt(ctx, bounds.Trimmed+1+eventlog.Position(i)) //nolint:gosec // not negative
			failure = err
			return err == nil && condition(m)
		})
		if failure == nil {
			return bounds.Trimmed + 1 + eventlog.Position(n), nil //nolint:gosec // not negative
		}
		if l.Bounds().Trimmed == bounds.Trimmed {
			return 0, failure
		}
	}
}

// markAt returns the mark of a retained event. If the event is damaged, the mark has
// its position, and time and size of the next event that can be read.
func (l *Log) markAt(ctx context.Context, p eventlog.Position) (mark, error) {
	if ctx.Err() != nil {
		return mark{}, context.Cause(ctx)
	}
	l.storeMu.RLock()
	defer l.storeMu.RUnlock()
	if l.store == nil {
		return mark{}, eventlog.ErrClosed
	}
	m, err := l.store.mark(p)
	if err == nil {
		return m, nil
	}
	head, trimmed := l.published.get()
	if !isDamage(err) || p <= trimmed.position || p > head.position {
		return mark{}, fmt.Errorf("event %d: %w", p, err)
	}
	return l.store.markNear(p, head), nil
}

// markNear returns the mark of an event that cannot be read: its position, and time and
// totals of the next event that can be, or of the head.
func (s *store) markNear(p eventlog.Position, head mark) mark {
	m := head
	if next, err := s.someReadableAfter(p, head.position); err == nil {
		m = next
	}
	m.position = p
	return m
}
