package subscription

import (
	"context"
	"time"

	"github.com/webhook-gateway/webhook-gateway/server/eventlog"
)

// StreamOptions are what one stream asks for.
type StreamOptions struct {
	// MaxInFlight is the most events that the stream holds unacknowledged, if lower
	// than max_in_flight_per_stream of the subscription; 0 is not lower.
	MaxInFlight int
}

// Stream is one worker's share in a subscription. Next, Read and Sending are for
// one goroutine; Close and Release may be called from another.
type Stream struct {
	subscription *subscription
	id           uint32
	// arrived has a token when batch has something. over is closed when the
	// subscription ends all streams.
	arrived chan struct{}
	over    chan struct{}

	// Under the mutex of the subscription: what was given while Next waits.
	batch Batch
	// hasGaps: the last batch had gaps. The next call tells that they were sent.
	hasGaps bool
}

// Batch is what a stream is given: at least one of its parts.
type Batch struct {
	// Gaps name events that are missing before the deliveries. They are told again,
	// to this stream or another, if the stream ends soon after.
	Gaps []Gap
	// Deliveries in order of their positions: see Stream.Read and Stream.Sending.
	Deliveries []Delivery
	// CaughtUp says, once per stream, that everything up to the head was delivered to
	// this stream or others.
	CaughtUp bool
}

func (b Batch) empty() bool { return len(b.Gaps) == 0 && len(b.Deliveries) == 0 && !b.CaughtUp }

// Progress says how far a subscription is.
type Progress struct {
	// Cursor is the position up to which nothing is left to deliver for the first
	// time. Head is that of the newest event of the log.
	Cursor, Head eventlog.Position
	// LeftOut is how many events failed verification, match the filters otherwise,
	// and were passed over since the subscription was loaded.
	LeftOut int64
}

// Attach adds a stream to a subscription. It must be closed or released.
func (m *Manager) Attach(name string, options StreamOptions) (*Stream, error) {
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
	s.streams[st.id], s.behind[st.id] = st, st
	s.machine.connect(st.id, options.MaxInFlight)
	s.startFeeding()
	return st, nil
}

// Close ends a stream that its worker has ended, or that broke. What was sent to
// it and is not settled counts as failed, or becomes suspect: see the package.
func (st *Stream) Close() { st.end(true) }

// Release ends a stream that the gateway ends, as when it drains: what it holds is
// given back unused. After it, Close does nothing.
func (st *Stream) Release() { st.end(false) }

func (st *Stream) end(broke bool) {
	s := st.subscription
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, attached := s.streams[st.id]; !attached {
		return
	}
	now := time.Now()
	delete(s.streams, st.id)
	delete(s.behind, st.id)
	close(st.over)
	s.machine.disconnect(st.id, broke, now)
	if len(s.streams) > 0 {
		s.dispatch(now)
		s.wake()
		return
	}
	s.stopFeeding()
	s.flushSoon()
}

// Next waits until there is something for the stream, and returns at most n
// deliveries. They are the stream's from now on, but are not taken for sent before
// Sending is called. What an earlier batch said of gaps is taken for sent. A
// stream gets nothing while it has no credit. Errors are ErrNotFound if the
// subscription was deleted, ErrMoved if another gateway has it now, ErrClosed, and that of ctx; what arrives just when ctx
// ends is returned without an error.
func (st *Stream) Next(ctx context.Context, n int) (Batch, error) {
	s := st.subscription
	s.mu.Lock()
	if s.streams[st.id] == st {
		now := time.Now()
		if st.hasGaps {
			s.machine.gapsSent(st.id, now)
			st.hasGaps = false
		}
		s.machine.want(st.id, n)
		s.dispatch(now)
		s.wake()
	}
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
	st.batch = Batch{}
	select {
	case <-st.arrived:
	default:
	}
	if s.streams[st.id] != st {
		if s.ended != nil {
			return Batch{}, s.ended
		}
		return Batch{}, ErrClosed
	}
	s.machine.want(st.id, 0)
	if batch.empty() {
		return Batch{}, err
	}
	st.hasGaps = len(batch.Gaps) > 0
	return batch, nil
}

// Sending is called right before deliveries are sent. It returns those that are
// still the stream's, in their order, with the deadline that begins to run now.
// The others must not be sent. The slice is changed.
func (st *Stream) Sending(deliveries []Delivery) []Delivery {
	s := st.subscription
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.streams[st.id] != st || !s.manager.Sharing.certain(s.name) {
		return nil
	}
	now := time.Now()
	kept := deliveries[:0]
	for _, d := range deliveries {
		if deadline, ok := s.machine.sending(d.lease, now); ok {
			d.Deadline = deadline
			kept = append(kept, d)
		}
	}
	return kept
}

// Progress returns how far the subscription is at this moment, which may be further
// than when Next returned.
func (st *Stream) Progress() Progress {
	s := st.subscription
	head := s.manager.Log.Bounds().Head
	s.mu.Lock()
	defer s.mu.Unlock()
	return Progress{Cursor: s.machine.delivered(), Head: max(head, s.machine.read), LeftOut: s.leftOut}
}

// InFlight returns how many events the stream holds. It may be called from any goroutine.
func (st *Stream) InFlight() int {
	s := st.subscription
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.streams[st.id] != st {
		return 0
	}
	return len(s.machine.workers[st.id].held.items)
}
