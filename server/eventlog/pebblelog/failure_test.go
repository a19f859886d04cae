package pebblelog

import (
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
	"github.com/google/go-cmp/cmp"

	"github.com/webhook-gateway/webhook-gateway/server/eventlog"
	"github.com/webhook-gateway/webhook-gateway/server/eventlog/eventlogtest"
)

// A fault makes operations of a disk fail while it is on.
type fault struct {
	on    atomic.Bool
	hits  atomic.Int64
	err   error
	match func(errorfs.Op) bool
}

func (f *fault) MaybeError(op errorfs.Op) error {
	if f.on.Load() && f.match(op) {
		f.hits.Add(1)
		return f.err
	}
	return nil
}

func (f *fault) String() string { return "fault" }

func isWrite(op errorfs.Op) bool { return op.Kind.ReadOrWrite() == errorfs.OpIsWrite }

// to returns a match of operations on files whose name matches a pattern.
func to(pattern string, kinds ...errorfs.OpKind) func(errorfs.Op) bool {
	return func(op errorfs.Op) bool {
		ok, err := filepath.Match(pattern, filepath.Base(op.Path))
		if err != nil || !ok {
			return false
		}
		for _, kind := range kinds {
			if op.Kind == kind {
				return true
			}
		}
		return false
	}
}

// flush starts what Pebble does when a memory table is full.
func flush(log *Log) {
	log.storeMu.RLock()
	defer log.storeMu.RUnlock()
	if _, err := log.store.db.AsyncFlush(); err != nil {
		log.store.fence.fail(err)
	}
}

// waitUntil waits for a condition that comes by itself.
func waitUntil(t *testing.T, what string, condition func() bool) {
	t.Helper()
	for !condition() {
		select {
		case <-time.After(time.Millisecond):
		case <-t.Context().Done():
			t.Fatalf("waiting until %s", what)
		}
	}
}

// TestDiskFailure has every kind of operation fail while events come in: the log
// refuses events, keeps what it acknowledged readable, and goes on by itself when
// the disk works again.
func TestDiskFailure(t *testing.T) {
	for name, match := range map[string]func(errorfs.Op) bool{
		"the disk is full":               isWrite,
		"the log file cannot be written": to("*.log", errorfs.OpFileWrite),
		"the log file cannot be synced":  to("*.log", errorfs.OpFileSync, errorfs.OpFileSyncData, errorfs.OpFileSyncTo),
		"a log file cannot be created":   to("*.log", errorfs.OpCreate, errorfs.OpReuseForWrite),
		"a table cannot be created":      to("*.sst", errorfs.OpCreate),
		"a table cannot be written":      to("*.sst", errorfs.OpFileWrite),
		"a table cannot be synced":       to("*.sst", errorfs.OpFileSync, errorfs.OpFileSyncData),
		"the manifest cannot be written": to("MANIFEST-*", errorfs.OpFileWrite),
		"the manifest cannot be synced":  to("MANIFEST-*", errorfs.OpFileSync, errorfs.OpFileSyncData),
		"the folder cannot be synced":    to("log", errorfs.OpFileSync),
		"nothing works, and not a read":  func(errorfs.Op) bool { return true },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			disk := vfs.NewCrashableMem()
			fault := &fault{err: syscall.ENOSPC, match: match}
			log := mustOpen(t, testConfig("log"), WithFS(errorfs.Wrap(disk, fault)))
			load := newLoad(log)
			load.run(t, "before", 400)

			for round := range 2 {
				fault.on.Store(true)
				flush(log) // so that tables and the manifest are written
				var group sync.WaitGroup
				group.Go(func() { load.run(t, fmt.Sprint("during", round), 800) })
				// Some operations are rare: they may fail in the other round only.
				waitUntil(t, "the failure shows", func() bool {
					return log.Err() != nil || load.count() == 400+800*(round+1)
				})
				if name != "nothing works, and not a read" {
					load.verify(t, log, load.snapshot())
				}
				fault.on.Store(false)
				group.Wait()
			}
			if fault.hits.Load() == 0 {
				t.Error("no operation failed: the test shows nothing")
			}
			load.verify(t, log, load.acked)
			if err := log.Err(); err != nil {
				t.Errorf("Err() = %v after the disk works again", err)
			}

			crashed := mustOpen(t, testConfig("log"), WithFS(disk.CrashClone(vfs.CrashCloneCfg{})))
			load.verify(t, crashed, load.acked)
		})
	}
}

