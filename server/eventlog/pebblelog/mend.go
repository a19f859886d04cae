package pebblelog

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/cockroachdb/pebble/v2"

	"github.com/webhook-gateway/webhook-gateway/server/eventlog"
)

// A damaged block cannot be compacted: Pebble tries again and again, what comes in
// piles up in front of it, and in the end the committer would wait for ever. So when
// that begins to hold up the committer, the log opens its database anew and cuts the
// damaged events and event ids out of their table, whose file it keeps aside. State
// of subscriptions is never cut out: newer values of the same keys would go with it.
// Then, and if it fails, new tables may pile up without a limit.

// errDamagedTable is why an opening is ended that a damaged table holds up.
var errDamagedTable = errors.New("a damaged table holds up the event log: it is opened anew without what is damaged")

// corruptionInterval is how often damage of one file is logged at most.
const corruptionInterval = time.Minute

// A damagedTable is a table with a block that cannot be read, and its keys.
type damagedTable struct {
	path         string
	lower, upper []byte // inclusive
}

// damagedTables takes note of what Pebble finds damaged.
type damagedTables struct {
	logger *slog.Logger

	mu     sync.Mutex
	logged map[string]time.Time
	tables map[string]damagedTable
}

// found is called by Pebble, anywhere.
func (d *damagedTables) found(info pebble.DataCorruptionInfo) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.tables == nil {
		d.tables, d.logged = make(map[string]damagedTable), make(map[string]time.Time)
	}
	if len(info.Bounds.Start) > 0 {
		d.tables[info.Path] = damagedTable{info.Path, bytes.Clone(info.Bounds.Start), bytes.Clone(info.Bounds.End.Key)}
	}
	if time.Since(d.logged[info.Path]) >= corruptionInterval {
		d.logged[info.Path] = time.Now()
		d.logger.Error("a file of the event log is damaged: `webhook-gateway log verify` tells what", "file", info.Path, "error", info.Details.Error())
	}
}

func (d *damagedTables) list() []damagedTable {
	d.mu.Lock()
	defer d.mu.Unlock()
	var tables []damagedTable
	for _, table := range d.tables {
		tables = append(tables, table)
	}
	return tables
}

func (d *damagedTables) forget(table damagedTable) {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.tables, table.path)
}

// mend cuts what is damaged out of tables, and returns those that are still damaged.
// No reads may be served yet: what is cut out may have to wait for a flush.
func (s *store) mend(tables []damagedTable) []damagedTable {
	var left []damagedTable
	for _, table := range tables {
		err := s.cutOut(table)
		if err == nil {
			err = s.readable(table)
		}
		if s.fence.err() != nil {
			return tables // the disk failed: another opening tries again
		}
		if err != nil {
			advice := "make a backup, and restore one from before"
			if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
				advice = "make room on the disk: the next opening tries again"
			}
			s.logger.Error("a damaged table of the event log cannot be mended", "file", filepath.Base(table.path), "error", err.Error(), "what_to_do", advice)
			left = append(left, table)
			continue
		}
		s.damaged.forget(table)
	}
	return left
}

// cutOut cuts the damaged events and event ids out of a table. Their keys are next to
// each other, and may share a block.
func (s *store) cutOut(table damagedTable) error {
	aside, err := setAside(s.disk, s.path, []string{table.path})
	if err != nil {
		return err
	}
	events, err := s.damagedEvents(table)
	if err != nil {
		return err
	}
	ids, err := s.damagedIDs(table)
	if err != nil {
		return err
	}
	for i, span := range events {
		// NOTE: Recorded first. What is recorded and not cut out can still be told.
		all := loss{after: span.After, upTo: s.markNear(span.UpTo, s.head), found: time.Now(), setAside: aside}
		for _, l := range all.without(recorded(s.lost)) { // an earlier attempt may have failed after this
			key, value := l.pair()
			if err := s.db.Set(key, value, pebble.Sync); err != nil {
				return err
			}
			s.lost = append(s.lost, l)
		}
		from, behind := eventKey(span.After), eventKey(span.UpTo+1)
		if has, err := s.has(from); i == 0 && (err != nil || !has) {
			from = ids.before // no event comes before it: the event ids do
		}
		if ids.damaged && ids.behind == nil && i == 0 {
			from, ids.damaged = ids.before, false // they end in the same block
		}
		if err := s.cut(table, from, behind); err != nil {
			return fmt.Errorf("cut out events: %w", err)
		}
		s.logger.Error("damaged events were cut out: they are lost", "after", uint64(span.After), "up_to", uint64(span.UpTo), "set_aside", aside)
	}
	if !ids.damaged {
		return nil
	}
	if ids.behind == nil {
		ids.behind = []byte{prefixDedup + 1}
	}
	if err := s.cut(table, ids.before, ids.behind); err != nil {
		return fmt.Errorf("cut out event ids: %w", err)
	}
	s.logger.Error("damaged event ids were cut out: events may be stored twice", "set_aside", aside)
	return nil
}

