package pebblelog

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/cockroachdb/pebble/v2"

	"github.com/webhook-gateway/webhook-gateway/server/eventlog"
)

// What an opening reads may be damaged like everything else. The log opens all the
// same.

// unknownTail is how many positions are left out behind the last event that can be
// read, if nothing tells how many there were.
const unknownTail = 1 << 20

// reload makes the facts about the log from what is known besides.
func (s *store) reload(known headMark, cause error) error {
	if known.id == (eventlog.ID{}) {
		return fmt.Errorf("the facts about the event log are damaged, and there is no mark of the head to take them from: restore a backup, or start with an empty folder: %w", cause)
	}
	s.logger.Error("the facts about the event log are damaged, and taken from the mark of the head", "error", cause.Error())
	s.id = known.id
	first, err := s.firstEvent()
	if err != nil {
		return err
	}
	if first > 0 {
		s.trimmed = mark{position: first - 1, receiveTime: time.Unix(0, 0)}
		// NOTE: Of one that cannot be read the time and the totals stay unknown.
		_ = s.view(first, func(record eventlog.Record) {
			s.trimmed.receiveTime = record.ReceiveTime()
			s.trimmed.totals = record.Totals().Minus(record.Sizes())
		})
	}
	if !s.provisional() {
		if err := s.writeFacts(); err != nil {
			return err
		}
	}
	return s.loadRest(known)
}

// firstEvent returns the position of the first event that can be found, 0 if there is
// none.
func (s *store) firstEvent() (eventlog.Position, error) {
	after := eventlog.Position(0)
	for step := eventlog.Position(1); step <= unknownTail; step *= 2 {
		p, err := s.firstEventAfter(after)
		if err == nil || !s.isDamage(err) {
			return p, err
		}
		after += step
	}
	return 0, nil
}

func (s *store) firstEventAfter(after eventlog.Position) (p eventlog.Position, err error) {
	it, err := s.events(after, lastPosition)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, it.Error(), it.Close()) }()
	if it.First() {
		return parseEventKey(it.Key())
	}
	return 0, nil
}

// loadHead finds the head: the newest event, or the last position that is trimmed or
// lost. If the newest event cannot be read its position is taken from the table that
// it is in or from what is known, and if nothing tells it, it is set far behind.
func (s *store) loadHead(known headMark) error {
	s.head = s.trimmed
	for _, l := range s.lost {
		s.head = laterMark(s.head, l.upTo)
	}
	readable, newest, err := s.newestEvent(lastPosition)
	if err == nil {
		s.head = laterMark(s.head, readable)
		s.head.position = max(s.head.position, newest)
		return nil
	}
	if !s.isDamage(err) {
		return err
	}
	end := max(s.largestEventKey(), known.head.position)
	from := end
	for step := eventlog.Position(1); ; step *= 2 {
		if readable, newest, err = s.newestEvent(from); err == nil || !s.isDamage(err) || from <= s.trimmed.position {
			break
		}
		from -= min(step, from)
	}
	if err != nil && !s.isDamage(err) {
		return err
	}
	if end == 0 {
		end = newest + unknownTail
	}
	s.logger.Error("the newest events cannot be read: the event log goes on behind them", "readable", uint64(newest), "head", uint64(end))
	s.head = laterMark(s.head, readable)
	if known.head.position == end {
		s.head = laterMark(s.head, known.head)
	}
	s.head.position = max(s.head.position, end)
	return nil
}

// laterMark returns the mark with the larger position, with the largest time and sizes of
// both.
func laterMark(a, b mark) mark {
	if b.position < a.position {
		a, b = b, a
	}
	if b.receiveTime.Before(a.receiveTime) {
		b.receiveTime = a.receiveTime
	}
	b.totals.Bytes = max(b.totals.Bytes, a.totals.Bytes)
	b.totals.FailedBytes = max(b.totals.FailedBytes, a.totals.FailedBytes)
	return b
}

// newestEvent returns the mark of the newest event up to a position whose value is one,
// and the position of the newest one.
func (s *store) newestEvent(upTo eventlog.Position) (readable mark, newest eventlog.Position, err error) {
	it, err := s.events(0, upTo)
	if err != nil {
		return mark{}, 0, err
	}
	for ok := it.Last(); ok; ok = it.Prev() {
		var record eventlog.Record
		record, err = recordAt(it)
		newest = max(newest, record.Position)
		if err == nil {
			readable = markOf(record)
			break
		}
		// NOTE: A damaged event must not keep the log from opening. Of the newest one the
		// position is enough: the rest is taken from the one before.
		if !errors.Is(err, errValue) {
			break
		}
		err = nil
	}
	return readable, newest, errors.Join(err, it.Error(), it.Close())
}

// largestEventKey returns the largest position of an event that a table says it ends
// with, 0 if none says so. It reads no block of them.
func (s *store) largestEventKey() eventlog.Position {
	levels, err := s.db.SSTables()
	if err != nil {
		s.logger.Warn("the tables of the event log cannot be listed", "error", err.Error())
		return 0
	}
	largest := eventlog.Position(0)
	for _, tables := range levels {
		for _, table := range tables {
			if p, err := parseEventKey(table.Largest.UserKey); err == nil {
				largest = max(largest, p)
			}
		}
	}
	return largest
}

