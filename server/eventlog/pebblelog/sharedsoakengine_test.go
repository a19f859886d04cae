package pebblelog

import (
	"context"
	"iter"
	"sync/atomic"

	"github.com/webhook-gateway/webhook-gateway/server/commitlog"
)

// A soakEngine is the commit log as a gateway sees it.
type soakEngine struct {
	commitlog.Log
	soak           *soak
	off, noAppends atomic.Bool
	stale          atomic.Pointer[[]commitlog.Commit]
}

func (e *soakEngine) Append(ctx context.Context, after commitlog.Sequence, commit []byte) (commitlog.Sequence, error) {
	if e.off.Load() || e.noAppends.Load() {
		return 0, errOff
	}
	return e.Log.Append(ctx, after, commit)
}

func (e *soakEngine) Read(ctx context.Context, after commitlog.Sequence) iter.Seq2[commitlog.Commit, error] {
	stale := e.stale.Load()
	switch {
	case e.off.Load():
		return func(yield func(commitlog.Commit, error) bool) { yield(commitlog.Commit{}, errOff) }
	case stale != nil && len(*stale) > 0 && after+1 >= (*stale)[0].Sequence:
		return func(yield func(commitlog.Commit, error) bool) {
			for _, c := range *stale {
				if c.Sequence > after && !yield(c, nil) {
					return
				}
			}
		}
	}
	return e.Log.Read(ctx, after)
}

func (e *soakEngine) Trim(ctx context.Context, upTo commitlog.Sequence) error {
	e.soak.mu.Lock()
	defer e.soak.mu.Unlock()
	e.soak.look()
	return e.Log.Trim(ctx, upTo)
}

// blind has a gateway see the commit log as it is now for a while.
func (e *soakEngine) blind() {
	var commits []commitlog.Commit
	for c, err := range e.Log.Read(context.Background(), e.soak.memory.Trimmed()) {
		if err != nil {
			return
		}
		commits = append(commits, c)
	}
	e.stale.Store(&commits)
}

func (e *soakEngine) heal() {
	e.off.Store(false)
	e.noAppends.Store(false)
	e.stale.Store(nil)
}

// soakFaults notes what lands.
type soakFaults struct{ soak *soak }

func (soakFaults) Before([]byte) error { return nil }

func (f soakFaults) After(commit []byte, answer error) error {
	if answer == nil {
		f.soak.mu.Lock()
		f.soak.landed = append(f.soak.landed, commit)
		f.soak.mu.Unlock()
	}
	return answer
}
