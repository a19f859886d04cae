package pebblelog

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"github.com/webhook-gateway/webhook-gateway/server/eventlog"
)

// TestStartWithDamagedOptions starts a log whose file of Pebble's options is damaged:
// nothing of it is needed.
func TestStartWithDamagedOptions(t *testing.T) {
	unreadable := &fault{err: syscall.EIO, match: to(optionsPrefix+"*", errorfs.OpFileRead, errorfs.OpFileReadAt)}
	for name, damage := range map[string]func(t *testing.T, disk vfs.FS, path string){
		"zeroed":     func(t *testing.T, disk vfs.FS, path string) { writeDisk(t, disk, path, make([]byte, 2000)) },
		"garbage":    func(t *testing.T, disk vfs.FS, path string) { writeDisk(t, disk, path, []byte("\xff\x00[x")) },
		"unreadable": func(*testing.T, vfs.FS, string) { unreadable.on.Store(true) },
	} {
		t.Run(name, func(t *testing.T) {
			defer unreadable.on.Store(false)
			s := storeEvents(t, 100, true)
			for _, file := range mustList(t, s.disk) {
				if strings.HasPrefix(file, optionsPrefix) {
					damage(t, s.disk, "log/"+file)
				}
			}
			path := filepath.Join(t.TempDir(), "log")
			if ok, err := vfs.Clone(s.disk, vfs.Default, "log", path); !ok || err != nil {
				t.Fatal(ok, err)
			}
			if report, err := Verify(t.Context(), path, func(uint64, uint64) {}); err != nil || !report.OK() {
				t.Errorf("Verify() = %+v, %v", report, err)
			}
			log := mustOpen(t, testConfig("log"), WithFS(errorfs.Wrap(s.disk, unreadable)))
			if err := log.Err(); err != nil {
				t.Errorf("Err() = %v", err)
			}
			if err := log.Close(); err != nil {
				t.Fatal(err)
			}
			unreadable.on.Store(false)
			if lost := s.check(t); lost != 0 {
				t.Errorf("%d events are lost", lost)
			}
		})
	}
}

// TestStartWithAnUnreadableMark starts a log of which a part was lost without Pebble
// noticing, while the mark of the head cannot be read: it is not replaced before it was
// read, and the loss is named.
func TestStartWithAnUnreadableMark(t *testing.T) {
	for name, passes := range map[string]bool{"it passes": true, "it lasts": false} {
		t.Run(name, func(t *testing.T) {
			s := storeEvents(t, 200, true)
			wals := walsOf(t, s.disk)
			newest := wals[len(wals)-1]
			content := readDisk(t, s.disk, newest)
			writeDisk(t, s.disk, newest, content[:len(content)/3])

			unreadable := &fault{err: syscall.EIO, match: to(headMarkName, errorfs.OpFileRead, errorfs.OpFileReadAt)}
			unreadable.on.Store(true)
			clock := newClock()
			log := mustOpen(t, testConfig("log"), WithFS(errorfs.Wrap(s.disk, unreadable)), func(l *Log) { l.sectors.now = clock.now })
			if err := log.Err(); err == nil {
				t.Error("Err() = nil while the mark cannot be read")
			}
			if countReadable(log) == 0 {
				t.Error("nothing is served")
			}
			if passes {
				unreadable.on.Store(false)
			} else {
				clock.advance(time.Minute)
			}
			waitUntil(t, "the log works", func() bool { return log.Err() == nil })
			if !passes {
				mustAppend(t, log, "", "more") // the disk has lost both
				return
			}
			if head, lost := log.Bounds().Head, log.Damage().LostEvents(); head != s.events || lost == 0 {
				t.Errorf("the head is %d and %d events are lost, want %d and some", head, lost, s.events)
			}
			if err := log.Close(); err != nil {
				t.Fatal(err)
			}
			s.check(t)
		})
	}
}

