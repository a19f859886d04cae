package pebblelog

import (
	"errors"
	"fmt"
	"slices"
	"sort"
	"sync"

	"github.com/cockroachdb/pebble/v2"

	"github.com/webhook-gateway/webhook-gateway/server/eventlog"
)

// A damaged event is one that was stored and will not be readable again by itself:
// its block in a table is corrupt, its value is not that of an event, or it is
// missing although it was not trimmed. Readers are told of it and go on, and what
// needs only its mark (Seek, Stats, Trim) takes that of the next event.

var (
	errMissing = errors.New("the event is missing")
	errValue   = errors.New("the stored value is not that of an event")
	errEpochs  = errors.New("the table of epochs is malformed")
)

// maxExactProbes is how many events are tried one by one after a damaged one. A
// corrupt block has a few hundred.
const maxExactProbes = 1000

// damage counts the events that readers found unreadable, each once.
type damage struct {
	mu    sync.Mutex
	spans []eventlog.Lost // in order, apart from each other
}

// maxDamageSpans bounds the memory for them. What is damaged beyond it is not counted.
const maxDamageSpans = 10_000

// found takes note of damaged events after a position up to another.
func (d *damage) found(after, upTo eventlog.Position) {
	d.mu.Lock()
	defer d.mu.Unlock()
	i := sort.Search(len(d.spans), func(i int) bool { return d.spans[i].UpTo >= after })
	j := i
	for ; j < len(d.spans) && d.spans[j].After <= upTo; j++ {
		after, upTo = min(after, d.spans[j].After), max(upTo, d.spans[j].UpTo)
	}
	if i == j && len(d.spans) >= maxDamageSpans {
		return
	}
	d.spans = slices.Replace(d.spans, i, j, eventlog.Lost{After: after, UpTo: upTo})
}

// count returns how many there are after a position, without those that are recorded
// as lost.
func (d *damage) count(after eventlog.Position, lost []eventlog.Lost) uint64 {
	d.mu.Lock()
	defer d.mu.Unlock()
	n := uint64(0)
	for _, span := range d.spans {
		n += overlap(span, eventlog.Lost{After: after, UpTo: lastPosition})
		for _, l := range lost {
			n -= overlap(span, l)
		}
	}
	return n
}

func overlap(a, b eventlog.Lost) uint64 {
	after, upTo := max(a.After, b.After), min(a.UpTo, b.UpTo)
	if upTo <= after {
		return 0
	}
	return uint64(upTo - after)
}

// Damage implements eventlog.Log.
func (l *Log) Damage() eventlog.Damage {
	trimmed := l.Bounds().Trimmed
	l.storeMu.RLock()
	defer l.storeMu.RUnlock()
	if l.store == nil {
		return eventlog.Damage{}
	}
	lost := lostWithin(l.store.lost, trimmed)
	return eventlog.Damage{Lost: lost, Unreadable: l.damage.count(trimmed, lost)}
}

// isDamage reports whether an error is that of a damaged event.
func isDamage(err error) bool {
	return errors.Is(err, errMissing) || errors.Is(err, errValue) || errors.Is(err, errEpochs) || errors.Is(err, pebble.ErrNotFound) || pebble.IsCorruptionError(err)
}

// isDamage reports whether an error is that of something damaged in this opening. One
// whose fence was raised by what it did lacks tables that Pebble believes it has. The use
// of a copy ends there: it can be made anew.
func (s *store) isDamage(err error) bool {
	if !isDamage(err) || !s.readOnly && s.fence.err() != nil {
		return false
	}
	if s.copy != nil && !errors.Is(err, pebble.ErrNotFound) {
		s.fence.fail(&copyError{fmt.Errorf("%w: %w", errCopy, err), false})
		return false
	}
	return true
}

// parseEvent interprets the value of an event.
func parseEvent(p eventlog.Position, value []byte) (eventlog.Record, error) {
	record, err := eventlog.ParseRecord(p, value, false)
	if err != nil {
		return eventlog.Record{Position: p}, fmt.Errorf("%w: event %d: %w", errValue, p, err)
	}
	return record, nil
}

// readableFrom returns the first position, starting at p, that is not known to be
// damaged: that of an event that can be read, the one after head, or after
// maxExactProbes events the next one.
func (s *store) readableFrom(p, head eventlog.Position) eventlog.Position {
	for end := min(head, p+maxExactProbes-1); p <= end; p++ {
		if _, err := s.mark(p); err == nil || !isDamage(err) {
			break
		}
	}
	return p
}

// someReadableAfter returns the mark of an event after a position that can be read: the
// next one, or after many damaged ones one that is not much farther.
func (s *store) someReadableAfter(p, head eventlog.Position) (mark, error) {
	step := eventlog.Position(1)
	for tried := 1; p < head; tried++ {
		p = min(p+step, head)
		if m, err := s.mark(p); err == nil || !isDamage(err) {
			return m, err
		}
		if tried%100 == 0 {
			step *= 2
		}
	}
	return mark{}, errMissing
}
