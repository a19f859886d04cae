package pebblelog

import (
	"bytes"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
)

// flipBit flips a bit in the newest write-ahead log, so that Pebble refuses to replay it.
func flipBit(t *testing.T, disk vfs.FS) {
	t.Helper()
	wals := walsOf(t, disk)
	newest := wals[len(wals)-1]
	content := readDisk(t, disk, newest)
	content[len(bytes.TrimRight(content, "\x00"))/3] ^= 1
	writeDisk(t, disk, newest, content)
}

// ageMark makes the mark of the head one from before most events.
func ageMark(t *testing.T, disk vfs.FS) {
	t.Helper()
	m, err := readHeadMark(disk, "log")
	if err != nil {
		t.Fatal(err)
	}
	m.head = mark{position: 50, receiveTime: m.head.receiveTime}
	if err := writeHeadMark(disk, "log", m); err != nil {
		t.Fatal(err)
	}
}

// TestRecoveryFailsBehindTheMark has a recovery fail at each of its writes, of events that
// the mark of the head does not know yet: the next one finds all that the first one
// would have.
func TestRecoveryFailsBehindTheMark(t *testing.T) {
	s := storeEvents(t, 200, false)
	flipBit(t, s.disk)
	ageMark(t, s.disk)
	damaged := s.disk
	clone := func() *vfs.MemFS { return damaged.CrashClone(vfs.CrashCloneCfg{}) }
	for index := int64(0); ; index += 2 {
		var operations atomic.Int64
		fault := &fault{err: syscall.ENOSPC, match: func(op errorfs.Op) bool { return isWrite(op) && operations.Add(1) > index }}
		fault.on.Store(true)
		disk := clone()
		log, err := Open(testConfig("log"), testLogger(), WithFS(errorfs.Wrap(disk, fault)))
		if err != nil {
			t.Fatalf("Open() = %v when operation %d fails", err, index)
		}
		if log.Err() == nil {
			fault.on.Store(false)
		}
		if err := log.Close(); err != nil {
			t.Fatal(err)
		}
		s.disk = disk.CrashClone(vfs.CrashCloneCfg{})
		if lost := s.check(t); lost != 1 || t.Failed() {
			t.Fatalf("%d events are lost after operation %d failed, want 1", lost, index)
		}
		if operations.Load() <= index {
			break
		}
	}
}

// TestStartWithARefusedWALOnAFullDisk starts a log whose write-ahead log Pebble refuses,
// while its disk is full: it serves what comes before the damage, and puts the rest back
// when there is room. Attempts in between leave nothing.
func TestStartWithARefusedWALOnAFullDisk(t *testing.T) {
	for _, free := range []int64{0, 1, 1000, 50_000} {
		t.Run(mebibytes(uint64(free)), func(t *testing.T) {
			s := storeEvents(t, 200, false)
			flipBit(t, s.disk)
			ageMark(t, s.disk)
			disk := &quotaFS{FS: s.disk, total: 1 << 40}
			disk.fill(free)
			log := mustOpen(t, testConfig("log"), WithFS(disk))
			if err := log.Err(); err == nil {
				t.Error("Err() = nil on a full disk")
			}
			if positions, damaged := readAll(t, log, 0); len(positions) < 50 || len(damaged) > 0 {
				t.Errorf("%d events can be read, %v damaged", len(positions), damaged)
			}
			for range 10 {
				if _, err := openStore(log.config, log.ID(), log.acknowledged(), disk, testLogger()); err == nil {
					t.Fatal("an opening succeeded on a full disk")
				}
				disk.fill(free)
			}
			if names, err := disk.List("log/" + asideFolder); err == nil && len(names) > 1 {
				t.Errorf("failed openings left %v", names)
			}
			disk.setFree(-1)
			waitUntil(t, "the log works", func() bool { return log.Err() == nil })
			if head, lost := log.Bounds().Head, log.Damage().LostEvents(); head != s.events || lost != 1 {
				t.Errorf("the head is %d and %d events are lost, want %d and 1", head, lost, s.events)
			}
			if err := log.Close(); err != nil {
				t.Fatal(err)
			}
			if lost := s.check(t); lost != 1 {
				t.Errorf("%d events are lost, want 1", lost)
			}
		})
	}
}
