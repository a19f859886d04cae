package pebblelog

import (
	"context"
	"errors"
	"iter"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/webhook-gateway/webhook-gateway/server/commitlog"
	"github.com/webhook-gateway/webhook-gateway/server/commitlog/commitlogtest"
	"github.com/webhook-gateway/webhook-gateway/server/eventlog"
	"github.com/webhook-gateway/webhook-gateway/server/eventlog/eventlogtest"
)

// stuck is a commit log that may not answer: what is asked of it waits until it is given up.
type stuck struct {
	commitlog.Log
	// lands: an append is stored before it waits.
	lands, appends, reads atomic.Bool
	waits                 atomic.Int64
}

func (s *stuck) wait(ctx context.Context) error {
	s.waits.Add(1)
	<-ctx.Done()
	return ctx.Err()
}

func (s *stuck) Append(ctx context.Context, after commitlog.Sequence, commit []byte) (commitlog.Sequence, error) {
	if s.lands.Load() {
		_, _ = s.Log.Append(ctx, after, commit)
	}
	if s.appends.Load() {
		return 0, s.wait(ctx)
	}
	return s.Log.Append(ctx, after, commit)
}

func (s *stuck) Read(ctx context.Context, after commitlog.Sequence) iter.Seq2[commitlog.Commit, error] {
	if s.reads.Load() {
		return func(yield func(commitlog.Commit, error) bool) { yield(commitlog.Commit{}, s.wait(ctx)) }
	}
	return s.Log.Read(ctx, after)
}

// TestCloseAtEachMoment: whatever a gateway waits for of its commit log, it closes in its time and leaves nothing
// running; who waits is told that it closes. What was not acknowledged is then there or not, and there once.
func TestCloseAtEachMoment(t *testing.T) {
	for name, begin := range map[string]func(*testing.T, *Log, *stuck, *commitlogtest.Memory){
		"nothing is under way": func(*testing.T, *Log, *stuck, *commitlogtest.Memory) {},
		"an append waits":      func(_ *testing.T, _ *Log, s *stuck, _ *commitlogtest.Memory) { s.appends.Store(true) },
		"an append landed, and waits": func(_ *testing.T, _ *Log, s *stuck, _ *commitlogtest.Memory) {
			s.lands.Store(true)
			s.appends.Store(true)
		},
		"a read waits": func(_ *testing.T, _ *Log, s *stuck, _ *commitlogtest.Memory) { s.reads.Store(true) },
		"a copy is made anew": func(_ *testing.T, l *Log, s *stuck, _ *commitlogtest.Memory) {
			s.reads.Store(true)
			l.storeMu.RLock()
			defer l.storeMu.RUnlock()
			l.store.fence.fail(&copyError{errCopy, false})
		},
		"a copy is set aside": func(_ *testing.T, _ *Log, s *stuck, memory *commitlogtest.Memory) {
			memory.Cut(memory.Len() - 1)
			s.appends.Store(true)
		},
	} {
		t.Run(name, func(t *testing.T) {
			memory, disk := commitlogtest.NewMemory(), vfs.NewMem()
			commits := &stuck{Log: commitsOf(t, memory)}
			log, err := Open(testConfig("log"), testLogger(), WithFS(disk), WithCommits(t.Context(), commits),
				withPatience(time.Second, 2*time.Second), impatient(), withSettlePatience(50*time.Millisecond))
			if err != nil {
				t.Fatal(err)
			}
			<-log.retained
			appendMany(t, log, "before", 5)
			begin(t, log, commits, memory)
			answers := make(chan outcome, 1)
			go func() {
				receipt, err := log.Append(context.WithoutCancel(t.Context()), eventlogtest.Entry(t, "acme", "during", "during"))
				answers <- outcome{receipt, err}
			}()
			for range 200 {
				if commits.waits.Load() > 0 {
					break
				}
				<-time.After(time.Millisecond)
			}
			began := time.Now()
			if err := log.Close(); err != nil {
				t.Errorf("Close() = %v", err)
			}
			if took := time.Since(began); took > 2*time.Second {
				t.Errorf("Close() takes %v", took)
			}
			answer := <-answers
			refused := errors.As(answer.err, new(*copyError))
			if answer.err != nil && !errors.Is(answer.err, eventlog.ErrClosed) && !refused {
				t.Errorf("Append() = %v", answer.err)
			}
			if left := running(); left != "" {
				t.Errorf("it runs on:\n%s", left)
			}
			log = openShared(t, disk, commitsOf(t, memory), impatient())
			var receipt eventlog.Receipt
			eventually(t, log, func() bool {
				receipt, err = log.Append(t.Context(), eventlogtest.Entry(t, "acme", "during", "during"))
				return err == nil
			})
			if answer.err == nil && (!receipt.Duplicate || receipt.Position != answer.receipt.Position) {
				t.Errorf("it was acknowledged at %d, and is now %+v", answer.receipt.Position, receipt)
			}
			if positions, _ := readAll(t, log, 0); positions[len(positions)-1] != receipt.Position {
				t.Errorf("it is at %d, and the log has %v", receipt.Position, positions)
			}
		})
	}
}

// running returns what runs of logs that are closed.
func running() (left string) {
	for range 200 {
		left = ""
		stacks := make([]byte, 1<<20)
		stacks = stacks[:runtime.Stack(stacks, true)]
		for _, stack := range strings.Split(string(stacks), "\n\n") {
			if strings.Contains(stack, "pebblelog.(*Log)") || strings.Contains(stack, "pebblelog.(*committer)") {
				left += stack + "\n\n"
			}
		}
		if left == "" {
			return ""
		}
		<-time.After(time.Millisecond)
	}
	return left
}

// TestWhoGaveUpIsForgotten: while the commit log does not answer, what was asked by those who have
// given up takes no memory, and is not done when it answers.
func TestWhoGaveUpIsForgotten(t *testing.T) {
	memory := commitlogtest.NewMemory()
	commits := &stuck{Log: commitsOf(t, memory)}
	log := openShared(t, vfs.NewMem(), commits, withSettlePatience(50*time.Millisecond))
	commits.appends.Store(true)
	first, cancel := context.WithCancel(t.Context())
	defer cancel()
	go func() { _ = log.Sync(first) }() // the committer has it
	for commits.waits.Load() == 0 {
		<-time.After(time.Millisecond)
	}
	for i := range 1000 {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if i%2 == 0 {
			_ = log.Sync(ctx)
		} else if _, err := log.Append(ctx, eventlogtest.Entry(t, "acme", "", "body")); !errors.Is(err, context.Canceled) {
			t.Fatalf("Append() = %v", err)
		}
	}
	log.queue.mu.Lock()
	defer log.queue.mu.Unlock()
	// Nothing but what the log itself waits for.
	if n := len(log.queue.pending); n > 5 || log.queue.bytes > 0 {
		t.Errorf("%d requests, %d bytes wait", n, log.queue.bytes)
	}
	commits.appends.Store(false)
}
