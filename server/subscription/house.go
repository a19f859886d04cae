package subscription

import (
	"context"
	"time"
)

const (
	// houseInterval is how often keepHouse looks after the subscriptions that nobody
	// is attached to, and removes parked events that are too old.
	houseInterval = 2 * time.Second
	// houseFlush is after how many rounds what is dirty is written.
	houseFlush = 5
	// sweepEvents is the most parked events that are removed at a time, and
	// sweepBatches how often that is done in one round.
	sweepEvents  = 1000
	sweepBatches = 10
	// dutyFactor is how much longer the background reading rests than it works.
	dutyFactor = 4
)

// keepHouse looks after all subscriptions.
func (m *Manager) keepHouse() {
	ticker := time.NewTicker(houseInterval)
	defer ticker.Stop()
	for round := 1; ; round++ {
		select {
		case <-m.ctx.Done():
			return
		case <-ticker.C:
		}
		for _, s := range m.all() {
			s.scout(m.ctx)
			s.sweep(m.ctx)
			if round%houseFlush == 0 {
				s.mu.Lock()
				if s.ended == nil {
					s.flushSoon()
				}
				s.mu.Unlock()
			}
		}
	}
}

// scout moves a subscription that nobody is attached to past what its filters
// skip, up to the first event of its own: retention that passes the others costs
// it nothing, and nobody is told of a gap.
func (s *subscription) scout(ctx context.Context) {
	for ctx.Err() == nil {
		started := time.Now()
		w := s.scoutWork()
		if w.limit == 0 {
			return
		}
		if err := s.readAhead(ctx, w); err != nil {
			return // whoever attaches finds out
		}
		select {
		case <-ctx.Done():
		case <-time.After(dutyFactor * time.Since(started)):
		}
	}
}

func (s *subscription) scoutWork() work {
	bounds := s.manager.Log.Bounds()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended != nil || s.stop != nil {
		return work{}
	}
	s.machine.trim(bounds.Trimmed)
	if s.machine.first != 0 {
		return work{} // it stands before an event of its own
	}
	return s.work(bounds.Head, 1)
}

// sweep removes parked events that are older than the subscription keeps them.
func (s *subscription) sweep(ctx context.Context) {
	for range sweepBatches {
		before := time.Now().Add(-s.definition().settings.parkedRetention)
		s.mu.Lock()
		old := s.ended == nil && s.totals.count > 0 && s.totals.oldest.Before(before)
		s.mu.Unlock()
		if !old || ctx.Err() != nil {
			return
		}
		n, err := s.sweepBatch(ctx, before)
		switch {
		case err != nil:
			s.manager.Logger.Warn("parked events that are too old were not removed", "subscription", s.name, "error", err)
			return
		case n == 0:
			return
		}
		s.manager.metrics.expired.WithLabelValues(s.name).Add(float64(n))
		s.manager.Logger.Warn("parked events were removed: they were older than parked_retention", "subscription", s.name, "events", n)
	}
}

func (s *subscription) sweepBatch(ctx context.Context, before time.Time) (int, error) {
	s.tending.Lock()
	defer s.tending.Unlock()
	positions, err := s.parked.expired(ctx, before, sweepEvents)
	if err != nil {
		return 0, err
	}
	err = s.change(func(time.Time) {
		for _, p := range positions {
			s.machine.sweep(p, before)
		}
	})
	if err != nil {
		return 0, err
	}
	return len(positions), s.durable(ctx)
}
