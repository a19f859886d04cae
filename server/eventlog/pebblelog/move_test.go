package pebblelog

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/webhook-gateway/webhook-gateway/server/commitlog"
	"github.com/webhook-gateway/webhook-gateway/server/commitlog/commitlogtest"
	"github.com/webhook-gateway/webhook-gateway/server/eventlog"
	"github.com/webhook-gateway/webhook-gateway/server/eventlog/eventlogtest"
)

// oneMachine makes the log of one machine in a folder, with all that there can be in one.
func oneMachine(t *testing.T, path string) {
	t.Helper()
	for start := range 2 {
		log := mustOpen(t, testConfig(path))
		appendMany(t, log, fmt.Sprint("start ", start), 50)
		mustAppend(t, log, "conflict", fmt.Sprint(start))
		term, err := log.AcquireScope(t.Context(), "worker")
		if err != nil {
			t.Fatal(err)
		}
		state := []eventlog.StateMutation{{Key: []byte("key"), Value: fmt.Append(nil, start)}}
		if err := log.CommitScope(t.Context(), "worker", term, state); err != nil {
			t.Fatal(err)
		}
		if err := log.Trim(t.Context(), eventlog.Position(10*(start+1))); err != nil {
			t.Fatal(err)
		}
		if err := log.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// TestMove: what was moved is the same log, and the folder that it was in is sealed.
func TestMove(t *testing.T) {
	path, memory := t.TempDir(), commitlogtest.NewMemory()
	oneMachine(t, path)
	before := mustOpen(t, testConfig(path))
	id, bounds, cursor, want := before.ID(), before.Bounds(), before.History().FormatCursor(90), eventsAfter(t, before, 20)
	if err := before.Close(); err != nil {
		t.Fatal(err)
	}
	commits := commitsOf(t, memory)
	moved, err := Move(t.Context(), path, false, commits, "a stream", testLogger(), nil)
	if err != nil || !moved.Sealed || moved.Head != bounds.Head || moved.LogID != id.String() {
		t.Fatalf("Move() = %+v, %v", moved, err)
	}
	log := openShared(t, vfs.NewMem(), commits)
	if log.ID() != id || log.Bounds() != bounds {
		t.Errorf("log %v, bounds %v; want %v, %v", log.ID(), log.Bounds(), id, bounds)
	}
	if got := eventsAfter(t, log, 20); strings.Join(got, "") != strings.Join(want, "") {
		t.Errorf("%d events, want the same %d", len(got), len(want))
	}
	if p, err := log.History().ParseCursor(cursor); err != nil || p != 90 {
		t.Errorf("a cursor is %d, %v", p, err)
	}
	if receipt := mustAppend(t, log, "conflict", "0"); !receipt.Duplicate {
		t.Errorf("an event id that was moved: %+v", receipt)
	}
	for pair, err := range log.ReadScope(t.Context(), "worker", nil, nil) {
		if err != nil || string(pair.Value) != "1" {
			t.Errorf("state %s, %v", pair.Value, err)
		}
	}
	epochs := len(log.History().Starts())
	mustAppend(t, log, "", "new")
	if got := log.History().Starts(); len(got) != epochs+1 || got[epochs].First != bounds.Head+1 {
		t.Errorf("epochs %v: want one that begins after the move", got)
	}
	if _, err := Open(testConfig(path), testLogger()); err == nil || !strings.Contains(err.Error(), "was moved (a stream, ") {
		t.Errorf("the folder is opened: %v", err)
	}
	for _, log := range []commitlog.Log{commits} {
		if _, err := Move(t.Context(), path, false, log, "a stream", testLogger(), nil); !errors.Is(err, errMoveInUse) {
			t.Errorf("it is moved again: %v", err)
		}
	}
	sameLogs(t, log, openShared(t, vfs.NewMem(), commitsOf(t, memory)))
}

func eventsAfter(t *testing.T, log *Log, after eventlog.Position) (values []string) {
	t.Helper()
	for record, err := range log.Read(t.Context(), after) {
		if err != nil {
			t.Fatal(err)
		}
		values = append(values, string(record.Value()))
	}
	return values
}

// TestMoveGoesOn: after every interruption, and from a backup that is ahead, moving goes on
// where it was. Gateways wait until it is done.
func TestMoveGoesOn(t *testing.T) {
	path, ahead, memory := t.TempDir(), t.TempDir(), commitlogtest.NewMemory()
	oneMachine(t, path)
	copyFolder(t, ahead, path)
	log := mustOpen(t, testConfig(path))
	appendMany(t, log, "since", 20)
	if err := log.Close(); err != nil {
		t.Fatal(err)
	}
	commits := commitsOf(t, memory)
	if moved, err := Move(t.Context(), ahead, true, commits, "", testLogger(), nil); err != nil || moved.Head != 102 || moved.Sealed {
		t.Fatalf("Move() ahead = %+v, %v", moved, err)
	}
	waiting := mustOpen(t, testConfig("log"), WithFS(vfs.NewMem()), WithCommits(t.Context(), commitsOf(t, memory)))
	if _, err := waiting.Append(t.Context(), eventlogtest.Entry(t, "acme", "early", "early")); !errors.Is(err, errMoving) {
		t.Errorf("an append meanwhile: %v", err)
	}
	tries := 0
	for ; ; tries++ {
		ctx, cancel := context.WithCancel(t.Context())
		moved, err := Move(ctx, path, false, &endsAfter{Log: commits, n: tries, end: cancel}, "", testLogger(), nil)
		cancel()
		if err == nil {
			if !moved.Sealed || moved.Head != 122 || tries > 0 && moved.Events == 102 {
				t.Errorf("Move() = %+v", moved)
			}
			break
		}
		if !errors.Is(err, context.Canceled) {
			t.Fatalf("Move() = %v", err)
		}
	}
	if tries < 3 {
		t.Errorf("it was interrupted %d times", tries)
	}
	<-waiting.Current()
	if n := len(eventsAfter(t, waiting, 20)); n != 102 {
		t.Errorf("%d events, want 102", n)
	}
}

// endsAfter ends a context at an append.
type endsAfter struct {
	commitlog.Log
	n   int
	end context.CancelFunc
}

func (e *endsAfter) Append(ctx context.Context, after commitlog.Sequence, commit []byte) (commitlog.Sequence, error) {
	if e.n--; e.n < 0 {
		e.end()
		return 0, errOff
	}
	return e.Log.Append(ctx, after, commit)
}

func TestMoveRefusals(t *testing.T) {
	path := t.TempDir()
	oneMachine(t, path)
	move := func(path string, memory *commitlogtest.Memory) error {
		_, err := Move(t.Context(), path, false, commitsOf(t, memory), "", testLogger(), nil)
		return err
	}
	used, other := commitlogtest.NewMemory(), commitlogtest.NewMemory()
	log := openShared(t, vfs.NewMem(), commitsOf(t, used))
	appendMany(t, log, "event", 1)
	elsewhere := t.TempDir()
	oneMachine(t, elsewhere)
	if err := move(elsewhere, other); err != nil {
		t.Fatal(err)
	}
	for name, err := range map[string]error{
		"has the event log": move(path, used),
		"and this is":       move(path, other),
		"has no event log":  move(t.TempDir(), commitlogtest.NewMemory()),
		"is in use already": move(elsewhere, other),
	} {
		if err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%q: %v", name, err)
		}
	}
	if err := mustOpen(t, testConfig(path)).Close(); err != nil {
		t.Errorf("a folder that was refused: %v", err)
	}
}

// TestMoveReadsStale: a commit log that shows less than it has, as engines do, makes no
// difference.
func TestMoveReadsStale(t *testing.T) {
	path, memory := t.TempDir(), commitlogtest.NewMemory()
	oneMachine(t, path)
	if _, err := Move(t.Context(), path, true, commitsOf(t, memory), "", testLogger(), nil); err != nil {
		t.Fatal(err)
	}
	moved, err := Move(t.Context(), path, false, &stale{Log: commitsOf(t, memory)}, "", testLogger(), nil)
	if err != nil || !moved.Sealed || moved.Events != 0 {
		t.Errorf("Move() = %+v, %v", moved, err)
	}
}

// stale shows the first commit alone until somebody appends.
type stale struct {
	commitlog.Log
	appended bool
}

func (s *stale) Append(ctx context.Context, after commitlog.Sequence, commit []byte) (commitlog.Sequence, error) {
	s.appended = true
	return s.Log.Append(ctx, after, commit)
}

func (s *stale) Read(ctx context.Context, after commitlog.Sequence) iter.Seq2[commitlog.Commit, error] {
	return func(yield func(commitlog.Commit, error) bool) {
		for commit, err := range s.Log.Read(ctx, after) {
			if commit.Sequence > 1 && !s.appended || !yield(commit, err) {
				return
			}
		}
	}
}
