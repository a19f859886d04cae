package pebblelog

import (
	"fmt"
	"runtime"
	"time"

	"github.com/cockroachdb/pebble/v2"

	"github.com/webhook-gateway/webhook-gateway/server/eventlog"
)

const (
	// The amount of background work is checked each time that loadCheckBytes were
	// applied, and every loadCheckInterval while it is too much.
	loadCheckBytes    = 8 << 20
	loadCheckInterval = 20 * time.Millisecond
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
	// history is that of a copy. Readers have it when they are served from the copy.
	history *eventlog.History
	// epochDue is the position after which an epoch has to begin, in a shared log.
	epochDue eventlog.Position
	// restatedHead is the head when the last pass ended: see restate.go.
	restatedHead mark
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
	if len(g.records) > 0 {
		c.log.clock.gave(g.head.receiveTime)
	}
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
