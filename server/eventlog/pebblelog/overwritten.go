package pebblelog

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"slices"

	"github.com/cockroachdb/pebble/v2"

	"github.com/webhook-gateway/webhook-gateway/server/eventlog"
)

// A commit log that has lost its end may have gone on before the gateway that has more noticed:
// then two events had the same position, in the same epoch, and a cursor does not tell which of
// them it is of. So an epoch is begun afterwards where the two histories part. All cursors from
// there on are lost, whoever gave them out: a reader goes on at the last event that both have.
// The events keep the epoch that they were stored with. Only the table counts.

// renameOverwritten adds to a batch that an epoch begins where the copies that were set aside and
// this one part, if other events have come in the place of those that were lost.
func (c *committer) renameOverwritten(batch *pebble.Batch, e *ended) error {
	both := min(e.had.position, c.head.position)
	if both == e.had.position && c.has(e.had) { // none was lost
		return c.beginAgain(batch, e, both)
	}
	starts := c.history.Starts()
	parted := c.lastSame(e, both, starts)
	if err := c.beginAgain(batch, e, slices.Min(append(parted, both))); err != nil {
		return err
	}
	for _, same := range parted {
		begins := func(start eventlog.EpochStart) bool { return start.First == same+1 }
		if same >= both || slices.ContainsFunc(starts, begins) || !c.replaced(same, both, e) {
			continue // one that begins there is not in the other history
		}
		start := eventlog.EpochStart{Epoch: eventlog.NewEpoch(), First: same + 1}
		c.log.logger.Error("events that were lost were replaced by others: cursors of both are refused as lost from there on", "from", uint64(start.First))
		key, value := epochPair(start)
		if err := batch.Set(key, value, nil); err != nil {
			return err
		}
	}
	return nil
}

// replaced reports whether an event after a position, up to another, may have a cursor that meant another
// event. It has not if its epoch was begun afterwards, as when another gateway has said before that the end
// is lost: then no event is in its place but of a new epoch.
func (c *committer) replaced(after, upTo eventlog.Position, e *ended) bool {
	if len(e.knew) == 0 || after < c.trimmed.position {
		return true // it cannot be told
	}
	oldest := slices.MinFunc(e.knew, func(a, b eventlog.EpochStart) int { return cmp.Compare(a.First, b.First) })
	starts := c.history.Starts()
	for i, start := range starts {
		from, to := max(after, start.First-1), upTo
		if i+1 < len(starts) {
			to = min(to, starts[i+1].First-1)
		}
		// An earlier one may have been trimmed, and be known to readers all the same.
		knew := start.First < oldest.First || slices.ContainsFunc(e.knew, func(s eventlog.EpochStart) bool { return s.Epoch == start.Epoch })
		if from < to && knew && c.store.hasEvents(from, to) {
			return true
		}
	}
	return false
}

// hasEvents reports whether there is an event after a position, up to another, or that cannot be told.
func (s *store) hasEvents(after, upTo eventlog.Position) bool {
	events, err := s.events(after, upTo)
	if err != nil {
		return true
	}
	found := events.First()
	return errors.Join(events.Error(), events.Close()) != nil || found
}

// beginAgain adds to a batch that the epochs begin which were begun afterwards, and are lost with the commits
// that said so. Up to a position the events are the same. If two gateways have begun one at the same place, and both
// are lost, one of them begins again: the cursors of the other are refused all the same.
func (c *committer) beginAgain(batch *pebble.Batch, e *ended, upTo eventlog.Position) error {
	starts := c.history.Starts()
	for _, start := range e.knew {
		begins := func(s eventlog.EpochStart) bool { return s.First == start.First || s.Epoch == start.Epoch }
		if start.First > upTo || slices.ContainsFunc(starts, begins) {
			continue
		}
		starts = append(starts, start)
		key, value := epochPair(start)
		if err := batch.Set(key, value, nil); err != nil {
			return err
		}
	}
	return nil
}

// noteReplaced takes note of it if another event is where the head was that readers have seen, as
// when a copy was damaged, or is older than the commit log, and nothing was set aside.
func (c *committer) noteReplaced(head mark) error {
	if head.position <= c.trimmed.position || c.store.isLost(head.position) || c.has(head) {
		return nil
	}
	c.log.lostEnd(head)
	return c.log.keepEnded()
}

// has reports whether an event, or the last trimmed one, has a mark.
func (c *committer) has(m mark) bool {
	switch m.position {
	case c.head.position:
		return m.same(c.head)
	case c.trimmed.position:
		return m.same(c.trimmed)
	}
	found, err := c.store.mark(m.position)
	return err == nil && m.same(found)
}

