package pebblelog

import (
	"context"
	"iter"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/webhook-gateway/webhook-gateway/server/commitlog"
	"github.com/webhook-gateway/webhook-gateway/server/commitlog/commitlogtest"
)

// beginning is a commit log of which only the first commit can be read for a while.
type beginning struct {
	commitlog.Log
	only atomic.Bool
}

func (b *beginning) Read(ctx context.Context, after commitlog.Sequence) iter.Seq2[commitlog.Commit, error] {
	return func(yield func(commitlog.Commit, error) bool) {
		for commit, err := range b.Log.Read(ctx, after) {
			if b.only.Load() && commit.Sequence > 1 {
				yield(commitlog.Commit{}, errOff)
				return
			}
			if !yield(commit, err) {
				return
			}
		}
	}
}

// TestHistoryWhileACopyIsMadeAnew: cursors have their meaning all the time, also before the new copy
// knows any epoch.
func TestHistoryWhileACopyIsMadeAnew(t *testing.T) {
	memory := commitlogtest.NewMemory()
	commits := &beginning{Log: commitsOf(t, memory)}
	log := openShared(t, vfs.NewMem(), commits)
	appendMany(t, log, "event", 5)
	cursors := cursorsOf(log)
	commits.only.Store(true)
	log.storeMu.RLock()
	log.store.fence.fail(&copyError{errCopy, false})
	log.storeMu.RUnlock()
	waitUntil(t, "the new copy has the first commit", func() bool { return log.shared.applied.Load() == 1 })
	wantParted(t, log, cursors, 5)
	if now := cursorsOf(log); now[5] != cursors[5] {
		t.Errorf("the cursor of event 5 was %q, and is %q", cursors[5], now[5])
	}
	other := openShared(t, vfs.NewMem(), commitsOf(t, memory))
	appendMany(t, other, "more", 2)
	commits.only.Store(false)
	eventually(t, log, func() bool { _, current := log.CatchUp(); return current })
	sameLogs(t, log, other)
	wantParted(t, log, cursors, 5)
	if starts := log.History().Starts(); len(starts) != 1 {
		t.Errorf("epochs %v", starts)
	}
}

// TestOverwrittenEndIsNotNamedAnew: while a gateway still serves what was lost, no cursor of it is one of the epoch that
// another gateway has begun for what came in its place: whoever resumed there would miss that.
func TestOverwrittenEndIsNotNamedAnew(t *testing.T) {
	memory, disk := commitlogtest.NewMemory(), vfs.NewMem()
	commits := &switched{Log: commitsOf(t, memory)}
	log := openShared(t, vfs.NewMem(), commits, impatient(), withSettlePatience(20*time.Millisecond))
	appendMany(t, log, "kept", 5)
	at := memory.Len()
	appendMany(t, log, "lost", 3)
	had := cursorsOf(log)
	two := openShared(t, disk, commitsOf(t, memory))
	if err := two.Close(); err != nil {
		t.Fatal(err)
	}
	commits.off.Store(true)
	memory.Cut(at)
	other := openShared(t, vfs.NewMem(), commitsOf(t, memory))
	appendMany(t, other, "other", 5)
	two = openShared(t, disk, commitsOf(t, memory), impatient()) // tells
	sameLogs(t, two, other)

	log.storeMu.RLock() // as one who reads a chunk
	commits.off.Store(false)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	go func() { _ = log.Sync(ctx) }() // finds out
	waitUntil(t, "the new copy is about to be served", func() bool {
		if log.storeMu.TryRLock() {
			log.storeMu.RUnlock()
			return false
		}
		return true
	})
	event, err := log.store.mark(6)
	starts := log.History().Starts()
	log.storeMu.RUnlock()
	if err != nil || len(starts) != 1 {
		t.Errorf("event %+v, %v, is served with the epochs %v", event, err, starts)
	}
	sameLogs(t, log, other)
	wantParted(t, log, had, 5)
}
