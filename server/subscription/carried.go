package subscription

import (
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"iter"
	"slices"
	"time"

	"github.com/webhook-gateway/webhook-gateway/server/eventlog"
)

// A delivery is carried to a worker of another gateway without its event, which that
// gateway reads from its own copy of the log.

// Carried is a delivery on its way between gateways.
type Carried struct {
	Position eventlog.Position
	Attempt  int
	First    bool
	Deadline time.Time
	// Copied: the event is read from its copy in the state of the subscription.
	Copied bool
	Token  string
	// Sum is of the event, 0 if it is not known. While one of the gateways has not noticed that the commit log has lost
	// its end, they may have different events at the position.
	Sum uint32
}

// Carry returns what another gateway has to know of a delivery.
func (d Delivery) Carry() Carried {
	return Carried{
		Position: d.Position, Attempt: d.Attempt, First: d.First, Deadline: d.Deadline, Copied: d.copied, Token: d.AckToken(), Sum: d.sum,
	}
}

// Delivery returns the delivery that Carry was called for.
func (c Carried) Delivery() Delivery {
	return Delivery{
		Position: c.Position, Attempt: c.Attempt, First: c.First, Deadline: c.Deadline, copied: c.Copied, token: c.Token, sum: c.Sum,
	}
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func sumOf(record eventlog.Record) uint32 { return crc32.Checksum(record.Value(), castagnoli) }

// Sum reads the events of deliveries, for Carry to tell which they are. Those that cannot be read are left to who
// has the worker, whose copy may have them.
func (st *Stream) Sum(ctx context.Context, deliveries []Delivery) {
	s := st.subscription
	unread := func(rest []Delivery, _ error) ([]Delivery, error) { return rest[1:], nil }
	r := reader{log: s.manager.Log, parked: s.parked, missing: unread}
	i := 0
	for event, err := range r.read(ctx, slices.Clone(deliveries)) {
		if err != nil {
			return
		}
		for deliveries[i].Position != event.Position {
			i++
		}
		deliveries[i].sum = sumOf(event.Record)
	}
}

// ErrBehind is returned for events that the copy of this gateway cannot give and those of
// other gateways can.
var ErrBehind = errors.New("the copy of the log that this gateway has is damaged, or behind those of others")

// WaitFor waits until the copy of this gateway has the event at a position. One that is made anew
// has not: what is served meanwhile may be what the commit log has lost, with other events in its
// place.
func (m *Manager) WaitFor(ctx context.Context, p eventlog.Position) error {
	for {
		changed := m.Log.Changed()
		if m.Sharing.current() && m.Log.Bounds().Head >= p {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return fmt.Errorf("%w: wait for event %d: %v", ErrBehind, p, context.Cause(ctx)) //nolint:errorlint // nobody is to take it for the deadline of something else
		}
	}
}

// ReadCarried reads the events of carried deliveries of a subscription, in their order.
// Those that retention has removed are left out, and gone is called for each: it tells the
// gateway that handed them out. Errors are ErrBehind, also for an event that is another one there, those of the log,
// and that of gone.
func (m *Manager) ReadCarried(ctx context.Context, name string, deliveries []Delivery, gone func(Delivery) error) iter.Seq2[Event, error] {
	current := false
	missing := func(rest []Delivery, err error) ([]Delivery, error) {
		if !errors.As(err, new(*eventlog.TrimmedError)) {
			return nil, fmt.Errorf("%w: %w", ErrBehind, readError(rest[0].Position, err))
		}
		if !current {
			// NOTE The copy of the event may be a commit that is not applied here yet.
			if err := m.Sharing.Sync(ctx); err != nil {
				return nil, fmt.Errorf("%w: %w", ErrBehind, err)
			}
			current = true
			return rest, nil
		}
		return rest[1:], gone(rest[0])
	}
	parked := parkedStore{states: m.States, record: m.record, now: m.now, scope: name}
	events := reader{log: m.Log, parked: parked, missing: missing}.read(ctx, deliveries)
	return func(yield func(Event, error) bool) {
		for event, err := range events {
			if err == nil && event.sum != 0 && event.sum != sumOf(event.Record) {
				// NOTE To acknowledge it would settle the other one, which nobody was given.
				yield(Event{}, fmt.Errorf("%w: event %d is another one there", ErrBehind, event.Position))
				return
			}
			if !yield(event, err) {
				return
			}
		}
	}
}

// Missing takes note of a delivery whose event another gateway could not find. If it is
// here it is given back unused, and otherwise a gap is told.
func (st *Stream) Missing(ctx context.Context, token string) error {
	s := st.subscription
	l, ok := s.seal.parseToken(token)
	if !ok {
		return nil
	}
	var d Delivery
	err := s.change(func(now time.Time) {
		d = Delivery{Position: l.position, lease: l, seal: s.seal, copied: s.machine.isCopied(l, now)}
	})
	if err != nil {
		return err
	}
	for _, err := range st.Read(ctx, []Delivery{d}) {
		if err != nil {
			return err
		}
		return s.change(func(now time.Time) { s.machine.release(l, now) })
	}
	return nil
}
