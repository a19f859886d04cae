package pebblelog

import (
	"context"
	"errors"
	"iter"
	"sync/atomic"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/webhook-gateway/webhook-gateway/server/commitlog"
	"github.com/webhook-gateway/webhook-gateway/server/commitlog/commitlogtest"
)

// refusing is a commit log that says that it takes nothing until it has taken something.
type refusing struct {
	commitlog.Log
	refusal atomic.Pointer[error]
}

func (r *refusing) Append(ctx context.Context, after commitlog.Sequence, commit []byte) (commitlog.Sequence, error) {
	at, err := r.Log.Append(ctx, after, commit)
	if err == nil {
		r.refusal.Store(nil)
	}
	return at, err
}

func (r *refusing) Err() error {
	if err := r.refusal.Load(); err != nil {
		return *err
	}
	return r.Log.Err()
}

// TestRefusalThatIsOver: a gateway whose commit log has refused a commit finds out by itself that the next one is
// taken: who sends deliveries to those alone that say so would never send one.
func TestRefusalThatIsOver(t *testing.T) {
	memory := commitlogtest.NewMemory()
	commits := &refusing{Log: commitsOf(t, memory)}
	log := openShared(t, vfs.NewMem(), commits, withPace())
	appendMany(t, log, "event", 2)
	full := errors.New("the stream is full")
	commits.refusal.Store(&full)
	waitUntil(t, "it says that commits are taken", func() bool { return log.Err() == nil })
}

// midway is a commit log of which from a sequence on others have written what cannot be read from there: the rest of
// a commit that begins before it.
type midway struct {
	commitlog.Log
	rest atomic.Uint64
}

func (m *midway) Read(ctx context.Context, after commitlog.Sequence) iter.Seq2[commitlog.Commit, error] {
	if rest := m.rest.Load(); rest > 0 && uint64(after) == rest {
		return func(yield func(commitlog.Commit, error) bool) {
			yield(commitlog.Commit{Sequence: after + 1, Bytes: []byte("the rest of a commit")}, nil)
		}
	}
	return m.Log.Read(ctx, after)
}

// TestLostEndWithinACommit: the commit log has lost its end, and has a commit now that begins before the place
// of the copy and ends after it. That is noticed, too.
func TestLostEndWithinACommit(t *testing.T) {
	memory := commitlogtest.NewMemory()
	one := openShared(t, vfs.NewMem(), commitsOf(t, memory))
	commits := &midway{Log: commitsOf(t, memory)}
	two := openShared(t, vfs.NewMem(), commits, impatient())
	appendMany(t, two, "kept", 5)
	at := memory.Len()
	if err := one.Sync(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := one.Close(); err != nil {
		t.Fatal(err)
	}
	appendMany(t, two, "lost", 3)
	commits.rest.Store(uint64(memory.Len()))
	memory.Cut(at)
	three := openShared(t, vfs.NewMem(), commitsOf(t, memory))
	appendMany(t, three, "went on", 5)
	eventually(t, two, func() bool { _, current := two.CatchUp(); return current && two.shared.rebuilt.Load() == 1 })
	sameLogs(t, two, three)
}