// loadEpochs reads the table of epochs. It covers every event, trimmed ones
// included. If it does not, or cannot be read, it is made from what is known and
// from the events.
func (s *store) loadEpochs(known headMark) error {
	if s.partial() {
		return nil // the first ones may be missing yet
	}
	epochs, err := s.readEpochs()
	if err == nil {
		if _, err = eventlog.NewHistory(s.id, epochs...); err == nil && len(epochs) > 0 {
			s.implied = epochs[len(epochs)-1].First
		}
		if n := len(epochs); err == nil && (n == 0) != (s.head.position == 0) {
			err = fmt.Errorf("there are %d epochs, and the newest event is %d", n, s.head.position)
		} else if err == nil && n > 0 && epochs[n-1].First > s.head.position {
			err = fmt.Errorf("the last epoch begins at position %d, and the newest event is %d", epochs[n-1].First, s.head.position)
		}
		if err != nil {
			err = fmt.Errorf("%w: %w", errEpochs, err)
		}
	}
	switch {
	case err == nil:
		s.epochs = epochs
		return nil
	case !s.isDamage(err):
		return err
	}
	if s.head.position < max(known.head.position, s.implied) {
		s.epochs = epochs
		return nil // events are lost, and their epochs: see recover
	}
	if s.readOnly && !s.provisional() {
		return fmt.Errorf("%w: %w", errReadOnly, err)
	}
	s.logger.Error("the epochs of the event log are damaged: cursors of those that cannot be found again are refused", "error", err.Error())
	epochs = known.epochs
	if len(epochs) == 0 {
		if epochs, err = s.epochsOfEvents(); err != nil {
			return err
		}
	}
	s.epochs = soundEpochs(epochs, s.head.position)
	if s.provisional() {
		return nil
	}
	batch := s.db.NewBatch()
	return errors.Join(s.setEpochs(batch, s.epochs), batch.Commit(pebble.Sync), batch.Close())
}

func (s *store) readEpochs() (epochs []eventlog.EpochStart, err error) {
	it, err := s.db.NewIter(&pebble.IterOptions{LowerBound: []byte{prefixHistory}, UpperBound: []byte{prefixHistory + 1}})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, it.Error(), it.Close()) }()
	for ok := it.First(); ok; ok = it.Next() {
		value, err := it.ValueAndErr()
		if err != nil {
			return epochs, err
		}
		start, err := parseEpochPair(it.Key(), value)
		if err != nil {
			return epochs, fmt.Errorf("%w: %w", errEpochs, err)
		}
		epochs = append(epochs, start)
	}
	return epochs, nil
}

// epochsOfEvents finds the epochs that the retained events say they are of.
func (s *store) epochsOfEvents() ([]eventlog.EpochStart, error) {
	var epochs []eventlog.EpochStart
	for p := s.trimmed.position; p < s.head.position; {
		first, err := s.someReadableAfter(p, s.head.position)
		if s.isDamage(err) {
			break
		}
		if err != nil {
			return nil, err
		}
		epoch, err := s.epoch(first.position)
		if err != nil {
			return nil, err
		}
		epochs = append(epochs, eventlog.EpochStart{Epoch: epoch, First: p + 1})
		// The last event of the epoch is between from and to.
		from, to := first.position, s.head.position
		for from < to {
			middle := from + (to-from+1)/2
			other, err := s.someReadableAfter(middle-1, s.head.position)
			if err == nil {
				var its eventlog.Epoch
				if its, err = s.epoch(other.position); err == nil && its == epoch {
					from = max(middle, min(other.position, to))
					continue
				}
			}
			to = middle - 1
		}
		p = from
	}
	return epochs, nil
}

// soundEpochs returns of epochs, in any order, those that make a history up to a
// position.
func soundEpochs(epochs []eventlog.EpochStart, head eventlog.Position) []eventlog.EpochStart {
	epochs = slices.Clone(epochs)
	slices.SortStableFunc(epochs, func(a, b eventlog.EpochStart) int { return cmp.Compare(a.First, b.First) })
	var sound []eventlog.EpochStart
	for _, start := range epochs {
		clashes := slices.ContainsFunc(sound, func(e eventlog.EpochStart) bool { return e.First == start.First || e.Epoch == start.Epoch })
		if !clashes && start.First > 0 && start.First <= head && start.Epoch.Valid() {
			sound = append(sound, start)
		}
	}
	if head > 0 && (len(sound) == 0 || sound[0].First > 1) {
		sound = append([]eventlog.EpochStart{{Epoch: eventlog.NewEpoch(), First: 1}}, sound...)
	}
	return sound
}

// setEpochs replaces the table of epochs.
func (s *store) setEpochs(b *pebble.Batch, epochs []eventlog.EpochStart) error {
	if err := b.DeleteRange([]byte{prefixHistory}, []byte{prefixHistory + 1}, nil); err != nil {
		return err
	}
	for _, start := range epochs {
		key, value := epochPair(start)
		if err := b.Set(key, value, nil); err != nil {
			return err
		}
	}
	return nil
}

// has reports whether the database has a key.
func (s *store) has(key []byte) (bool, error) {
	_, closer, err := s.db.Get(key)
	if errors.Is(err, pebble.ErrNotFound) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	return true, closer.Close()
}