// TestRareFailures has single operations fail all the time.
func TestRareFailures(t *testing.T) {
	disk := vfs.NewCrashableMem()
	fault := &fault{err: syscall.EIO, match: func(op errorfs.Op) bool { return isWrite(op) && rand.IntN(200) == 0 }}
	log := mustOpen(t, testConfig("log"), WithFS(errorfs.Wrap(disk, fault)))
	load := newLoad(log)
	fault.on.Store(true)
	load.run(t, "rare", 1600)
	fault.on.Store(false)
	load.verify(t, log, load.acked)
	crashed := mustOpen(t, testConfig("log"), WithFS(disk.CrashClone(vfs.CrashCloneCfg{})))
	load.verify(t, crashed, load.acked)
}

// TestMachineCrash ends the machine at any moment, with any part of what was not
// synced surviving.
func TestMachineCrash(t *testing.T) {
	disk := vfs.NewCrashableMem()
	log := mustOpen(t, testConfig("log"), WithFS(disk))
	load := newLoad(log)
	var group sync.WaitGroup
	defer group.Wait()
	group.Go(func() { load.run(t, "load", 2000) })
	for round := range uint64(15) {
		waitUntil(t, "more is acknowledged", func() bool { return load.count() >= int(round)*100 })
		acked := load.snapshot()
		crashed := disk.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: 50, RNG: rand.New(rand.NewPCG(round, 0))})
		recovered, err := Open(testConfig("log"), testLogger(), WithFS(crashed))
		if err != nil {
			t.Fatalf("Open() after a crash = %v", err)
		}
		load.verify(t, recovered, acked)
		if err := recovered.Close(); err != nil {
			t.Errorf("Close() = %v", err)
		}
	}
}

// TestOpenFailure has each operation of an opening fail in turn.
func TestOpenFailure(t *testing.T) {
	good := vfs.NewMem()
	log := mustOpen(t, testConfig("log"), WithFS(good))
	load := newLoad(log)
	load.run(t, "load", 400)
	if err := log.Close(); err != nil {
		t.Fatal(err)
	}
	for index := int64(0); ; index++ {
		// NOTE: Each opening has a copy of its own. What a failed one leaves would give
		// the next one more to do, and that could go on for ever.
		disk := vfs.NewMem()
		if ok, err := vfs.Clone(good, disk, "log", "log"); !ok || err != nil {
			t.Fatal(ok, err)
		}
		var operations atomic.Int64
		fault := &fault{err: syscall.EIO, match: func(errorfs.Op) bool { return operations.Add(1) == index+1 }}
		fault.on.Store(true)
		log, err := Open(testConfig("log"), testLogger(), WithFS(errorfs.Wrap(disk, fault)))
		if err == nil {
			err = log.Close()
		}
		unharmed := operations.Load() <= index
		if unharmed && err != nil {
			t.Errorf("Open() and Close() = %v without a failure", err)
		}
		log = mustOpen(t, testConfig("log"), WithFS(disk))
		load.verify(t, log, load.acked)
		if err := log.Close(); err != nil {
			t.Fatal(err)
		}
		if unharmed {
			return
		}
	}
}

// gate holds the syncs of the log file while it is shut, then has them fail or
// not.
type gate struct {
	shut   atomic.Bool
	held   atomic.Bool // a sync waits, or has waited
	opened chan struct{}
	err    error
}

func (g *gate) MaybeError(op errorfs.Op) error {
	if g.shut.Load() && to("*.log", errorfs.OpFileSync, errorfs.OpFileSyncData)(op) {
		g.held.Store(true)
		<-g.opened
		return g.err
	}
	return nil
}

