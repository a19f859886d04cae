package pebblelog

import (
	"context"
	"fmt"
	"slices"
	"sync"

	"github.com/cockroachdb/pebble/v2"

	"github.com/webhook-gateway/webhook-gateway/server/eventlog"
)

// maxQueuedBytes bounds what waits for the committer, and so the size of a
// group. One larger entry is taken when nothing else waits.
const maxQueuedBytes = 8 << 20

// A kind of request says what is refused first when the disk gets full.
type kind int

const (
	kindEvent   kind = iota
	kindState        // of subscriptions
	kindUpkeep       // what makes room: never refused for the lack of it
	kindRestate      // the same, of a shared log: see restate.go
)

// A request is something to be made durable: an event, or a write.
type request struct {
	kind  kind
	entry eventlog.Entry
	// write, if set, adds to the batch in place of the entry. It runs in the
	// committer, and adds nothing if it returns an error.
	write func(*committer, *pebble.Batch) error

	// The answer is there when done has a token.
	receipt eventlog.Receipt
	err     error
	done    chan struct{}
}

func (r *request) finish() { r.done <- struct{}{} }

// A queue holds the requests that wait for the committer.
type queue struct {
	mu      sync.Mutex
	pending []*request
	bytes   int
	refusal error
	full    [kindUpkeep]error // why this kind is refused for lack of room
	room    chan struct{}     // closed when there is room again; nil while nobody waits for it
	free    sync.Pool         // of *request

	// wake has a token when something is pending.
	wake chan struct{}
}

func newQueue() *queue { return &queue{wake: make(chan struct{}, 1)} }

// request returns an empty request.
func (q *queue) request() *request {
	if r, ok := q.free.Get().(*request); ok {
		return r
	}
	return &request{done: make(chan struct{}, 1)}
}

// do queues a request and waits for the answer. The request must not be used
// afterwards.
func (q *queue) do(ctx context.Context, r *request) (eventlog.Receipt, error) {
	if err := q.put(ctx, r); err != nil {
		return eventlog.Receipt{}, err
	}
	select {
	case <-r.done:
	case <-ctx.Done():
		q.withdraw(r)
		return eventlog.Receipt{}, fmt.Errorf("wait for the event log to store it: %w", context.Cause(ctx))
	}
	receipt, err := r.receipt, r.err
	*r = request{done: r.done}
	q.free.Put(r)
	return receipt, err
}

func (q *queue) put(ctx context.Context, r *request) error {
	q.mu.Lock()
	for {
		if err := q.refused(r.kind); err != nil {
			q.mu.Unlock()
			return err
		}
		if len(q.pending) == 0 || q.bytes+r.entry.Size() <= maxQueuedBytes {
			break
		}
		if q.room == nil {
			q.room = make(chan struct{})
		}
		room := q.room
		q.mu.Unlock()
		select {
		case <-room:
		case <-ctx.Done():
			return fmt.Errorf("wait for the event log to keep up: %w", context.Cause(ctx))
		}
		q.mu.Lock()
	}
	q.pending = append(q.pending, r)
	q.bytes += r.entry.Size()
	first := len(q.pending) == 1
	q.mu.Unlock()
	if first {
		select {
		case q.wake <- struct{}{}:
		default:
		}
	}
	return nil
}

// withdraw takes back a request that nobody waits for any more, if it was not taken yet: a
// log that takes nothing for hours would gather them.
func (q *queue) withdraw(r *request) {
	q.mu.Lock()
	defer q.mu.Unlock()
	i := slices.Index(q.pending, r)
	if i < 0 {
		return
	}
	q.pending = slices.Delete(q.pending, i, i+1)
	q.bytes -= r.entry.Size()
	q.makeRoom()
}

// take returns all that is pending, and takes the slice for what comes next.
func (q *queue) take(next []*request) []*request {
	q.mu.Lock()
	defer q.mu.Unlock()
	taken := q.pending
	q.pending, q.bytes = next[:0], 0
	q.makeRoom()
	return taken
}

// refuse answers requests from now on with an error; nil ends that. What is
// pending is not affected. ErrClosed is final.
func (q *queue) refuse(err error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.refusal != eventlog.ErrClosed { //nolint:errorlint // the very one
		q.refusal = err
	}
	q.makeRoom()
}

// refuseKind answers requests of a kind from now on with an error; nil ends that.
func (q *queue) refuseKind(k kind, err error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.full[k] = err
	q.makeRoom()
}

func (q *queue) refused(k kind) error {
	if q.refusal != nil || k >= kindUpkeep {
		return q.refusal
	}
	return q.full[k]
}

func (q *queue) makeRoom() {
	if q.room != nil {
		close(q.room)
		q.room = nil
	}
}

// accepts reports whether requests of a kind are taken.
func (q *queue) accepts(k kind) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.refused(k) == nil
}

// err returns why events are refused.
func (q *queue) err() error {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.refused(kindEvent)
}
