package pebblelog

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"

	"github.com/cockroachdb/pebble/v2"
	"google.golang.org/protobuf/types/known/timestamppb"

	commitlogv1 "github.com/webhook-gateway/webhook-gateway/gen/webhookgateway/commitlog/v1"
	"github.com/webhook-gateway/webhook-gateway/server/commitlog"
	"github.com/webhook-gateway/webhook-gateway/server/eventlog"
)

// A log that several gateways share. Each has a copy, which is made of the commits in a
// commit log, and needs no fsync: what it lacks after a crash is in the commit log. A commit
// is a batch. Whoever appends it first after the last one has decided what it says:
// the others apply it, and decide again.

// metaApplied has up to which commit the copy is, and the hash of that.
const metaApplied = "applied"

// WithCommits makes the log one that is shared with all who have the same commit log.
func WithCommits(commits commitlog.Log) Option {
	return func(l *Log) { l.shared = &shared{commits: commits, gateway: rand.Uint64()} }
}

// shared is how far a copy is. Only the committer uses it.
type shared struct {
	commits commitlog.Log
	logID   eventlog.ID
	gateway uint64
	number  uint64
	applied commitlog.Sequence
	hash    commitHash
}

// begin finds out which log the commits are of, and makes one if there are none.
func (s *shared) begin(ctx context.Context) error {
	for {
		for first, err := range s.commits.Read(ctx, 0) {
			if err != nil {
				return fmt.Errorf("read the first commit: %w", err)
			}
			var c commitlogv1.Commit
			if err := unmarshalCommit(first.Bytes, &c); err != nil {
				return err
			}
			if len(c.GetLogId()) != len(s.logID) {
				return errors.New("the first commit names no event log")
			}
			s.logID = eventlog.ID(c.GetLogId())
			return nil
		}
		s.logID = eventlog.NewID()
		key, value := epochPair(eventlog.EpochStart{Epoch: eventlog.NewEpoch(), First: 1})
		bytes, err := s.encode(&commitlogv1.Commit{Operations: []*commitlogv1.Operation{{Key: key, Value: value}}})
		if err != nil {
			return err
		}
		if _, err := commitlog.Settle(ctx, s.commits, 0, bytes); err != nil {
			return fmt.Errorf("make the first commit: %w", err)
		}
	}
}

// load reads how far the copy is.
func (s *shared) load(st *store) error {
	if st.id != s.logID {
		return fmt.Errorf("the folder is of the event log %v, and the commit log of %v: give it an empty folder", st.id, s.logID)
	}
	value, err := st.meta(metaApplied)
	switch {
	case errors.Is(err, pebble.ErrNotFound):
		s.applied, s.hash = 0, commitHash{}
		return nil
	case err != nil:
		return err
	case len(value) != 8+len(s.hash):
		return errors.New("how far the copy is cannot be read")
	}
	s.applied = commitlog.Sequence(binary.BigEndian.Uint64(value))
	copy(s.hash[:], value[8:])
	return nil
}

// moved adds to a batch that a commit is applied.
func (s *shared) moved(batch *pebble.Batch, at commitlog.Sequence, bytes []byte) error {
	hash := sha256.Sum256(bytes)
	value := append(binary.BigEndian.AppendUint64(nil, uint64(at)), hash[:]...)
	if err := batch.Set(metaKey(metaApplied), value, nil); err != nil {
		return err
	}
	s.applied, s.hash = at, hash
	return nil
}

// others returns a channel that is closed when others have committed; nil if the log is not
// shared.
func (l *Log) others() <-chan struct{} {
	if l.shared == nil {
		return nil
	}
	changed := l.shared.commits.Changed()
	for range l.shared.commits.Read(l.life, l.shared.applied) {
		return closedChannel
	}
	return changed
}

var closedChannel = func() <-chan struct{} {
	c := make(chan struct{})
	close(c)
	return c
}()

// useCopy is use for a copy: its epochs come with the commits. It applies what it lacks.
func (c *committer) useCopy(store *store, dedup *dedup) error {
	history, err := eventlog.NewHistory(store.id, store.epochs...)
	if err != nil {
		return fmt.Errorf("read the epochs: %w", err)
	}
	c.store, c.dedup, c.head, c.trimmed = store, dedup, store.head, store.trimmed
	c.freed, c.deleted = store.trimmed.totals.Bytes, 0
	if n := len(store.epochs); n > 0 {
		c.current = store.epochs[n-1].Epoch
	}
	c.log.history.Store(history)
	c.log.terms = terms{}
	if err := c.log.shared.load(store); err != nil {
		return err
	}
	return c.catchUp(c.log.life)
}

// decided is what deciding changes in memory.
type decided struct {
	head, trimmed mark
	deleted       eventlog.Position
	freed         uint64
	buckets       []int64
}

func (c *committer) remember() decided {
	return decided{c.head, c.trimmed, c.deleted, c.freed, slices.Clone(c.dedup.buckets)}
}

// forget takes back what was decided and did not come to be.
func (c *committer) forget(was decided) {
	c.head, c.trimmed, c.deleted, c.freed, c.dedup.buckets = was.head, was.trimmed, was.deleted, was.freed, was.buckets
	c.dedup.applied()
	c.log.terms = terms{}
}

