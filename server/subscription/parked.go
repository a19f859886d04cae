package subscription

import (
	"context"
	"slices"
	"time"

	webhookgatewayv1 "github.com/webhook-gateway/webhook-gateway/gen/webhookgateway/v1"
	"github.com/webhook-gateway/webhook-gateway/server/eventlog"
)

const (
	// replayBatch is the most parked events that are replayed at a time, and
	// replayBytes about how large they are at most.
	replayBatch = 500
	replayBytes = 16 << 20
	// discardBatch is the most parked events that are discarded at a time:
	// acknowledgements wait for it.
	discardBatch = 500
)

// Parked is an event that is not delivered any more until it is replayed.
type Parked struct {
	Position eventlog.Position
	// Record is the event, as it was when it was parked. Its bytes do not change.
	// HasRecord is false if the log had lost the event before it was parked.
	Record    eventlog.Record
	HasRecord bool
	Reason    webhookgatewayv1.ParkReason
	// Message is what the worker said of it.
	Message string
	// Attempts is how many attempts failed.
	Attempts int
	Time     time.Time
}

// ListParked returns up to limit parked events after a position, in log order. It
// returns fewer if they are large: at least one if there is one, and not many more
// than maxBytes in all.
func (m *Manager) ListParked(ctx context.Context, name string, after eventlog.Position, limit, maxBytes int) ([]Parked, error) {
	s, err := m.find(name)
	if err != nil {
		return nil, err
	}
	if err := s.settleParked(ctx); err != nil {
		return nil, err
	}
	events, err := s.page(ctx, after, limit, maxBytes)
	if err != nil {
		return nil, err
	}
	list := make([]Parked, len(events))
	for i, e := range events {
		list[i] = Parked{Position: e.position, Reason: e.reason, Message: e.message, Attempts: int(e.attempts), Time: e.time}
		r, _, err := s.parked.event(ctx, e)
		switch {
		case err == nil:
			list[i].Record, list[i].HasRecord = r, true
		case ctx.Err() != nil:
			return nil, readError(e.position, err)
		}
	}
	return list, nil
}

// page reads some parked events.
func (s *subscription) page(ctx context.Context, after eventlog.Position, limit, maxBytes int) ([]parkedEvent, error) {
	var events []parkedEvent
	bytes := 0
	if limit <= 0 {
		return nil, nil
	}
	for e, err := range s.parked.after(ctx, after) {
		if err != nil {
			return nil, err
		}
		e.copy = append([]byte(nil), e.copy...)
		events = append(events, e)
		if bytes += len(e.copy); len(events) == limit || bytes >= maxBytes {
			break
		}
	}
	return events, nil
}

// settleParked returns when what was parked before the call is in the store.
func (s *subscription) settleParked(ctx context.Context) error {
	s.mu.Lock()
	pending := !s.machine.parking.empty() || s.running != nil
	s.mu.Unlock()
	if !pending {
		return nil
	}
	return s.durable(ctx)
}

// Replay has parked events delivered again, with their attempts counted anew. If
// positions is nil it is all of them, or as many as may wait. It returns how many,
// and which of the positions are not of parked events, or of some that nothing is
// left of. It returns ErrTooManyWaiting if the positions are more than may wait,
// or if none of all may.
func (m *Manager) Replay(ctx context.Context, name string, positions []eventlog.Position) (int, []eventlog.Position, error) {
	return m.tend(ctx, name, func(s *subscription) (int, []eventlog.Position, error) {
		if positions == nil {
			n, err := s.replayAll(ctx)
			return n, nil, err
		}
		return s.replayEach(ctx, distinct(positions))
	})
}

// tend has f change parked events of a subscription: one caller at a time, with
// everything in the store that was parked before.
func (m *Manager) tend(
	ctx context.Context, name string, f func(*subscription) (int, []eventlog.Position, error),
) (int, []eventlog.Position, error) {
	s, err := m.find(name)
	if err != nil {
		return 0, nil, err
	}
	s.tending.Lock()
	defer s.tending.Unlock()
	if err := s.settleParked(ctx); err != nil {
		return 0, nil, err
	}
	return f(s)
}

