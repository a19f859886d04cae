package subscription

import (
	"context"
	"errors"
	"time"

	"github.com/webhook-gateway/webhook-gateway/server/eventlog"
	"github.com/webhook-gateway/webhook-gateway/server/filter"
)

const (
	// feedEvents is the most events looked at between two looks at the rest.
	feedEvents = 4096
	// lazyFlush is how long changes that nobody waits for are not durable.
	lazyFlush = time.Second
	// readRetry is the time until the log is read again after it failed.
	readRetry = time.Second
	// idle is how long the goroutine waits when it knows of nothing to do.
	idle = time.Hour
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
	var flushDue time.Time
	for ctx.Err() == nil {
		changed := s.manager.Log.Changed()
		work, due, dirty := s.tick()
		now := time.Now()
		switch {
		case !dirty:
			flushDue = time.Time{}
		case flushDue.IsZero():
			flushDue = now.Add(lazyFlush)
		case !now.Before(flushDue):
			flushDue = now.Add(lazyFlush)
			s.mu.Lock()
			s.flushSoon()
			s.mu.Unlock()
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
		timer.Reset(time.Until(earlier(due, flushDue)))
		select {
		case <-ctx.Done():
		case <-timer.C:
		case <-s.kick:
		case <-changed:
		}
	}
}

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
	filter     *filter.Filter
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
	due, found := s.machine.nextDue()
	if !found {
		due = time.Time{}
	}
	return s.work(bounds.Head, s.machine.room()), due, s.dirty()
}

// work returns what to read next. The mutex must be held.
func (s *subscription) work(head eventlog.Position, limit int) work {
	w := work{after: s.machine.read, filter: s.def.filter, generation: s.generation}
	if w.after < head {
		w.limit = limit
	}
	return w
}

// readAhead offers the next events of the log to the machine.
func (s *subscription) readAhead(ctx context.Context, w work) error {
	var offers []offer
	var damage *eventlog.DamagedError
	leftOut, upTo := int64(0), w.after
	for record, err := range s.manager.Log.Read(ctx, w.after) {
		if errors.As(err, new(*eventlog.TrimmedError)) || errors.As(err, &damage) {
			break // the next tick knows what was trimmed
		}
		if err != nil {
			return err
		}
		upTo = record.Position
		switch w.filter.Match(record) {
		case filter.Match:
			offers = append(offers, offer{position: upTo, hash: record.OrderingGroup()})
		case filter.LeftOut:
			leftOut++
		case filter.Other:
		}
		if len(offers) == w.limit || upTo-w.after == feedEvents {
			break
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if w.generation != s.generation || s.ended != nil {
		return nil
	}
	s.leftOut += leftOut
	s.machine.offer(offers, upTo)
	if damage != nil {
		s.machine.damaged(damage.After, damage.UpTo)
		s.manager.Logger.Error("a subscription passes over damaged events", "subscription", s.name,
			"after", uint64(damage.After), "up_to", uint64(damage.UpTo), "error", damage.Err)
	}
	s.dispatch(time.Now())
	return nil
}
