package pebblelog

import (
	"context"
	"iter"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/cockroachdb/pebble/v2/vfs"
	"google.golang.org/protobuf/proto"

	commitlogv1 "github.com/webhook-gateway/webhook-gateway/gen/webhookgateway/commitlog/v1"
	"github.com/webhook-gateway/webhook-gateway/server/commitlog"
	"github.com/webhook-gateway/webhook-gateway/server/commitlog/commitlogtest"
	"github.com/webhook-gateway/webhook-gateway/server/eventlog/eventlogtest"
)

// oneReader is a commit log that one reader at a time reads, who goes forward: to anything else an engine may have to
// begin anew, or refuse it.
type oneReader struct {
	commitlog.Log
	mu sync.Mutex
	// at is after which commit the reader is, reading how many there are now.
	at      commitlog.Sequence
	reading int
	// reads is how many there were, at once those that began while another one was under way, and back those that
	// began before one that was done with.
	reads, atOnce, back int
}

func (o *oneReader) Read(ctx context.Context, after commitlog.Sequence) iter.Seq2[commitlog.Commit, error] {
	return func(yield func(commitlog.Commit, error) bool) {
		o.begin(after)
		defer o.change(func() { o.reading-- })
		for commit, err := range o.Log.Read(ctx, after) {
			if !yield(commit, err) {
				return
			}
			o.change(func() { o.at = commit.Sequence })
		}
	}
}

func (o *oneReader) begin(after commitlog.Sequence) {
	o.change(func() {
		o.reads++
		if o.reading++; o.reading > 1 {
			o.atOnce++
		}
		if after < o.at {
			o.back++
		}
		o.at = after
	})
}

func (o *oneReader) change(f func()) {
	o.mu.Lock()
	defer o.mu.Unlock()
	f()
}

func (o *oneReader) counts() (reads, atOnce, back int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.reads, o.atOnce, o.back
}

// position returns after which commit the reader is.
func (o *oneReader) position() commitlog.Sequence {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.at
}

// appendRaw makes a commit that no gateway of this version would.
func appendRaw(t *testing.T, memory *commitlogtest.Memory, commit *commitlogv1.Commit) {
	t.Helper()
	bytes, err := proto.Marshal(commit)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := commitlog.Settle(t.Context(), commitsOf(t, memory), memory.Len(), bytes); err != nil {
		t.Fatal(err)
	}
}

// TestVoidWithinALongCatchUp: a copy that lacks many commits, and meets one that is void, looks whether the commit log
// still has the one before. Nothing is read ahead meanwhile.
func TestVoidWithinALongCatchUp(t *testing.T) {
	for name, begun := range map[string]bool{"a copy that is begun": false, "a copy that is made anew": true} {
		t.Run(name, func(t *testing.T) {
			memory, disk := commitlogtest.NewMemory(), vfs.NewMem()
			one := openShared(t, vfs.NewMem(), commitsOf(t, memory), byHand())
			appendMany(t, one, "before", 5)
			if begun {
				if err := openShared(t, disk, commitsOf(t, memory), byHand()).Close(); err != nil {
					t.Fatal(err)
				}
			}
			appendMany(t, one, "between", 2*aheadFrom)
			id := one.ID()
			for range 3 {
				appendRaw(t, memory, &commitlogv1.Commit{Version: commitVersion, Keyspace: keyspaceVersion, LogId: id[:], PreviousHash: []byte("another")})
			}
			for range 2 * aheadFrom { // it makes its copy anew meanwhile
				eventually(t, one, func() bool {
					_, err := one.Append(t.Context(), eventlogtest.Entry(t, "acme", "", "after"))
					return err == nil
				})
			}
			commits := &oneReader{Log: commitsOf(t, memory)}
			two := openShared(t, disk, commits, byHand())
			sameLogs(t, two, one)
			if _, atOnce, _ := commits.counts(); atOnce > 0 {
				t.Errorf("the commit log was read at once with another reading %d times", atOnce)
			}
			if rebuilt := two.shared.rebuilt.Load(); begun != (rebuilt > 0) {
				t.Errorf("it was made anew %d times", rebuilt)
			}
		})
	}
}

