package subscription

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"iter"
	"maps"
	"slices"
	"time"

	webhookgatewayv1 "github.com/webhook-gateway/webhook-gateway/gen/webhookgateway/v1"
	"github.com/webhook-gateway/webhook-gateway/server/eventlog"
)

// parkedStore reads the parked events of a subscription, and says what to write
// when they change.
type parkedStore struct {
	states eventlog.StateStore
	scope  string
	// record reads an event of the log.
	record func(context.Context, eventlog.Position) (eventlog.Record, error)
	// now is the time of the log, which ends parked_retention too. That of the machine may
	// be wrong.
	now func() time.Time
}

// parkedTotals are kept in memory.
type parkedTotals struct {
	// count is durable.
	count int64
	// oldest is when the event that is parked for longest was parked: the first of
	// the index of times.
	oldest time.Time
}

// parkedEvent is the value of a parked event.
type parkedEvent struct {
	position eventlog.Position
	reason   webhookgatewayv1.ParkReason
	message  string
	attempts uint16
	time     time.Time
	// copy is the stored value of the event; empty if there is none.
	copy []byte
}

func keyOf(kind pairKind, p eventlog.Position) []byte { return change{kind, uint64(p)}.key() }

func timeKey(t time.Time, p eventlog.Position) []byte {
	b := binary.BigEndian.AppendUint64([]byte{byte(pairParkedTime)}, uint64(t.UnixNano()))
	return binary.BigEndian.AppendUint64(b, uint64(p))
}

func (e parkedEvent) encode() []byte {
	b := make([]byte, 0, 13+len(e.message)+len(e.copy))
	b = append(b, byte(e.reason)) //nolint:gosec // enum values are small
	b = binary.BigEndian.AppendUint16(b, e.attempts)
	b = binary.BigEndian.AppendUint64(b, uint64(e.time.UnixNano()))
	b = binary.BigEndian.AppendUint16(b, uint16(len(e.message))) //nolint:gosec // cut to maxMessage
	return append(append(b, e.message...), e.copy...)
}

// decodeParked returns a parked event; its copy is a part of the value.
func decodeParked(key, value []byte) (parkedEvent, error) {
	if len(key) != 9 || len(value) < 13 || len(value) < 13+int(binary.BigEndian.Uint16(value[11:])) {
		return parkedEvent{}, errors.New("a parked event is malformed")
	}
	end := 13 + int(binary.BigEndian.Uint16(value[11:]))
	return parkedEvent{
		position: eventlog.Position(binary.BigEndian.Uint64(key[1:])),
		reason:   webhookgatewayv1.ParkReason(value[0]),
		attempts: binary.BigEndian.Uint16(value[1:]),
		time:     time.Unix(0, int64(binary.BigEndian.Uint64(value[3:]))), //nolint:gosec // written from an int64
		message:  string(value[13:end]),
		copy:     value[end:],
	}, nil
}

// after yields the parked events after a position, in order. Their copies are
// valid until the next. Those that are damaged come without a copy.
func (s parkedStore) after(ctx context.Context, p eventlog.Position) iter.Seq2[parkedEvent, error] {
	return func(yield func(parkedEvent, error) bool) {
		for pair, err := range s.states.ReadScope(ctx, s.scope, keyOf(pairParked, p+1), []byte{byte(pairParked) + 1}) {
			var e parkedEvent
			if err == nil {
				e, err = decodeParked(pair.Key, pair.Value)
			}
			if errors.Is(err, eventlog.ErrStateDamaged) {
				s.afterDamage(ctx, p, yield)
				return
			}
			if !yield(e, err) || err != nil {
				return
			}
			p = e.position
		}
	}
}

// get returns one parked event, false if it is not parked. One that is damaged comes
// without its copy.
func (s parkedStore) get(ctx context.Context, p eventlog.Position) (parkedEvent, bool, error) {
	value, ok, err := s.value(ctx, keyOf(pairParked, p))
	if errors.Is(err, eventlog.ErrStateDamaged) {
		return s.damaged(ctx, p)
	}
	if !ok || err != nil {
		return parkedEvent{}, false, err
	}
	e, err := decodeParked(keyOf(pairParked, p), value)
	return e, err == nil, err
}

// value returns a copy of the value of one pair, false if there is none.
func (s parkedStore) value(ctx context.Context, key []byte) ([]byte, bool, error) {
	for pair, err := range s.states.ReadScope(ctx, s.scope, key, append(key[:len(key):len(key)], 0)) {
		if err != nil {
			return nil, false, err
		}
		return slices.Clone(pair.Value), true, nil
	}
	return nil, false, nil
}

// copied returns the copy of an event that is apart, false if there is none, or it is
// damaged.
func (s parkedStore) copied(ctx context.Context, p eventlog.Position) (eventlog.Record, bool, error) {
	value, ok, err := s.value(ctx, keyOf(pairCopy, p))
	if errors.Is(err, eventlog.ErrStateDamaged) {
		err = nil
	}
	if !ok || err != nil {
		return eventlog.Record{}, false, err
	}
	r, err := eventlog.ParseRecord(p, value, true)
	return r, err == nil, err
}

// kept returns the copy of an event that was parked and is replayed, false if there
// is none. NOTE: the event is handed out as soon as the machine has it, and its
// copy moves from what is parked to what is apart with the next flush: so it is
// looked for in both, and once more in case it moved in between.
func (s parkedStore) kept(ctx context.Context, p eventlog.Position) (eventlog.Record, bool, error) {
	for range 2 {
		if r, ok, err := s.copied(ctx, p); ok || err != nil {
			return r, ok, err
		}
		e, ok, err := s.get(ctx, p)
		if err != nil {
			return eventlog.Record{}, false, err
		}
		if ok && len(e.copy) > 0 {
			r, err := eventlog.ParseRecord(p, slices.Clone(e.copy), true)
			return r, err == nil, err
		}
	}
	return eventlog.Record{}, false, nil
}