// share makes what the requests of a group ask for the next commit, and applies it.
func (c *committer) share(ctx context.Context, g *group) error {
	s := c.log.shared
	for {
		if err := c.catchUp(ctx); err != nil {
			return err
		}
		was := c.remember()
		g.batch, g.records = c.store.db.NewBatch(), g.records[:0]
		c.build(g)
		if g.batch.Empty() {
			c.dedup.applied()
			return nil // all of it is there already, or refused
		}
		at, bytes, err := c.settle(ctx, g.batch)
		if at > 0 {
			if err = s.moved(g.batch, at, bytes); err == nil {
				err = c.store.db.Apply(g.batch, pebble.NoSync)
			}
			c.dedup.applied()
			return err
		}
		c.forget(was)
		_ = g.batch.Close() // it was not applied
		if err != nil {
			return err
		}
		for _, r := range g.requests {
			r.receipt, r.err = eventlog.Receipt{}, nil
		}
	}
}

func (c *committer) settle(ctx context.Context, batch *pebble.Batch) (commitlog.Sequence, []byte, error) {
	operations, err := operationsOf(batch)
	if err != nil {
		return 0, nil, err
	}
	s := c.log.shared
	bytes, err := s.encode(&commitlogv1.Commit{Time: timestamppb.New(c.log.clock.get().Now), Operations: operations})
	if err != nil {
		return 0, nil, err
	}
	at, err := commitlog.Settle(ctx, s.commits, s.applied, bytes)
	return at, bytes, err
}

// catchUp applies what others have committed.
func (c *committer) catchUp(ctx context.Context) error {
	s := c.log.shared
	for next, err := range s.commits.Read(ctx, s.applied) {
		if err != nil {
			return fmt.Errorf("read the commit log: %w", err)
		}
		commit, err := s.decode(next.Bytes)
		if err != nil {
			return err
		}
		if err := c.replay(commit, next); err != nil {
			return fmt.Errorf("apply commit %d: %w", next.Sequence, err)
		}
	}
	return nil
}

// replay applies a commit of another gateway, and publishes what it says.
func (c *committer) replay(commit *commitlogv1.Commit, at commitlog.Commit) error {
	batch := c.store.db.NewBatch()
	err := addOperations(batch, commit.GetOperations())
	if err == nil {
		err = c.log.shared.moved(batch, at.Sequence, at.Bytes)
	}
	if err == nil {
		err = c.store.db.Apply(batch, pebble.NoSync)
	}
	if err = errors.Join(err, batch.Close()); err != nil {
		return err
	}
	var records []eventlog.Record
	for _, o := range commit.GetOperations() {
		record, err := c.observe(o)
		if err != nil {
			return err
		}
		if record != nil {
			records = append(records, *record)
		}
	}
	c.log.terms = terms{}
	c.dedup.applied() // what it has open does not see the commit
	if len(records) > 0 {
		c.log.clock.gave(c.head.receiveTime)
		c.log.window.Append(records)
	}
	c.log.published.publish(c.head)
	if c.trimmed.position > 0 {
		c.log.published.trim(c.trimmed)
		c.log.window.Trim(c.trimmed.position)
	}
	return nil
}

// observe learns from an operation what is kept in memory, and returns the event that it
// stores, if it does.
func (c *committer) observe(o *commitlogv1.Operation) (*eventlog.Record, error) {
	key, value := o.GetKey(), o.GetValue()
	switch {
	case len(key) == 0:
		return nil, errors.New("an operation has no key")
	case key[0] == prefixEvent && o.Value != nil:
		p, err := parseEventKey(key)
		if err != nil {
			return nil, err
		}
		record, err := eventlog.ParseRecord(p, value, true)
		if err == nil {
			c.head = markOf(record)
		}
		return &record, err
	case key[0] == prefixEvent:
		c.deleted = c.trimmed.position
		c.freed = c.trimmed.totals.Bytes
	case key[0] == prefixHistory && o.Value != nil:
		start, err := parseEpochPair(key, value)
		if err != nil {
			return nil, err
		}
		history, err := eventlog.NewHistory(c.log.shared.logID, append(c.log.history.Load().Starts(), start)...)
		if err != nil {
			return nil, err
		}
		c.log.history.Store(history)
		c.current = start.Epoch
	case key[0] == prefixDedup && o.Value != nil && len(key) > bucketLen:
		start := int64(binary.BigEndian.Uint64(key[1:])) //nolint:gosec // written from an int64
		if i, ok := slices.BinarySearch(c.dedup.buckets, start); !ok {
			c.dedup.buckets = slices.Insert(c.dedup.buckets, i, start)
		}
	case key[0] == prefixDedup && len(o.GetEnd()) >= bucketLen:
		end := int64(binary.BigEndian.Uint64(o.GetEnd()[1:])) //nolint:gosec // written from an int64
		c.dedup.buckets = slices.DeleteFunc(c.dedup.buckets, func(start int64) bool { return start < end })
	case string(key) == string(metaKey(metaTrimmed)):
		trimmed, err := decodeMark(value)
		if err != nil {
			return nil, err
		}
		c.trimmed = trimmed
	}
	return nil, nil //nolint:nilnil // it stores no event
}
