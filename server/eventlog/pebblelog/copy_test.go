package pebblelog

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/webhook-gateway/webhook-gateway/server/commitlog"
	"github.com/webhook-gateway/webhook-gateway/server/commitlog/commitlogtest"
	"github.com/webhook-gateway/webhook-gateway/server/eventlog"
	"github.com/webhook-gateway/webhook-gateway/server/eventlog/eventlogtest"
)

func TestSharedStateConformance(t *testing.T) {
	eventlogtest.RunState(t, func(*testing.T) eventlogtest.StateHarness {
		disk, memory := vfs.NewCrashableMem(), commitlogtest.NewMemory()
		return eventlogtest.StateHarness{
			Open:  func(t *testing.T) eventlog.StateStore { return openShared(t, disk, commitsOf(t, memory)) },
			Crash: func(*testing.T) { disk = disk.CrashClone(vfs.CrashCloneCfg{}) },
		}
	})
}

// TestOldCopyCatchesUp: a copy that was put back, and one that a machine lost, become what
// the others have.
func TestOldCopyCatchesUp(t *testing.T) {
	memory, disk := commitlogtest.NewMemory(), vfs.NewCrashableMem()
	one := openShared(t, vfs.NewMem(), commitsOf(t, memory))
	two := openShared(t, disk, commitsOf(t, memory))
	appendMany(t, two, "before", 10)
	old := disk.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: 0})
	if err := two.Close(); err != nil {
		t.Fatal(err)
	}
	appendMany(t, one, "after", 10)
	for name, disk := range map[string]vfs.FS{"old": old, "crashed": disk.CrashClone(vfs.CrashCloneCfg{}), "closed": disk, "lost": vfs.NewMem()} {
		t.Run(name, func(t *testing.T) {
			sameLogs(t, one, openShared(t, disk, commitsOf(t, memory)))
		})
	}
}

// sameLogs compares what two gateways have.
func sameLogs(t *testing.T, a, b *Log) {
	t.Helper()
	for _, log := range []*Log{a, b, a, b} { // one may have something to say when it has read what the other says
		eventually(t, log, func() bool { return log.Sync(t.Context()) == nil }) // it may be made anew
	}
	if a.ID() != b.ID() || a.Bounds() != b.Bounds() {
		t.Errorf("logs %v and %v, bounds %v and %v", a.ID(), b.ID(), a.Bounds(), b.Bounds())
	}
	want, got := pairsOf(t, a), pairsOf(t, b)
	for key, value := range want {
		if got[key] != value {
			t.Errorf("key %q: %q and %q", key, value, got[key])
		}
	}
	if len(want) != len(got) {
		t.Errorf("%d and %d keys", len(want), len(got))
	}
	if a, b := fmt.Sprint(a.History().Starts()), fmt.Sprint(b.History().Starts()); a != b {
		t.Errorf("epochs %v and %v", a, b)
	}
}

// pairsOf returns all of a copy that is shared.
func pairsOf(t *testing.T, log *Log) map[string]string {
	t.Helper()
	log.storeMu.RLock()
	defer log.storeMu.RUnlock()
	it, err := log.store.db.NewIter(nil)
	if err != nil {
		t.Fatal(err)
	}
	pairs := make(map[string]string)
	for ok := it.First(); ok; ok = it.Next() {
		// The clock goes on meanwhile.
		if it.Key()[0] != prefixCopy && string(it.Key()) != string(metaKey(metaClock)) {
			pairs[string(it.Key())] = string(it.Value())
		}
	}
	if err := it.Close(); err != nil {
		t.Fatal(err)
	}
	return pairs
}

func appendMany(t *testing.T, log *Log, name string, n int) {
	t.Helper()
	for i := range n {
		id := fmt.Sprint(name, " ", i)
		if _, err := log.Append(t.Context(), eventlogtest.Entry(t, "acme", id, id)); err != nil {
			t.Fatal(err)
		}
	}
}

