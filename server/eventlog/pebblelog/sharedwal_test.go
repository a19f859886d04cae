package pebblelog

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"github.com/webhook-gateway/webhook-gateway/server/commitlog/commitlogtest"
	"github.com/webhook-gateway/webhook-gateway/server/eventlog"
	"github.com/webhook-gateway/webhook-gateway/server/eventlog/eventlogtest"
)

// rangeFS is a disk whose write-ahead logs Pebble has written in parts, as on Linux: by SyncTo, which is no sync. In
// memory it would sync all of it.
type rangeFS struct {
	vfs.FS
	parts atomic.Int64
}

func (f *rangeFS) Create(name string, category vfs.DiskWriteCategory) (vfs.File, error) {
	file, err := f.FS.Create(name, category)
	return f.wrap(name, file, err)
}

func (f *rangeFS) ReuseForWrite(oldname, newname string, category vfs.DiskWriteCategory) (vfs.File, error) {
	file, err := f.FS.ReuseForWrite(oldname, newname, category)
	return f.wrap(newname, file, err)
}

func (f *rangeFS) wrap(name string, file vfs.File, err error) (vfs.File, error) {
	if err != nil || filepath.Ext(name) != ".log" {
		return file, err
	}
	return &rangeFile{file, f}, nil
}

func (f *rangeFS) Unwrap() vfs.FS { return f.FS }

type rangeFile struct {
	vfs.File
	fs *rangeFS
}

// Fd is any that is valid: Pebble only looks whether it is.
func (f *rangeFile) Fd() uintptr { return 1 }

func (f *rangeFile) SyncTo(length int64) (bool, error) {
	f.fs.parts.Add(1)
	return f.File.SyncTo(length)
}

// TestPartsOfACopysWALFail: what Pebble has the kernel write ahead of the write-ahead log of a copy fails, which it would
// end the process for. The gateway refuses deliveries, the others go on; when the disk works again it has what they have.
func TestPartsOfACopysWALFail(t *testing.T) {
	for name, cause := range map[string]error{"a failure": syscall.EIO, "a full disk": syscall.ENOSPC} {
		t.Run(name, func(t *testing.T) {
			memory := commitlogtest.NewMemory()
			one := openShared(t, vfs.NewMem(), commitsOf(t, memory))
			fault := &fault{err: cause, match: to("*.log", errorfs.OpFileSyncTo)}
			two := openShared(t, errorfs.Wrap(&rangeFS{FS: vfs.NewMem()}, fault), commitsOf(t, memory))
			fault.on.Store(true)
			acknowledged := make(map[string]eventlog.Position)
			add := func(i int) error {
				id := fmt.Sprint("event ", i)
				receipt, err := two.Append(t.Context(), eventlogtest.Entry(t, "acme", id, noise(uint64(i), 1<<20)))
				if was, ok := acknowledged[id]; ok && err == nil && was != receipt.Position {
					t.Errorf("%s was acknowledged at %d, and is at %d", id, was, receipt.Position)
				}
				if err == nil {
					acknowledged[id] = receipt.Position
				}
				return err
			}
			n, failed := 0, error(nil)
			for ; failed == nil && n < 1000; n++ {
				failed = add(n)
			}
			if !errors.Is(failed, cause) || two.Err() == nil || fault.hits.Load() == 0 {
				t.Fatalf("after %d events: %v, %v, %d parts failed", n, failed, two.Err(), fault.hits.Load())
			}
			appendMany(t, one, "meanwhile", 20)
			fault.on.Store(false)
			waitUntil(t, "it takes events again", func() bool { return two.Err() == nil })
			for i := range n {
				if err := add(i); err != nil {
					t.Fatal(err)
				}
			}
			sameLogs(t, one, two)
			if head := one.Bounds().Head; head != eventlog.Position(n+20) {
				t.Errorf("%d events, want %d", head, n+20)
			}
			if rebuilt := two.shared.rebuilt.Load(); rebuilt != 0 {
				t.Errorf("it was made anew %d times", rebuilt)
			}
		})
	}
}

// TestMachineCrashOfACopy ends the machine of a copy at any moment, with any part of what was not synced surviving, in
// whatever order it got to the disk. What is left is what the copy had after some commit, and goes on from there.
func TestMachineCrashOfACopy(t *testing.T) {
	const crashes, each = 3, 96
	memory, crashable := commitlogtest.NewMemory(), vfs.NewCrashableMem()
	small := func(disk vfs.FS) vfs.FS { // memory tables of 8 MiB
		quota := newQuotaFS(1 << 28)
		quota.FS = disk
		return quota
	}
	ranges := &rangeFS{FS: crashable}
	one := openShared(t, vfs.NewMem(), commitsOf(t, memory))
	openShared(t, small(ranges), commitsOf(t, memory))
	var group sync.WaitGroup
	ctx, cancel := context.WithCancel(t.Context())
	defer group.Wait()
	defer cancel()
	var appended atomic.Int64
	group.Go(func() {
		for i := 0; ctx.Err() == nil && i < crashes*each; i++ {
			id := fmt.Sprint("event ", i)
			if _, err := one.Append(ctx, eventlogtest.Entry(t, "acme", id, noise(uint64(i), 1<<16))); err != nil {
				t.Error(err)
			}
			appended.Add(1)
		}
	})
	var crashed []*vfs.MemFS
	for round := range uint64(crashes) {
		waitUntil(t, "more is appended", func() bool { return appended.Load() >= int64(round+1)*each })
		crashed = append(crashed, crashable.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: 30 + 35*int(round), RNG: rand.New(rand.NewPCG(round, 0))}))
	}
	group.Wait()
	if ranges.parts.Load() == 0 {
		t.Error("no part was written ahead: the test shows nothing")
	}
	for round, disk := range crashed {
		left := openShared(t, small(&rangeFS{FS: disk}), commitsOf(t, memory))
		sameLogs(t, one, left)
		if rebuilt := left.shared.rebuilt.Load(); rebuilt != 0 {
			t.Errorf("crash %d: it was made anew %d times", round, rebuilt)
		}
		if err := left.Close(); err != nil {
			t.Error(err)
		}
	}
}