// cut removes all keys between two that can be read; before is nil if none comes before
// them in the table.
//
// NOTE: Pebble looks for what is left of the table before the first key that it is to
// remove. If it meets the damaged block there it takes it for the beginning of the
// table, and removes everything before it as well. Seeking a key of the damaged block
// leads into it, seeking the last one before does not. So that one is removed too, and
// put back; and it is tried first whether both ends can be read. Until it is back, it is
// kept under a key of its own, for an opening after a crash.
func (s *store) cut(table damagedTable, before, behind []byte) error {
	span := pebble.KeyRange{Start: before, End: behind}
	var value []byte
	if before == nil {
		span.Start = table.lower // nothing of the table is left of it
	} else {
		kept, closer, err := s.db.Get(before)
		if err != nil {
			return err
		}
		value = bytes.Clone(kept)
		if err := closer.Close(); err != nil {
			return err
		}
	}
	it, err := s.db.NewIter(nil)
	if err != nil {
		return err
	}
	if before != nil {
		it.SeekLT(before)
		err = it.Error()
	}
	if err == nil {
		it.SeekGE(behind)
		err = it.Error()
	}
	if err := errors.Join(err, it.Close()); err != nil {
		return err
	}
	if before == nil {
		return s.db.Excise(context.Background(), span)
	}
	kept := append(binary.AppendUvarint(nil, uint64(len(before))), before...)
	if err := s.db.Set(metaKey(metaKept), append(kept, value...), pebble.Sync); err != nil {
		return err
	}
	if err := s.db.Excise(context.Background(), span); err != nil {
		return err
	}
	return s.putBackKept()
}

// putBackKept puts back what was removed with something damaged, if it is not back.
func (s *store) putBackKept() error {
	kept, err := s.meta(metaKept)
	if errors.Is(err, pebble.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	length, n := binary.Uvarint(kept)
	if n <= 0 || length > uint64(len(kept[n:])) {
		return errors.New("what was kept while something was cut out is malformed")
	}
	pair := kept[n:]
	batch := s.db.NewBatch()
	return errors.Join(
		batch.Set(pair[:length], pair[length:], nil),
		batch.Delete(metaKey(metaKept), nil),
		batch.Commit(pebble.Sync),
		batch.Close(),
	)
}

// damagedEvents returns the ranges of events of a table that cannot be read.
func (s *store) damagedEvents(table damagedTable) ([]eventlog.Lost, error) {
	after, upTo := s.trimmed.position, s.head.position
	if p, err := parseEventKey(table.lower); err == nil {
		after = max(after, p-1)
	}
	if p, err := parseEventKey(table.upper); err == nil {
		upTo = min(upTo, p)
	}
	var spans []eventlog.Lost
	var c chunk
	for after < upTo {
		err := c.fill(s, after, upTo, maxChunkBytes)
		var damaged *eventlog.DamagedError
		switch {
		case errors.As(err, &damaged):
			after = damaged.UpTo
			if !pebble.IsCorruptionError(damaged.Err) {
				continue // it is missing, or no event: nothing that holds anything up
			}
			if n := len(spans); n > 0 && spans[n-1].UpTo == damaged.After {
				spans[n-1].UpTo = damaged.UpTo
			} else {
				spans = append(spans, eventlog.Lost{After: damaged.After, UpTo: damaged.UpTo})
			}
		case err != nil:
			return nil, err
		default:
			after = c.records[len(c.records)-1].Position
		}
	}
	return spans, nil
}

// idSpan is where event ids of a table cannot be read.
type idSpan struct {
	damaged bool
	// before is the last event id of the table before them, or of all if none is damaged.
	// behind is the first one after them. Each is nil if there is none.
	before, behind []byte
}

// damagedIDs returns where event ids of a table cannot be read, from the first to the
// last.
func (s *store) damagedIDs(table damagedTable) (span idSpan, err error) {
	lower, upper := []byte{prefixDedup}, []byte{prefixDedup + 1}
	if bytes.Compare(table.lower, lower) > 0 {
		lower = table.lower
	}
	if end := append(bytes.Clone(table.upper), 0); bytes.Compare(end, upper) < 0 {
		upper = end
	}
	if bytes.Compare(lower, upper) >= 0 {
		return idSpan{}, nil
	}
	walk := func(first, next func(*pebble.Iterator) bool) (last []byte, err error) {
		it, err := s.db.NewIter(&pebble.IterOptions{LowerBound: lower, UpperBound: upper})
		if err != nil {
			return nil, err
		}
		defer func() { err = errors.Join(err, it.Error(), it.Close()) }()
		for ok := first(it); ok; ok = next(it) {
			last = append(last[:0], it.Key()...)
		}
		return last, nil
	}
	span.before, err = walk((*pebble.Iterator).First, (*pebble.Iterator).Next)
	if !isDamage(err) {
		return span, err
	}
	span.damaged = true
	span.behind, err = walk((*pebble.Iterator).Last, (*pebble.Iterator).Prev)
	if !isDamage(err) {
		return span, errors.Join(errors.New("event ids cannot be read in one direction only"), err)
	}
	return span, nil
}

// readable reads all keys of a table.
func (s *store) readable(table damagedTable) (err error) {
	it, err := s.db.NewIter(&pebble.IterOptions{LowerBound: table.lower, UpperBound: append(bytes.Clone(table.upper), 0)})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, it.Error(), it.Close()) }()
	for ok := it.First(); ok; ok = it.Next() {
		if _, err := it.ValueAndErr(); err != nil {
			return err
		}
	}
	return nil
}

// maxSublevels returns how many sublevels of new tables may wait.
func (s *store) maxSublevels() int32 {
	if s.unmended {
		return math.MaxInt32
	}
	return maxL0Sublevels
}
