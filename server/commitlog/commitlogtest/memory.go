// Package commitlogtest has the conformance suite of commit logs, and one in memory whose
// answers can be made as bad as those of a cluster under faults.
package commitlogtest

import (
	"context"
	"errors"
	"iter"
	"sync"

	"github.com/webhook-gateway/webhook-gateway/server/commitlog"
)

// Memory is a log of commits in memory, which several may have open.
type Memory struct {
	mu      sync.Mutex
	commits [][]byte
	trimmed commitlog.Sequence
	// room is for so many bytes of commits; -1: any.
	room int
	open map[*memoryLog]struct{}
}

// NewMemory returns an empty log.
func NewMemory() *Memory { return &Memory{room: -1, open: make(map[*memoryLog]struct{})} }

// Faults are what goes wrong with the appends of one who has the log open.
type Faults interface {
	// Before is called before an append is looked at. An error is its answer, and it is
	// not stored.
	Before(commit []byte) error
	// After is called when the append is decided. An error is its answer instead of the
	// true one.
	After(commit []byte, answer error) error
}

// Open opens the log. Without faults, nil, everything works.
func (m *Memory) Open(faults Faults) commitlog.Log {
	l := &memoryLog{memory: m, faults: faults, closed: make(chan struct{}), change: make(chan struct{})}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.open[l] = struct{}{}
	return l
}

// Len returns the sequence of the newest commit.
func (m *Memory) Len() commitlog.Sequence {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.head()
}

// Trimmed returns the sequence of the last commit that was trimmed.
func (m *Memory) Trimmed() commitlog.Sequence {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.trimmed
}

func (m *Memory) head() commitlog.Sequence {
	return m.trimmed + commitlog.Sequence(len(m.commits))
}

// Cut removes the newest commits down to a sequence, as an engine does that has lost its
// end.
func (m *Memory) Cut(to commitlog.Sequence) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.commits = m.commits[:to-m.trimmed]
}

// Fill leaves no room for more commits than there are. To trim some makes room.
func (m *Memory) Fill() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.room = 0
}

func (m *Memory) append(after commitlog.Sequence, commit []byte) (commitlog.Sequence, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if after != m.head() {
		return 0, commitlog.ErrTaken
	}
	if m.room >= 0 {
		if len(commit) > m.room {
			return 0, commitlog.ErrFull
		}
		m.room -= len(commit)
	}
	m.commits = append(m.commits, append([]byte(nil), commit...))
	for l := range m.open {
		close(l.change)
		l.change = make(chan struct{})
	}
	return m.head(), nil
}

type memoryLog struct {
	memory *Memory
	faults Faults
	change chan struct{} // guarded by memory.mu
	close  sync.Once
	closed chan struct{}
}

var _ commitlog.Log = (*memoryLog)(nil)

// Append implements commitlog.Log.
func (l *memoryLog) Append(ctx context.Context, after commitlog.Sequence, commit []byte) (commitlog.Sequence, error) {
	if err := l.err(ctx); err != nil {
		return 0, err
	}
	if l.faults == nil {
		return l.memory.append(after, commit)
	}
	if err := l.faults.Before(commit); err != nil {
		return 0, err
	}
	at, err := l.memory.append(after, commit)
	return at, l.faults.After(commit, err)
}

// Read implements commitlog.Log.
func (l *memoryLog) Read(ctx context.Context, after commitlog.Sequence) iter.Seq2[commitlog.Commit, error] {
	return func(yield func(commitlog.Commit, error) bool) {
		for next := after + 1; ; next++ {
			commit, err := l.read(ctx, next)
			if err == nil && commit.Bytes == nil {
				return
			}
			if !yield(commit, err) || err != nil {
				return
			}
		}
	}
}

// Newest implements commitlog.Log.
func (l *memoryLog) Newest() commitlog.Sequence { return l.memory.Len() }

func (l *memoryLog) read(ctx context.Context, s commitlog.Sequence) (commitlog.Commit, error) {
	if err := l.err(ctx); err != nil {
		return commitlog.Commit{}, err
	}
	m := l.memory
	m.mu.Lock()
	defer m.mu.Unlock()
	switch {
	case s <= m.trimmed:
		return commitlog.Commit{}, &commitlog.TrimmedError{After: s - 1, Trimmed: m.trimmed}
	case s > m.head():
		return commitlog.Commit{}, nil
	}
	return commitlog.Commit{Sequence: s, Bytes: m.commits[s-m.trimmed-1]}, nil
}

// Changed implements commitlog.Log.
func (l *memoryLog) Changed() <-chan struct{} {
	l.memory.mu.Lock()
	defer l.memory.mu.Unlock()
	return l.change
}

// Trim implements commitlog.Log.
func (l *memoryLog) Trim(ctx context.Context, upTo commitlog.Sequence) error {
	if err := l.err(ctx); err != nil {
		return err
	}
	m := l.memory
	m.mu.Lock()
	defer m.mu.Unlock()
	if upTo > m.head() {
		return errors.New("trim what is not there")
	}
	if upTo > m.trimmed {
		if m.room >= 0 {
			for _, commit := range m.commits[:upTo-m.trimmed] {
				m.room += len(commit)
			}
		}
		m.commits = m.commits[upTo-m.trimmed:]
		m.trimmed = upTo
	}
	return nil
}

// Err implements commitlog.Log.
func (l *memoryLog) Err() error { return l.err(context.Background()) }

func (l *memoryLog) err(ctx context.Context) error {
	select {
	case <-l.closed:
		return commitlog.ErrClosed
	default:
		return ctx.Err()
	}
}

// Close implements commitlog.Log.
func (l *memoryLog) Close() error {
	l.close.Do(func() {
		close(l.closed)
		l.memory.mu.Lock()
		defer l.memory.mu.Unlock()
		delete(l.memory.open, l)
	})
	return nil
}
