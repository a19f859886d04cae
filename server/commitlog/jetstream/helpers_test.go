package jetstream

import (
	"bytes"
	"sync"
	"testing"
	"time"

	"github.com/webhook-gateway/webhook-gateway/server/commitlog"
)

// eventually waits until something is so, and returns how long that took.
func eventually(t *testing.T, what string, so func() bool) time.Duration {
	t.Helper()
	begin := time.Now()
	for !so() {
		if time.Since(begin) > time.Minute {
			t.Fatalf("it is never so: %s", what)
		}
		time.Sleep(5 * time.Millisecond)
	}
	return time.Since(begin)
}

// readAll returns the commits of a log.
func readAll(t *testing.T, log commitlog.Log) (commits [][]byte) {
	t.Helper()
	for commit, err := range log.Read(t.Context(), 0) {
		if err != nil {
			t.Fatal(err)
		}
		commits = append(commits, commit.Bytes)
	}
	return commits
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