// TestMarkRefused refuses a log whose mark of the head may not be read.
func TestMarkRefused(t *testing.T) {
	disk := storeEvents(t, 10, true).disk
	fault := &fault{err: syscall.EACCES, match: to(headMarkName, errorfs.OpOpen)}
	fault.on.Store(true)
	_, err := Open(testConfig("log"), testLogger(), WithFS(errorfs.Wrap(disk, fault)))
	if err == nil || !strings.Contains(err.Error(), "make it readable") {
		t.Errorf("Open() = %v", err)
	}
	if m, err := readHeadMark(disk, "log"); err != nil || m.head.position != 10 {
		t.Errorf("the mark is %+v, %v afterwards", m, err)
	}
}

// TestStartOnAReadOnlyDisk starts a log on a disk that its file system has made
// read-only: what is there is served, and it goes on when it can be written. A new log is
// not begun there.
func TestStartOnAReadOnlyDisk(t *testing.T) {
	readOnly := &fault{match: isWrite, err: syscall.EROFS}
	readOnly.on.Store(true)
	s := storeEvents(t, 100, false)
	log := mustOpen(t, testConfig("log"), WithFS(errorfs.Wrap(s.disk, readOnly)))
	if err := log.Err(); err == nil || !strings.Contains(err.Error(), "read-only") {
		t.Errorf("Err() = %v", err)
	}
	if n := countReadable(log); n != 100 {
		t.Errorf("%d events are served, want 100", n)
	}
	readOnly.on.Store(false)
	waitUntil(t, "the log works", func() bool { return log.Err() == nil })
	if err := log.Close(); err != nil {
		t.Fatal(err)
	}
	if lost := s.check(t); lost != 0 {
		t.Errorf("%d events are lost", lost)
	}
	readOnly.on.Store(true)
	if _, err := Open(testConfig("log"), testLogger(), WithFS(errorfs.Wrap(vfs.NewMem(), readOnly))); err == nil || !strings.Contains(err.Error(), "mount it for writing") {
		t.Errorf("Open() of nothing = %v", err)
	}
}

// TestRecoverBesideForeignFiles recovers a log in whose folder of what was set aside a
// person has put files.
func TestRecoverBesideForeignFiles(t *testing.T) {
	s := storeEvents(t, 200, true)
	flipBit(t, s.disk)
	path := filepath.Join(t.TempDir(), "log")
	if ok, err := vfs.Clone(s.disk, vfs.Default, "log", path); !ok || err != nil {
		t.Fatal(ok, err)
	}
	if err := os.MkdirAll(filepath.Join(path, asideFolder, "empty"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(path, asideFolder, "notes.txt"), []byte("ticket 7"), 0o600); err != nil {
		t.Fatal(err)
	}
	log := mustOpen(t, testConfig(path))
	if head, lost := log.Bounds().Head, log.Damage().LostEvents(); head != s.events || lost != 1 {
		t.Errorf("the head is %d and %d events are lost, want %d and 1", head, lost, s.events)
	}
}

// statFS is a disk on which the existence of one file cannot be told.
type statFS struct {
	vfs.FS
	name string
}

func (f statFS) Stat(name string) (vfs.FileInfo, error) {
	if filepath.Base(name) == f.name {
		return nil, &os.PathError{Op: "stat", Path: name, Err: syscall.EIO}
	}
	return f.FS.Stat(name)
}

func (f statFS) Unwrap() vfs.FS { return f.FS }

// TestMarkersThatCannotBeSeen opens a log of which it cannot be told whether a recovery or a
// restore is unfinished: neither is taken for finished.
func TestMarkersThatCannotBeSeen(t *testing.T) {
	for _, name := range []string{unfinishedName, restoringName} {
		t.Run(name, func(t *testing.T) {
			s := storeEvents(t, 200, true)
			aside, err := setAsideUnfinished(s.disk, "log", walsOf(t, s.disk))
			if err != nil {
				t.Fatal(err)
			}
			disk := statFS{s.disk, name}
			if s, err := openStore(testConfig("log"), eventlog.NewID(), headMark{}, disk, testLogger()); err == nil {
				t.Error("openStore() succeeded", s.close())
			}
			if _, err := s.disk.Stat(fmt.Sprint("log/", aside, "/", unfinishedName)); err != nil {
				t.Error(err)
			}
			if n := countReadable(mustOpen(t, testConfig("log"), WithFS(disk))); n != 200 {
				t.Errorf("%d events are served, want 200", n)
			}
		})
	}
}
