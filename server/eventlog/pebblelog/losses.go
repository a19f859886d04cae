package pebblelog

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/cockroachdb/pebble/v2"

	"github.com/webhook-gateway/webhook-gateway/server/eventlog"
)

// A loss is a range of positions whose events were acknowledged and are not in the
// database any more. An opening that finds one records it:
//
//	l <last position before> -> mark of the last position, when it was found, folder
//
// The positions are not given out again. Their events are missing like others that
// are damaged, see damage.go; what is recorded is that they existed, and for a
// person why they are gone. A loss is forgotten when it is trimmed or repaired.
type loss struct {
	after eventlog.Position
	upTo  mark
	found time.Time
	// setAside is the folder with the files that the events were in, relative to that
	// of the log; empty if there is none.
	setAside string
}

func lossKey(after eventlog.Position) []byte {
	return binary.BigEndian.AppendUint64([]byte{prefixLost}, uint64(after))
}

func (l loss) pair() (key, value []byte) {
	value = binary.BigEndian.AppendUint64(l.upTo.encode(), uint64(l.found.UnixNano()))
	return lossKey(l.after), append(value, l.setAside...)
}

func parseLoss(key, value []byte) (loss, error) {
	if len(key) != 9 || len(value) < markLen+8 {
		return loss{}, fmt.Errorf("the pair %x is not that of a loss", key)
	}
	upTo, err := decodeMark(value[:markLen])
	if err != nil {
		return loss{}, err
	}
	return loss{
		after:    eventlog.Position(binary.BigEndian.Uint64(key[1:])),
		upTo:     upTo,
		found:    time.Unix(0, int64(binary.BigEndian.Uint64(value[markLen:]))), //nolint:gosec // written from an int64
		setAside: string(value[markLen+8:]),
	}, nil
}

// loadLosses reads what is recorded. What of it cannot be read does not matter: the
// events are missing all the same.
func (s *store) loadLosses() (err error) {
	it, err := s.db.NewIter(&pebble.IterOptions{LowerBound: []byte{prefixLost}, UpperBound: []byte{prefixLost + 1}})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, it.Close()) }()
	for ok := it.First(); ok; ok = it.Next() {
		value, err := it.ValueAndErr()
		if err != nil {
			return err
		}
		l, err := parseLoss(it.Key(), value)
		if err != nil {
			s.logger.Warn("a record of lost events cannot be used", "error", err)
			continue
		}
		s.lost = append(s.lost, l)
	}
	return it.Error()
}

// recorded returns the ranges of losses, in order.
func recorded(losses []loss) []eventlog.Lost {
	return slices.SortedFunc(slices.Values(lostWithin(losses, 0)), func(a, b eventlog.Lost) int { return cmp.Compare(a.After, b.After) })
}

// isLost reports whether an event is recorded as lost.
func (s *store) isLost(p eventlog.Position) bool {
	return slices.ContainsFunc(s.lost, func(l loss) bool { return l.after < p && p <= l.upTo.position })
}

// lostWithin returns the recorded losses without what was trimmed.
func lostWithin(losses []loss, trimmed eventlog.Position) []eventlog.Lost {
	var lost []eventlog.Lost
	for _, l := range losses {
		if l.upTo.position > trimmed {
			lost = append(lost, eventlog.Lost{After: max(l.after, trimmed), UpTo: l.upTo.position, Found: l.found, SetAside: l.setAside})
		}
	}
	return lost
}
