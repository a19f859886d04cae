package jetstream

import (
	"bytes"
	"context"
	"sync"
	"testing"
	"time"

	"github.com/webhook-gateway/webhook-gateway/server/commitlog"
)

// patience is far more than any step takes, elections on a busy machine among them.
const patience = 3 * time.Minute

// eventually waits until something is so, and returns how long that took.
func eventually(t *testing.T, what string, so func() bool) time.Duration {
	t.Helper()
	begin := time.Now()
	for !so() {
		if time.Since(begin) > patience {
			t.Fatalf("it is never so: %s", what)
		}
		<-time.After(5 * time.Millisecond)
	}
	return time.Since(begin)
}

// readN reads the first n commits of a log, and waits for them.
func readN(t *testing.T, log commitlog.Log, n int) (commits [][]byte) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	var after commitlog.Sequence
	for {
		changed := log.Changed()
		for commit, err := range log.Read(ctx, after) {
			if err != nil {
				t.Fatal(err)
			}
			after, commits = commit.Sequence, append(commits, commit.Bytes)
		}
		if len(commits) >= n {
			return commits
		}
		select {
		case <-changed:
		case <-ctx.Done():
			t.Fatalf("%d commits of %d are read", len(commits), n)
		}
	}
}

// syncBuffer is a buffer that several write to.
type syncBuffer struct {
	mu     sync.Mutex
	buffer bytes.Buffer
}

func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buffer.Write(p)
}

func (b *syncBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buffer.String()
}
