package subscription

import (
	"context"
	"time"

	webhookgatewayv1 "github.com/webhook-gateway/webhook-gateway/gen/webhookgateway/v1"
	"github.com/webhook-gateway/webhook-gateway/server/eventlog"
)

const (
	// parkBatch is the most events parked at a time: the events are copied.
	parkBatch = 256
	// maxMessage is the longest message kept with a parked event.
	maxMessage = 1024
)

// Acknowledge settles the events of tokens, also those of REJECT_ACTION_SKIP. The
// results are in the order of the tokens; OK and SETTLED are durable. If it
// returns an error, any of the tokens may have been acknowledged.
func (m *Manager) Acknowledge(ctx context.Context, name string, tokens []string) ([]webhookgatewayv1.TokenResult, error) {
	return m.settle(ctx, name, tokens, true, (*machine).acknowledge)
}

// Extend gives the events of tokens a new deadline, from now on. Zero is the ack
// deadline of the subscription. It is not durable.
func (m *Manager) Extend(ctx context.Context, name string, tokens []string, deadline time.Duration) ([]webhookgatewayv1.TokenResult, error) {
	return m.settle(ctx, name, tokens, false, func(machine *machine, l lease, now time.Time) webhookgatewayv1.TokenResult {
		if deadline == 0 {
			return machine.extend(l, machine.settings.ackDeadline, now)
		}
		return machine.extend(l, deadline, now)
	})
}

// Release gives the events of tokens back unused: no attempt counts, and they are
// delivered again at once, rather to another stream. It is not durable, as nothing
// has changed.
func (m *Manager) Release(ctx context.Context, name string, tokens []string) ([]webhookgatewayv1.TokenResult, error) {
	return m.settle(ctx, name, tokens, false, (*machine).release)
}

// Retry gives the events of tokens back as failed, to be delivered again after a
// delay. A negative delay is the backoff of the subscription. Errors are
// ErrTooManyWaiting, and otherwise as for Acknowledge.
func (m *Manager) Retry(ctx context.Context, name string, tokens []string, delay time.Duration, reason string) ([]webhookgatewayv1.TokenResult, error) {
	reason = reason[:min(len(reason), maxMessage)]
	return m.settleAll(ctx, name, tokens, true, func(machine *machine, leases []lease, now time.Time) ([]webhookgatewayv1.TokenResult, error) {
		if !machine.mayRetry(leases, now) {
			return nil, ErrTooManyWaiting
		}
		return each(leases, func(l lease) webhookgatewayv1.TokenResult { return machine.retry(l, delay, reason, now) }), nil
	})
}

// Park parks the events of tokens, for a reason. Errors as for Acknowledge.
func (m *Manager) Park(ctx context.Context, name string, tokens []string, reason string) ([]webhookgatewayv1.TokenResult, error) {
	reason = reason[:min(len(reason), maxMessage)]
	results := make([]webhookgatewayv1.TokenResult, 0, len(tokens))
	for {
		n := min(len(tokens), parkBatch)
		parked, err := m.settle(ctx, name, tokens[:n], true, func(machine *machine, l lease, now time.Time) webhookgatewayv1.TokenResult {
			return machine.park(l, reason, now)
		})
		if err != nil {
			return nil, err
		}
		results, tokens = append(results, parked...), tokens[n:]
		if len(tokens) == 0 {
			return results, nil
		}
	}
}

func (m *Manager) settle(ctx context.Context, name string, tokens []string, durable bool, f func(*machine, lease, time.Time) webhookgatewayv1.TokenResult) ([]webhookgatewayv1.TokenResult, error) {
	return m.settleAll(ctx, name, tokens, durable, func(machine *machine, leases []lease, now time.Time) ([]webhookgatewayv1.TokenResult, error) {
		return each(leases, func(l lease) webhookgatewayv1.TokenResult { return f(machine, l, now) }), nil
	})
}

func each(leases []lease, f func(lease) webhookgatewayv1.TokenResult) []webhookgatewayv1.TokenResult {
	results := make([]webhookgatewayv1.TokenResult, len(leases))
	for i, l := range leases {
		results[i] = f(l)
	}
	return results
}

// settleAll has the machine settle the tokens that are of the subscription. The
// result of the others is UNKNOWN.
func (m *Manager) settleAll(ctx context.Context, name string, tokens []string, durable bool, f func(*machine, []lease, time.Time) ([]webhookgatewayv1.TokenResult, error)) ([]webhookgatewayv1.TokenResult, error) {
	s, err := m.find(name)
	if err != nil {
		return nil, err
	}
	results := make([]webhookgatewayv1.TokenResult, len(tokens))
	leases, indices := make([]lease, 0, len(tokens)), make([]int, 0, len(tokens))
	for i, text := range tokens {
		if l, ok := s.seal.parseToken(text); ok {
			leases, indices = append(leases, l), append(indices, i)
		} else {
			results[i] = resultUnknown
		}
	}
	var settled []webhookgatewayv1.TokenResult
	var refusal error
	err = s.change(func(now time.Time) { settled, refusal = f(s.machine, leases, now) })
	switch {
	case err != nil:
		return nil, err
	case refusal != nil:
		return nil, refusal
	}
	for i, result := range settled {
		results[indices[i]] = result
	}
	if durable {
		if err := s.durable(ctx); err != nil {
			return nil, err
		}
	}
	return results, nil
}

// CommitCursor settles every event up to a position of a strictly ordered
// subscription. The token is of the newest event up to there. Errors are
// ErrNotStrict, ErrCursorNotDelivered, and otherwise as for Acknowledge.
func (m *Manager) CommitCursor(ctx context.Context, name string, upTo eventlog.Position, ackToken string) (webhookgatewayv1.TokenResult, error) {
	s, err := m.find(name)
	if err != nil {
		return 0, err
	}
	l, ok := s.seal.parseToken(ackToken)
	result := resultUnknown
	var refusal error
	err = s.change(func(now time.Time) {
		switch {
		case s.def.settings.ordering != webhookgatewayv1.Ordering_ORDERING_STRICT:
			refusal = ErrNotStrict
		case ok:
			result, refusal = s.machine.commitCursor(upTo, l, now)
		}
	})
	switch {
	case err != nil:
		return 0, err
	case refusal != nil:
		return 0, refusal
	}
	if result == resultOK || result == resultSettled {
		if err := s.durable(ctx); err != nil {
			return 0, err
		}
	}
	return result, nil
}
