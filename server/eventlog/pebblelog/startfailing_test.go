package pebblelog

import (
	"bytes"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"github.com/webhook-gateway/webhook-gateway/server/eventlog/eventlogtest"
)

// A recorder keeps what is logged.
type recorder struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (r *recorder) Write(p []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.text.Write(p)
}

func (r *recorder) String() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.text.String()
}

func (r *recorder) logger() *slog.Logger { return slog.New(slog.NewTextHandler(r, nil)) }

// TestStartOnAFullDisk starts a log on a full disk: what is there can be read, events
// are refused, and it goes on when there is room.
func TestStartOnAFullDisk(t *testing.T) {
	for name, prepare := range map[string]func(*testing.T, *quotaFS) *load{
		"an empty folder":     func(*testing.T, *quotaFS) *load { return nil },
		"a log":               func(t *testing.T, disk *quotaFS) *load { return fillDisk(t, disk, false) },
		"a log after a crash": func(t *testing.T, disk *quotaFS) *load { return fillDisk(t, disk, true) },
	} {
		for _, free := range []int64{0, 1, 1000, 20_000, 300_000} {
			t.Run(name+" "+mebibytes(uint64(free)), func(t *testing.T) {
				t.Parallel()
				disk := newQuotaFS(4 << 30)
				load := prepare(t, disk)
				disk.fill(free)
				config := testConfig("log")
				config.DiskReserve = 1 << 30
				var logged recorder
				log, err := Open(config, logged.logger(), WithFS(disk))
				if err != nil {
					t.Fatalf("Open() = %v", err)
				}
				defer func() {
					if err := log.Close(); err != nil {
						t.Errorf("Close() = %v", err)
					}
				}()
				id := log.ID()
				if err := log.Err(); err == nil {
					t.Errorf("Err() = nil on a full disk")
				}
				if _, err := log.Append(t.Context(), eventlogtest.Entry(t, "client", "", "body")); err == nil {
					t.Error("Append() succeeded on a full disk")
				}
				if load != nil {
					load.log = log
					load.verify(t, log, load.acked)
				}
				disk.resize(4 << 30)
				waitUntil(t, "the log works", func() bool { return log.Err() == nil })
				if log.ID() != id || log.store.id != id {
					t.Errorf("the log is %v and was %v", log.store.id, id)
				}
				if load == nil {
					load = newLoad(log)
				}
				load.run(t, "after", 80)
				load.verify(t, log, load.acked)
				if text := logged.String(); strings.Contains(text, "corrupt") || strings.Contains(text, "damaged") || strings.Contains(text, "goroutine ") {
					t.Errorf("a full disk raised a false alarm:\n%s", text)
				}
			})
		}
	}
}

// fillDisk stores events that are not flushed.
func fillDisk(t *testing.T, disk *quotaFS, crash bool) *load {
	t.Helper()
	config := testConfig("log")
	config.DiskReserve = 1 << 30
	log := mustOpen(t, config, WithFS(disk))
	load := newLoad(log)
	load.body = noise(1, 2000)
	load.run(t, "before", 800)
	if crash {
		log.store.fence.fail(errCrash)
	}
	if err := log.Close(); err != nil {
		t.Fatal(err)
	}
	return load
}

// TestStartWithoutAFolder has not even the folder made.
func TestStartWithoutAFolder(t *testing.T) {
	fault := &fault{err: syscall.ENOSPC, match: isWrite}
	fault.on.Store(true)
	log := mustOpen(t, testConfig("log"), WithFS(errorfs.Wrap(vfs.NewMem(), fault)))
	id := log.ID()
	if err := log.Err(); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("Err() = %v", err)
	}
	if err := log.Trim(t.Context(), 1); err != nil {
		t.Errorf("Trim() of nothing = %v", err)
	}
	fault.on.Store(false)
	waitUntil(t, "the log works", func() bool { return log.Err() == nil })
	mustAppend(t, log, "id", "body")
	if log.lock == nil || log.store.id != id {
		t.Errorf("the log is %v and was %v; lock %v", log.store.id, id, log.lock)
	}
}

