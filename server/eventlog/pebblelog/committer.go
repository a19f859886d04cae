package pebblelog

import (
	"errors"
	"fmt"
	"runtime"
	"slices"
	"syscall"
	"time"

	"github.com/cockroachdb/pebble/v2"

	"github.com/webhook-gateway/webhook-gateway/server/eventlog"
)

const (
	// The amount of background work is checked each time that loadCheckBytes were
	// applied, and every loadCheckInterval while it is too much.
	loadCheckBytes    = 8 << 20
	loadCheckInterval = 20 * time.Millisecond

	minBackoff = 50 * time.Millisecond
	maxBackoff = time.Second
	// maxQuiet is how long no attempt is made on a disk that is still full.
	maxQuiet = 30 * time.Second
)

// A group is a group of requests with one batch and one fsync, on its way to the
// disk.
type group struct {
	store    *store
	batch    *pebble.Batch
	requests []*request
	// The events of the group, and the head of the log after it.
	records []eventlog.Record
	head    mark
	// settled, if set, makes this group a marker without requests. It is closed when
	// all groups before it are done.
	settled chan struct{}
}

// newGroup returns an empty group.
func (l *Log) newGroup() *group {
	select {
	case g := <-l.free:
		return g
	default:
		return &group{}
	}
}

// recycle keeps the slices of a group for the next one.
func (l *Log) recycle(g *group) {
	clear(g.requests)
	clear(g.records)
	select {
	case l.free <- &group{requests: g.requests[:0], records: g.records[:0]}:
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
	// epoch is what is written with the first event of this opening, and nil
	// afterwards.
	epoch *eventlog.EpochStart
	// current is the epoch of this opening.
	current eventlog.Epoch
	// epochDue is the position after which an epoch has to begin, in a shared log.
	epochDue eventlog.Position
	// trimmed is the newest mark of what is trimmed, durable or not. deleted is the
	// position up to which this opening has removed events.
	trimmed mark
	deleted eventlog.Position
	// syncing is set if a batch is to be committed to a commit log even if it is empty.
	syncing bool
	// freed is the total of the bytes of the events that were removed.
	freed uint64
	// unchecked is how many bytes were applied since the background work was last
	// looked at.
	unchecked int
	// unspaced is the same for the room on the disk.
	unspaced  int
	backoff   time.Duration
	recovered time.Time
}

// run works until the log is closed.
func (c *committer) run() {
	defer close(c.log.groups)
	for {
		select {
		case <-c.log.queue.wake:
			c.applyPending()
		case <-c.log.others():
			c.follow()
		case <-c.store.fence.raised:
			if !c.recover() {
				return
			}
		case <-c.log.closing:
			c.applyPending()
			return
		}
	}
}

// applyPending makes a group of all that is pending, applies its batch, and passes
// it on.
func (c *committer) applyPending() {
	// Goroutines that are about to append run first, and share this fsync. Without
	// load there are none, and this costs nothing.
	runtime.Gosched()
	g := c.log.newGroup()
	g.requests = c.log.queue.take(g.requests)
	if len(g.requests) == 0 {
		return
	}
	c.throttle()
	if c.log.shared != nil {
		c.applyShared(g)
		return
	}
	g.store, g.batch = c.store, c.store.db.NewBatch()
	c.build(g)
	// NOTE: Pebble keeps a large batch, and leaves it empty.
	size := g.batch.Len()
	c.unchecked += size
	if !g.batch.Empty() {
		if err := c.store.db.ApplyNoSyncWait(g.batch, pebble.Sync); err != nil {
			c.store.fence.fail(fmt.Errorf("apply a batch: %w", err))
		}
	}
	if c.unspaced += size; c.unspaced >= spaceCheckBytes {
		c.unspaced = 0
		c.log.space.check()
	}
	c.dedup.applied()
	c.log.groups <- g
}

func (c *committer) build(g *group) {
	clock := c.log.clock.get()
	for _, r := range g.requests {
		if r.kind == kindRestate { // it goes by what is in the store, not in the batch
			r.err = r.write(c, g.batch)
		}
	}
	for _, r := range g.requests {
		if r.kind == kindRestate {
			continue
		}
		if r.write != nil {
			r.err = r.write(c, g.batch)
			continue
		}
		if r.err = c.add(g, r, clock); r.err != nil {
			r.err = fmt.Errorf("store the event: %w", r.err)
		}
	}
	if len(g.records) > 0 {
		c.log.clock.gave(clock.Now)
	}
	g.head = c.head
}

// add gives an event its position and adds it to the group, unless it is a
// duplicate.
func (c *committer) add(g *group, r *request, clock eventlog.Clock) error {
	now := clock.Now
	next := mark{
		position:    c.head.position + 1,
		receiveTime: now,
		totals:      c.head.totals.Plus(r.entry),
	}
	r.receipt = eventlog.Receipt{Position: next.position}
	if r.entry.ProviderEventID != "" {
		var err error
		r.receipt, err = c.dedup.find(&r.entry, next.position, clock.Retention)
		if err != nil || r.receipt.Duplicate {
			return err
		}
	}
	if next.totals.FailedBytes > c.head.totals.FailedBytes && c.exceedsQuota(next) {
		return eventlog.ErrUnverifiedQuota
	}
	if r.entry.ProviderEventID != "" {
		if err := c.dedup.remember(g.batch, &r.entry, r.receipt, now); err != nil {
			return err
		}
	}
	value := r.entry.Complete(now, next.totals, r.receipt.Conflict, c.current)
	record, err := eventlog.ParseRecord(next.position, value, true)
	if err != nil {
		return err
	}
	op := g.batch.SetDeferred(9, len(value))
	appendEventKey(op.Key[:0], next.position)
	copy(op.Value, value)
	if err := op.Finish(); err != nil {
		return err
	}
	if c.epoch != nil {
		key, value := epochPair(*c.epoch)
		if err := g.batch.Set(key, value, nil); err != nil {
			return err
		}
		c.epoch = nil
	}
	g.records = append(g.records, record)
	c.head = next
	return nil
}

// exceedsQuota reports whether the events that failed verification would have more
// bytes than their quota if the log ended at a mark. Retention gives the quota back
// as it removes them.
func (c *committer) exceedsQuota(next mark) bool {
	quota := c.log.config.UnverifiedQuotaBytes
	return quota > 0 && next.totals.Minus(c.trimmed.totals).FailedBytes > quota
}

// throttle waits until the background work has caught up.
func (c *committer) throttle() {
	if c.unchecked < c.log.checkBytes {
		return
	}
	c.unchecked = 0
	if !c.store.overloaded() {
		return
	}
	began := time.Now()
	c.log.throttling.Store(began.UnixNano())
	defer func() {
		c.log.throttling.Store(0)
		c.log.throttled.Add(int64(time.Since(began)))
	}()
	for c.store.overloaded() {
		if len(c.store.damaged.list()) > 0 && !c.store.unmended {
			c.store.fence.fail(errDamagedTable)
			return
		}
		select {
		case <-time.After(loadCheckInterval):
		case <-c.store.fence.raised:
			return
		case <-c.log.closing:
			return
		}
	}
}

// acknowledge waits for the fsync of each group in turn, publishes its events and
// answers those who wait for it.
func (l *Log) acknowledge() {
	for g := range l.groups {
		if g.settled != nil {
			close(g.settled)
			continue
		}
		err := g.batch.SyncWait()
		if cause := g.store.fence.err(); cause != nil {
			err = cause
		}
		if err != nil {
			err = cannotWrite(err)
		} else {
			l.window.Append(g.records)
			l.published.publish(g.head)
		}
		for _, r := range g.requests {
			if err != nil {
				r.err = err
			}
			r.finish()
		}
		if err == nil {
			_ = g.batch.Close() // gives memory back, and cannot fail
		}
		l.recycle(g)
	}
}

// recover opens the database anew, until it succeeds. It returns false when the
// log is closed meanwhile.
func (c *committer) recover() bool {
	l, cause := c.log, c.store.fence.err()
	l.failures.Add(1)
	l.logger.Error("the event log cannot write: it refuses events and tries again", "error", cause)
	l.queue.refuse(cannotWrite(cause))
	if l.shared != nil {
		head, _ := l.published.get()
		l.shared.spoil(cause, head)
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

// An attempt to open the database has failed.
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
	store, dedup, err := openBoth(l.config, l.id, known, l.disk, l.logger)
	if err != nil {
		return err
	}
	if head, trimmed := l.published.get(); store.id != l.id || store.head.position < head.position {
		// NOTE: Positions that subscribers have seen must never be given again.
		err = fmt.Errorf("the disk holds log %v up to event %d, and %v up to %d was acknowledged, trimmed to %d: restore it, or start with an empty folder",
			store.id, store.head.position, l.id, head.position, trimmed.position)
	}
	if err == nil {
		err = c.use(store, dedup)
	}
	if err != nil {
		return errors.Join(err, store.abandon())
	}
	l.replace(store)
	l.before.Store(nil)
	return nil
}

// replace serves reads from another opening of the database. The fence of the one before
// must be raised.
func (l *Log) replace(store *store) {
	l.storeMu.Lock()
	old := l.store
	l.store = store
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
