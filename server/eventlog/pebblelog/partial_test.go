package pebblelog

import (
	"context"
	"encoding/binary"
	"fmt"
	"iter"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/webhook-gateway/webhook-gateway/server/commitlog"
	"github.com/webhook-gateway/webhook-gateway/server/commitlog/commitlogtest"
	"github.com/webhook-gateway/webhook-gateway/server/eventlog"
)

// byHand takes steps of passes only when told to: see wholePass.
func byHand() Option {
	return func(l *Log) {
		withPace()(l)
		l.shared.pace.interval = time.Hour
	}
}

// wholePass takes all steps of a pass.
func wholePass(t *testing.T, log *Log) {
	t.Helper()
	for more := true; more; {
		var err error
		if more, err = log.shorten(); err != nil {
			t.Fatal(err)
		}
		if _, under, _, err := log.restateState(); err != nil {
			t.Fatal(err)
		} else if !under {
			return
		}
	}
}

// beginsEpoch has the next event of a log begin an epoch.
func beginsEpoch(t *testing.T, log *Log) {
	t.Helper()
	err := log.write(t.Context(), kindUpkeep, func(c *committer, batch *pebble.Batch) error {
		return batch.Set(metaKey(metaEpochDue), binary.BigEndian.AppendUint64(nil, uint64(c.head.position)), nil)
	})
	if err != nil {
		t.Fatal(err)
	}
}

// TestPartialCopy: a gateway that begins behind what was trimmed comes to have everything,
// whatever it reads first, and wherever it is closed meanwhile.
func TestPartialCopy(t *testing.T) {
	memory := commitlogtest.NewMemory()
	one := openShared(t, vfs.NewMem(), commitsOf(t, memory), byHand())
	term, err := one.AcquireScope(t.Context(), "worker")
	if err != nil {
		t.Fatal(err)
	}
	if err := one.CommitScope(t.Context(), "worker", term, []eventlog.StateMutation{{Key: []byte("key"), Value: []byte("state")}}); err != nil {
		t.Fatal(err)
	}
	appendMany(t, one, "old", 30)
	if err := one.Trim(t.Context(), 20); err != nil {
		t.Fatal(err)
	}
	beginsEpoch(t, one)
	appendMany(t, one, "new epoch", 3)
	if _, err := one.shorten(); err != nil {
		t.Fatal(err)
	}
	beginsEpoch(t, one)
	appendMany(t, one, "newer epoch", 3)
	wholePass(t, one)
	appendMany(t, one, "newer", 3)
	if _, err := one.shorten(); err != nil {
		t.Fatal(err)
	}
	from, upTo := memory.Trimmed(), memory.Len()
	if from == 0 {
		t.Fatal("the commit log was not trimmed")
	}
	for at := from + 1; at < upTo; at++ {
		t.Run(fmt.Sprint(at), func(t *testing.T) {
			disk := vfs.NewMem()
			limited := &readsUpTo{Log: commitsOf(t, memory)}
			limited.limit.Store(uint64(at))
			two := mustOpen(t, testConfig("log"), WithFS(disk), WithCommits(t.Context(), limited), byHand())
			for two.shared.applied.Load() < uint64(at) {
				<-time.After(time.Millisecond)
			}
			two.shared.end(nil)
			if err := two.Close(); err != nil {
				t.Fatal(err)
			}
			two = openShared(t, disk, commitsOf(t, memory), byHand())
			sameLogs(t, one, two)
		})
	}
}

// readsUpTo is a commit log of which nothing is known after a sequence.
type readsUpTo struct {
	commitlog.Log
	limit atomic.Uint64
}

func (r *readsUpTo) Read(ctx context.Context, after commitlog.Sequence) iter.Seq2[commitlog.Commit, error] {
	return func(yield func(commitlog.Commit, error) bool) {
		for commit, err := range r.Log.Read(ctx, after) {
			if uint64(commit.Sequence) > r.limit.Load() || !yield(commit, err) {
				return
			}
		}
	}
}
