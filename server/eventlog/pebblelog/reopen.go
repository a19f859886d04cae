package pebblelog

import (
	"errors"
	"fmt"
	"slices"
	"syscall"
	"time"

	"github.com/webhook-gateway/webhook-gateway/server/eventlog"
)

// The pause before the next attempt to open the database is minBackoff at first, twice as
// long each time, and maxBackoff at most.
const (
	minBackoff = 50 * time.Millisecond
	maxBackoff = time.Second
	// maxQuiet is how long no attempt is made on a disk that is still full.
	maxQuiet = 30 * time.Second
)

// recover opens the database anew, until it succeeds. It returns false when the
// log is closed meanwhile.
func (c *committer) recover() bool {
	l, cause := c.log, c.store.fence.err()
	l.failures.Add(1)
	l.logger.Error("the event log cannot write: it refuses events and tries again", "error", cause)
	l.queue.refuse(cannotWrite(cause))
	if l.shared != nil {
		head, _ := l.published.get()
		l.spoil(cause, head)
	}
	c.applyPending() // it fails behind the fence, and is answered
	settled := make(chan struct{})
	l.groups <- &group{settled: settled}
	<-settled
	c.store.fence.settle()
	c.store.fence.made.discardIncomplete(l.disk)

	if time.Since(c.recovered) > maxBackoff {
		c.backoff = minBackoff
	}
	var failed attempt
	for {
		select {
		case <-l.closing:
			return false
		case <-time.After(c.backoff):
		}
		c.backoff = min(2*c.backoff, maxBackoff)
		if failed.inVain(l.space) {
			continue
		}
		if err := c.reopen(); err != nil {
			free, _ := l.space.free()
			failed = attempt{at: time.Now(), err: err, free: free}
			l.logger.Warn("the event log still cannot write", "error", err, "next_try", c.backoff)
			continue
		}
		l.space.check()
		l.logger.Info("the event log writes again", "head", uint64(c.head.position))
		c.recovered = time.Now()
		l.queue.refuse(nil)
		return true
	}
}

// An attempt is one to open the database that has failed.
type attempt struct {
	at   time.Time
	err  error
	free uint64
}

// inVain reports whether another attempt would only write the same again: the disk
// was full, and has no more room since.
func (a attempt) inVain(s *space) bool {
	if !errors.Is(a.err, syscall.ENOSPC) || time.Since(a.at) > maxQuiet {
		return false
	}
	free, known := s.free()
	return known && free <= a.free
}

// reopen replaces the store by a new opening. Reads go on with the old one until
// then.
func (c *committer) reopen() error {
	l := c.log
	if l.shared != nil {
		return c.reopenCopy()
	}
	if err := l.catchUpStart(); err != nil {
		return err
	}
	known := l.acknowledged()
	if errors.Is(c.store.fence.err(), errDamagedTable) {
		known.damaged = c.store.damaged.list()
	}
	store, dedup, err := openBoth(l.config, l.ID(), known, l.disk, l.logger)
	if err != nil {
		return err
	}
	if head, trimmed := l.published.get(); store.id != l.ID() || store.head.position < head.position {
		// NOTE: Positions that subscribers have seen must never be given again.
		err = fmt.Errorf("the disk holds log %v up to event %d, and %v up to %d was acknowledged, trimmed to %d: restore it, or start with an empty folder",
			store.id, store.head.position, l.ID(), head.position, trimmed.position)
	}
	if err == nil {
		err = c.use(store, dedup)
	}
	if err != nil {
		return errors.Join(err, store.abandon())
	}
	l.replace(store, l.History())
	l.before.Store(nil)
	return nil
}

// replace serves reads from another opening of the database. The fence of the one before
// must be raised. Nobody who has the new history reads the old opening: that of a copy may have lost events, in the
// places of others.
func (l *Log) replace(store *store, history *eventlog.History) {
	l.storeMu.Lock()
	old := l.store
	l.store = store
	l.history.Store(history)
	l.storeMu.Unlock()
	l.stall.store.Store(store)
	_ = old.close() // nothing it says matters

	l.published.publish(store.head)
	l.published.trim(store.trimmed)
}

// use makes the committer go on with an opening of the database, in a new epoch.
//
// The history has the epoch at once, the stored table only with its first event. If
// the folder is an older copy that was put back, cursors of what it lacks are
// therefore refused as lost from the start, and not taken for positions ahead of the
// head. It is called before events of the opening are published: the history must
// name them by then.
func (c *committer) use(store *store, dedup *dedup) error {
	epoch := eventlog.EpochStart{Epoch: eventlog.NewEpoch(), First: store.head.position + 1}
	epochs := append(slices.Clip(store.epochs), epoch)
	if store.provisional() && len(store.epochs) > 0 {
		epochs = store.epochs // nothing is lost yet of what comes after the head
	}
	history, err := eventlog.NewHistory(store.id, epochs...)
	if err != nil {
		return fmt.Errorf("begin an epoch: %w", err)
	}
	c.store, c.dedup, c.head, c.epoch = store, dedup, store.head, &epoch
	c.current = epoch.Epoch
	c.trimmed, c.freed = store.trimmed, store.trimmed.totals.Bytes
	c.deleted = 0 // what was trimmed may still be there
	c.log.history.Store(history)
	return nil
}
