// Package commitlog is the contract of a replicated log of commits, which several
// gateways append to and read: the write-ahead log that they share. What a commit says
// is not known here. The engines are in folders of their own.
package commitlog

import (
	"context"
	"errors"
	"fmt"
	"iter"
)

// Sequence is the place of a commit in the log. Each is larger than the one before, not
// always by one. Sequence 0 is before every commit.
type Sequence uint64

// Commit is a commit in the log.
type Commit struct {
	Sequence Sequence
	// Bytes never change.
	Bytes []byte
}

// Log is an ordered, replicated sequence of commits. All methods are safe for concurrent
// use.
type Log interface {
	// Append stores a commit directly after the one at a sequence, and returns its own. One
	// commit at most ever comes directly after another.
	//
	// When it returns without error the commit is there, and as durable as the engine
	// promises. Any error leaves it undecided, ErrTaken too: a commit that was
	// refused may yet have landed, now or later, and one that was not answered may
	// not have. Only what Read yields after the sequence tells. See Settle.
	Append(ctx context.Context, after Sequence, commit []byte) (Sequence, error)

	// Read yields the commits after a sequence in order, up to the newest that this
	// process knows of, which may be behind what the log has. It never skips one. If
	// commits after the sequence have been trimmed it yields a *TrimmedError. The sequence
	// is 0, or that of a commit. It is cheap to go on where the last Read ended, and may be
	// dear to read anywhere else.
	Read(ctx context.Context, after Sequence) iter.Seq2[Commit, error]

	// Newest returns the sequence of the newest commit that this process knows of, at least.
	// It never blocks.
	Newest() Sequence

	// Changed returns a channel that is closed when there is more to read than at the
	// call. Take the channel first, then read, then wait.
	Changed() <-chan struct{}

	// Trim removes the commits up to and including a sequence, for good and for all
	// gateways. Trimming what is trimmed already does nothing.
	Trim(ctx context.Context, upTo Sequence) error

	// Err returns nil while commits are taken, as far as is known, and otherwise why not.
	Err() error

	// Close ends everything under way, and releases what the engine holds.
	Close() error
}

// ErrTaken is returned by Append when the engine says that another commit comes after
// the sequence. It is not proof: see Log.Append.
var ErrTaken = errors.New("another commit comes after this sequence")

// ErrFull is returned by Append when the engine has no room for the commit, and says that none
// comes after the sequence: to trim the log is what makes room.
var ErrFull = errors.New("the commit log is full")

// ErrClosed is returned by a log that was closed.
var ErrClosed = errors.New("the commit log is closed")

// TrimmedError is returned when commits that were asked for are no longer there.
type TrimmedError struct {
	// After is the sequence that was asked for, Trimmed that of the last trimmed commit.
	After, Trimmed Sequence
}

func (e *TrimmedError) Error() string {
	return fmt.Sprintf("commits after sequence %d are no longer retained: the commit log begins after %d", e.After, e.Trimmed)
}