// replayEach replays the parked events at some positions, or none if they are more
// than may wait.
func (s *subscription) replayEach(ctx context.Context, positions []eventlog.Position) (int, []eventlog.Position, error) {
	if len(positions) > s.mayWait() {
		return 0, nil, ErrTooManyWaiting
	}
	replayed := 0
	var unknown []eventlog.Position
	for len(positions) > 0 {
		batch := positions[:min(len(positions), replayBatch)]
		positions = positions[len(batch):]
		var events []parkedEvent
		for _, p := range batch {
			e, ok, err := s.parked.get(ctx, p)
			switch {
			case err != nil:
				return replayed, nil, err
			case !ok:
				unknown = append(unknown, p)
			default:
				events = append(events, e)
			}
		}
		done, gone, err := s.replay(ctx, events)
		if err != nil {
			return replayed, nil, err
		}
		replayed, unknown = replayed+done, append(unknown, gone...)
	}
	return replayed, unknown, nil
}

func (s *subscription) replayAll(ctx context.Context) (int, error) {
	replayed := 0
	var after eventlog.Position
	for {
		events, err := s.page(ctx, after, replayBatch, replayBytes)
		if err != nil || len(events) == 0 {
			return replayed, err
		}
		if events = events[:min(len(events), s.mayWait())]; len(events) == 0 {
			if replayed == 0 {
				return 0, ErrTooManyWaiting
			}
			return replayed, nil
		}
		done, _, err := s.replay(ctx, events)
		if err != nil {
			return replayed, err
		}
		replayed, after = replayed+done, events[len(events)-1].position
	}
}

func (s *subscription) mayWait() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.machine.mayWait()
}

// replay has parked events delivered again. It returns how many, and of which
// nothing is left.
func (s *subscription) replay(ctx context.Context, events []parkedEvent) (int, []eventlog.Position, error) {
	var offers []offer
	var copies []bool
	var gone []eventlog.Position
	for _, e := range events {
		r, isCopy, err := s.parked.event(ctx, e)
		switch {
		case isGone(err):
			gone = append(gone, e.position)
		case err != nil:
			return 0, nil, readError(e.position, err)
		default:
			offers, copies = append(offers, offer{position: e.position, hash: r.OrderingGroup()}), append(copies, isCopy)
		}
	}
	err := s.change(func(time.Time) {
		for i, o := range offers {
			s.machine.replay(o, copies[i])
		}
	})
	if err == nil {
		err = s.durable(ctx)
	}
	return len(offers), gone, err
}

// Discard forgets parked events for good, all of them if positions is nil. It
// returns how many, and which of the positions are not of parked events.
func (m *Manager) Discard(ctx context.Context, name string, positions []eventlog.Position) (int, []eventlog.Position, error) {
	return m.tend(ctx, name, func(s *subscription) (int, []eventlog.Position, error) {
		if positions == nil {
			return s.discardAll(ctx)
		}
		return s.discardEach(ctx, distinct(positions))
	})
}

// discardEach discards the parked events at some positions.
func (s *subscription) discardEach(ctx context.Context, positions []eventlog.Position) (int, []eventlog.Position, error) {
	discarded := 0
	var unknown []eventlog.Position
	for len(positions) > 0 {
		batch := positions[:min(len(positions), discardBatch)]
		positions = positions[len(batch):]
		done, others, err := s.discard(ctx, batch)
		if err != nil {
			return discarded, nil, err
		}
		discarded, unknown = discarded+done, append(unknown, others...)
	}
	return discarded, unknown, nil
}

// distinct returns each position once, in order.
func distinct(positions []eventlog.Position) []eventlog.Position {
	return slices.Compact(slices.Sorted(slices.Values(positions)))
}

func (s *subscription) discardAll(ctx context.Context) (int, []eventlog.Position, error) {
	n := 0
	err := s.change(func(time.Time) {
		n = int(s.totals.count)
		s.machine.discardAll()
	})
	if err != nil {
		return 0, nil, err
	}
	return n, nil, s.durable(ctx)
}

// discard forgets parked events. It returns how many, and which are not parked.
func (s *subscription) discard(ctx context.Context, positions []eventlog.Position) (int, []eventlog.Position, error) {
	var known, unknown []eventlog.Position
	for _, p := range positions {
		_, parked, err := s.parked.get(ctx, p)
		switch {
		case err != nil:
			return 0, nil, err
		case parked:
			known = append(known, p)
		default:
			unknown = append(unknown, p)
		}
	}
	err := s.change(func(time.Time) {
		for _, p := range known {
			s.machine.discard(p)
		}
	})
	if err != nil {
		return 0, nil, err
	}
	return len(known), unknown, s.durable(ctx)
}
