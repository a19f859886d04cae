package subscription

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"time"

	"github.com/webhook-gateway/webhook-gateway/server/eventlog"
)

// Stream is one worker's share in a subscription. Next and Records are for one
// goroutine; Close may be called from another.
type Stream struct {
	subscription *subscription
	id           uint32
	// arrived has a token when batch has something. over is closed when the
	// subscription ends all streams.
	arrived chan struct{}
	over    chan struct{}

	// Under the mutex of the subscription: how many events are wanted, 0 while
	// nobody waits, and what was given.
	wanted   int
	batch    Batch
	caughtUp bool
}

// Batch is what a stream is given: at least one of its parts.
type Batch struct {
	// Gap, if not zero, names events that are missing before the deliveries.
	Gap Gap
	// Deliveries in order of their positions: see Stream.Records.
	Deliveries []Delivery
	// CaughtUp says, once per stream, that everything up to the head is delivered
	// to this stream or others.
	CaughtUp bool
}

func (b Batch) empty() bool { return b.Gap == (Gap{}) && len(b.Deliveries) == 0 && !b.CaughtUp }

// Progress says how far a subscription is.
type Progress struct {
	// Cursor is the position up to which nothing is left to deliver for the first
	// time. Head is that of the newest event of the log.
	Cursor, Head eventlog.Position
}

// Attach adds a stream to a subscription. It must be closed.
func (m *Manager) Attach(name string) (*Stream, error) {
	s, err := m.find(name)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended != nil {
		return nil, s.ended
	}
	s.lastStream++
	st := &Stream{subscription: s, id: s.lastStream, arrived: make(chan struct{}, 1), over: make(chan struct{})}
	s.streams[st.id] = st
	s.machine.connect(st.id)
	s.startFeeding()
	return st, nil
}

// Close gives back what the stream holds, at once.
func (st *Stream) Close() {
	s := st.subscription
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, attached := s.streams[st.id]; !attached {
		return
	}
	now := time.Now()
	delete(s.streams, st.id)
	close(st.over)
	s.machine.disconnect(st.id, now)
	if len(s.streams) > 0 {
		s.dispatch(now)
		s.wake()
		return
	}
	s.stopFeeding()
	s.commitSoon()
}

