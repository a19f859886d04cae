package pebblelog

import (
	"errors"
	"fmt"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
	"github.com/google/go-cmp/cmp"

	"github.com/webhook-gateway/webhook-gateway/server/eventlog"
	"github.com/webhook-gateway/webhook-gateway/server/eventlog/eventlogtest"
)

// epochsOf returns the table of epochs as it is stored.
func epochsOf(t *testing.T, log *Log) []eventlog.EpochStart {
	t.Helper()
	s := &store{db: log.store.db, logger: testLogger(), id: log.ID(), head: mark{position: log.Bounds().Head}}
	if err := s.loadEpochs(headMark{}); err != nil {
		t.Fatal(err)
	}
	return s.epochs
}

// TestOlderCopyOnDisk copies the folder at event N, goes on for ten events, puts
// the copy back and stores others.
func TestOlderCopyOnDisk(t *testing.T) {
	const n = 50
	for _, test := range []struct {
		name string
		// copy copies the folder, at N, and may close and open the log.
		copy func(t *testing.T, log *Log, config Config, to string) *Log
		last eventlog.Position
	}{
		{
			"of the running log", func(t *testing.T, log *Log, _ Config, to string) *Log {
				if err := log.store.db.Checkpoint(to); err != nil {
					t.Fatal(err)
				}
				return log
			}, n,
		},
		{
			// The lost events are of an epoch that the copy has never heard of.
			"of the closed log", func(t *testing.T, log *Log, config Config, to string) *Log {
				if err := log.Close(); err != nil {
					t.Fatal(err)
				}
				copyFolder(t, to, config.Path)
				return mustOpen(t, config)
			}, 0,
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			config := testConfig(t.TempDir())
			log := mustOpen(t, config)
			for i := range n {
				mustAppend(t, log, "", fmt.Sprint("event ", i))
			}
			copied := filepath.Join(t.TempDir(), "copy")
			log = test.copy(t, log, config, copied)
			for i := range 10 {
				mustAppend(t, log, "", fmt.Sprint("lost ", i))
			}
			var cursors, ids []string
			for p := range eventlog.Position(n + 10 + 1) {
				cursors = append(cursors, log.History().FormatCursor(p))
				ids = append(ids, log.History().FormatEventID(p))
			}
			if err := log.Close(); err != nil {
				t.Fatal(err)
			}

			replaceFolder(t, config.Path, copied)
			log = mustOpen(t, config)
			for i := range 21 {
				if i > 0 {
					mustAppend(t, log, "", fmt.Sprint("other ", i))
				}
				for p := range eventlog.Position(len(cursors)) {
					want := p
					var wantErr error
					if p > n {
						want, wantErr = 0, &eventlog.HistoryLostError{Last: test.last}
					}
					wantParsed(t, log.History().ParseCursor, cursors[p], want, wantErr)
					wantParsed(t, log.History().ParseEventID, ids[p], want, wantErr)
				}
			}
			if head := log.Bounds().Head; head != n+20 {
				t.Errorf("head %d, want %d", head, n+20)
			}
		})
	}
}

func wantParsed(t *testing.T, parse func(string) (eventlog.Position, error), s string, want eventlog.Position, wantErr error) {
	t.Helper()
	got, err := parse(s)
	if got != want || fmt.Sprint(err) != fmt.Sprint(wantErr) {
		t.Errorf("parsed %d, %v, want %d, %v", got, err, want, wantErr)
	}
}

// TestEpochIsStoredWithItsFirstEvent looks at the table itself.
func TestEpochIsStoredWithItsFirstEvent(t *testing.T) {
	disk := vfs.NewCrashableMem()
	log := mustOpen(t, testConfig("log"), WithFS(disk))
	if epochs := epochsOf(t, log); len(epochs) != 0 {
		t.Errorf("epochs %v in an empty log", epochs)
	}
	if _, err := log.AcquireScope(t.Context(), "scope"); err != nil { // a write that is no event
		t.Fatal(err)
	}
	if epochs := epochsOf(t, log); len(epochs) != 0 {
		t.Errorf("epochs %v without an event", epochs)
	}
	mustAppend(t, log, "id", "body")
	want := log.History().Starts()
	mustAppend(t, log, "id", "body") // a duplicate
	mustAppend(t, log, "", "body")
	if diff := cmp.Diff(want, epochsOf(t, log)); diff != "" {
		t.Errorf("epochs (-want +got):\n%s", diff)
	}
	for range 3 {
		disk = disk.CrashClone(vfs.CrashCloneCfg{})
		log = mustOpen(t, testConfig("log"), WithFS(disk))
		if receipt := mustAppend(t, log, "id", "body"); !receipt.Duplicate {
			t.Errorf("receipt %+v, want a duplicate", receipt)
		}
		if diff := cmp.Diff(want, epochsOf(t, log)); diff != "" {
			t.Errorf("epochs after a run without an event (-want +got):\n%s", diff)
		}
	}
	if err := log.Trim(t.Context(), 2); err != nil {
		t.Fatal(err)
	}
	mustAppend(t, log, "", "body")
	want = append(want, eventlog.EpochStart{Epoch: log.History().Starts()[1].Epoch, First: 3})
	if diff := cmp.Diff(want, epochsOf(t, log)); diff != "" {
		t.Errorf("epochs after a trim and a third event (-want +got):\n%s", diff)
	}
}