func (m mark) same(other mark) bool {
	return m.position == other.position && m.totals == other.totals && m.receiveTime.Equal(other.receiveTime)
}

// lastSame returns after which positions, up to one, the copies that were set aside may part from
// this one. That is one if they can be compared, and otherwise the first position of each epoch: who
// has an epoch has its first event.
func (c *committer) lastSame(e *ended, upTo eventlog.Position, starts []eventlog.EpochStart) []eventlog.Position {
	parted, alike, known := upTo, eventlog.Position(0), false
	var differ bool
	for _, folder := range e.aside {
		same, differs, err := c.compare(folder, upTo)
		if errors.Is(err, errNothingAside) {
			continue
		}
		if err != nil {
			c.log.logger.Warn("what was set aside cannot be compared: more cursors than need be are refused as lost", "folder", folder, "error", err)
			known = false
			break
		}
		known = true
		if differs {
			parted, differ = min(parted, same), true
		} else {
			alike = max(alike, same)
		}
	}
	switch {
	case known && differ:
		return []eventlog.Position{parted}
	case known:
		return []eventlog.Position{alike} // what was set aside lacks the last events that it had
	}
	var firsts []eventlog.Position
	for _, start := range starts {
		firsts = append(firsts, start.First)
	}
	return firsts
}

// epochOf returns the epoch that an event must have. In a copy all events of one that was begun
// afterwards have an earlier one.
func (v *verifier) epochOf(record eventlog.Record, history *eventlog.History) eventlog.Epoch {
	if epoch := history.EpochAt(record.Position); epoch != v.epoch {
		v.epoch, v.stored = epoch, epoch
		_, err := v.store.place()
		if isCopy := err == nil; isCopy && slices.ContainsFunc(history.Starts(), func(start eventlog.EpochStart) bool {
			return start.Epoch == record.Epoch() && start.First < record.Position
		}) {
			v.stored = record.Epoch()
		}
	}
	return v.stored
}

// errTrimmedHere is for a copy that was set aside and parts from this one within what is trimmed.
var errTrimmedHere = errors.New("where it parts from this copy is trimmed")

// errNothingAside is for a copy that was set aside and has no events.
var errNothingAside = errors.New("it has no events")

// compare returns the last event up to a position that is the same in a copy that was set aside,
// and whether that has others after it.
func (c *committer) compare(folder string, upTo eventlog.Position) (same eventlog.Position, differs bool, err error) {
	aside, err := c.log.openAside(folder)
	if err != nil {
		return 0, false, err
	}
	defer func() { err = errors.Join(err, aside.close()) }()
	its, err := aside.events(0, lastPosition)
	if err != nil {
		return 0, false, err
	}
	defer func() { err = errors.Join(err, its.Close()) }()
	if !its.Last() {
		return 0, false, errors.Join(errNothingAside, its.Error())
	}
	last, err := parseEventKey(its.Key())
	if err != nil {
		return 0, false, err
	}
	ours, err := c.store.events(c.trimmed.position, upTo)
	if err != nil {
		return 0, false, err
	}
	defer func() { err = errors.Join(err, ours.Close()) }()
	for ok := ours.Last(); ok; ok = ours.Prev() {
		if !its.SeekGE(ours.Key()) || !bytes.Equal(its.Key(), ours.Key()) {
			continue
		}
		value, err := ours.ValueAndErr()
		if err != nil {
			return 0, false, err
		}
		theirs, err := its.ValueAndErr()
		if err != nil {
			return 0, false, err
		}
		if bytes.Equal(value, theirs) {
			same, err = parseEventKey(ours.Key())
			return same, last > same, err
		}
	}
	if err := errors.Join(ours.Error(), its.Error()); err != nil {
		return 0, false, err
	}
	// All that both have is trimmed here. What is left to be compared is the last of it.
	if theirs, err := aside.mark(c.trimmed.position); err == nil && theirs.same(c.trimmed) && c.trimmed.position <= upTo {
		return c.trimmed.position, last > c.trimmed.position, nil
	}
	return 0, false, errTrimmedHere
}

// openAside opens a copy that was set aside. Nothing of it is written.
func (l *Log) openAside(folder string) (*store, error) {
	config := l.config
	config.Path = l.disk.PathJoin(l.config.Path, folder)
	found, err := pebble.Peek(config.Path, l.disk)
	if err != nil {
		return nil, fmt.Errorf("find what was set aside: %w", err)
	}
	if !found.Exists {
		return nil, errNothingAside
	}
	s := newStore(config, l.disk, &badSectors{impatient: true}, slog.New(slog.DiscardHandler))
	s.readOnly = true
	if err := s.openDatabase(); err != nil {
		return nil, fmt.Errorf("open what was set aside: %w", err)
	}
	return s, nil
}
