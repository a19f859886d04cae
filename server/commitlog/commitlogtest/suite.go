package commitlogtest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/webhook-gateway/webhook-gateway/server/commitlog"
)

// Harness gives the suite one log of the engine under test, on storage of its own.
type Harness struct {
	// Open opens the log once more, as another gateway does. The suite closes it.
	Open func(t *testing.T) commitlog.Log
}

// Run runs the suite. newHarness is called for each test.
func Run(t *testing.T, newHarness func(t *testing.T) Harness) {
	for _, test := range []struct {
		name string
		run  func(t *testing.T, h Harness)
	}{
		{"commits are read as they were appended", testAppendRead},
		{"a sequence has one commit", testOneCommit},
		{"what others append is seen", testChanged},
		{"racing writers", testRace},
		{"a commit that is sent again is there once", testAgain},
		{"large commits", testLarge},
		{"trim", testTrim},
		{"a trim of everything", testTrimAll},
		{"a log that was closed", testClosed},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			test.run(t, newHarness(t))
		})
	}
}

// patience is far more than any step of a test takes, elections on a busy machine among them.
const patience = 3 * time.Minute

func open(t *testing.T, h Harness) commitlog.Log {
	t.Helper()
	log := h.Open(t)
	t.Cleanup(func() {
		if err := log.Close(); err != nil {
			t.Errorf("Close() = %v", err)
		}
	})
	return log
}

func bounded(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	return ctx
}

// settle appends a commit with Settle, and fails the test if it is not this one that stands
// there.
func settle(t *testing.T, log commitlog.Log, after commitlog.Sequence, commit string) commitlog.Sequence {
	t.Helper()
	at, err := commitlog.Settle(bounded(t), log, after, []byte(commit))
	if err != nil || at <= after {
		t.Fatalf("Settle(%d, %.40q) = %d, %v", after, commit, at, err)
	}
	return at
}

// settleAll appends commits to an empty log, one after the other, and returns their sequences.
func settleAll(t *testing.T, log commitlog.Log, commits ...string) (at []commitlog.Sequence) {
	t.Helper()
	var after commitlog.Sequence
	for _, commit := range commits {
		after = settle(t, log, after, commit)
		at = append(at, after)
	}
	return at
}

// trim trims a log. As gateways do, it tries again what an engine that is busy, or elects, could not do.
func trim(t *testing.T, log commitlog.Log, upTo commitlog.Sequence) {
	t.Helper()
	ctx := bounded(t)
	err := log.Trim(ctx, upTo)
	for err != nil && ctx.Err() == nil {
		<-time.After(10 * time.Millisecond)
		err = log.Trim(ctx, upTo)
	}
	if err != nil {
		t.Fatalf("Trim() = %v", err)
	}
}

// readN reads commits after a sequence, and waits until there are as many.
func readN(t *testing.T, log commitlog.Log, after commitlog.Sequence, n int) (commits []string) {
	t.Helper()
	ctx := bounded(t)
	for len(commits) < n {
		changed := log.Changed()
		for commit, err := range log.Read(ctx, after) {
			if err != nil {
				t.Fatalf("Read(%d) yields %v", after, err)
			}
			if commit.Sequence <= after {
				t.Fatalf("after %d comes %d", after, commit.Sequence)
			}
			after = commit.Sequence
			commits = append(commits, string(commit.Bytes))
		}
		if len(commits) >= n {
			break
		}
		select {
		case <-changed:
		case <-ctx.Done():
			t.Fatalf("nothing comes after %d", after)
		}
	}
	return commits
}

func testAppendRead(t *testing.T, h Harness) {
	log, other := open(t, h), open(t, h)
	commits := []string{"a", "b", "c", "d", "e", "f", "g"}
	at := settleAll(t, log, commits...)
	for _, l := range []commitlog.Log{log, other, open(t, h)} {
		for _, i := range []int{0, 3, 6, 1} {
			if got := readN(t, l, at[i], len(commits)-i-1); !slices.Equal(got, commits[i+1:]) {
				t.Errorf("after %q comes %q", commits[i], got)
			}
		}
	}
}

func testOneCommit(t *testing.T, h Harness) {
	log, other := open(t, h), open(t, h)
	first := settle(t, log, 0, "first")
	if at, err := other.Append(bounded(t), 0, []byte("second")); err == nil {
		t.Errorf("another commit is there too, at %d", at)
	}
	if at, err := commitlog.Settle(bounded(t), other, 0, []byte("second")); err != nil || at != 0 {
		t.Errorf("Settle() = %v, %v", at, err)
	}
	if at, err := log.Append(bounded(t), first+7, []byte("far")); err == nil {
		t.Errorf("a commit is taken that comes after none, at %d", at)
	}
	settle(t, other, first, "second")
	if got := readN(t, log, 0, 2); !slices.Equal(got, []string{"first", "second"}) {
		t.Errorf("it has %q", got)
	}
}

func testChanged(t *testing.T, h Harness) {
	log, other := open(t, h), open(t, h)
	read := make(chan []string)
	go func() { read <- readN(t, other, 0, 3) }()
	settleAll(t, log, "a", "b", "c")
	if got := <-read; !slices.Equal(got, []string{"a", "b", "c"}) {
		t.Errorf("read %q", got)
	}
}