// TestLostManifestMarker refuses a full folder without the file that says what is in
// force, touches nothing in it, and says how it can be repaired.
func TestLostManifestMarker(t *testing.T) {
	for name, flushed := range map[string]bool{"tables": true, "write-ahead log only": false} {
		t.Run(name, func(t *testing.T) {
			disk := vfs.NewMem()
			log := mustOpen(t, testConfig("log"), WithFS(disk))
			load := newLoad(log)
			load.run(t, "load", 80)
			if flushed {
				flush(log)
			}
			if err := log.Close(); err != nil {
				t.Fatal(err)
			}
			before := mustList(t, disk)
			var marker string
			for _, name := range before {
				if strings.HasPrefix(name, "marker.manifest.") {
					marker = name
				}
			}
			if err := disk.Remove(disk.PathJoin("log", marker)); err != nil {
				t.Fatal(err)
			}
			_, err := Open(testConfig("log"), testLogger(), WithFS(disk))
			if err == nil {
				t.Fatal("Open() made a new log of a full folder")
			}
			if got := mustList(t, disk); len(got) != len(before)-1 {
				t.Errorf("Open() left %v of %v", got, before)
			}
			_, repaired, ok := strings.Cut(err.Error(), "create it, empty, as ")
			if !ok {
				t.Fatalf("Open() = %v", err)
			}
			file, err := disk.Create(disk.PathJoin("log", repaired), vfs.WriteCategoryUnspecified)
			if err != nil || file.Close() != nil {
				t.Fatal(err)
			}
			load.verify(t, mustOpen(t, testConfig("log"), WithFS(disk)), load.acked)
		})
	}
}

func mustList(t *testing.T, disk vfs.FS) []string {
	t.Helper()
	names, err := disk.List("log")
	if err != nil {
		t.Fatal(err)
	}
	return names
}

// TestFormatAfterKeyspace opens a log of another keyspace: it is refused, and the
// format of its files is what it was.
func TestFormatAfterKeyspace(t *testing.T) {
	disk := vfs.NewMem()
	const old = pebble.FormatMinSupported
	db, err := pebble.Open("log", &pebble.Options{FS: disk, FormatMajorVersion: old})
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(db.Set(metaKey(metaKeyspace), []byte{keyspaceVersion + 1}, pebble.Sync), db.Close()); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(testConfig("log"), testLogger(), WithFS(disk)); err == nil || !strings.Contains(err.Error(), "keyspace version") {
		t.Errorf("Open() = %v", err)
	}
	desc, err := pebble.Peek("log", disk)
	if err != nil || desc.FormatMajorVersion != old {
		t.Errorf("the format is %v, %v, want %v", desc.FormatMajorVersion, err, old)
	}
	log := mustOpen(t, testConfig("new"), WithFS(disk))
	if got := log.store.db.FormatMajorVersion(); got != formatVersion {
		t.Errorf("a new log has the format %v", got)
	}
}

// TestFolderRefusals says what is wrong with a folder.
func TestFolderRefusals(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	log := mustOpen(t, testConfig(path))
	if _, err := Open(testConfig(path), testLogger()); err == nil {
		t.Error("a log was opened twice")
	}
	if err := log.Close(); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		err  error
		want string
	}{
		{&os.PathError{Op: "open", Path: "LOCK", Err: syscall.EACCES}, "may not write there"},
		{&os.PathError{Op: "open", Path: "LOCK", Err: syscall.EROFS}, "read-only"},
		{syscall.EAGAIN, "another gateway uses"}, // which one is not known
		{syscall.EACCES, "another gateway uses"}, // what some systems say of a lock
	} {
		fault := &fault{err: test.err, match: func(op errorfs.Op) bool { return op.Kind == errorfs.OpLock }}
		fault.on.Store(true)
		_, err := Open(testConfig(path), testLogger(), WithFS(errorfs.Wrap(vfs.NewMem(), fault)))
		if err == nil || !strings.Contains(err.Error(), test.want) || test.want != "another gateway uses" && strings.Contains(err.Error(), "another gateway") {
			t.Errorf("Open() = %v, want that of %q", err, test.want)
		}
	}
}
