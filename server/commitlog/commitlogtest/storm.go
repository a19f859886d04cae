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
	// base is up to where the log was trimmed at most; the first writer trims.
	base     commitlog.Sequence
	baseHash [sha256.Size]byte
}

type stormWriter struct {
	log   commitlog.Log
	name  byte
	large int // size of the largest commits
	after commitlog.Sequence
	hash  [sha256.Size]byte
	// at is after for others, hashes the hash of each commit.
	at     atomic.Uint64
	hashes map[commitlog.Sequence][sha256.Size]byte
	read   []commitlog.Commit // without the filling
	// mine are the sequences of commits that were settled, by number.
	mine map[uint64]commitlog.Sequence
}

// stormHead is the size of the head of a commit: writer, number, hash of the one before.
const stormHead = 1 + 8 + sha256.Size

// StartStorm starts writers, each on a log of its own. One in fifty commits has up to large bytes, and now and
// then the log is trimmed. The test calls Finish.
func StartStorm(t testing.TB, large int, logs ...commitlog.Log) *Storm {
	ctx, cancel := context.WithCancel(context.Background())
	s := &Storm{t: t, end: cancel}
	for i, log := range logs {
		w := &stormWriter{log: log, name: byte('a' + i), large: large, mine: make(map[uint64]commitlog.Sequence), hashes: make(map[commitlog.Sequence][sha256.Size]byte)}
		s.writers = append(s.writers, w)
	}
	for _, w := range s.writers {
		s.group.Go(func() {
			if err := s.write(ctx, w); err != nil {
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
		<-time.After(5 * time.Millisecond)
	}
	return time.Since(begin)
}

// write appends commits until the context ends.
func (s *Storm) write(ctx context.Context, w *stormWriter) error {
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
			s.settled.Add(1)
			if w == s.writers[0] && number%40 == 0 {
				s.trim(ctx)
			}
		}
	}
}

// trim trims what all have read. If that fails it may have been done.
func (s *Storm) trim(ctx context.Context) {
	upTo := uint64(s.writers[0].after)
	for _, w := range s.writers {
		upTo = min(upTo, w.at.Load())
	}
	if upTo > 0 {
		s.base, s.baseHash = commitlog.Sequence(upTo), s.writers[0].hashes[commitlog.Sequence(upTo)]
		_ = s.writers[0].log.Trim(ctx, s.base)
	}
}

func ended(ctx context.Context, err error) error {
	if ctx.Err() == nil {
		return err
	}
	return nil
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
		w.hashes[w.after] = w.hash
		w.at.Store(uint64(w.after))
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
	reader := &stormWriter{log: fresh, after: s.base, hash: s.baseHash, hashes: make(map[commitlog.Sequence][sha256.Size]byte)}
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
	return len(s.writers[0].read)
}

// check compares what all have read. Each of them has checked the chain of hashes itself.
func (s *Storm) check(reader *stormWriter) error {
	var errs []error
	first := s.writers[0]
	for _, w := range s.writers {
		if !same(w.read, first.read) {
			errs = append(errs, fmt.Errorf("writer %c has read other commits than writer %c", w.name, first.name))
		}
	}
	trimmed := slices.IndexFunc(first.read, func(c commitlog.Commit) bool { return c.Sequence > s.base })
	if trimmed >= 0 && !same(first.read[trimmed:], reader.read) {
		errs = append(errs, errors.New("a fresh reader reads other commits than the writers did"))
	}
	found := make(map[string]commitlog.Sequence)
	for _, commit := range first.read {
		name := string(commit.Bytes[:9])
		if at, ok := found[name]; ok {
			errs = append(errs, fmt.Errorf("the commit %x is at %d, and again at %d", name, at, commit.Sequence))
		}
		found[name] = commit.Sequence
	}
	for _, w := range s.writers {
		for number, at := range w.mine {
			name := string(binary.BigEndian.AppendUint64([]byte{w.name}, number))
			if found[name] != at {
				errs = append(errs, fmt.Errorf("the commit %x was said to be at %d, and is at %d", name, at, found[name]))
			}
		}
	}
	return errors.Join(errs...)
}

// same reports whether two have read the same, as far as both have.
func same(a, b []commitlog.Commit) bool {
	n := min(len(a), len(b))
	return slices.EqualFunc(a[:n], b[:n], func(a, b commitlog.Commit) bool {
		return a.Sequence == b.Sequence && bytes.Equal(a.Bytes, b.Bytes)
	})
}