// TestDamagedCopyIsMadeAnew: whatever of a copy is damaged, nothing is lost and nobody is
// told of a gap.
func TestDamagedCopyIsMadeAnew(t *testing.T) {
	for name, damage := range map[string]func(t *testing.T, disk vfs.FS){
		"a table":            func(t *testing.T, disk vfs.FS) { damageFiles(t, disk, ".sst", false) },
		"a table is missing": func(t *testing.T, disk vfs.FS) { damageFiles(t, disk, ".sst", true) },
		"the manifest":       func(t *testing.T, disk vfs.FS) { damageFiles(t, disk, "MANIFEST", false) },
		"its marker":         func(t *testing.T, disk vfs.FS) { damageFiles(t, disk, manifestMarker, true) },
		"its place": func(t *testing.T, disk vfs.FS) {
			change(t, disk, "log", func(b *pebble.Batch) error { return b.Set(placeKey, []byte("?"), nil) })
		},
		"an event": func(t *testing.T, disk vfs.FS) {
			change(t, disk, "log", func(b *pebble.Batch) error { return b.Set(eventKey(50), []byte("?"), nil) })
		},
		"an event is missing": func(t *testing.T, disk vfs.FS) {
			change(t, disk, "log", func(b *pebble.Batch) error { return b.Delete(eventKey(50), nil) })
		},
		"the epochs": func(t *testing.T, disk vfs.FS) {
			change(t, disk, "log", func(b *pebble.Batch) error {
				return b.DeleteRange([]byte{prefixHistory}, []byte{prefixHistory + 1}, nil)
			})
		},
	} {
		t.Run(name, func(t *testing.T) {
			memory, disk := commitlogtest.NewMemory(), vfs.NewMem()
			one := openShared(t, vfs.NewMem(), commitsOf(t, memory))
			two := openShared(t, disk, commitsOf(t, memory))
			appendMany(t, two, "event", 100)
			if err := errors.Join(two.store.db.Flush(), two.Close()); err != nil {
				t.Fatal(err)
			}
			damage(t, disk)
			appendMany(t, one, "more", 5)
			two = openShared(t, disk, commitsOf(t, memory))
			eventually(t, two, func() bool {
				_, current := two.CatchUp()
				return current && readsWhole(t, two) == 105
			})
			if two.shared.rebuilt.Load() != 1 {
				t.Errorf("made anew %d times", two.shared.rebuilt.Load())
			}
			sameLogs(t, one, two)
		})
	}
}

// eventually waits until something is true of a log that works in the background.
func eventually(t *testing.T, log *Log, is func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !is(); {
		if time.Now().After(deadline) {
			t.Fatal("it does not come to be")
		}
		_ = log.Sync(t.Context()) // takes its time
	}
}

// readsWhole returns how many events can be read. No reader is told that any is damaged.
func readsWhole(t *testing.T, log *Log) (n int) {
	t.Helper()
	for _, err := range log.Read(t.Context(), 0) {
		if errors.As(err, new(*eventlog.DamagedError)) {
			t.Errorf("a reader is told: %v", err)
		}
		if err != nil {
			return 0
		}
		n++
	}
	return n
}