func (g *gate) String() string { return "gate" }

func (g *gate) open() {
	g.shut.Store(false)
	close(g.opened)
}

type outcome struct {
	receipt eventlog.Receipt
	err     error
}

// TestNothingBeforeSync checks that an event is neither visible nor acknowledged
// before it is durable, and a duplicate of it neither.
func TestNothingBeforeSync(t *testing.T) {
	for _, failure := range []error{nil, syscall.EIO} {
		t.Run(fmt.Sprint(failure), func(t *testing.T) {
			t.Parallel()
			gate := &gate{opened: make(chan struct{}), err: failure}
			log := mustOpen(t, testConfig("log"), WithFS(errorfs.Wrap(vfs.NewMem(), gate)))
			gate.shut.Store(true)
			outcomes := make(chan outcome, 2)
			for range 2 {
				go func() {
					receipt, err := log.Append(t.Context(), eventlogtest.Entry(t, "client", "id", "body"))
					outcomes <- outcome{receipt, err}
				}()
			}
			waitUntil(t, "the event is applied", func() bool {
				_, err := log.store.mark(1)
				return err == nil
			})
			if head := log.Bounds().Head; head != 0 {
				t.Errorf("Bounds().Head = %d before the sync", head)
			}
			for record, err := range log.Read(t.Context(), 0) {
				t.Errorf("event %d, %v can be read before the sync", record.Position, err)
			}
			select {
			case o := <-outcomes:
				t.Errorf("Append() = %+v before the sync", o)
			default:
			}
			waitUntil(t, "the event is synced", gate.held.Load)
			gate.open()
			first, second := <-outcomes, <-outcomes
			if failure != nil {
				if first.err == nil || second.err == nil {
					t.Errorf("Append() = %+v, %+v, want errors", first, second)
				}
				return
			}
			if first.receipt.Duplicate {
				first, second = second, first
			}
			want := []outcome{{receipt: eventlog.Receipt{Position: 1}}, {receipt: eventlog.Receipt{Position: 1, Duplicate: true}}}
			if diff := cmp.Diff(want, []outcome{first, second}, cmp.AllowUnexported(outcome{})); diff != "" {
				t.Errorf("outcomes (-want +got):\n%s", diff)
			}
		})
	}
}

// TestListFailsDuringACompaction has the last look into the folder of an opening fail
// while a compaction runs that the opening has begun: the process lives, and the log
// goes on.
func TestListFailsDuringACompaction(t *testing.T) {
	disk := vfs.NewCrashableMem()
	log := mustOpen(t, testConfig("log"), WithFS(disk))
	load := newLoad(log)
	for i := range 3 {
		load.run(t, fmt.Sprint("flushed ", i), 20)
		if err := log.store.db.Flush(); err != nil {
			t.Fatal(err)
		}
	}
	load.run(t, "in the write-ahead log", 20)
	var lists atomic.Int64
	fault := &fault{err: syscall.EIO, match: func(op errorfs.Op) bool { return op.Kind == errorfs.OpList && lists.Add(1) == 1 }}
	open := func() *Log {
		crashed := disk.CrashClone(vfs.CrashCloneCfg{})
		fault.on.Store(true)
		opened, err := Open(testConfig("log"), testLogger(), WithFS(errorfs.Wrap(crashed, fault)))
		fault.on.Store(false)
		if err != nil {
			t.Fatalf("Open() = %v", err)
		}
		return opened
	}
	lists.Store(-1000)
	if err := open().Close(); err != nil {
		t.Fatal(err)
	}
	last := lists.Load() + 1000
	for range 20 {
		lists.Store(1 - last)
		opened := open()
		if lists.Load() <= 0 {
			t.Fatal("nothing failed")
		}
		waitUntil(t, "the log works", func() bool { return opened.Err() == nil })
		load.verify(t, opened, load.acked)
		if err := opened.Close(); err != nil {
			t.Fatal(err)
		}
	}
}
