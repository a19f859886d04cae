package subscription

import (
	"context"
	"errors"
	"time"

	"github.com/webhook-gateway/webhook-gateway/server/eventlog"
)

const (
	// feedEvents is the most events looked at between two looks at the rest.
	feedEvents = 4096
	// lazyCommit is how long changes that nobody waits for are not durable.
	lazyCommit = time.Second
	// readRetry is the time until the log is read again after it failed.
	readRetry = time.Second
)

// startFeeding starts the goroutine. The mutex must be held.
func (s *subscription) startFeeding() {
	if s.stop != nil {
		return
	}
	ctx, cancel := context.WithCancel(s.manager.ctx)
	s.stop = cancel
	s.manager.tasks.Go(func() { s.feed(ctx) })
}

// stopFeeding stops the goroutine. The mutex must be held.
func (s *subscription) stopFeeding() {
	if s.stop != nil {
		s.stop()
		s.stop = nil
	}
}

// feed reads the log ahead and keeps time while streams are attached.
func (s *subscription) feed(ctx context.Context) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	var commitDue time.Time
	for ctx.Err() == nil {
		changed := s.manager.Log.Changed()
		work, due, dirty := s.tick()
		now := time.Now()
		switch {
		case !dirty:
			commitDue = time.Time{}
		case commitDue.IsZero():
			commitDue = now.Add(lazyCommit)
		case !now.Before(commitDue):
			commitDue = time.Time{}
			s.mu.Lock()
			s.commitSoon()
			s.mu.Unlock()
			continue
		}
		if work.limit > 0 {
			if err := s.readAhead(ctx, work); err == nil {
				continue
			} else if ctx.Err() == nil {
				s.manager.Logger.Warn("a subscription cannot read the log", "subscription", s.name, "error", err)
				due = earlier(due, now.Add(readRetry))
				changed = nil
			}
		}
		timer.Reset(time.Until(earlier(due, commitDue)))
		select {
		case <-ctx.Done():
		case <-timer.C:
		case <-s.kick:
		case <-changed:
		}
	}
}

// idle is how long the goroutine waits when it knows of nothing to do.
const idle = time.Hour

// earlier returns the earlier of two times, of which a zero one is never.
func earlier(a, b time.Time) time.Time {
	if a.IsZero() && b.IsZero() {
		return time.Now().Add(idle)
	}
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

// work is a part of the log to read.
type work struct {
	after      eventlog.Position
	limit      int
	match      func(eventlog.Record) bool
	generation int
}

// tick does what is due. It returns what to read, when to look again, and whether
// something is not durable.
func (s *subscription) tick() (work, time.Time, bool) {
	bounds := s.manager.Log.Bounds()
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	s.machine.expire(now)
	s.machine.trim(bounds.Trimmed)
	s.dispatch(now)
	due, _ := s.machine.nextDue()
	w := work{after: s.machine.read, match: s.def.match, generation: s.generation}
	if w.after < bounds.Head {
		w.limit = s.machine.room()
	}
	return w, due, len(s.machine.changed) > 0
}

// commitSoon commits what changed, and waits for nothing. The mutex must be held.
func (s *subscription) commitSoon() {
	if s.running == nil && s.next == nil {
		s.next = &commit{done: make(chan struct{})}
		s.startCommit()
	}
}

// readAhead offers the next events of the log to the machine.
func (s *subscription) readAhead(ctx context.Context, w work) error {
	var offers []offer
	upTo := w.after
	for record, err := range s.manager.Log.Read(ctx, w.after) {
		var trimmed *eventlog.TrimmedError
		if errors.As(err, &trimmed) {
			break // the next tick knows
		}
		if err != nil {
			return err
		}
		upTo = record.Position
		if w.match(record) {
			offers = append(offers, offer{position: upTo, hash: record.OrderingGroup()})
		}
		if len(offers) == w.limit || upTo-w.after == feedEvents {
			break
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if w.generation == s.generation {
		s.machine.offer(offers, upTo)
		s.dispatch(time.Now())
	}
	return nil
}
