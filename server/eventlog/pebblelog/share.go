package pebblelog

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"google.golang.org/protobuf/types/known/timestamppb"

	commitlogv1 "github.com/webhook-gateway/webhook-gateway/gen/webhookgateway/commitlog/v1"
	"github.com/webhook-gateway/webhook-gateway/server/commitlog"
	"github.com/webhook-gateway/webhook-gateway/server/eventlog"
)

// readPause is between two attempts to read a commit log that failed.
const readPause = 100 * time.Millisecond

// errMoving is why nothing is appended while a log is being moved into the commit log.
var errMoving = errors.New("an event log is being moved into the commit log: let `webhook-gateway log copy` finish")

// decided is what deciding changes in memory.
type decided struct {
	head, trimmed mark
	current       eventlog.Epoch
	epoch         *eventlog.EpochStart
	deleted       eventlog.Position
	freed         uint64
	buckets       []int64
}

func (c *committer) remember() decided {
	return decided{c.head, c.trimmed, c.current, c.epoch, c.deleted, c.freed, slices.Clone(c.dedup.buckets)}
}

// forget takes back what was decided and did not come to be.
func (c *committer) forget(was decided) {
	c.head, c.trimmed, c.current, c.epoch = was.head, was.trimmed, was.current, was.epoch
	c.deleted, c.freed, c.dedup.buckets = was.deleted, was.freed, was.buckets
	c.dedup.applied()
	c.log.terms = terms{}
}

// applyShared has a group of requests become a commit, and answers them.
func (c *committer) applyShared(g *group) {
	err := c.store.fence.err()
	if err == nil {
		err = c.share(c.log.shared.life, g)
	}
	if cause := c.store.fence.err(); err == nil && cause != nil {
		err = cause
	}
	if err != nil {
		err = cannotWrite(err)
	} else {
		c.log.window.Append(g.records)
		c.log.published.publish(g.head)
		if c.syncing {
			c.log.shared.current.Store(true) // a commit of this copy came next
		}
	}
	for _, r := range g.requests {
		if err != nil {
			r.err = err
		}
		r.finish()
	}
	c.log.recycle(g)
}

// share makes what the requests of a group ask for the next commit, and applies it.
func (c *committer) share(ctx context.Context, g *group) error {
	s := c.log.shared
	for {
		if err := c.catchUp(ctx); err != nil {
			return err
		}
		if s.moving {
			s.fails(errMoving)
			return errMoving
		}
		if s.ended.Load() != nil {
			if err := c.tellEnded(ctx); err != nil {
				return err
			}
			continue
		}
		was := c.remember()
		batch := c.store.db.NewBatch()
		c.beginEpoch()
		g.batch, g.records, c.syncing = batch, g.records[:0], false
		c.build(g)
		if batch.Empty() && !c.syncing {
			c.dedup.applied()
			return batch.Close() // all of it is there already, or refused
		}
		done, err := c.commit(ctx, batch)
		if err == nil && done {
			if len(g.records) > 0 {
				c.log.clock.gave(g.head.receiveTime)
			}
			c.dedup.applied()
			return batch.Close()
		}
		c.forget(was)
		_ = batch.Close() // nothing of it came to be
		if err != nil {
			return err
		}
		s.lostRaces.Add(1)
		for _, r := range g.requests {
			r.receipt, r.err = eventlog.Receipt{}, nil
		}
	}
}

// commit appends a batch to the commit log, and applies it. It returns false if another
// commit came first.
func (c *committer) commit(ctx context.Context, batch *pebble.Batch) (bool, error) {
	operations, err := operationsOf(batch)
	if err != nil {
		return false, err
	}
	s := c.log.shared
	bytes, err := s.encode(&commitlogv1.Commit{Time: timestamppb.New(c.log.clock.get().Now), Operations: operations})
	if err != nil {
		return false, err
	}
	at, err := c.settle(ctx, bytes)
	if at == 0 || err != nil {
		return false, err
	}
	for _, o := range operations {
		if err := c.observeFacts(o); err != nil {
			return false, err
		}
	}
	own := commitlog.Commit{Sequence: at, Bytes: bytes}
	if err := c.apply(batch, arrived{Commit: own, hash: hashOf(own)}, false); err != nil {
		return false, err
	}
	s.proven = false
	s.committed.Add(1)
	return true, nil
}

