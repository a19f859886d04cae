package pebblelog

import (
	"context"
	"iter"

	"golang.org/x/sync/semaphore"

	commitlogv1 "github.com/webhook-gateway/webhook-gateway/gen/webhookgateway/commitlog/v1"
	"github.com/webhook-gateway/webhook-gateway/server/commitlog"
)

const (
	// aheadFrom is how many commits a copy lacks, at least, for the next to be made ready while one is applied.
	aheadFrom = 16
	// aheadMost is how many are made ready at most, and aheadBytes how large they may be together, with the one that
	// is being applied. One that is larger is alone.
	aheadMost  = 4
	aheadBytes = 4 << 20
)

// An arrived commit was read, and made ready to be applied as far as that takes no knowledge of the copy.
type arrived struct {
	commitlog.Commit
	message *commitlogv1.Commit
	hash    commitHash
	// unreadable is why it has no message.
	unreadable error
}

func arrivedFrom(commit commitlog.Commit) arrived {
	a := arrived{Commit: commit, message: new(commitlogv1.Commit), hash: hashOf(commit)}
	a.unreadable = unmarshalCommit(commit.Bytes, a.message)
	return a
}

// read yields the commits after a sequence as the commit log does. If the copy lacks many, it reads ahead once the
// first is applied: one that cannot be is asked for again and again, and to go back to it may be dear.
// Nothing else may read the commit log meanwhile.
func (s *shared) read(ctx context.Context, after commitlog.Sequence) iter.Seq2[arrived, error] {
	return func(yield func(arrived, error) bool) {
		many := false
		for commit, err := range s.commits.Read(ctx, after) {
			if err != nil {
				yield(arrived{}, err)
				return
			}
			if !yield(arrivedFrom(commit), nil) {
				return
			}
			after = commit.Sequence
			if many = s.commits.Newest() >= after+aheadFrom; many {
				break
			}
		}
		if many {
			s.readAhead(ctx, after)(yield)
		}
	}
}

// readAhead is read that makes commits ready while one before them is applied, which takes about as long.
func (s *shared) readAhead(ctx context.Context, after commitlog.Sequence) iter.Seq2[arrived, error] {
	return func(yield func(arrived, error) bool) {
		ctx, cancel := context.WithCancel(ctx)
		commits, failed := make(chan arrived, aheadMost), error(nil)
		room := semaphore.NewWeighted(aheadBytes)
		go func() {
			defer close(commits)
			for commit, err := range s.commits.Read(ctx, after) {
				if err == nil && room.Acquire(ctx, weightOf(commit)) != nil {
					err = context.Cause(ctx)
				}
				if err != nil {
					failed = err
					return
				}
				select {
				case commits <- arrivedFrom(commit):
				case <-ctx.Done():
					failed = context.Cause(ctx)
					return
				}
			}
		}()
		defer func() {
			cancel()
			for range commits { // until it does not read any more
			}
		}()
		for commit := range commits {
			if !yield(commit, nil) {
				return
			}
			room.Release(weightOf(commit.Commit))
		}
		if failed != nil {
			yield(arrived{}, failed)
		}
	}
}

// weightOf returns how much of aheadBytes a commit takes.
func weightOf(commit commitlog.Commit) int64 { return int64(min(len(commit.Bytes), aheadBytes)) }
