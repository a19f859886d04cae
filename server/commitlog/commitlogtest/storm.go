package commitlogtest

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/webhook-gateway/webhook-gateway/server/commitlog"
)

// Storm is writers who append to one log with Settle while the test does harm to the
// engine. Each commit has the hash of the one before it, as those of gateways do.
type Storm struct {
	t       testing.TB
	writers []*stormWriter
	group   sync.WaitGroup
	end     context.CancelFunc
	settled atomic.Int64
}

type stormWriter struct {
	log   commitlog.Log
	name  byte
	large int // size of the largest commits
	after commitlog.Sequence
	hash  [sha256.Size]byte
	read  []commitlog.Commit // without the filling
	// mine are the sequences of commits that were settled, by number.
	mine map[uint64]commitlog.Sequence
}

// stormHead is the size of the head of a commit: writer, number, hash of the one before.
const stormHead = 1 + 8 + sha256.Size

// StartStorm starts writers, each on a log of its own. One in fifty commits has up to large bytes. The
// test calls Finish.
func StartStorm(t testing.TB, large int, logs ...commitlog.Log) *Storm {
	ctx, cancel := context.WithCancel(context.Background())
	s := &Storm{t: t, end: cancel}
	for i, log := range logs {
		w := &stormWriter{log: log, name: byte('a' + i), large: large, mine: make(map[uint64]commitlog.Sequence)}
		s.writers = append(s.writers, w)
		s.group.Go(func() {
			if err := w.write(ctx, &s.settled); err != nil {
				t.Errorf("writer %c: %v", w.name, err)
			}
		})
	}
	t.Cleanup(func() { s.end(); s.group.Wait() })
	return s
}

// Progress waits until n more commits are settled, and returns how long that took.
func (s *Storm) Progress(n int) time.Duration {
	s.t.Helper()
	begin, goal := time.Now(), s.settled.Load()+int64(n)
	for s.settled.Load() < goal {
		if time.Since(begin) > patience {
			s.t.Fatalf("no progress: %d commits after %v", int64(n)-goal+s.settled.Load(), time.Since(begin))
		}
		time.Sleep(5 * time.Millisecond)
	}
	return time.Since(begin)
}

// write appends commits until the context ends.
func (w *stormWriter) write(ctx context.Context, settled *atomic.Int64) error {
	r := rand.New(rand.NewPCG(uint64(w.name), 1)) //nolint:gosec // a test
	for number := uint64(0); ; {
		if err := w.catchUp(ctx); err != nil {
			return ended(ctx, err)
		}
		size := r.IntN(4000)
		if r.IntN(50) == 0 {
			size = r.IntN(w.large)
		}
		commit := append(binary.BigEndian.AppendUint64([]byte{w.name}, number), w.hash[:]...)
		commit = append(commit, bytes.Repeat([]byte{byte(number)}, size)...)
		at, err := commitlog.Settle(ctx, w.log, w.after, commit)
		if err != nil {
			return ended(ctx, err)
		}
		if at > 0 {
			w.mine[number] = at
			number++
			settled.Add(1)
		}
	}
}

func ended(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return nil
	}
	return err
}

// catchUp reads, and checks, what comes next.
func (w *stormWriter) catchUp(ctx context.Context) error {
	for commit, err := range w.log.Read(ctx, w.after) {
		if err != nil {
			return fmt.Errorf("read after %d: %w", w.after, err)
		}
		if len(commit.Bytes) < stormHead || !bytes.Equal(commit.Bytes[9:stormHead], w.hash[:]) {
			return fmt.Errorf("commit %d, of %d bytes, does not come after %d", commit.Sequence, len(commit.Bytes), w.after)
		}
		if filling := commit.Bytes[stormHead:]; len(filling) > 0 && bytes.Count(filling, commit.Bytes[8:9]) != len(filling) {
			return fmt.Errorf("commit %d is torn", commit.Sequence)
		}
		w.after, w.hash = commit.Sequence, sha256.Sum256(commit.Bytes)
		w.read = append(w.read, commitlog.Commit{Sequence: commit.Sequence, Bytes: bytes.Clone(commit.Bytes[:stormHead])})
	}
	return nil
}

// Finish ends the writers, and fails the test if a settled commit is missing or not where it was said to be, if
// one is there twice, or if readers differ. fresh is a log that has read nothing yet. It returns how
// many commits there are.
func (s *Storm) Finish(fresh commitlog.Log) int {
	s.t.Helper()
	s.end()
	s.group.Wait()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	var last commitlog.Sequence
	for _, w := range s.writers {
		for _, at := range w.mine {
			last = max(last, at)
		}
		last = max(last, w.after)
	}
	reader := &stormWriter{log: fresh}
	for _, w := range append(s.writers, reader) {
		for {
			changed := w.log.Changed()
			if err := w.catchUp(ctx); err != nil {
				s.t.Fatalf("at the end: %v", err)
			}
			if w.after >= last {
				break
			}
			select {
			case <-changed:
			case <-ctx.Done():
				s.t.Fatalf("commit %d does not come: the last one is %d", last, w.after)
			}
		}
	}
	if err := s.check(reader); err != nil {
		s.t.Fatal(err)
	}
	return len(reader.read)
}

func (s *Storm) check(reader *stormWriter) error {
	found := make(map[string]commitlog.Sequence)
	for _, commit := range reader.read {
		name := string(commit.Bytes[:9])
		if first, ok := found[name]; ok {
			return fmt.Errorf("the commit %x is at %d, and again at %d", name, first, commit.Sequence)
		}
		found[name] = commit.Sequence
	}
	var errs []error
	for _, w := range s.writers {
		for number, at := range w.mine {
			name := string(binary.BigEndian.AppendUint64([]byte{w.name}, number))
			if found[name] != at {
				errs = append(errs, fmt.Errorf("the commit %x was said to be at %d, and is at %d", name, at, found[name]))
			}
		}
		n := min(len(w.read), len(reader.read))
		if !slices.EqualFunc(w.read[:n], reader.read[:n], func(a, b commitlog.Commit) bool {
			return a.Sequence == b.Sequence && bytes.Equal(a.Bytes, b.Bytes)
		}) {
			errs = append(errs, fmt.Errorf("writer %c has read other commits than a fresh reader", w.name))
		}
	}
	return errors.Join(errs...)
}
