package pebblelog

import (
	"bytes"
	"context"
	"fmt"
	"path/filepath"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// A sectorFS is a disk on which sectors of one file, and of its links, cannot be read.
type sectorFS struct {
	vfs.FS
	name     string
	from, to int64
	healed   atomic.Bool
}

func (s *sectorFS) Open(name string, opts ...vfs.OpenOption) (vfs.File, error) {
	file, err := s.FS.Open(name, opts...)
	if err != nil || filepath.Base(name) != s.name {
		return file, err
	}
	return &sectorFile{File: file, fs: s}, nil
}

func (s *sectorFS) Unwrap() vfs.FS { return s.FS }

type sectorFile struct {
	vfs.File
	fs *sectorFS
	at int64
}

func (f *sectorFile) bad(offset int64, n int) bool {
	info, err := f.Stat()
	end := min(offset+int64(n), info.Size()) // a file that was cut ends before it
	return err == nil && !f.fs.healed.Load() && offset < f.fs.to && end > f.fs.from
}

func (f *sectorFile) Read(p []byte) (int, error) {
	if f.bad(f.at, len(p)) {
		return 0, syscall.EIO
	}
	n, err := f.File.Read(p)
	f.at += int64(n)
	return n, err
}

func (f *sectorFile) ReadAt(p []byte, offset int64) (int, error) {
	if f.bad(offset, len(p)) {
		return 0, syscall.EIO
	}
	return f.File.ReadAt(p, offset)
}

// TestStartWithABadSectorInAWAL starts a log of whose newest write-ahead log a sector
// cannot be read. If that passes nothing is lost; if it lasts the log goes on with all that
// can be read.
func TestStartWithABadSectorInAWAL(t *testing.T) {
	for _, test := range []struct {
		name   string
		part   float64 // of the content
		closed bool
		passes bool
		most   uint64 // events that may be lost
	}{
		{"in the middle", 0.5, false, false, 12},
		{"at the beginning", 0, true, false, 12},
		{"at the end", 0.999, true, false, 12},
		{"that passes", 0.5, false, true, 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			s := storeEvents(t, 200, test.closed)
			wals := walsOf(t, s.disk)
			newest := wals[len(wals)-1]
			used := len(bytes.TrimRight(readDisk(t, s.disk, newest), "\x00"))
			from := int64(float64(used)*test.part) &^ (sectorLen - 1)
			disk := &sectorFS{FS: s.disk, name: filepath.Base(newest), from: from, to: from + sectorLen}
			clock := newClock()
			log := mustOpen(t, testConfig("log"), WithFS(disk), func(l *Log) { l.sectors.now = clock.now })
			if err := log.Err(); err == nil {
				t.Error("Err() = nil while a sector cannot be read")
			}
			if head, read := log.Bounds().Head, countReadable(log); read == 0 || read > int(head) {
				t.Errorf("%d events are served, and the head is %d", read, head)
			}
			if test.passes {
				disk.healed.Store(true)
			} else {
				clock.advance(time.Minute)
			}
			waitUntil(t, "the log works", func() bool { return log.Err() == nil })
			if head, lost := log.Bounds().Head, log.Damage().LostEvents(); head != s.events || lost > test.most || (lost == 0) != test.passes {
				t.Errorf("the head is %d and %d events are lost, want %d, and at most %d", head, lost, s.events, test.most)
			}
			if err := log.Close(); err != nil {
				t.Fatal(err)
			}
			if lost := s.check(t); lost > test.most {
				t.Errorf("%d events are lost, want at most %d", lost, test.most)
			}
		})
	}
}

// TestStartWithABadSectorInATable starts a log of whose one table a sector cannot be read,
// anywhere: it serves what can be read, and takes events when it is clear that the
// sector stays so.
func TestStartWithABadSectorInATable(t *testing.T) {
	const events, places = 400, 12
	good := vfs.NewMem()
	table := tableOf(t, good, events)
	size := len(readDisk(t, good, table))
	for i := range places {
		from := int64(i*size/places) &^ (sectorLen - 1)
		if i == places-1 {
			from = int64(size-1) &^ (sectorLen - 1)
		}
		t.Run(fmt.Sprint("at ", from), func(t *testing.T) {
			t.Parallel()
			memory := vfs.NewMem()
			if ok, err := vfs.Clone(good, memory, "log", "log"); !ok || err != nil {
				t.Fatal(ok, err)
			}
			disk := &sectorFS{FS: memory, name: filepath.Base(table), from: from, to: from + sectorLen}
			clock := newClock()
			log := mustOpen(t, testConfig("log"), WithFS(disk), func(l *Log) { l.sectors.now = clock.now })
			if head := log.Bounds().Head; head != events {
				t.Errorf("the head is %d, want %d", head, events)
			}
			clock.advance(time.Minute)
			waitUntil(t, "the log works", func() bool { return log.Err() == nil })
			if head := log.Bounds().Head; head != events {
				t.Errorf("the head is %d, want %d", head, events)
			}
			mustAppend(t, log, "id 1", "another body")
		})
	}
}

// countReadable returns how many events come before anything that cannot be read.
func countReadable(log *Log) (n int) {
	for _, err := range log.Read(context.Background(), 0) {
		if err != nil {
			break
		}
		n++
	}
	return n
}
