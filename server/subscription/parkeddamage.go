package subscription

import (
	"cmp"
	"context"
	"slices"

	"github.com/webhook-gateway/webhook-gateway/server/eventlog"
)

// Of a parked event that is damaged, its pair in the index by time tells that it is
// parked, and since when. Its copy is lost: the log may still have the event.

// indexed returns the parked events after a position, in order, as the index has them.
func (s parkedStore) indexed(ctx context.Context, after eventlog.Position) ([]parkedEvent, error) {
	var events []parkedEvent
	for pair, err := range s.states.ReadScope(ctx, s.scope, []byte{byte(pairParkedTime)}, []byte{byte(pairParkedTime) + 1}) {
		if err != nil {
			return nil, err
		}
		if t, p := parseTimeKey(pair.Key); p > after {
			events = append(events, parkedEvent{position: p, time: t})
		}
	}
	slices.SortFunc(events, func(a, b parkedEvent) int { return cmp.Compare(a.position, b.position) })
	return events, nil
}

// damaged is get for an event that is damaged, if it is one that is parked.
func (s parkedStore) damaged(ctx context.Context, p eventlog.Position) (parkedEvent, bool, error) {
	events, err := s.indexed(ctx, p-1)
	if err != nil || len(events) == 0 || events[0].position != p {
		return parkedEvent{}, false, err
	}
	return events[0], true, nil
}

// afterDamage yields the parked events after a position where something is damaged.
func (s parkedStore) afterDamage(ctx context.Context, p eventlog.Position, yield func(parkedEvent, error) bool) {
	events, err := s.indexed(ctx, p)
	if err != nil {
		yield(parkedEvent{}, err)
		return
	}
	for _, e := range events {
		whole, ok, err := s.get(ctx, e.position)
		if err == nil && !ok {
			continue // it was settled meanwhile
		}
		if !yield(whole, err) || err != nil {
			return
		}
	}
}
