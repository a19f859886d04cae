// Package eventlog is the contract of the event log: the ordered, durable
// sequence of all events. Its engines are in folders of their own; nothing here
// or above knows an engine.
package eventlog

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"time"
)

// Position is the place of an event in the log. The first event ever stored has
// position 1; positions have no holes. Position 0 is before every event.
type Position uint64

// Log is an ordered, durable sequence of events.
//
// All methods are safe for concurrent use. An error that is none of the typed
// errors of this package means that the log cannot do it at present: the caller
// answers that it is unavailable.
type Log interface {
	// ID names the log. It is made when the log is created and never changes.
	ID() ID

	// History names the positions of the log. It is a snapshot, that names every
	// position that Bounds, Read or Append showed before the call. What is shown later
	// may belong to a later epoch: take the history after a position, not before. It
	// costs next to nothing.
	//
	// An engine MUST begin an epoch at every start, restore and repair, make it
	// durable with its first event, and keep the epochs of trimmed events. It may begin
	// one afterwards, at a position that was shown, if other events have come there:
	// who has read up to a position and sees another history asks that whether it still
	// knows the cursor.
	History() *History

	// Append stores an event. When it returns without error the event is durable:
	// it survives a crash of the process and of the machine. An engine MUST NOT
	// return success before that, and MUST NOT show the event to Read, Bounds or
	// Changed before that either.
	//
	// If Entry.ProviderEventID is set and an event of the same provider, client and
	// verdict with that id and the same body is remembered, nothing is stored and the
	// receipt says Duplicate, once the remembered event is durable. This holds under
	// any concurrency and across restarts. With another body the event is stored and
	// marked as a conflict. Any number of bodies is remembered.
	//
	// An event that failed verification, is no duplicate and finds the engine's quota
	// of bytes of such events used up is not stored: ErrUnverifiedQuota.
	//
	// When it returns another error, the event may or may not become visible later: it
	// was not acknowledged. The caller must not touch the entry's value again.
	//
	// Cancelling ctx abandons the wait, not the event.
	Append(ctx context.Context, entry Entry) (Receipt, error)

	// Read yields the durable events strictly after a position, in order, up to
	// the head at the time of the call. A record's bytes are valid only until the
	// next iteration, unless Record.Live is set: then they never change.
	//
	// If events after the position have been trimmed, it yields a *TrimmedError.
	// If the log is trimmed during the iteration, it either goes on or yields a
	// *TrimmedError; it never skips an event silently. A position ahead of the
	// head yields nothing.
	//
	// If events that were stored cannot be read because they are damaged, it yields a
	// *DamagedError that names them, after all events before them. Nothing between its
	// After and its UpTo can be read. The caller may go on by a Read after UpTo, which
	// may find further ones.
	//
	// The consumer may take its time between two records: an engine MUST NOT hold
	// anything of the disk or a lock meanwhile.
	Read(ctx context.Context, after Position) iter.Seq2[Record, error]

	// Bounds returns where the log begins and ends. It never blocks on a disk or a
	// network.
	Bounds() Bounds

	// Sync returns when everything is there that anybody had appended to the log before the
	// call. In a log that is not shared with other processes that is so at once.
	Sync(ctx context.Context) error

	// Seek returns the position after which the first event received at t or later
	// comes: Bounds().Head if there is none yet, and at least Bounds().Trimmed. A
	// damaged event counts as received when the next one was that can be read.
	Seek(ctx context.Context, t time.Time) (Position, error)

	// Stats returns what is known of the retained events.
	Stats(ctx context.Context) (Stats, error)

	// Changed returns a channel that is closed when Bounds has changed since the
	// call. Take the channel first, then look, then wait.
	Changed() <-chan struct{}

	// Trim removes the events up to and including a position, for good. Trimming
	// what is trimmed already does nothing.
	Trim(ctx context.Context, upTo Position) error

	// Clock returns what time it is for the log. It never goes back, and one wrong clock
	// cannot remove every event: an engine MUST NOT go at once by a clock that jumped
	// forward by more than a week, and MUST NOT remove at once what a jump makes old. It
	// never blocks on a disk or a network.
	Clock() Clock

	// Damage returns what is known of retained events that cannot be read. It costs
	// next to nothing.
	Damage() Damage

	// Err returns nil while the log accepts events, and otherwise why it does not.
	Err() error

	// Close waits for the appends under way and releases everything. Calls after
	// it return ErrClosed.
	Close() error
}

// Bounds says where a log begins and ends.
type Bounds struct {
	// Trimmed is the position of the last event that was trimmed, 0 if none was.
	// The earliest event retained is the one after it.
	Trimmed Position
	// Head is the position of the newest durable event; equal to Trimmed if the
	// log retains none.
	Head Position
}

// Len returns the number of events retained.
func (b Bounds) Len() uint64 { return uint64(b.Head - b.Trimmed) }

// Stats describes the retained events.
type Stats struct {
	// Bounds that the other fields are true for.
	Bounds Bounds
	// EarliestTime and HeadTime are when the earliest and the newest event were
	// received; zero if there is none.
	EarliestTime, HeadTime time.Time
	// Bytes is the size of the retained events before compression. FailedBytes is that
	// of those of them that failed verification.
	Bytes, FailedBytes uint64
}

// Receipt says what became of an appended entry.
type Receipt struct {
	// Position of the event; of the remembered one for a duplicate.
	Position Position
	// Duplicate: the event was stored before, nothing was stored now.
	Duplicate bool
	// Conflict: another body with the same event id and the same verdict was stored
	// before; this one was stored too, and marked.
	Conflict bool
}

// ErrClosed is returned by a log that was closed.
var ErrClosed = errors.New("the event log is closed")

// ErrUnverifiedQuota is returned for an event that failed verification and was not
// stored, because the quota of bytes of such events is used up.
var ErrUnverifiedQuota = errors.New("the quota of bytes of events that failed verification is used up")

// TrimmedError is returned when events that were asked for are no longer
// retained.
type TrimmedError struct {
	// After is the position that was asked for.
	After Position
	// Trimmed is the position of the last trimmed event: reading after it works.
	Trimmed Position
}

func (e *TrimmedError) Error() string {
	return fmt.Sprintf("events after position %d are no longer retained: the log begins after %d", e.After, e.Trimmed)
}