// apply applies a batch that is in the commit log. That of a void commit is empty.
func (c *committer) apply(batch *pebble.Batch, commit arrived, void bool) error {
	s := c.log.shared
	next, err := s.moved(batch, commit, void, c.head.position)
	if err == nil {
		err = c.store.db.Apply(batch, pebble.NoSync)
	}
	if err == nil {
		err = c.store.fence.err()
	}
	if err != nil {
		err = fmt.Errorf("apply commit %d: %w", commit.Sequence, err)
		c.store.fence.fail(err)
		return err
	}
	s.at(next)
	c.unchecked += len(commit.Bytes)
	if c.unspaced += len(commit.Bytes); c.unspaced >= spaceCheckBytes {
		c.unspaced = 0
		c.log.space.check()
	}
	return nil
}

// settle appends a commit after the place of the copy, until it is certain what comes
// there: see commitlog.Settle.
func (c *committer) settle(ctx context.Context, bytes []byte) (commitlog.Sequence, error) {
	s := c.log.shared
	commits := &wary{Log: s.commits, shared: s}
	for {
		attempt, cancel := context.WithTimeout(ctx, s.pace.settlePatience)
		at, err := commitlog.Settle(attempt, commits, s.place.applied, bytes)
		cancel()
		if err == nil {
			s.fails(nil)
			return at, nil
		}
		if ctx.Err() != nil {
			return 0, context.Cause(ctx)
		}
		s.checked = false
		if err := c.check(ctx); err != nil {
			return 0, err
		}
	}
}

// check makes sure that the commit log has the commit that the copy is at. Until it is
// known it returns no error.
func (c *committer) check(ctx context.Context) error {
	s := c.log.shared
	if s.checked || s.place.applied == s.place.from {
		s.checked = true
		return nil
	}
	attempt, cancel := context.WithTimeout(ctx, s.pace.settlePatience)
	defer cancel()
	var unusable *copyError
	commit, found, err := s.first(attempt, s.place.before)
	trimmed := (*commitlog.TrimmedError)(nil)
	switch {
	case errors.As(err, &trimmed):
		if trimmed.Trimmed > s.place.applied {
			unusable = &copyError{fmt.Errorf("the copy is older than the commit log: %w", err), false}
		}
	case err != nil:
		return s.cannotRead(ctx, err)
	case !found:
		if s.absent.IsZero() {
			s.absent = time.Now()
		}
		if time.Since(s.absent) < s.pace.absencePatience || s.commits.Err() != nil {
			return s.cannotRead(ctx, fmt.Errorf("the commit log does not show commit %d, which the copy has", s.place.applied))
		}
		unusable = &copyError{fmt.Errorf("%w: it ends before commit %d", errOtherHistory, s.place.applied), true}
	case commit.Sequence != s.place.applied || hashOf(commit) != s.place.read:
		unusable = &copyError{fmt.Errorf("%w: commit %d is another", errOtherHistory, s.place.applied), true}
	default:
		void, err := s.mayBeVoid(attempt, commit)
		if err != nil {
			return s.cannotRead(ctx, err)
		}
		if void {
			unusable = &copyError{fmt.Errorf("%w: commit %d does not name the one before it", errOtherHistory, s.place.applied), true}
		}
	}
	if unusable != nil {
		// NOTE What this copy has and another log has not would be recorded there as lost.
		if err := s.isOfThisLog(attempt); err != nil {
			return s.cannotRead(ctx, err)
		}
		return c.unusable(unusable)
	}
	s.checked, s.absent = true, time.Time{}
	return nil
}