// testRace has writers append, each after what it has read, and decide again when another
// was first.
func testRace(t *testing.T, h Harness) {
	const writers, each = 3, 40
	reader := open(t, h)
	var group sync.WaitGroup
	for w := range writers {
		log := open(t, h)
		group.Go(func() { race(t, log, fmt.Sprint("writer ", w), each) })
	}
	group.Wait()
	seen := make(map[string]int)
	for _, commit := range readN(t, reader, 0, writers*each) {
		seen[commit]++
	}
	for w := range writers {
		for i := range each {
			if name := fmt.Sprintf("writer %d: %d", w, i); seen[name] != 1 {
				t.Errorf("%q is there %d times", name, seen[name])
			}
		}
	}
}

func race(t *testing.T, log commitlog.Log, name string, n int) {
	ctx := bounded(t)
	var after commitlog.Sequence
	for i := 0; i < n; {
		for commit, err := range log.Read(ctx, after) {
			if err != nil {
				t.Errorf("Read(%d) yields %v", after, err)
				return
			}
			after = commit.Sequence
		}
		at, err := commitlog.Settle(ctx, log, after, fmt.Appendf(nil, "%s: %d", name, i))
		if err != nil {
			t.Errorf("Settle(%d) = %v", after, err)
			return
		}
		if at > 0 {
			after = at
			i++
		}
	}
}

func testAgain(t *testing.T, h Harness) {
	log := open(t, h)
	first := settle(t, log, 0, "first")
	if again := settle(t, log, 0, "first"); again != first { // its answer was lost
		t.Errorf("it is at %d, and at %d", first, again)
	}
	_, _ = log.Append(bounded(t), 0, []byte("first"))
	settle(t, log, first, "second")
	if got := readN(t, log, 0, 2); !slices.Equal(got, []string{"first", "second"}) {
		t.Errorf("it has %q", got)
	}
}

func testLarge(t *testing.T, h Harness) {
	log, other := open(t, h), open(t, h)
	var commits []string
	for i, size := range []int{1, 900 << 10, 3 << 20, 20 << 20, 1} {
		var commit strings.Builder
		for j := 0; commit.Len() < size; j++ {
			commit.WriteString(strings.Repeat(string([]byte{byte(i + j)}), min(1000, size-commit.Len())))
		}
		commits = append(commits, commit.String())
	}
	settleAll(t, log, commits...)
	for i, got := range readN(t, other, 0, len(commits)) {
		if got != commits[i] {
			t.Errorf("commit %d has %d bytes, and differs from one of %d", i, len(got), len(commits[i]))
		}
	}
}

func testTrim(t *testing.T, h Harness) {
	log, other := open(t, h), open(t, h)
	at := settleAll(t, log, "a", "b", "c", "d", "e", "f")
	for range 2 {
		trim(t, log, at[3])
	}
	for _, l := range []commitlog.Log{log, open(t, h)} {
		if got := readN(t, l, at[3], 2); !slices.Equal(got, []string{"e", "f"}) {
			t.Errorf("after the trim it has %q", got)
		}
		var trimmed *commitlog.TrimmedError
		for _, err := range l.Read(bounded(t), at[1]) {
			if !errors.As(err, &trimmed) || trimmed.Trimmed < at[3] {
				t.Errorf("Read() yields %v", err)
			}
			break
		}
		if trimmed == nil {
			t.Error("what is trimmed is missing without a word")
		}
	}
	settle(t, other, at[5], "g")
}

func testTrimAll(t *testing.T, h Harness) {
	log := open(t, h)
	at := settleAll(t, log, "a", "b", "c")
	trim(t, log, at[2])
	for _, l := range []commitlog.Log{log, open(t, h)} {
		for i, after := range []commitlog.Sequence{0, at[0], at[2]} {
			var yielded error
			for _, err := range l.Read(bounded(t), after) {
				yielded = err
			}
			var trimmed *commitlog.TrimmedError
			if gone := errors.As(yielded, &trimmed) && trimmed.Trimmed == at[2]; gone != (i < 2) || !gone && yielded != nil {
				t.Errorf("Read(%d) yields %v", after, yielded)
			}
		}
	}
	settle(t, log, at[2], "d")
	if got := readN(t, open(t, h), at[2], 1); !slices.Equal(got, []string{"d"}) {
		t.Errorf("after the trim comes %q", got)
	}
}

func testClosed(t *testing.T, h Harness) {
	log := h.Open(t)
	settle(t, log, 0, "first")
	for range 2 {
		if err := log.Close(); err != nil {
			t.Fatalf("Close() = %v", err)
		}
	}
	if _, err := log.Append(bounded(t), 1, []byte("second")); !errors.Is(err, commitlog.ErrClosed) {
		t.Errorf("Append() = %v", err)
	}
	for _, err := range log.Read(bounded(t), 0) {
		if !errors.Is(err, commitlog.ErrClosed) {
			t.Errorf("Read() yields %v", err)
		}
	}
	if err := log.Err(); !errors.Is(err, commitlog.ErrClosed) {
		t.Errorf("Err() = %v", err)
	}
}
