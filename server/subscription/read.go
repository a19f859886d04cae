package subscription

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"time"

	webhookgatewayv1 "github.com/webhook-gateway/webhook-gateway/gen/webhookgateway/v1"
	"github.com/webhook-gateway/webhook-gateway/server/eventlog"
)

// nearby is how many events are read and passed over rather than looked up.
const nearby = 32

// Event is a delivery with its event.
type Event struct {
	Delivery
	// Record is valid only until the next one is read, unless it is live.
	Record eventlog.Record
}

var errMissing = errors.New("the log does not have it")

// Read reads the events of deliveries, in their order. Those that retention
// removed meanwhile, or that are damaged, are left out: Next reports the gap.
func (st *Stream) Read(ctx context.Context, deliveries []Delivery) iter.Seq2[Event, error] {
	s := st.subscription
	return reader{log: s.manager.Log, parked: s.parked, missing: st.missing}.read(ctx, deliveries)
}

// reader reads the events of deliveries of a subscription.
type reader struct {
	log    eventlog.Log
	parked parkedStore
	// missing deals with deliveries whose events an error says are gone: see Stream.missing.
	missing func(deliveries []Delivery, err error) ([]Delivery, error)
}

func (r reader) read(ctx context.Context, deliveries []Delivery) iter.Seq2[Event, error] {
	return func(yield func(Event, error) bool) {
		for len(deliveries) > 0 {
			read := r.readRun
			if deliveries[0].copied {
				read = r.readCopy
			}
			rest, err := read(ctx, deliveries, yield)
			if err == nil {
				deliveries = rest
				continue
			}
			if isGone(err) && !rest[0].copied {
				// NOTE A copy may be there since it was handed out: it was parked once, and
				// replayed meanwhile.
				rest[0].copied = true
				deliveries = rest
				continue
			}
			if deliveries, err = r.missing(rest, err); err != nil {
				yield(Event{}, err)
				return
			}
		}
	}
}

// readCopy reads a delivery from the copy of its event, and returns the others:
// none if the caller wants no more.
func (r reader) readCopy(ctx context.Context, deliveries []Delivery, yield func(Event, error) bool) ([]Delivery, error) {
	record, found, err := r.parked.kept(ctx, deliveries[0].Position)
	switch {
	case err != nil:
		return deliveries, err
	case !found:
		// Settled meanwhile, or the log has it.
		return r.readRun(ctx, deliveries, yield)
	case !yield(Event{Delivery: deliveries[0], Record: record}, nil):
		return nil, nil
	}
	return deliveries[1:], nil
}

// readRun reads deliveries by one read of the log, up to the next that is not
// nearby, and returns the others: none if the caller wants no more.
func (r reader) readRun(ctx context.Context, deliveries []Delivery, yield func(Event, error) bool) ([]Delivery, error) {
	found := false
	for record, err := range r.log.Read(ctx, deliveries[0].Position-1) {
		if err != nil {
			if found { // the next run finds out
				return deliveries, nil
			}
			return deliveries, err
		}
		if record.Position < deliveries[0].Position {
			continue
		}
		if record.Position > deliveries[0].Position {
			break
		}
		found = true
		if !yield(Event{Delivery: deliveries[0], Record: record}, nil) {
			return nil, nil
		}
		deliveries = deliveries[1:]
		if len(deliveries) == 0 || deliveries[0].copied || deliveries[0].Position > record.Position+nearby {
			break
		}
	}
	if !found {
		return deliveries, errMissing
	}
	return deliveries, nil
}

// isGone reports whether an error of the log tells that it cannot give an event, now
// or later.
func isGone(err error) bool {
	return errors.As(err, new(*eventlog.TrimmedError)) || errors.As(err, new(*eventlog.DamagedError))
}

// missing takes note of deliveries whose events an error says are gone, and
// returns the others. Of the first there is no copy, of others there may be one. It
// fails if the error says no such thing, or if the subscription has ended.
func (st *Stream) missing(deliveries []Delivery, err error) ([]Delivery, error) {
	var trimmed *eventlog.TrimmedError
	var damaged *eventlog.DamagedError
	var upTo eventlog.Position
	reason := webhookgatewayv1.GapReason_GAP_REASON_RETENTION
	switch {
	case errors.As(err, &trimmed):
		upTo = trimmed.Trimmed
	case errors.As(err, &damaged):
		upTo, reason = damaged.UpTo, webhookgatewayv1.GapReason_GAP_REASON_DAMAGED
	}
	rest := deliveries
	ended := st.subscription.change(func(now time.Time) {
		m := st.subscription.machine
		for first := true; len(rest) > 0 && rest[0].Position <= upTo; first = false {
			l := rest[0].lease
			if !first && m.isCopied(l, now) {
				return
			}
			m.missing(l, reason, now)
			rest = rest[1:]
		}
	})
	if ended == nil && len(rest) == len(deliveries) {
		return nil, readError(deliveries[0].Position, err)
	}
	return rest, ended
}

func readError(p eventlog.Position, err error) error {
	return fmt.Errorf("read event %d: %w", p, err)
}