// isOfThisLog returns an error if the commits are those of another event log. If there are
// none they may be of this one.
func (s *shared) isOfThisLog(ctx context.Context) error {
	commit, found, err := s.first(ctx, 0)
	if trimmed := (*commitlog.TrimmedError)(nil); errors.As(err, &trimmed) {
		commit, found, err = s.first(ctx, trimmed.Trimmed)
	}
	if err != nil || !found {
		return err
	}
	id, _, err := place{}.of(commit)
	if err == nil && id != s.logID {
		err = fmt.Errorf("the folder has a copy of the event log %v, and the commit log is of %v: give store.pebble.path an empty folder, or name the commit log that the copy is of", s.logID, id)
	}
	return err
}

// cannotRead says that the commit log cannot be read at present, and waits a little.
func (s *shared) cannotRead(ctx context.Context, err error) error {
	s.fails(err)
	select {
	case <-time.After(readPause):
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// unusable ends the use of the copy. What is kept of it is to be on the disk: behind a raised
// fence nothing gets there.
func (c *committer) unusable(err *copyError) error {
	if err.keep {
		if syncErr := c.store.db.LogData(nil, pebble.Sync); syncErr != nil {
			c.log.logger.Warn("the last events of a copy that is set aside may be missing there", "error", syncErr)
		}
	}
	c.store.fence.fail(err)
	return err
}

// follow applies what others have committed.
func (c *committer) follow() {
	if err := c.catchUp(c.log.shared.life); err != nil && c.log.shared.life.Err() == nil {
		c.store.fence.fail(err)
	}
}

// catchUp applies what others have committed. It returns when the copy is whole, and has
// all that this gateway knows of.
func (c *committer) catchUp(ctx context.Context) error {
	s := c.log.shared
	for {
		if err := c.store.fence.err(); err != nil { // what is in memory may be ahead of it
			return err
		}
		changed := s.commits.Changed()
		if err := c.check(ctx); err != nil {
			return err
		}
		if !s.checked {
			continue
		}
		again, err := c.readCommits(ctx)
		if err != nil {
			return err
		}
		if again {
			continue
		}
		if s.place.whole {
			s.fails(nil)
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// readCommits applies what can be read after the place of the copy, and reports whether
// it has to be tried again.
func (c *committer) readCommits(ctx context.Context) (again bool, err error) {
	s := c.log.shared
	other, cause := arrived{}, error(nil)
	for next, err := range s.read(ctx, s.place.applied) {
		trimmed := (*commitlog.TrimmedError)(nil)
		switch {
		case errors.As(err, &trimmed):
			return false, c.unusable(&copyError{fmt.Errorf("the copy is older than the commit log: %w", err), false})
		case err != nil:
			return true, s.cannotRead(ctx, err)
		}
		commit, err := s.decode(next)
		if err == nil {
			err = c.checkOperations(commit)
		}
		if errors.Is(err, errOtherHistory) {
			other, cause = next, err
			break
		}
		if err != nil {
			s.checked = s.checked && !errors.Is(err, errNoCommit)
			return true, s.cannotRead(ctx, err)
		}
		c.throttle()
		if err := c.replay(commit, next); err != nil {
			return false, err
		}
		if ctx.Err() != nil {
			return false, context.Cause(ctx)
		}
	}
	switch { // nothing is read ahead any more: the commit log is read elsewhere
	case cause == nil:
		return false, nil
	case s.proven:
		return true, c.skip(ctx, other)
	default:
		return c.giveUp(ctx, cause)
	}
}

// others returns a channel that is closed when others have committed; nil if the log is not
// shared.
func (l *Log) others() <-chan struct{} {
	if l.shared == nil {
		return nil
	}
	s := l.shared
	changed := s.commits.Changed()
	if _, found, err := s.first(s.life, s.place.applied); found || err != nil {
		return closedChannel // catchUp deals with errors
	}
	return changed
}

var closedChannel = func() <-chan struct{} {
	c := make(chan struct{})
	close(c)
	return c
}()
