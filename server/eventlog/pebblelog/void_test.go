package pebblelog

import (
	"context"
	"errors"
	"iter"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	webhookgatewayv1 "github.com/webhook-gateway/webhook-gateway/gen/webhookgateway/v1"
	"github.com/webhook-gateway/webhook-gateway/server/commitlog"
	"github.com/webhook-gateway/webhook-gateway/server/commitlog/commitlogtest"
	"github.com/webhook-gateway/webhook-gateway/server/eventlog/eventlogtest"
)

// blind is a commit log of which a gateway sees nothing new for a while.
type blind struct {
	commitlog.Log
	on atomic.Bool
}

func (b *blind) Read(ctx context.Context, after commitlog.Sequence) iter.Seq2[commitlog.Commit, error] {
	if b.on.Load() {
		return func(func(commitlog.Commit, error) bool) {}
	}
	return b.Log.Read(ctx, after)
}

// TestVoidCommits: the commit log loses its end, and goes on until it ends where it had ended.
// Then a gateway that has not noticed commits. Nobody takes that for history, its author
// neither, and all go on.
func TestVoidCommits(t *testing.T) {
	for name, lost := range map[string]int{"one commit is lost": 1, "several commits are lost": 9} {
		t.Run(name, func(t *testing.T) {
			for range 20 {
				if voidCommits(t, lost) {
					return
				}
			}
			t.Error("no commit is void")
		})
	}
}

// voidCommits reports whether there were any: a gateway may be about to read just then.
func voidCommits(t *testing.T, lost int) bool {
	t.Helper()
	memory := commitlogtest.NewMemory()
	disks := []*vfs.MemFS{vfs.NewMem(), vfs.NewMem()}
	behind := &switched{Log: commitsOf(t, memory)}
	one := openShared(t, disks[0], behind, impatient())
	appendMany(t, one, "kept", 5)
	seen := &blind{Log: commitsOf(t, memory)}
	two := openShared(t, disks[1], seen, impatient())
	if err := errors.Join(one.Sync(t.Context()), two.Sync(t.Context())); err != nil {
		t.Fatal(err)
	}
	behind.off.Store(true)
	at := memory.Len()
	for range lost {
		mustAppend(t, two, "", "lost")
	}
	seen.on.Store(true)
	defer seen.on.Store(false) // so that it can be closed
	memory.Cut(at)
	behind.off.Store(false)
	for uint64(memory.Len()) < two.shared.applied.Load() {
		_, err := one.Append(t.Context(), eventlogtest.Entry(t, "acme", "", "other"))
		if errors.Is(err, errOtherHistory) {
			return false // it was about to read or to commit something, and has noticed that it is lost
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	for i := range 2 { // the other one may contradict before the second
		ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
		if uint64(memory.Len()) != two.shared.applied.Load() {
			cancel() // it would wait for what it does not see
		}
		_, err := two.Append(ctx, eventlogtest.Entry(t, "acme", "", "void"))
		cancel()
		if err != nil && i == 0 {
			return false
		}
	}
	seen.on.Store(false)
	eventually(t, one, func() bool {
		_, err := one.Append(t.Context(), eventlogtest.Entry(t, "acme", "", "new"))
		return err == nil
	})
	sameLogs(t, two, one) // in this order: the first has something to say, which the other then knows
	fresh := openShared(t, vfs.NewMem(), commitsOf(t, memory), impatient())
	for _, log := range []*Log{one, two, fresh} {
		mustAppend(t, log, "", "after")
	}
	sameLogs(t, two, one)
	sameLogs(t, fresh, one)
	for record, err := range two.Read(t.Context(), 0) {
		if err != nil {
			continue // a gap, which is told
		}
		event, err := record.Event(two.History(), webhookgatewayv1.EventView_EVENT_VIEW_RAW)
		if err != nil {
			t.Fatal(err)
		}
		if body := string(event.GetRawBody()); body == "lost" || body == "void" {
			t.Errorf("%q is at %d", body, record.Position)
		}
	}
	if err := one.Close(); err != nil {
		t.Fatal(err)
	}
	one = openShared(t, disks[0], commitsOf(t, memory), impatient())
	sameLogs(t, two, one)
	if n := one.shared.rebuilt.Load(); n != 0 {
		t.Errorf("a copy with a void commit in it was made anew %d times", n)
	}
	return true
}
