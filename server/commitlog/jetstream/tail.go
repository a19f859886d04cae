package jetstream

import (
	"context"
	"errors"
	"sync"

	"github.com/webhook-gateway/webhook-gateway/server/commitlog"
)

const (
	// aheadBytes bounds what is read ahead of who reads the tail.
	aheadBytes = 32 << 20
	// near is how many messages what the reader has not read from the tail may be ahead of it, such
	// as its own commits, for the tail to go on instead of beginning elsewhere.
	near = 4096
)

var errTwoReaders = errors.New("two read the same commit log at the same time")

// tail has the commits that one reader, who goes from one to the next, wants next. A consumer of
// the stream adds them.
type tail struct {
	mu sync.Mutex
	// begun: there was a reader, who is now after a sequence.
	begun bool
	after commitlog.Sequence
	// commits are those after it that were read ahead, got is the last message that is done with.
	commits []commitlog.Commit
	bytes   int
	got     commitlog.Sequence
	// newest is the newest sequence that is known to exist. A leader that is late may make it less than
	// what was read for a moment.
	newest commitlog.Sequence
	// settled: it is known whether anything comes. trimmed: what comes after got is gone.
	settled bool
	trimmed *commitlog.TrimmedError
	// change is closed when there is more to read, moved when the reader has gone on or elsewhere.
	change, moved chan struct{}
	// place counts how often the reader went elsewhere.
	place  int
	closed bool
}

func newTail() *tail { return &tail{change: make(chan struct{}), moved: make(chan struct{})} }

func (t *tail) changed() <-chan struct{} {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.change
}

func (t *tail) signal() {
	close(t.change)
	t.change = make(chan struct{})
}

func (t *tail) move() {
	close(t.moved)
	t.moved = make(chan struct{})
}

func (t *tail) close() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.closed = true
	t.signal()
	t.move()
}

// read returns the commit after a sequence, if there is one. It waits until that is known.
func (t *tail) read(ctx context.Context, after commitlog.Sequence) (commit commitlog.Commit, ok bool, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.goTo(after)
	for !t.settled && !t.closed {
		change := t.change
		t.mu.Unlock()
		select {
		case <-change:
		case <-ctx.Done():
		}
		t.mu.Lock()
		switch {
		case ctx.Err() != nil:
			return commit, false, context.Cause(ctx)
		case t.after != after:
			return commit, false, errTwoReaders
		}
	}
	switch {
	case t.closed:
		return commit, false, commitlog.ErrClosed
	case len(t.commits) > 0:
		return t.commits[0], true, nil
	case t.trimmed != nil:
		return commit, false, t.trimmed
	}
	return commit, false, nil
}

// goTo makes a sequence the one after which the reader reads. What it has read is dropped.
func (t *tail) goTo(after commitlog.Sequence) {
	stands := t.begun && (t.trimmed == nil || len(t.commits) > 0)
	if stands && after == t.after {
		return
	}
	for i, commit := range t.commits {
		if commit.Sequence == after {
			for _, read := range t.commits[:i+1] {
				t.bytes -= len(read.Bytes)
			}
			clear(t.commits[:i+1])
			t.after, t.commits = after, t.commits[i+1:]
			t.move()
			return
		}
	}
	if !t.settled {
		t.signal() // another reader waits
	}
	t.commits, t.bytes = nil, 0
	if stands && t.trimmed == nil && after >= t.got && after-t.got <= near {
		t.after = after // the consumer is about to get there: add drops what is before
		t.move()
		return
	}
	t.begun, t.after, t.got, t.settled, t.trimmed = true, after, after, false, nil
	t.place++
	t.move()
}

// expect says that a sequence exists.
func (t *tail) expect(at commitlog.Sequence) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.newest = max(t.newest, at)
}

// ends says which message was the last one that the leader had when a consumer was made for a
// place: less than was known, if the stream has lost its end, or was made anew.
func (t *tail) ends(place int, last commitlog.Sequence) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.place == place {
		t.newest = min(t.newest, last)
	}
}

// known returns the newest sequence that is known to exist.
func (t *tail) known() commitlog.Sequence {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.newest
}

// where returns after which message a consumer has to begin, for which place, and what is closed when
// the reader moves. Place 0 is before there is a reader.
func (t *tail) where() (after commitlog.Sequence, place int, moved <-chan struct{}) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.got, t.place, t.moved
}

// add adds a commit that a consumer has found for a place. It waits while too much is read ahead,
// and reports whether the place is still wanted.
func (t *tail) add(ctx context.Context, place int, commit commitlog.Commit) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	for t.place == place && t.bytes > aheadBytes && ctx.Err() == nil {
		moved := t.moved
		t.mu.Unlock()
		select {
		case <-moved:
		case <-ctx.Done():
		}
		t.mu.Lock()
	}
	if t.place != place || ctx.Err() != nil {
		return false
	}
	t.got, t.newest, t.settled = commit.Sequence, max(t.newest, commit.Sequence), true
	if commit.Sequence > t.after {
		t.commits = append(t.commits, commit)
		t.bytes += len(commit.Bytes)
	}
	t.signal()
	return true
}

// settle says that nothing is known to come for a place, or that what came is trimmed.
func (t *tail) settle(place int, trimmed *commitlog.TrimmedError) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.place == place {
		t.settled, t.trimmed = true, trimmed
		t.signal()
	}
}

// isTrimmed reports whether what comes next is gone.
func (t *tail) isTrimmed() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.trimmed != nil
}

// behind reports whether a consumer should find more.
func (t *tail) behind() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.bytes <= aheadBytes && t.trimmed == nil && t.newest > t.got
}
