package commitlog

import (
	"bytes"
	"context"
	"math/rand/v2"
	"time"
)

// How long Settle waits for the tail before it sends a commit again: minWait at first,
// twice as long each time, with jitter, and maxWait at most.
const (
	minWait = 20 * time.Millisecond
	maxWait = 400 * time.Millisecond
)

// Settle appends a commit after a sequence, again and again until it is certain which
// commit comes there, and returns whether it is this one. If not, the caller reads what
// others have committed, decides again, and makes a new commit.
//
// The bytes MUST differ from those of every other commit that anybody makes, so a
// commit carries who made it and a number used once. The same bytes go out each
// time: only one of them can have the sequence, however often they were sent and
// whatever was answered. A refusal proves nothing: of an old and a new leader of a
// replicated log, both get what was sent, and the stale one may be the first to answer.
//
// It returns an error only when the context ends, or the log is closed: the commit may
// then land at any time, or never.
func Settle(ctx context.Context, log Log, after Sequence, commit []byte) (mine bool, err error) {
	for wait := minWait; ; wait = min(2*wait, maxWait) {
		changed := log.Changed()
		found, mine, err := at(ctx, log, after, commit)
		if found || err != nil {
			return mine, err
		}
		if log.Append(ctx, after, commit) == nil {
			return true, nil
		}
		timer := time.NewTimer(minWait + rand.N(wait)) //nolint:gosec // jitter
		for waiting := true; waiting; {
			found, mine, err := at(ctx, log, after, commit)
			if found || err != nil {
				timer.Stop()
				return mine, err
			}
			select {
			case <-changed:
				changed = log.Changed()
			case <-timer.C:
				waiting = false
			case <-ctx.Done():
				timer.Stop()
				return false, context.Cause(ctx)
			}
		}
	}
}

// at reads which commit comes after a sequence.
func at(ctx context.Context, log Log, after Sequence, commit []byte) (found, mine bool, err error) {
	for next, err := range log.Read(ctx, after) {
		if err != nil {
			return false, false, err
		}
		return true, bytes.Equal(next.Bytes, commit), nil
	}
	return false, false, nil
}
