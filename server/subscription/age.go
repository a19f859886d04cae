package subscription

import (
	"context"
	"time"

	"github.com/webhook-gateway/webhook-gateway/server/eventlog"
)

// ageInterval is how often keepAges looks.
const ageInterval = 2 * time.Second

// keepAges knows, for the metrics, how old the oldest event is that each subscription
// owes. It reads the log, and nobody who asks for metrics is to wait for a disk that
// hangs.
func (m *Manager) keepAges() {
	ticker := time.NewTicker(ageInterval)
	defer ticker.Stop()
	for {
		for _, s := range m.all() {
			s.lookAtOldest(m.ctx)
		}
		select {
		case <-m.ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

// lookAtOldest finds out when the oldest event was received that the subscription owes.
// If that cannot be read, what was found before stays.
func (s *subscription) lookAtOldest(ctx context.Context) {
	trimmed := s.manager.Log.Bounds().Trimmed
	s.mu.Lock()
	s.machine.trim(trimmed)
	owed, owes := s.machine.oldestOwed()
	known := owes && owed == s.oldest.position
	s.mu.Unlock()
	if known {
		return
	}
	oldest := oldestEvent{position: owed}
	if owes {
		received, err := s.received(ctx, owed)
		if err != nil {
			return
		}
		oldest.received = received
	}
	s.mu.Lock()
	s.oldest = oldest
	s.mu.Unlock()
}

// oldestEvent is an event that is owed, and when it was received; zero if there is none.
type oldestEvent struct {
	position eventlog.Position
	received time.Time
}

// age returns how old something was at a time, 0 if it is not there.
func age(since, now time.Time) time.Duration {
	if since.IsZero() {
		return 0
	}
	return max(0, now.Sub(since))
}
