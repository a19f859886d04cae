package eventlog

import (
	"errors"
	"fmt"
	"slices"
	"sort"
)

// History names the positions of a log. It has the log's id and the table of its
// epochs, each with its first position: a cursor, and the id of an event, are log,
// epoch and position. So they survive a restart and a move, and one that was given
// out before an older copy of the log was put back never comes to mean another
// event.
//
// A History is immutable, and safe for concurrent use. Its zero value has no
// epochs and names position 0 only.
type History struct {
	log    ID
	starts []EpochStart
}

// EpochStart says where an epoch begins. It ends where the next one begins.
type EpochStart struct {
	Epoch Epoch
	// First is the position of the first event of the epoch.
	First Position
}

// NewHistory returns the history of a log. The epochs are in the order of their
// first positions; the first one begins at 1. For engines: Log.History has it.
func NewHistory(log ID, starts ...EpochStart) (*History, error) {
	seen := make(map[Epoch]bool, len(starts))
	previous := Position(0)
	for i, start := range starts {
		switch {
		case i == 0 && start.First != 1:
			return nil, fmt.Errorf("the first epoch begins at position %d, want 1", start.First)
		case start.First <= previous:
			return nil, fmt.Errorf("an epoch begins at position %d, after one that begins at %d", start.First, previous)
		case !start.Epoch.Valid():
			return nil, fmt.Errorf("the epoch %#x at position %d is not one of %d bits", uint64(start.Epoch), start.First, epochBits)
		case seen[start.Epoch]:
			return nil, fmt.Errorf("the epoch %#x begins twice, also at position %d", uint64(start.Epoch), start.First)
		}
		seen[start.Epoch], previous = true, start.First
	}
	return &History{log: log, starts: slices.Clone(starts)}, nil
}

// Log returns the id of the log.
func (h *History) Log() ID { return h.log }

// Starts returns the epochs in the order of their first positions. The last one
// may have no event yet.
func (h *History) Starts() []EpochStart { return slices.Clone(h.starts) }

// FormatCursor returns the cursor of a position: an opaque URL-safe string. It
// does not depend on any filter.
func (h *History) FormatCursor(p Position) string {
	return string(h.AppendCursor(make([]byte, 0, tokenLen), p))
}

// AppendCursor appends the cursor of a position.
func (h *History) AppendCursor(b []byte, p Position) []byte {
	return appendToken(b, kindCursor, h.log, h.EpochAt(p), p)
}

// FormatEventID returns the gateway's id of the event at a position.
func (h *History) FormatEventID(p Position) string {
	return string(appendToken(make([]byte, 0, tokenLen), kindEvent, h.log, h.EpochAt(p), p))
}

// ParseCursor returns the position that a cursor names. It returns ErrMalformed
// for what no gateway made, ErrAnotherLog for a cursor of a log with another id,
// and a *HistoryLostError for one of a part of the history that this log does not
// have.
//
// A position of the newest epoch may be ahead of the head: compare it with Bounds.
// One that was trimmed is still named, so that whoever resumes there is told that
// it expired.
func (h *History) ParseCursor(cursor string) (Position, error) { return h.parse(kindCursor, cursor) }

// ParseEventID returns the position of an event; otherwise it is like
// ParseCursor.
func (h *History) ParseEventID(id string) (Position, error) { return h.parse(kindEvent, id) }

func (h *History) parse(kind tokenKind, s string) (Position, error) {
	log, epoch, p, err := parseToken(kind, s)
	switch {
	case err != nil:
		return 0, err
	case log != h.log:
		return 0, ErrAnotherLog
	case epoch == h.EpochAt(p):
		return p, nil
	}
	for i, start := range h.starts {
		if start.Epoch != epoch {
			continue
		}
		if p < start.First {
			return 0, ErrMalformed // no history has it: an epoch begins at one position
		}
		// An epoch is one run of one gateway, whose events up to where ours ends are
		// the same in every copy.
		return 0, &HistoryLostError{Last: h.starts[i+1].First - 1}
	}
	// NOTE: The two histories part before the unknown epoch, and nothing in the token
	// says where. It is one of the positions at which an epoch of ours ends, but not
	// necessarily the last of them before p: the log may have been started several
	// times since the older copy was put back, or before the token was given out, and
	// what those runs stored are other events than those that the holder of the token
	// has seen. Whoever resumed there would skip them without a word. Only what is
	// before every event is certain.
	return 0, &HistoryLostError{Last: 0}
}

// EpochAt returns the epoch of a position, 0 if it has none.
func (h *History) EpochAt(p Position) Epoch {
	n := len(h.starts)
	if n > 0 && p >= h.starts[n-1].First {
		return h.starts[n-1].Epoch // the common case
	}
	i := sort.Search(n, func(i int) bool { return h.starts[i].First > p })
	if i == 0 {
		return 0
	}
	return h.starts[i-1].Epoch
}

// ErrMalformed is returned for a cursor or an event id that no gateway made.
var ErrMalformed = errors.New("malformed")

// ErrAnotherLog is returned for a cursor or an event id of a log with another id.
var ErrAnotherLog = errors.New("of another log")

// HistoryLostError is returned for a cursor or an event id of a part of the
// history that this log does not have, as when an older copy was put back.
type HistoryLostError struct {
	// Last is the last position up to which this log certainly has the same events as
	// the one that gave out the cursor. What comes after it was lost or has other
	// cursors. It is exact if this log knows the epoch of the cursor, and 0 if not; it
	// may have been trimmed.
	Last Position
}

func (e *HistoryLostError) Error() string {
	return fmt.Sprintf("of a part of the history that this log does not have: up to position %d they are certainly the same", e.Last)
}
