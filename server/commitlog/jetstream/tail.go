package jetstream

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	natsjs "github.com/nats-io/nats.go/jetstream"

	"github.com/webhook-gateway/webhook-gateway/server/commitlog"
)

const (
	// aheadBytes bounds what is read ahead of who reads the tail.
	aheadBytes = 32 << 20
	// watchdog is after how long without a message it is asked whether there should be one.
	watchdog = time.Second
	// retryPause is the pause after a consumer that could not be made, or failed.
	retryPause = 200 * time.Millisecond
)

// tail has the commits that one reader, who goes from one to the next, wants next.
type tail struct {
	mu sync.Mutex
	// after is the sequence after which the commits come; all of them were read from the
	// stream by the same consumer, or the ones before it.
	after   commitlog.Sequence
	commits []commitlog.Commit
	bytes   int
	// newest is the newest sequence that is known to exist.
	newest commitlog.Sequence
	// settled: it is known whether anything comes after the sequence.
	settled bool
	trimmed *commitlog.TrimmedError
	change  chan struct{}
	// moved is closed when the reader has gone elsewhere or on.
	moved chan struct{}
	// place counts how often the reader went elsewhere.
	place int
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

func (t *tail) close() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.settled = true
	t.signal()
	t.move()
}

func (t *tail) move() {
	close(t.moved)
	t.moved = make(chan struct{})
}

// read returns the commit after a sequence, if there is one.
func (t *tail) read(ctx context.Context, after commitlog.Sequence) (commit commitlog.Commit, ok bool, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.goTo(after)
	for !t.settled {
		change := t.change
		t.mu.Unlock()
		select {
		case <-change:
			t.mu.Lock()
		case <-ctx.Done():
			t.mu.Lock()
			return commit, false, context.Cause(ctx)
		}
		if t.after != after {
			return commit, false, errors.New("two read the same commit log at the same time")
		}
	}
	if t.trimmed != nil {
		return commit, false, t.trimmed
	}
	if len(t.commits) == 0 {
		return commit, false, nil
	}
	return t.commits[0], true, nil
}

// goTo makes a sequence the one after which the reader reads. What it has read is dropped.
func (t *tail) goTo(after commitlog.Sequence) {
	if after == t.after && t.trimmed == nil {
		return
	}
	for i, commit := range t.commits {
		t.bytes -= len(commit.Bytes)
		if commit.Sequence == after {
			t.after, t.commits = after, t.commits[i+1:]
			t.move()
			return
		}
	}
	t.after, t.commits, t.bytes, t.settled, t.trimmed = after, nil, 0, false, nil
	t.place++
	t.move()
}

// expect says that a sequence exists.
func (t *tail) expect(at commitlog.Sequence) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.newest = max(t.newest, at)
}

// where returns where a consumer has to begin, and what is closed when the reader moves.
func (t *tail) where() (after commitlog.Sequence, place int, moved <-chan struct{}) {
	t.mu.Lock()
	defer t.mu.Unlock()
	after = t.after
	if n := len(t.commits); n > 0 {
		after = t.commits[n-1].Sequence
	}
	return after, t.place, t.moved
}

// add adds a commit that a consumer has found for a place. It waits while too much is read ahead,
// and reports whether the place is still wanted.
func (t *tail) add(ctx context.Context, place int, commit commitlog.Commit) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	for t.place == place && t.bytes > aheadBytes {
		moved := t.moved
		t.mu.Unlock()
		select {
		case <-moved:
		case <-ctx.Done():
		}
		t.mu.Lock()
		if ctx.Err() != nil {
			return false
		}
	}
	if t.place != place {
		return false
	}
	t.commits = append(t.commits, commit)
	t.bytes += len(commit.Bytes)
	t.newest = max(t.newest, commit.Sequence)
	t.settled = true
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

// known returns the newest sequence that is known to exist.
func (t *tail) known() commitlog.Sequence {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.newest
}

// follow reads the stream for the tail until the log is closed.
func (l *Log) follow() {
	for l.ctx.Err() == nil {
		after, place, moved := l.tail.where()
		err := l.consume(after, place)
		if err != nil && l.ctx.Err() == nil {
			l.logger.Debug("the commit log is read anew", "after", uint64(after), "error", err)
			select {
			case <-moved:
			case <-time.After(retryPause):
			case <-l.ctx.Done():
			}
		}
	}
}

