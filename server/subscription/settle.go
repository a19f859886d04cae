package subscription

import (
	"context"
	"time"

	webhookgatewayv1 "github.com/webhook-gateway/webhook-gateway/gen/webhookgateway/v1"
	"github.com/webhook-gateway/webhook-gateway/server/eventlog"
)

// Acknowledge settles the events of tokens. The results are in the order of the
// tokens; OK is durable. If it returns an error, any of the tokens may have been
// acknowledged.
func (m *Manager) Acknowledge(ctx context.Context, tokens []string) ([]webhookgatewayv1.TokenResult, error) {
	return m.settle(ctx, tokens, true, (*machine).acknowledge)
}

// Extend gives the events of tokens a new deadline, from now on. Zero is the ack
// deadline of the subscription.
func (m *Manager) Extend(ctx context.Context, tokens []string, deadline time.Duration) ([]webhookgatewayv1.TokenResult, error) {
	return m.settle(ctx, tokens, false, func(machine *machine, l lease, now time.Time) webhookgatewayv1.TokenResult {
		if deadline == 0 {
			return machine.extend(l, machine.settings.ackDeadline, now)
		}
		return machine.extend(l, deadline, now)
	})
}

// Retry gives the events of tokens back, to be delivered again after a delay. A
// negative delay is the backoff of the subscription. Errors as for Acknowledge.
func (m *Manager) Retry(ctx context.Context, tokens []string, delay time.Duration, reason string) ([]webhookgatewayv1.TokenResult, error) {
	return m.settle(ctx, tokens, true, func(machine *machine, l lease, now time.Time) webhookgatewayv1.TokenResult {
		return machine.retry(l, delay, reason, now)
	})
}

// Park parks the events of tokens, for a reason. Errors as for Acknowledge.
func (m *Manager) Park(ctx context.Context, tokens []string, reason string) ([]webhookgatewayv1.TokenResult, error) {
	return m.settle(ctx, tokens, true, func(machine *machine, l lease, now time.Time) webhookgatewayv1.TokenResult {
		return machine.park(l, reason, now)
	})
}

// token is a token of a request.
type token struct {
	index int
	lease lease
}

func (m *Manager) settle(ctx context.Context, tokens []string, durable bool, f func(*machine, lease, time.Time) webhookgatewayv1.TokenResult) ([]webhookgatewayv1.TokenResult, error) {
	results := make([]webhookgatewayv1.TokenResult, len(tokens))
	bySubscription := make(map[*subscription][]token)
	m.mu.RLock()
	closed := m.closed
	for i, text := range tokens {
		results[i] = resultUnknown
		if id, lease, ok := parseToken(text); ok {
			if s := m.byID[id]; s != nil {
				bySubscription[s] = append(bySubscription[s], token{i, lease})
			}
		}
	}
	m.mu.RUnlock()
	if closed {
		return nil, ErrClosed
	}
	for s, mine := range bySubscription {
		err := s.change(func(now time.Time) {
			for _, t := range mine {
				results[t.index] = f(s.machine, t.lease, now)
			}
		})
		switch {
		case err == ErrNotFound: //nolint:errorlint // deleted meanwhile, the tokens are unknown
			delete(bySubscription, s)
		case err != nil:
			return nil, err
		}
	}
	if !durable {
		return results, nil
	}
	for s := range bySubscription {
		if err := s.commit(ctx); err != nil {
			return nil, err
		}
	}
	return results, nil
}

// CommitCursor settles every event up to a position of a strictly ordered
// subscription. The token is of the newest event up to there. Errors are
// ErrNotFound, ErrNotStrict, ErrCursorNotDelivered, and otherwise as for
// Acknowledge.
func (m *Manager) CommitCursor(ctx context.Context, name string, upTo eventlog.Position, ackToken string) (webhookgatewayv1.TokenResult, error) {
	s, err := m.find(name)
	if err != nil {
		return 0, err
	}
	id, l, ok := parseToken(ackToken)
	result := resultUnknown
	var refusal error
	err = s.change(func(now time.Time) {
		switch {
		case s.def.settings.ordering != webhookgatewayv1.Ordering_ORDERING_STRICT:
			refusal = ErrNotStrict
		case ok && id == s.id:
			result, refusal = s.machine.commitCursor(upTo, l, now)
		}
	})
	if err != nil {
		return 0, err
	}
	if refusal != nil {
		return 0, refusal
	}
	if result == resultOK {
		if err := s.commit(ctx); err != nil {
			return 0, err
		}
	}
	return result, nil
}

// Parked is an event that is not delivered any more until it is replayed.
type Parked struct {
	Position eventlog.Position
	Reason   webhookgatewayv1.ParkReason
	// Message is what the worker said of it.
	Message string
	// Attempts is how often it was delivered.
	Attempts int
	Time     time.Time
}

// ListParked returns up to limit parked events after a position, in log order.
// The log may not retain them any more.
func (m *Manager) ListParked(name string, after eventlog.Position, limit int) ([]Parked, error) {
	s, err := m.find(name)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	i, _ := s.machine.findParked(after + 1)
	rest := s.machine.parked[i:]
	list := make([]Parked, min(limit, len(rest)))
	for i := range list {
		p := rest[i]
		list[i] = Parked{Position: p.position, Reason: p.reason, Message: p.message, Attempts: int(p.attempts), Time: p.time}
	}
	return list, nil
}

// Replay has parked events delivered again, all of them if positions is nil. It
// returns how many, and which of the positions are not of parked events that the
// log retains.
func (m *Manager) Replay(ctx context.Context, name string, positions []eventlog.Position) (int, []eventlog.Position, error) {
	s, err := m.find(name)
	if err != nil {
		return 0, nil, err
	}
	if positions == nil {
		positions = s.parkedPositions()
	}
	var offers []offer
	var unknown []eventlog.Position
	trimmed := m.Log.Bounds().Trimmed
	for _, p := range positions {
		if p <= trimmed || !s.isParked(p) {
			unknown = append(unknown, p)
			continue
		}
		record, err := m.record(ctx, p)
		if err != nil {
			return 0, nil, readError(p, err)
		}
		offers = append(offers, offer{position: p, hash: record.OrderingGroup()})
	}
	replayed := 0
	err = s.change(func(time.Time) {
		for _, o := range offers {
			if s.machine.replay(o) {
				replayed++
			} else {
				unknown = append(unknown, o.position)
			}
		}
	})
	if err != nil {
		return 0, nil, err
	}
	return replayed, unknown, s.commit(ctx)
}

// Discard forgets parked events for good, all of them if positions is nil. It
// returns how many, and which of the positions are not of parked events.
func (m *Manager) Discard(ctx context.Context, name string, positions []eventlog.Position) (int, []eventlog.Position, error) {
	s, err := m.find(name)
	if err != nil {
		return 0, nil, err
	}
	if positions == nil {
		positions = s.parkedPositions()
	}
	discarded := 0
	var unknown []eventlog.Position
	err = s.change(func(time.Time) {
		for _, p := range positions {
			if s.machine.discard(p) {
				discarded++
			} else {
				unknown = append(unknown, p)
			}
		}
	})
	if err != nil {
		return 0, nil, err
	}
	return discarded, unknown, s.commit(ctx)
}

func (s *subscription) parkedPositions() []eventlog.Position {
	s.mu.Lock()
	defer s.mu.Unlock()
	positions := make([]eventlog.Position, len(s.machine.parked))
	for i, p := range s.machine.parked {
		positions[i] = p.position
	}
	return positions
}

func (s *subscription) isParked(p eventlog.Position) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, parked := s.machine.findParked(p)
	return parked
}
