package pebblelog

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/cockroachdb/pebble/v2"

	"github.com/webhook-gateway/webhook-gateway/server/commitlog"
	"github.com/webhook-gateway/webhook-gateway/server/eventlog"
)

// ErrCatchingUp is why a log takes no events while its copy is not known to have all that
// was in the commit log when it was opened.
var ErrCatchingUp = errors.New("the copy of the event log is catching up with the commit log")

const (
	// syncPause is between two attempts to reach the end of the commit log.
	syncPause = 200 * time.Millisecond
	// progressInterval is how often it is logged how far a copy is.
	progressInterval = 5 * time.Second
)

// CatchUp says how far a copy is.
type CatchUp struct {
	// Applied is the sequence of the last commit that was applied, Newest that of the newest
	// one that is known of, at least.
	Applied, Newest commitlog.Sequence
}

// CatchUp returns how far the copy is, and whether it has caught up since it was opened,
// as a log that is not shared always has. A copy that has, and meets a commit of a later version of
// the gateway, has not any more.
func (l *Log) CatchUp() (CatchUp, bool) {
	if l.shared == nil || l.shared.isCurrent() {
		return CatchUp{}, true
	}
	applied := commitlog.Sequence(l.shared.applied.Load())
	return CatchUp{Applied: applied, Newest: max(applied, l.shared.commits.Newest())}, false
}

// Whole reports whether the copy has all that came before the last commit in it. One that
// began in the middle of the commit log has not at first.
func (l *Log) Whole() bool { return l.shared == nil || l.shared.whole.Load() && l.hasCopy() }

// Current returns a channel that is closed when the copy has caught up for the first time.
// It is nil if the log is not shared.
func (l *Log) Current() <-chan struct{} {
	if l.shared == nil {
		return nil
	}
	return l.shared.wasCurrent
}

// Sync implements eventlog.Log. It is a commit of its own: what only reads the commit log
// may be stale. All who wait share one.
func (l *Log) Sync(ctx context.Context) error {
	switch {
	case l.isClosed():
		return eventlog.ErrClosed
	case l.shared == nil:
		return nil
	}
	err := l.write(ctx, kindUpkeep, func(c *committer, _ *pebble.Batch) error {
		c.syncing = true
		return nil
	})
	if err != nil {
		return fmt.Errorf("reach the end of the commit log: %w", err)
	}
	return nil
}

// becomeCurrent brings a copy that was opened to the end of the commit log. That it is current by then, the
// committer says: it may give the copy up at any moment.
func (l *Log) becomeCurrent() {
	s := l.shared
	ctx, cancel := context.WithCancel(s.life)
	defer cancel()
	began := time.Now()
	from := s.applied.Load()
	l.tasks.Go(func() { l.logProgress(ctx) })
	for {
		if err := l.Sync(ctx); err == nil {
			break
		}
		select {
		case <-l.closing:
			return
		case <-time.After(syncPause):
		}
	}
	s.once.Do(func() { close(s.wasCurrent) })
	l.published.wake()
	l.logger.Info("the copy of the event log is current", "head", uint64(l.Bounds().Head),
		"commits", s.applied.Load()-min(from, s.applied.Load()), "took", time.Since(began).Round(time.Millisecond))
}

func (l *Log) logProgress(ctx context.Context) {
	ticker := time.NewTicker(progressInterval)
	defer ticker.Stop()
	last := l.shared.applied.Load()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		progress, current := l.CatchUp()
		if applied := uint64(progress.Applied); !current && applied > last {
			l.logger.Info("the copy of the event log is catching up", "applied", uint64(progress.Applied), "of", uint64(progress.Newest),
				"commits_per_second", (applied-last)/uint64(progressInterval/time.Second))
		}
		last = uint64(progress.Applied)
	}
}