// consume reads what comes after a sequence, until the reader of the tail goes elsewhere
// or something fails.
func (l *Log) consume(after commitlog.Sequence, place int) error {
	ctx, cancel := context.WithCancel(l.ctx)
	defer cancel()
	stop := make(chan struct{})
	defer close(stop)
	first, cancelFirst := l.within(ctx, 3*time.Second)
	defer cancelFirst()
	consumer, err := l.js.OrderedConsumer(first, l.config.Stream, natsjs.OrderedConsumerConfig{
		DeliverPolicy: natsjs.DeliverByStartSequencePolicy, OptStartSeq: uint64(after) + 1,
		InactiveThreshold: 10 * time.Second, MaxResetAttempts: 1,
	})
	if err != nil {
		return fmt.Errorf("read the stream: %w", err)
	}
	info := consumer.CachedInfo()
	l.tail.expect(after + commitlog.Sequence(info.NumPending))
	if info.NumPending == 0 {
		stream, err := l.js.Stream(first, l.config.Stream)
		if err != nil {
			return fmt.Errorf("look at the stream: %w", err)
		}
		if state := stream.CachedInfo().State; state.FirstSeq > uint64(after)+1 && state.LastSeq > uint64(after) {
			l.tail.settle(place, &commitlog.TrimmedError{After: after, Trimmed: commitlog.Sequence(state.FirstSeq - 1)})
			return l.elsewhere(place)
		}
		l.tail.settle(place, nil)
	}
	messages, err := consumer.Messages(natsjs.PullMaxMessages(512), natsjs.PullHeartbeat(watchdog))
	if err != nil {
		return fmt.Errorf("read the stream: %w", err)
	}
	defer messages.Stop()
	defer context.AfterFunc(ctx, messages.Stop)()
	go func() { // ends the wait for a message if the reader goes elsewhere, or nothing comes
		for {
			_, now, moved := l.tail.where()
			if now != place {
				cancel()
				return
			}
			select {
			case <-moved:
			case <-stop:
				return
			}
		}
	}()
	return l.deliver(ctx, messages, after, place)
}

// elsewhere waits until the reader wants another place.
func (l *Log) elsewhere(place int) error {
	for {
		_, now, moved := l.tail.where()
		if now != place {
			return nil
		}
		select {
		case <-moved:
		case <-l.ctx.Done():
			return nil
		}
	}
}

// stalled returns an error if there should be more messages than the last one: consumers
// have been seen to stand still after all servers had been killed.
func (l *Log) stalled(ctx context.Context, last uint64) error {
	newest := l.tail.known()
	if uint64(newest) <= last {
		ctx, cancel := l.within(ctx, appendTimeout)
		defer cancel()
		stream, err := l.js.Stream(ctx, l.config.Stream)
		if err != nil {
			return nil //nolint:nilerr // the servers do not answer: nobody knows
		}
		newest = commitlog.Sequence(stream.CachedInfo().State.LastSeq)
	}
	if uint64(newest) > last {
		return fmt.Errorf("the stream has message %d, and nothing comes after %d", newest, last)
	}
	return nil
}

// deliver makes commits of messages.
func (l *Log) deliver(ctx context.Context, messages natsjs.MessagesContext, after commitlog.Sequence, place int) error {
	last := uint64(after)
	var parts []byte
	for {
		message, err := messages.Next(natsjs.NextMaxWait(watchdog))
		if ctx.Err() != nil {
			return nil
		}
		if errors.Is(err, nats.ErrTimeout) {
			if err := l.stalled(ctx, last); err != nil {
				return err
			}
			continue
		}
		if err != nil {
			return err
		}
		meta, err := message.Metadata()
		if err != nil {
			return err
		}
		at := meta.Sequence.Stream
		if at <= last {
			continue
		}
		if at != last+1 {
			if parts != nil || last != uint64(after) {
				return fmt.Errorf("after message %d comes %d", last, at)
			}
			l.tail.settle(place, &commitlog.TrimmedError{After: after, Trimmed: commitlog.Sequence(at - 1)})
			return l.elsewhere(place)
		}
		last = at
		headers := message.Headers()
		whole := headers.Get(batchIDHeader) == "" || headers.Get(batchCommitHeader) != ""
		if !whole {
			parts = append(parts, message.Data()...)
			continue
		}
		bytes := message.Data()
		if parts != nil {
			bytes = append(parts, bytes...) //nolint:gocritic // it is not used any more
			parts = nil
		}
		if !l.tail.add(ctx, place, commitlog.Commit{Sequence: commitlog.Sequence(at), Bytes: bytes}) {
			return nil
		}
	}
}