// Next waits until there is something for the stream, and returns at most n
// deliveries. A stream gets nothing while it has no credit: when it holds as many
// events as the settings allow. Errors are ErrNotFound if the subscription was
// deleted, ErrClosed, and that of ctx; what arrives just when ctx ends is
// returned without an error.
func (st *Stream) Next(ctx context.Context, n int) (Batch, error) {
	s := st.subscription
	s.mu.Lock()
	st.wanted = n
	s.dispatch(time.Now())
	s.wake()
	s.mu.Unlock()
	var err error
	select {
	case <-st.arrived:
	case <-st.over:
	case <-ctx.Done():
		err = context.Cause(ctx)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	batch := st.batch
	st.batch, st.wanted = Batch{}, 0
	select {
	case <-st.arrived:
	default:
	}
	switch {
	case s.streams[st.id] != st:
		return Batch{}, s.endReason()
	case !batch.empty():
		return batch, nil
	}
	return Batch{}, err
}

func (s *subscription) endReason() error {
	if s.ended != nil {
		return s.ended
	}
	return ErrClosed
}

// Progress returns how far the subscription is. It may be behind Next by what
// happened since.
func (st *Stream) Progress() Progress {
	s := st.subscription
	head := s.manager.Log.Bounds().Head
	s.mu.Lock()
	defer s.mu.Unlock()
	return Progress{Cursor: s.machine.delivered(), Head: max(head, s.machine.read)}
}

// dispatch hands what is ready to the streams that wait, one that holds least
// first. The mutex must be held.
func (s *subscription) dispatch(now time.Time) {
	for {
		st, share := s.neediest()
		if st == nil {
			break
		}
		batch := Batch{Gap: s.machine.takeGap(), Deliveries: s.machine.deliver(st.id, st.wanted, share, now)}
		for i := range batch.Deliveries {
			batch.Deliveries[i].subscription = s.id
		}
		st.give(batch)
	}
	s.tellCaughtUp()
}

// neediest returns, of the streams that wait and can be given something, one that
// holds least, and its share of what any stream may have.
func (s *subscription) neediest() (*Stream, int) {
	var neediest *Stream
	least, waiting := 0, 0
	for _, st := range s.streams {
		if st.wanted == 0 {
			continue
		}
		waiting++
		available := s.machine.credit(st.id) > 0 && s.machine.available(st.id) > 0
		if !available && s.machine.gap == (Gap{}) {
			continue
		}
		held := s.machine.streams[st.id].held
		if neediest == nil || held < least || held == least && st.id < neediest.id {
			neediest, least = st, held
		}
	}
	if neediest == nil {
		return nil, 0
	}
	return neediest, (len(s.machine.ready.slots) + waiting - 1) / waiting
}

// give passes a batch to a stream that waits for it.
func (st *Stream) give(batch Batch) {
	st.batch, st.wanted = batch, 0
	st.arrived <- struct{}{} // has room: nothing was given since the stream began to wait
}

// tellCaughtUp tells the streams that wait, if everything is delivered.
func (s *subscription) tellCaughtUp() {
	for _, st := range s.streams {
		if st.wanted > 0 && !st.caughtUp && s.machine.idle(s.manager.Log.Bounds().Head) {
			st.caughtUp = true
			st.give(Batch{CaughtUp: true})
		}
	}
}

// nearby is how many events are read and passed over rather than looked up.
const nearby = 32

// Event is a delivery with its event.
type Event struct {
	Delivery
	// Record is valid only until the next one is read, unless it is live.
	Record eventlog.Record
}

// Read reads the events of deliveries, in their order. Those that retention
// removed meanwhile are left out: Next reports the gap.
func (st *Stream) Read(ctx context.Context, deliveries []Delivery) iter.Seq2[Event, error] {
	return func(yield func(Event, error) bool) {
		for len(deliveries) > 0 {
			rest, err := st.readRun(ctx, deliveries, yield)
			var trimmed *eventlog.TrimmedError
			switch {
			case errors.As(err, &trimmed):
				rest = st.missing(rest, trimmed.Trimmed)
			case err != nil:
				yield(Event{}, readError(rest[0].Position, err))
				return
			}
			deliveries = rest
		}
	}
}

var errMissing = errors.New("the log does not have it")

// readRun reads deliveries by one read of the log, up to the next that is not
// nearby, and returns the others: none if the caller wants no more.
func (st *Stream) readRun(ctx context.Context, deliveries []Delivery, yield func(Event, error) bool) ([]Delivery, error) {
	found := false
	for record, err := range st.subscription.manager.Log.Read(ctx, deliveries[0].Position-1) {
		if err != nil {
			return deliveries, err
		}
		if record.Position < deliveries[0].Position {
			continue
		}
		found = true
		if !yield(Event{Delivery: deliveries[0], Record: record}, nil) {
			return nil, nil
		}
		deliveries = deliveries[1:]
		if len(deliveries) == 0 || deliveries[0].Position > record.Position+nearby {
			break
		}
	}
	if !found {
		return deliveries, errMissing
	}
	return deliveries, nil
}

// missing takes note of deliveries whose events are trimmed, and returns the
// others.
func (st *Stream) missing(deliveries []Delivery, trimmed eventlog.Position) []Delivery {
	_ = st.subscription.change(func(now time.Time) {
		for len(deliveries) > 0 && deliveries[0].Position <= trimmed {
			st.subscription.machine.missing(deliveries[0].lease, now)
			deliveries = deliveries[1:]
		}
	})
	return deliveries
}

func readError(p eventlog.Position, err error) error {
	return fmt.Errorf("read event %d: %w", p, err)
}
