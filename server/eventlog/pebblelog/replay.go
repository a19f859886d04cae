package pebblelog

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"iter"
	"slices"

	commitlogv1 "github.com/webhook-gateway/webhook-gateway/gen/webhookgateway/commitlog/v1"
	"github.com/webhook-gateway/webhook-gateway/server/eventlog"
)

// replay applies a commit of another gateway, and publishes what it says.
func (c *committer) replay(commit *commitlogv1.Commit, at arrived) error {
	batch := c.store.db.NewBatch()
	defer batch.Close() // it is applied by then, or useless
	if err := addOperations(batch, commit.GetOperations()); err != nil {
		return err
	}
	wasWhole := c.log.shared.place.whole
	var records []eventlog.Record
	for _, o := range commit.GetOperations() {
		record, err := c.observe(o)
		if err != nil {
			return fmt.Errorf("commit %d: %w", at.Sequence, err)
		}
		if record != nil {
			records = append(records, *record)
		}
	}
	if !wasWhole && c.log.shared.place.whole {
		if err := c.becomeWhole(batch); err != nil {
			return err
		}
	}
	if err := c.apply(batch, at, false); err != nil {
		return err
	}
	c.log.terms = terms{}
	c.dedup.applied() // what it has open does not see the commit
	if !c.log.shared.place.whole {
		return nil
	}
	if !wasWhole {
		return c.refresh()
	}
	if len(records) > 0 {
		c.log.clock.gave(c.head.receiveTime)
	}
	if !c.serves() {
		return nil
	}
	for run := range runs(records) {
		c.log.window.Append(run)
	}
	c.log.published.publish(c.head)
	if c.trimmed.position > 0 {
		c.log.published.trim(c.trimmed)
		c.log.window.Trim(c.trimmed.position)
	}
	return nil
}

// runs yields the parts of records that have no hole: a log that was moved may have some.
func runs(records []eventlog.Record) iter.Seq[[]eventlog.Record] {
	return func(yield func([]eventlog.Record) bool) {
		for len(records) > 0 {
			n := 1
			for n < len(records) && records[n].Position == records[n-1].Position+1 {
				n++
			}
			if !yield(records[:n]) {
				return
			}
			records = records[n:]
		}
	}
}

// observe learns from an operation of another gateway what is kept in memory, and returns
// the event that it stores, if it does.
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
		if err != nil {
			return nil, err
		}
		c.head = markOf(record)
		return &record, nil
	case key[0] == prefixEvent:
		c.log.freed.Add(max(c.trimmed.totals.Bytes-c.freed, 1))
		c.deleted, c.freed = c.trimmed.position, c.trimmed.totals.Bytes
	case key[0] == prefixDedup && o.Value != nil && len(key) > bucketLen:
		start := int64(binary.BigEndian.Uint64(key[1:])) //nolint:gosec // written from an int64
		if i, ok := slices.BinarySearch(c.dedup.buckets, start); !ok {
			c.dedup.buckets = slices.Insert(c.dedup.buckets, i, start)
		}
	case key[0] == prefixDedup && len(o.GetEnd()) > 0:
		c.dedup.buckets = slices.DeleteFunc(c.dedup.buckets, func(start int64) bool {
			return string(bucketPrefix(start)) >= string(key) && string(bucketPrefix(start+1)) <= string(o.GetEnd())
		})
	case isMeta(key, metaTrimmed) && o.Value != nil:
		trimmed, err := decodeMark(value)
		if err != nil {
			return nil, err
		}
		c.trimmed = trimmed
		if c.head.position < trimmed.position {
			c.head = trimmed
		}
	}
	return nil, c.observeFacts(o)
}

// observeFacts learns from an operation, of this gateway too, what the readers of the log
// have to know before it is published.
func (c *committer) observeFacts(o *commitlogv1.Operation) error {
	key, value := o.GetKey(), o.GetValue()
	switch {
	case isMeta(key, metaMoving):
		c.log.shared.moving = o.Value != nil
	case o.Value == nil:
	case isMeta(key, metaClock):
		if _, retention, ok := parseClock(value); ok {
			c.log.clock.learnRetention(retention)
		}
	case isMeta(key, metaEpochDue) && len(value) == 8:
		c.epochDue = eventlog.Position(binary.BigEndian.Uint64(value))
	case key[0] == prefixHistory:
		start, err := parseEpochPair(key, value)
		if err != nil {
			return err
		}
		return c.learnEpoch(start)
	case key[0] == prefixLost:
		lost, err := parseLoss(key, value)
		if err != nil {
			return err
		}
		c.learnLoss(lost)
	case isMeta(key, metaRestated):
		return c.learnRestated(value)
	}
	return nil
}

// learnEpoch learns where an epoch begins. A pass says again what is known. What a copy that is
// not whole lacks comes with the pass: until then it has no history.
func (c *committer) learnEpoch(start eventlog.EpochStart) error {
	starts := c.history.Starts()
	if !c.log.shared.place.whole || slices.Contains(starts, start) {
		return nil
	}
	starts = withEpoch(starts, start)
	history, err := eventlog.NewHistory(c.log.shared.logID, starts...)
	if err != nil {
		return err
	}
	c.current, c.epoch = starts[len(starts)-1].Epoch, nil
	c.history = history
	if c.serves() {
		c.log.history.Store(history)
		c.log.published.wake() // who has read on from where it begins is to be told
	}
	return nil
}

// withEpoch returns a table of epochs with another one, at the place that its first position
// tells: see overwritten.go.
func withEpoch(starts []eventlog.EpochStart, start eventlog.EpochStart) []eventlog.EpochStart {
	i, _ := slices.BinarySearchFunc(starts, start.First, func(s eventlog.EpochStart, first eventlog.Position) int {
		return cmp.Compare(s.First, first)
	})
	return slices.Insert(slices.Clip(starts), i, start)
}

func (c *committer) learnLoss(lost loss) {
	c.head = laterMark(c.head, lost.upTo)
	c.log.storeMu.Lock()
	defer c.log.storeMu.Unlock()
	if !slices.ContainsFunc(c.store.lost, func(l loss) bool { return l.after == lost.after }) {
		c.store.lost = append(c.store.lost, lost)
	}
}

// beginEpoch has the next event begin an epoch, if there is none yet, or one is due.
func (c *committer) beginEpoch() {
	starts := c.history.Starts()
	if n := len(starts); n > 0 && (c.epochDue == 0 || starts[n-1].First > c.epochDue) {
		return
	}
	start := eventlog.EpochStart{Epoch: eventlog.NewEpoch(), First: c.head.position + 1}
	c.epoch, c.current = &start, start.Epoch
}