// event returns what there is of a parked event: its copy, or else what the log
// has.
func (s parkedStore) event(ctx context.Context, e parkedEvent) (r eventlog.Record, isCopy bool, err error) {
	if len(e.copy) > 0 {
		r, err = eventlog.ParseRecord(e.position, slices.Clone(e.copy), true)
		return r, true, err
	}
	r, err = s.record(ctx, e.position)
	return r, false, err
}

// count returns how many events are parked.
func (s parkedStore) count(ctx context.Context) (int64, error) {
	value, ok, err := s.value(ctx, keyOf(pairCount, 0))
	switch {
	case err != nil || !ok:
		return 0, err
	case len(value) != 8:
		return 0, malformedError{change{pairCount, 0}.malformed()}
	}
	return int64(binary.BigEndian.Uint64(value)), nil //nolint:gosec // written from an int64
}

// totals reads two pairs.
func (s parkedStore) totals(ctx context.Context) (parkedTotals, error) {
	count, err := s.count(ctx)
	if err != nil || count == 0 {
		return parkedTotals{count: count}, err
	}
	for pair, err := range s.states.ReadScope(ctx, s.scope, []byte{byte(pairParkedTime)}, []byte{byte(pairParkedTime) + 1}) {
		if err != nil {
			return parkedTotals{}, err
		}
		t, _ := parseTimeKey(pair.Key)
		return parkedTotals{count: count, oldest: t}, nil
	}
	return parkedTotals{count: count}, nil
}

func parseTimeKey(key []byte) (time.Time, eventlog.Position) {
	if len(key) != 17 {
		return time.Time{}, 0
	}
	return time.Unix(0, int64(binary.BigEndian.Uint64(key[1:]))), eventlog.Position(binary.BigEndian.Uint64(key[9:])) //nolint:gosec // written from an int64
}

// expired returns up to limit events that were parked before a time.
func (s parkedStore) expired(ctx context.Context, before time.Time, limit int) ([]eventlog.Position, error) {
	var positions []eventlog.Position
	for pair, err := range s.states.ReadScope(ctx, s.scope, []byte{byte(pairParkedTime)}, timeKey(before, 0)) {
		if err != nil {
			return nil, err
		}
		if _, p := parseTimeKey(pair.Key); p > 0 {
			positions = append(positions, p)
		}
		if len(positions) == limit {
			break
		}
	}
	return positions, nil
}

// prepare returns the mutations by which parked events change, and the events
// that are parked without a copy. It may be repeated: a write that failed may have
// been done nevertheless.
func (s parkedStore) prepare(ctx context.Context, changes parkedChanges) ([]eventlog.StateMutation, map[eventlog.Position]error, error) {
	count, err := s.count(ctx)
	if err != nil {
		return nil, nil, err
	}
	var pairs []eventlog.StateMutation
	if changes.discardAll {
		count = 0
		pairs = append(pairs, eventlog.StateMutation{Key: []byte{byte(pairParked)}, End: []byte{byte(pairParkedTime) + 1}, Delete: true})
	}
	eventless := make(map[eventlog.Position]error)
	for _, p := range slices.Sorted(maps.Keys(changes.each)) {
		change := changes.each[p]
		was, parked, err := s.get(ctx, p)
		if err != nil {
			return nil, nil, err
		}
		if change.action == sweepIt && !was.time.Before(change.time) {
			continue // it was parked again
		}
		if parked && !changes.discardAll {
			count--
			pairs = append(pairs,
				eventlog.StateMutation{Key: keyOf(pairParked, p), Delete: true},
				eventlog.StateMutation{Key: timeKey(was.time, p), Delete: true})
		}
		switch change.action {
		case parkIt:
			count++
			e := parkedEvent{position: p, reason: change.reason, message: change.message, attempts: change.attempts, time: s.now()}
			switch e.copy, err = s.copyFor(ctx, p, was); {
			case isGone(err):
				eventless[p] = err
			case err != nil: // the copy may be all that there is: it is tried again
				return nil, nil, fmt.Errorf("copy event %d: %w", p, err)
			}
			pairs = append(pairs,
				eventlog.StateMutation{Key: keyOf(pairParked, p), Value: e.encode()},
				eventlog.StateMutation{Key: timeKey(e.time, p)})
		case replayIt:
			if len(was.copy) > 0 {
				pairs = append(pairs, eventlog.StateMutation{Key: keyOf(pairCopy, p), Value: was.copy})
			}
		case discardIt, sweepIt:
		}
	}
	n := binary.BigEndian.AppendUint64(nil, uint64(count))
	return append(pairs, eventlog.StateMutation{Key: keyOf(pairCount, 0), Value: n}), eventless, nil
}

// copyFor returns the stored value of an event that is being parked.
func (s parkedStore) copyFor(ctx context.Context, p eventlog.Position, was parkedEvent) ([]byte, error) {
	if r, ok, err := s.copied(ctx, p); err != nil || ok {
		return r.Value(), err
	}
	if len(was.copy) > 0 {
		return was.copy, nil
	}
	r, err := s.record(ctx, p)
	if err != nil {
		return nil, err
	}
	return r.Value(), nil
}