// damageFiles changes files, or removes them.
func damageFiles(t *testing.T, disk vfs.FS, name string, remove bool) {
	t.Helper()
	names, err := disk.List("log")
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, file := range names {
		if !strings.Contains(file, name) {
			continue
		}
		n++
		if remove {
			err = disk.Remove(disk.PathJoin("log", file))
		} else {
			err = overwriteMiddle(disk, disk.PathJoin("log", file))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if n == 0 {
		t.Fatalf("no file %s among %v", name, names)
	}
}

func overwriteMiddle(disk vfs.FS, path string) error {
	info, err := disk.Stat(path)
	if err != nil {
		return err
	}
	file, err := disk.OpenReadWrite(path, vfs.WriteCategoryUnspecified)
	if err != nil {
		return err
	}
	for at := info.Size() / 4; at < info.Size()*3/4; at += 64 {
		if _, err := file.WriteAt([]byte("damage"), at); err != nil {
			return err
		}
	}
	return errors.Join(file.Sync(), file.Close())
}

// change changes keys of a log that is closed.
func change(t *testing.T, disk vfs.FS, path string, change func(*pebble.Batch) error) {
	t.Helper()
	db, err := pebble.Open(path, &pebble.Options{FS: disk, FormatMajorVersion: formatVersion})
	if err != nil {
		t.Fatal(err)
	}
	batch := db.NewBatch()
	if err := errors.Join(change(batch), batch.Commit(pebble.Sync), batch.Close(), db.Close()); err != nil {
		t.Fatal(err)
	}
}

// TestCopyRefusals: a folder of something else is refused, and nothing of it is touched.
func TestCopyRefusals(t *testing.T) {
	memory, disk := commitlogtest.NewMemory(), vfs.NewMem()
	log := openShared(t, disk, commitsOf(t, memory))
	appendMany(t, log, "event", 5)
	if err := log.Close(); err != nil {
		t.Fatal(err)
	}
	alone := vfs.NewMem()
	if err := mustOpen(t, testConfig("log"), WithFS(alone)).Close(); err != nil {
		t.Fatal(err)
	}
	other := commitlogtest.NewMemory()
	openShared(t, vfs.NewMem(), commitsOf(t, other))
	refused := func(name, want string, disk vfs.FS, options ...Option) {
		log, err := Open(testConfig("log"), testLogger(), append(options, WithFS(disk))...)
		if err == nil {
			_ = log.Close()
		}
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", name, err, want)
		}
	}
	refused("a copy without its commit log", "configure its store.commit_log", disk)
	refused("the log of one machine", "log copy", alone, WithCommits(t.Context(), commitsOf(t, memory)))
	// The commit log of another event log is found out only when it answers: until then nothing
	// is served that it has.
	sameLogs(t, openShared(t, disk, commitsOf(t, memory)), openShared(t, vfs.NewMem(), commitsOf(t, memory)))
}

// TestStartWithoutCommitLog: with a copy a gateway serves reads while the commit log does not
// answer, and goes on when it does.
func TestStartWithoutCommitLog(t *testing.T) {
	memory, disk := commitlogtest.NewMemory(), vfs.NewMem()
	log := openShared(t, disk, commitsOf(t, memory))
	appendMany(t, log, "event", 5)
	if err := log.Close(); err != nil {
		t.Fatal(err)
	}
	down := &switched{Log: commitsOf(t, memory)}
	down.off.Store(true)
	log = mustOpen(t, testConfig("log"), WithFS(disk), WithCommits(t.Context(), down))
	if n := readsWhole(t, log); n != 5 {
		t.Errorf("%d events are served", n)
	}
	if log.Err() == nil {
		t.Error("it says that it takes events")
	}
	down.off.Store(false)
	<-log.Current()
	appendMany(t, log, "more", 5)
	if err := log.Err(); err != nil {
		t.Error(err)
	}
}

// switched is a commit log that can be off.
type switched struct {
	commitlog.Log
	off, noAppends atomic.Bool
}

var errOff = errors.New("no server answers")

func (s *switched) Append(ctx context.Context, after commitlog.Sequence, commit []byte) (commitlog.Sequence, error) {
	if s.off.Load() || s.noAppends.Load() {
		return 0, errOff
	}
	return s.Log.Append(ctx, after, commit)
}

func (s *switched) Read(ctx context.Context, after commitlog.Sequence) iter.Seq2[commitlog.Commit, error] {
	if s.off.Load() {
		return func(yield func(commitlog.Commit, error) bool) { yield(commitlog.Commit{}, errOff) }
	}
	return s.Log.Read(ctx, after)
}

func (s *switched) Err() error {
	if s.off.Load() {
		return errOff
	}
	return nil
}

// TestSeedFromBackup: a gateway that begins with a backup of another has the rest from the
// commit log.
func TestSeedFromBackup(t *testing.T) {
	memory := commitlogtest.NewMemory()
	one := mustOpen(t, testConfig(t.TempDir()), WithCommits(t.Context(), commitsOf(t, memory)))
	<-one.retained // what it commits by itself is there
	appendMany(t, one, "before", 20)
	backup := backUp(t, one)
	if report := mustVerifyBackup(t, backup); !report.OK() {
		t.Errorf("the backup: %v", report.Problems)
	}
	at := memory.Len()
	appendMany(t, one, "after", 5)
	path, _ := mustRestore(t, backup)
	reads := &countsReads{Log: commitsOf(t, memory)}
	reads.from.Store(uint64(memory.Len()))
	two := mustOpen(t, testConfig(path), WithCommits(t.Context(), reads))
	<-two.Current()
	sameLogs(t, one, two)
	if from := commitlog.Sequence(reads.from.Load()); from < at-2 { // the last two are compared
		t.Errorf("it read from commit %d on, want %d", from, at-2)
	}
}

func mustVerifyBackup(t *testing.T, backup []byte) *Report {
	t.Helper()
	path, _ := mustRestore(t, backup)
	return mustVerify(t, path)
}

// countsReads knows the earliest sequence that was read after. One reads at a time.
type countsReads struct {
	commitlog.Log
	from atomic.Uint64
}

func (c *countsReads) Read(ctx context.Context, after commitlog.Sequence) iter.Seq2[commitlog.Commit, error] {
	c.from.Store(min(c.from.Load(), uint64(after)))
	return c.Log.Read(ctx, after)
}