// TestNewerWithinALongCatchUp: a gateway that cannot apply a commit asks for it again and again, perhaps for hours. It
// does not read on behind it each time.
func TestNewerWithinALongCatchUp(t *testing.T) {
	memory := commitlogtest.NewMemory()
	one := openShared(t, vfs.NewMem(), commitsOf(t, memory), byHand())
	appendMany(t, one, "before", 2*aheadFrom)
	id := one.ID()
	if err := one.Close(); err != nil {
		t.Fatal(err)
	}
	for range 2 * aheadFrom {
		appendRaw(t, memory, &commitlogv1.Commit{Version: commitVersion + 1, Keyspace: keyspaceVersion, LogId: id[:]})
	}
	commits := &oneReader{Log: commitsOf(t, memory)}
	two := mustOpen(t, testConfig("log"), WithFS(vfs.NewMem()), WithCommits(t.Context(), commits), byHand())
	defer closeSoon(t, two)
	waitUntil(t, "the commit is asked for again", func() bool {
		reads, _, _ := commits.counts()
		return reads > 8
	})
	if _, _, back := commits.counts(); back > 2 { // to begin, and once it is met
		t.Errorf("it was read back %d times", back)
	}
}

// silent is a commit log that says nothing any more after a commit, until the reader gives up.
type silent struct {
	commitlog.Log
	after commitlog.Sequence
	waits chan struct{}
}

func (s *silent) Read(ctx context.Context, after commitlog.Sequence) iter.Seq2[commitlog.Commit, error] {
	return func(yield func(commitlog.Commit, error) bool) {
		for commit, err := range s.Log.Read(ctx, after) {
			if err == nil && commit.Sequence > s.after {
				select {
				case s.waits <- struct{}{}:
				default:
				}
				<-ctx.Done()
				commit, err = commitlog.Commit{}, context.Cause(ctx)
			}
			if !yield(commit, err) || err != nil {
				return
			}
		}
	}
}

// TestCloseWhileReadAhead: a log is closed, and leaves nothing running, while the commit log says nothing to what reads
// ahead. What had come by then is applied.
func TestCloseWhileReadAhead(t *testing.T) {
	memory, disk := commitlogtest.NewMemory(), vfs.NewMem()
	one := openShared(t, vfs.NewMem(), commitsOf(t, memory), byHand())
	appendMany(t, one, "event", 3*aheadFrom)
	commits := &silent{Log: commitsOf(t, memory), after: aheadFrom, waits: make(chan struct{}, 1)}
	two := mustOpen(t, testConfig("log"), WithFS(disk), WithCommits(t.Context(), commits), byHand())
	<-commits.waits
	waitUntil(t, "what has come is applied", func() bool { return placeOf(t, two).applied == aheadFrom })
	closeSoon(t, two)
	sameLogs(t, openShared(t, disk, commitsOf(t, memory), byHand()), one)
}

// TestReadAheadIsBounded: as many commits are made ready beside the one that is being applied as is said, and no more
// bytes. (The next one was read, and waits for room.)
func TestReadAheadIsBounded(t *testing.T) {
	for name, c := range map[string]struct{ size, ready int }{
		"small":                {100, aheadMost},
		"two have room":        {aheadBytes / 2, 1},
		"one has room":         {aheadBytes, 0},
		"one is more than may": {aheadBytes + 1, 0},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				memory := commitlogtest.NewMemory()
				commits := memory.Open(nil)
				defer commits.Close()
				for i := range commitlog.Sequence(2 * aheadMost) {
					if _, err := commitlog.Settle(t.Context(), commits, i, make([]byte, c.size)); err != nil {
						t.Fatal(err)
					}
				}
				counted := &oneReader{Log: commits}
				s := &shared{commits: counted}
				n := commitlog.Sequence(0)
				for _, err := range s.readAhead(t.Context(), 0) {
					if err != nil {
						t.Fatal(err)
					}
					synctest.Wait()
					n++
					if at := counted.position(); at != min(n+commitlog.Sequence(c.ready), memory.Len()) {
						t.Fatalf("while commit %d is applied, those up to %d are ready", n, at)
					}
				}
				if n != memory.Len() {
					t.Errorf("%d commits of %d", n, memory.Len())
				}
			})
		})
	}
}