// TestEpochAfterDiskFailure has the disk fail under the first event of a run: what
// was written or not of it, the log goes on in another epoch.
func TestEpochAfterDiskFailure(t *testing.T) {
	fault := &fault{err: syscall.EIO, match: to("*.log", errorfs.OpFileSync, errorfs.OpFileSyncData, errorfs.OpFileSyncTo)}
	log := mustOpen(t, testConfig("log"), WithFS(errorfs.Wrap(vfs.NewMem(), fault)))
	first := log.History()
	fault.on.Store(true)
	if _, err := log.Append(t.Context(), eventlogtest.Entry(t, "client", "", "body")); err == nil {
		t.Fatal("Append() succeeded on a disk that fails")
	}
	fault.on.Store(false)
	load := newLoad(log)
	load.appendUntilAcked(t, "id")
	starts := log.History().Starts()
	newest, position := starts[len(starts)-1], load.acked["id"].position
	if newest.First != position || newest == first.Starts()[0] {
		t.Errorf("epochs %v, want one that begins at %d", starts, position)
	}
	if diff := cmp.Diff(starts, epochsOf(t, log)); diff != "" {
		t.Errorf("epochs (-want +got):\n%s", diff)
	}
}

// TestDamagedEpochs damages the table. The log opens, and what it cannot tell of a
// cursor it refuses.
func TestDamagedEpochs(t *testing.T) {
	for name, damage := range map[string]func(b *pebble.Batch) error{
		"none": func(b *pebble.Batch) error {
			return b.DeleteRange([]byte{prefixHistory}, []byte{prefixHistory + 1}, nil)
		},
		"not yet": func(b *pebble.Batch) error {
			key, value := epochPair(eventlog.EpochStart{Epoch: 1, First: 9})
			return b.Set(key, value, nil)
		},
		"twice": func(b *pebble.Batch) error {
			key, _ := epochPair(eventlog.EpochStart{First: 2})
			_, value := epochPair(eventlog.EpochStart{Epoch: 0})
			return b.Set(key, value, nil)
		},
		"malformed": func(b *pebble.Batch) error {
			return b.Set([]byte{prefixHistory, 1}, nil, nil)
		},
	} {
		for _, marked := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s, mark %t", name, marked), func(t *testing.T) {
				disk := vfs.NewMem()
				log := mustOpen(t, testConfig("log"), WithFS(disk))
				mustAppend(t, log, "", "body")
				log = reopen(t, log, WithFS(disk)) // for another epoch
				mustAppend(t, log, "", "body")
				mustAppend(t, log, "", "body")
				var cursors []string
				for p := range eventlog.Position(4) {
					cursors = append(cursors, log.History().FormatCursor(p))
				}
				b := log.store.db.NewBatch()
				if err := errors.Join(damage(b), b.Commit(pebble.Sync), log.Close()); err != nil {
					t.Fatal(err)
				}
				if !marked {
					if err := disk.Remove("log/" + headMarkName); err != nil {
						t.Fatal(err)
					}
				}
				for range 2 { // what was made anew stays
					log = mustOpen(t, testConfig("log"), WithFS(disk))
					for p, cursor := range cursors {
						wantParsed(t, log.History().ParseCursor, cursor, eventlog.Position(p), nil)
					}
					if err := log.Close(); err != nil {
						t.Fatal(err)
					}
				}
				log = mustOpen(t, testConfig("log"), WithFS(disk))
				want := eventlog.Position(4)
				if name == "not yet" {
					want = 10 // position 9 was given out
				}
				if receipt := mustAppend(t, log, "", "body"); receipt.Position != want {
					t.Errorf("position %d, want %d", receipt.Position, want)
				}
				if positions, _ := readAll(t, log, 0); len(positions) != 4 {
					t.Errorf("events %v, want 4", positions)
				}
			})
		}
	}
}

// reopen closes a log and opens it again.
func reopen(t *testing.T, log *Log, options ...Option) *Log {
	t.Helper()
	if err := log.Close(); err != nil {
		t.Fatal(err)
	}
	return mustOpen(t, log.config, options...)
}
