package pebblelog

import (
	"errors"
	"fmt"

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
)

// maxExactProbes is how many events are tried one by one after a damaged one. A
// corrupt block has a few hundred.
const maxExactProbes = 1000

// isDamage reports whether an error is that of a damaged event.
func isDamage(err error) bool {
	return errors.Is(err, errMissing) || errors.Is(err, errValue) || errors.Is(err, pebble.ErrNotFound) || pebble.IsCorruptionError(err)
}

// parseEvent interprets the value of an event.
func parseEvent(p eventlog.Position, value []byte, live bool) (eventlog.Record, error) {
	record, err := eventlog.ParseRecord(p, value, live)
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

// someReadableAfter returns the mark of an event after a position that can be read: the next
// one, or after many damaged ones one that is not much farther.
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
