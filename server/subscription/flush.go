package subscription

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/webhook-gateway/webhook-gateway/server/eventlog"
)

// flush writes all that has changed, for all who wait for it.
type flush struct {
	done chan struct{}
	err  error
}

// patience is how long a call waits for what it has changed to be durable: as a delivery does by
// default.
const patience = 10 * time.Second

// errHangs tells that a change is not durable yet. It may be at any time.
var errHangs = fmt.Errorf("the event log has not stored it within %v", patience)

// durable returns when all that has changed before the call is durable, or the error is errHangs.
func (s *subscription) durable(ctx context.Context) error {
	ctx, cancel := context.WithTimeoutCause(ctx, patience, errHangs)
	defer cancel()
	return s.flushed(ctx)
}

// flushed is durable without patience.
func (s *subscription) flushed(ctx context.Context) error {
	s.mu.Lock()
	mine := s.nextFlush()
	s.mu.Unlock()
	select {
	case <-mine.done:
		return mine.err
	case <-ctx.Done():
		return fmt.Errorf("wait until the subscription is durable: %w", context.Cause(ctx))
	}
}

// flushSoon begins to write what changed, and does not wait for it. The mutex must
// be held.
func (s *subscription) flushSoon() {
	if s.dirty() {
		s.nextFlush()
	}
}

// dirty reports whether something is not durable. The mutex must be held.
func (s *subscription) dirty() bool { return s.redefined != nil || s.machine.dirty() }

// nextFlush returns a flush that has not begun, or that begins now. The mutex must
// be held.
func (s *subscription) nextFlush() *flush {
	if s.next == nil {
		s.next = &flush{done: make(chan struct{})}
	}
	mine := s.next
	if s.running == nil {
		s.startFlush()
	}
	return mine
}

// startFlush begins the next flush. Another one must not be under way.
func (s *subscription) startFlush() {
	s.running, s.next = s.next, nil
	s.machine.ahead = s.manager.Log.Clock().Ahead
	taken, redefined := s.machine.takeChanges(), s.redefined
	s.redefined = nil
	if redefined != nil {
		// NOTE With the cursor, in one write: the cursor has passed what the filters of its
		// time do not match, and newer filters may match it.
		taken.pairs = append(taken.pairs, *redefined)
	}
	if taken.empty() {
		s.endFlush(nil)
		return
	}
	s.manager.tasks.Go(func() {
		// NOTE Not cancelled: others wait for it, and it must end in order.
		ctx := context.WithoutCancel(s.manager.ctx)
		totals, err := s.write(ctx, taken)
		err = s.written(err)
		s.mu.Lock()
		defer s.mu.Unlock()
		if err != nil {
			if redefined != nil {
				taken.pairs = taken.pairs[:len(taken.pairs)-1]
				if s.redefined == nil {
					s.redefined = redefined
				}
			}
			s.machine.untakeChanges(taken)
		} else if totals != nil {
			s.totals = *totals
		}
		s.endFlush(err)
	})
}

// write makes changes durable. It returns the new totals if they may have changed.
func (s *subscription) write(ctx context.Context, taken changes) (*parkedTotals, error) {
	if taken.parking.empty() {
		return nil, s.manager.States.CommitScope(ctx, s.name, s.term, taken.pairs)
	}
	pairs, eventless, err := s.parked.prepare(ctx, taken.parking)
	if err != nil {
		return nil, err
	}
	// NOTE In this order: a copy that is made and at once not needed is removed.
	if err := s.manager.States.CommitScope(ctx, s.name, s.term, slices.Concat(pairs, taken.pairs)); err != nil {
		return nil, err
	}
	s.parkedLog.tell(s.manager.Logger, s.name, taken.parking, time.Now())
	for p, err := range eventless {
		s.manager.metrics.eventless.WithLabelValues(s.name).Inc()
		s.manager.Logger.Warn("an event was parked without a copy", "subscription", s.name, "position", uint64(p), "error", err)
	}
	totals, err := s.parked.totals(ctx)
	if err != nil {
		s.manager.Logger.Warn("parked events cannot be counted", "subscription", s.name, "error", err)
		return nil, nil
	}
	return &totals, nil
}

// written returns what became of a write to callers. A subscription whose scope is
// lost is gone.
func (s *subscription) written(err error) error {
	if err == nil {
		return nil
	}
	if !errors.Is(err, eventlog.ErrScopeLost) {
		return fmt.Errorf("write the subscription: %w", err)
	}
	s.mu.Lock()
	ended := s.ended
	s.mu.Unlock()
	if ended != nil {
		return ended
	}
	// An earlier Delete seemed to fail, and did not. Or another gateway has taken it, or
	// deleted it.
	reason := ErrNotFound
	if s.manager.Sharing != nil {
		reason = ErrMoved
		s.manager.Reconcile()
	}
	s.end(reason)
	s.manager.forget(s)
	return reason
}

func (s *subscription) endFlush(err error) {
	s.running.err = err
	close(s.running.done)
	s.running = nil
	if s.next != nil {
		s.startFlush()
	}
}
