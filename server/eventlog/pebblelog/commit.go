package pebblelog

import (
	"errors"
	"fmt"
	"runtime"
	"time"

	"github.com/cockroachdb/pebble/v2"

	"github.com/webhook-gateway/webhook-gateway/server/eventlog"
)

const (
	// loadCheckBytes is how often the background work is looked at, and
	// loadCheckInterval how often while it is too far behind.
	loadCheckBytes    = 8 << 20
	loadCheckInterval = 20 * time.Millisecond

	minBackoff = 50 * time.Millisecond
	maxBackoff = time.Second
)

// A commit is a batch on its way to the disk.
type commit struct {
	store    *store
	batch    *pebble.Batch
	requests []*request
	// The events of the batch, and the head of the log after it.
	records []eventlog.Record
	head    mark
	// settled is closed in place of all that, when everything before is done.
	settled chan struct{}
}

// newCommit returns an empty commit.
func (l *Log) newCommit() *commit {
	select {
	case b := <-l.free:
		return b
	default:
		return &commit{}
	}
}

// recycle keeps the slices of a commit for the next one.
func (l *Log) recycle(b *commit) {
	clear(b.requests)
	clear(b.records)
	select {
	case l.free <- &commit{requests: b.requests[:0], records: b.records[:0]}:
	default:
	}
}

// committer is the one writer of the log.
type committer struct {
	log   *Log
	store *store
	dedup *dedup
	// head is the newest event given a position, durable or not.
	head mark
	// deleted is the position up to which the database has no events.
	deleted eventlog.Position
	// unchecked counts bytes since the background work was looked at.
	unchecked int
	backoff   time.Duration
	recovered time.Time
}

// run commits until the log is closed.
func (c *committer) run() {
	defer close(c.log.commits)
	for {
		select {
		case <-c.log.queue.wake:
			c.commit()
		case <-c.store.fence.raised:
			if !c.recover() {
				return
			}
		case <-c.log.closing:
			c.commit()
			return
		}
	}
}

// commit applies a batch of all that is pending and passes it on.
func (c *committer) commit() {
	// Whoever is about to append does so first and shares this fsync. Without load
	// there is nobody, and nothing is lost.
	runtime.Gosched()
	b := c.log.newCommit()
	b.requests = c.log.queue.take(b.requests)
	if len(b.requests) == 0 {
		return
	}
	c.throttle()
	b.store, b.batch = c.store, c.store.db.NewBatch()
	c.build(b)
	c.unchecked += b.batch.Len()
	if !b.batch.Empty() {
		if err := c.store.db.ApplyNoSyncWait(b.batch, pebble.Sync); err != nil {
			c.store.fence.fail(fmt.Errorf("apply a batch: %w", err))
		}
	}
	c.dedup.applied()
	c.log.commits <- b
}

func (c *committer) build(b *commit) {
	now := c.log.now()
	if now.Before(c.head.receiveTime) {
		now = c.head.receiveTime
	}
	for _, r := range b.requests {
		if r.write != nil {
			r.err = r.write(c, b.batch)
			continue
		}
		if r.err = c.add(b, r, now); r.err != nil {
			r.err = fmt.Errorf("store the event: %w", r.err)
		}
	}
	b.head = c.head
}

// add gives an event its position and adds it to the batch, unless it is a
// duplicate.
func (c *committer) add(b *commit, r *request, now time.Time) error {
	next := mark{
		position:    c.head.position + 1,
		receiveTime: now,
		totalBytes:  c.head.totalBytes + uint64(r.entry.Size()), //nolint:gosec // not negative
	}
	r.receipt = eventlog.Receipt{Position: next.position}
	if r.entry.EventID != "" {
		var err error
		r.receipt, err = c.dedup.remember(b.batch, &r.entry, next.position, now)
		if err != nil || r.receipt.Duplicate {
			return err
		}
	}
	value := r.entry.Commit(now, next.totalBytes, r.receipt.Conflict)
	record, err := eventlog.ParseRecord(next.position, value, true)
	if err != nil {
		return err
	}
	op := b.batch.SetDeferred(9, len(value))
	appendEventKey(op.Key[:0], next.position)
	copy(op.Value, value)
	if err := op.Finish(); err != nil {
		return err
	}
	b.records = append(b.records, record)
	c.head = next
	return nil
}

// throttle waits until the background work has caught up.
func (c *committer) throttle() {
	if c.unchecked < loadCheckBytes {
		return
	}
	c.unchecked = 0
	for c.store.overloaded() {
		select {
		case <-time.After(loadCheckInterval):
		case <-c.store.fence.raised:
			return
		}
	}
}

// acknowledge waits for the fsync of each batch in turn, publishes its events and
// answers those who wait for it.
func (l *Log) acknowledge() {
	for b := range l.commits {
		if b.settled != nil {
			close(b.settled)
			continue
		}
		err := b.batch.SyncWait()
		if cause := b.store.fence.err(); cause != nil {
			err = cause
		}
		if err != nil {
			err = fmt.Errorf("the event log cannot write: %w", err)
		} else {
			l.window.Append(b.records)
			l.state.publish(b.head)
		}
		for _, r := range b.requests {
			if err != nil {
				r.err = err
			}
			r.finish()
		}
		if err == nil {
			_ = b.batch.Close() // gives memory back, and cannot fail
		}
		l.recycle(b)
	}
}

// recover opens the database anew, until it succeeds. It returns false when the
// log is closed meanwhile.
func (c *committer) recover() bool {
	l, cause := c.log, c.store.fence.err()
	l.logger.Error("the event log cannot write: it refuses events and tries again", "error", cause)
	l.queue.refuse(fmt.Errorf("the event log cannot write: %w", cause))
	c.commit() // fails what is pending
	settled := make(chan struct{})
	l.commits <- &commit{settled: settled}
	<-settled
	c.store.fence.settle()

	if time.Since(c.recovered) > maxBackoff {
		c.backoff = minBackoff
	}
	for {
		select {
		case <-l.closing:
			return false
		case <-time.After(c.backoff):
		}
		c.backoff = min(2*c.backoff, maxBackoff)
		if err := c.reopen(); err != nil {
			l.logger.Warn("the event log still cannot write", "error", err, "next_try", c.backoff)
			continue
		}
		l.logger.Info("the event log writes again", "head", uint64(c.head.position))
		c.recovered = time.Now()
		l.queue.refuse(nil)
		return true
	}
}

// reopen replaces the store by a new opening. Reads go on with the old one until
// then.
func (c *committer) reopen() error {
	l := c.log
	store, err := openStore(l.config.Path, l.disk, l.logger)
	if err != nil {
		return err
	}
	dedup, err := openDedup(store.db, l.config.DedupWindow)
	if head, trimmed := l.state.get(); err == nil && (store.id != l.id || store.head.position < head.position) {
		// NOTE Positions that subscribers have seen must never be given again.
		err = fmt.Errorf("the disk holds log %v up to event %d, and %v up to %d was acknowledged, trimmed to %d: restore it, or start with an empty folder",
			store.id, store.head.position, l.id, head.position, trimmed.position)
	}
	if err != nil {
		return errors.Join(err, store.close())
	}
	l.storeMu.Lock()
	old := l.store
	l.store = store
	l.storeMu.Unlock()
	_ = old.close() // its fence is raised: nothing it says matters

	c.store, c.dedup, c.head, c.deleted = store, dedup, store.head, store.trimmed.position
	l.state.publish(store.head)
	l.state.trim(store.trimmed)
	return nil
}
