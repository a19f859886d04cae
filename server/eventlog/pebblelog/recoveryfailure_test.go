package pebblelog

import (
	"bytes"
	"log/slog"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"github.com/webhook-gateway/webhook-gateway/server/eventlog"
)

// TestRecoveryFails ends the machine at each write of a recovery:
// the next one finds all that the first one would have.
func TestRecoveryFails(t *testing.T) {
	for name, damage := range map[string]func(b []byte) []byte{
		"refused": func(b []byte) []byte { b[len(b)/3] ^= 1; return b },
		"silent":  func(b []byte) []byte { return b[:len(b)/3] },
	} {
		t.Run(name, func(t *testing.T) {
			s := storeEvents(t, 200, true)
			wals := walsOf(t, s.disk)
			newest := wals[len(wals)-1]
			writeDisk(t, s.disk, newest, damage(readDisk(t, s.disk, newest)))
			damaged := s.disk
			clone := func() *vfs.MemFS {
				return damaged.CrashClone(vfs.CrashCloneCfg{})
			}
			s.disk = clone()
			want := s.check(t)

			const stride = 7
			for index := int64(0); ; index += stride {
				var operations atomic.Int64
				fault := &fault{err: syscall.EIO, match: func(op errorfs.Op) bool { return isWrite(op) && operations.Add(1) > index }}
				fault.on.Store(true)
				disk := clone()
				log, err := Open(testConfig("log"), testLogger(), WithFS(errorfs.Wrap(disk, fault)))
				if err == nil {
					fault.on.Store(false)
					_ = log.Close()
				}
				if operations.Load() <= index {
					break
				}
				s.disk = disk.CrashClone(vfs.CrashCloneCfg{})
				if lost := s.check(t); lost != want {
					t.Errorf("%d events are lost after operation %d failed, want %d", lost, index, want)
				}
				if t.Failed() {
					return
				}
			}
		})
	}
}

// TestMarkFails has the mark of the head fail to be written: events are taken, it is
// said once, and the mark is written when it can be.
func TestMarkFails(t *testing.T) {
	fault := &fault{err: syscall.EACCES, match: func(op errorfs.Op) bool { return isWrite(op) && strings.Contains(op.Path, headMarkName) }}
	var text bytes.Buffer
	disk := errorfs.Wrap(vfs.NewMem(), fault)
	log, err := Open(testConfig("log"), slog.New(slog.NewTextHandler(&text, nil)), WithFS(disk))
	if err != nil {
		t.Fatal(err)
	}
	mustAppend(t, log, "", "body")
	waitUntil(t, "the mark is written by itself", func() bool {
		m, err := readHeadMark(disk, "log")
		return err == nil && m.head.position == 1
	})
	fault.on.Store(true)
	mustAppend(t, log, "", "body")
	waitUntil(t, "the mark has failed twice", func() bool { return fault.hits.Load() >= 2 })
	mustAppend(t, log, "", "body")
	if err := log.Err(); err != nil {
		t.Errorf("Err() = %v", err)
	}
	fault.on.Store(false)
	if err := log.Close(); err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(text.String(), "the mark of the head was not written"); n != 1 {
		t.Errorf("it is logged %d times, want once:\n%s", n, &text)
	}
	m, err := readHeadMark(disk, "log")
	if err != nil || m.head.position != 3 || m.id != log.ID() || len(m.epochs) != 1 || m.epochs[0] != log.History().Starts()[0] {
		t.Errorf("mark %+v, %v after a Close", m, err)
	}
}

// TestMarkFailsWithTheLog has the mark of the head fail while the log fails, and go on to
// fail when the log does not: that is said then.
func TestMarkFailsWithTheLog(t *testing.T) {
	fault := &fault{err: syscall.EACCES, match: func(op errorfs.Op) bool { return isWrite(op) && strings.Contains(op.Path, headMarkName) }}
	var logged recorder
	log, err := Open(testConfig("log"), logged.logger(), WithFS(errorfs.Wrap(vfs.NewMem(), fault)))
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	mustAppend(t, log, "", "body")
	fault.on.Store(true)
	log.queue.refuse(errCrash)
	log.writeHeadMark()
	if text := logged.String(); strings.Contains(text, "the mark of the head was not written") {
		t.Errorf("it is logged with what the log says of itself:\n%s", text)
	}
	log.queue.refuse(nil)
	log.writeHeadMark()
	log.writeHeadMark()
	if n := strings.Count(logged.String(), "the mark of the head was not written"); n != 1 {
		t.Errorf("it is logged %d times, want once", n)
	}
}

// TestMarkOfAnotherLog opens a log beside a mark that is not its own.
func TestMarkOfAnotherLog(t *testing.T) {
	disk := vfs.NewMem()
	log := mustOpen(t, testConfig("log"), WithFS(disk))
	mustAppend(t, log, "", "body")
	if err := log.Close(); err != nil {
		t.Fatal(err)
	}
	other := headMark{id: eventlog.NewID(), head: mark{position: 99}, epochs: []eventlog.EpochStart{{Epoch: 7, First: 1}}}
	if err := writeHeadMark(disk, "log", other); err != nil {
		t.Fatal(err)
	}
	log = mustOpen(t, testConfig("log"), WithFS(disk))
	if head := log.Bounds().Head; head != 1 || len(log.Damage().Lost) > 0 {
		t.Errorf("the head is %d, %+v", head, log.Damage())
	}
	if m, err := readHeadMark(disk, "log"); err != nil || m.id != log.ID() {
		t.Errorf("mark %+v, %v", m, err)
	}
}

func TestDecodeHeadMarkRefusals(t *testing.T) {
	good := headMark{id: eventlog.NewID(), head: mark{position: 9, totals: eventlog.Totals{Bytes: 3, FailedBytes: 2}}, epochs: []eventlog.EpochStart{{Epoch: 7, First: 1}, {Epoch: 8, First: 5}}}.encode()
	if _, err := decodeHeadMark(good); err != nil {
		t.Fatal(err)
	}
	for i := range good {
		bad := bytes.Clone(good)
		bad[i] ^= 1
		if _, err := decodeHeadMark(bad); err == nil {
			t.Errorf("a flipped bit at %d is not noticed", i)
		}
		if _, err := decodeHeadMark(good[:i]); err == nil {
			t.Errorf("%d of %d bytes are accepted", i, len(good))
		}
	}
}

// TestDamageBehindTheMark damages a write-ahead log whose events the mark does not have
// yet, nor their epoch. Where Pebble notices, only what was hit is lost.
func TestDamageBehindTheMark(t *testing.T) {
	s := storeEvents(t, 400, false)
	wals := walsOf(t, s.disk)
	newest := wals[len(wals)-1]
	content := readDisk(t, s.disk, newest)
	content[len(bytes.TrimRight(content, "\x00"))/3] ^= 1
	writeDisk(t, s.disk, newest, content)
	old := headMark{id: eventlog.NewID()}
	if m, err := readHeadMark(s.disk, "log"); err == nil {
		old.id = m.id
		old.head = mark{position: 50, receiveTime: m.head.receiveTime}
		old.epochs = []eventlog.EpochStart{{Epoch: m.epochs[0].Epoch + 1, First: 1}}
	}
	// A mark of another epoch for the first events stands for an epoch that is older.
	if err := writeHeadMark(s.disk, "log", old); err != nil {
		t.Fatal(err)
	}
	if lost := s.check(t); lost != 1 {
		t.Errorf("%d events are lost, want 1", lost)
	}
}
