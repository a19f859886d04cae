package subscription

import (
	"context"
	"errors"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	webhookgatewayv1 "github.com/webhook-gateway/webhook-gateway/gen/webhookgateway/v1"
	"github.com/webhook-gateway/webhook-gateway/server/eventlog"
)

// describe returns the subscription with its status.
func (s *subscription) describe(ctx context.Context) (*webhookgatewayv1.Subscription, error) {
	out := s.definition().describe()
	var err error
	out.Status, err = s.status(ctx)
	return out, err
}

// status reads at most two events of the log.
func (s *subscription) status(ctx context.Context) (*webhookgatewayv1.SubscriptionStatus, error) {
	bounds := s.manager.Log.Bounds()
	clock := s.manager.Log.Clock()
	now := clock.Now

	s.mu.Lock()
	m := s.machine
	m.trim(bounds.Trimmed)
	cursor, head := m.cursor, max(bounds.Head, m.read)
	owed, owes := m.oldestOwed()
	status := &webhookgatewayv1.SubscriptionStatus{
		Cursor:         s.manager.cursor(cursor),
		HeadCursor:     s.manager.cursor(head),
		LagEvents:      int64(head - cursor), //nolint:gosec // not negative
		InFlightEvents: int64(m.held),
		WaitingEvents:  int64(m.waitingEvents()),
		ParkedEvents:   s.totals.count,
		Streams:        int32(len(s.streams)), //nolint:gosec // few
		ReadyEvents:    int64(m.readyEvents()),
		UnreadEvents:   int64(head - m.read), //nolint:gosec // not negative
		LeftOutEvents:  s.leftOut,
		Owner:          s.manager.Sharing.address(),
	}
	if s.totals.count > 0 {
		status.OldestParkedAge = durationpb.New(age(s.totals.oldest, now))
	}
	// NOTE The status has room for one gap; streams are told of all.
	if len(m.gaps) > 0 {
		g := m.gaps[0]
		status.Gap = &webhookgatewayv1.SubscriptionGap{
			FromCursor: s.manager.cursor(g.From), ToCursor: s.manager.cursor(g.To), Reason: g.Reason,
		}
	}
	s.mu.Unlock()

	if head > cursor {
		received, err := s.received(ctx, cursor+1)
		if err != nil {
			return nil, err
		}
		status.LagTime = durationpb.New(age(received, now))
	}
	if maxAge := s.manager.MaxAge; owes && maxAge > 0 {
		left := time.Duration(0) // of what is trimmed, and held by a worker all the same
		if owed > bounds.Trimmed {
			received, err := s.received(ctx, owed)
			if err != nil {
				return nil, err
			}
			left = clock.Until(received.Add(maxAge))
		}
		status.ExpiresIn = durationpb.New(left)
	}
	return status, nil
}

// received returns when the event at a position, or else the earliest one after it
// that can be read, was received.
func (s *subscription) received(ctx context.Context, p eventlog.Position) (time.Time, error) {
	for {
		record, err := s.manager.record(ctx, p)
		var trimmed *eventlog.TrimmedError
		var damaged *eventlog.DamagedError
		switch {
		case errors.As(err, &trimmed) && trimmed.Trimmed >= p:
			p = trimmed.Trimmed + 1
		case errors.As(err, &damaged) && damaged.UpTo >= p:
			p = damaged.UpTo + 1
		case err != nil:
			return time.Time{}, readError(p, err)
		default:
			return record.ReceiveTime(), nil
		}
		if p > s.manager.Log.Bounds().Head {
			return s.manager.now(), nil
		}
	}
}
