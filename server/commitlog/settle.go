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
// commit comes there. It returns the sequence of this one, or 0 if it is another: then the
// caller reads what others have committed, decides again, and makes a new commit.
//
// The bytes MUST differ from those of every other commit that anybody makes, so a
// commit carries who made it and a number used once. The same bytes go out each
// time: only one of them can have the sequence, however often they were sent and
// whatever was answered. A refusal proves nothing: of an old and a new leader of a
// replicated log, both get what was sent, and the stale one may be the first to answer.
//
// It returns an error only when the context ends, or the log is closed: the commit may
// then land at any time, or never.
func Settle(ctx context.Context, log Log, after Sequence, commit []byte) (Sequence, error) {
	for wait := minWait; ; wait = min(2*wait, maxWait) {
		changed := log.Changed()
		found, mine, err := next(ctx, log, after, commit)
		if found || err != nil {
			return mine, err
		}
		if mine, err = log.Append(ctx, after, commit); err == nil {
			return mine, nil
		}
		timer := time.NewTimer(minWait + rand.N(wait)) //nolint:gosec // jitter
		for waiting := true; waiting; {
			found, mine, err := next(ctx, log, after, commit)
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
				return 0, context.Cause(ctx)
			}
		}
	}
}

// next reads which commit comes after a sequence: found if there is one, and its sequence
// if it is this one.
func next(ctx context.Context, log Log, after Sequence, commit []byte) (found bool, mine Sequence, err error) {
	for next, err := range log.Read(ctx, after) {
		switch {
		case err != nil:
			return false, 0, err
		case bytes.Equal(next.Bytes, commit):
			return true, next.Sequence, nil
		}
		return true, 0, nil
	}
	return false, 0, nil
}
