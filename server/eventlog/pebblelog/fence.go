package pebblelog

import (
	"errors"
	"io"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// A fence stands between one opening of the database and the file system.
//
// Pebble ends the process when it cannot write its write-ahead log or its
// manifest: by Logger.Fatalf, or by a panic that leaves mutexes locked. This
// process has subscribers to serve and a `ping` to answer while a disk is full,
// so Pebble must never see such an error. The first write, sync, create or rename
// that fails raises the fence. From then on nothing of this opening reaches the
// disk any more, while Pebble is told that all went well: it stays consistent in
// memory, can serve reads, and can be closed in good order. A sync that succeeds
// proves nothing before the fence was looked at: the committer MUST do so. The log
// then opens the database anew from what is on the disk, so that after a failed
// fsync nothing relies on the page cache.
//
// Tables (the output of flushes and compactions) are different, since they are
// read again: while the opening serves reads, a failed write of a table is
// reported, which Pebble takes well, and the creation of another one waits until
// the opening is closed.
type fence struct {
	vfs.FS

	// Operations on the disk hold it for reading.
	operations sync.RWMutex

	failure atomic.Pointer[error]
	raised  chan struct{}
	raise   sync.Once

	// serving is set while reads are served.
	serving  atomic.Bool
	released chan struct{}

	made     made
	underWay underWay

	// listed is what folders were last seen to have, by their paths.
	listed sync.Map
}

func newFence(disk vfs.FS) *fence {
	return &fence{FS: disk, raised: make(chan struct{}), released: make(chan struct{}), made: newMade()}
}

// fail raises the fence.
func (f *fence) fail(err error) {
	f.raise.Do(func() {
		f.failure.Store(&err)
		close(f.raised)
	})
}

// err returns why the fence was raised, nil if it was not.
func (f *fence) err() error {
	if err := f.failure.Load(); err != nil {
		return *err
	}
	return nil
}

// settle waits until no operation is under way. The fence must be raised.
func (f *fence) settle() {
	f.operations.Lock()
	defer f.operations.Unlock()
}

// release lets the opening end: nobody reads any more. If a table cannot be written
// from then on, the fence is raised and Pebble does not notice, rather than try
// again and again while it is being closed.
func (f *fence) release() {
	f.serving.Store(false)
	close(f.released)
}

// do performs an operation on the disk, on a file with a name. It reports whether the
// operation was performed, and returns the error that Pebble is to see.
func (f *fence) do(what, name string, op func() error) (bool, error) {
	f.operations.RLock()
	defer f.operations.RUnlock()
	if f.err() == nil {
		end := f.underWay.begin(what, name)
		err := op()
		end()
		if err == nil {
			return true, nil
		}
		f.fail(err)
	}
	if isTable(name) && f.serving.Load() {
		return false, f.err()
	}
	return false, nil
}

func (f *fence) open(name string, open func() (vfs.File, error)) (vfs.File, error) {
	var file vfs.File
	done, err := f.do("open", "", func() (err error) { // not of a table: see below
		file, err = open()
		return err
	})
	if err != nil {
		return nil, err
	}
	if done {
		return &fencedFile{File: file, fence: f, name: name, made: f.made.file(name)}, nil
	}
	if isTable(name) && f.serving.Load() {
		<-f.released
	}
	return nullFile{}, nil
}

func isTable(name string) bool {
	switch filepath.Ext(name) {
	case ".sst", ".blob":
		return true
	}
	return false
}

// apart reports whether a file is that of a backup. What fails there is no failure of
// the log.
func apart(name string) bool {
	return strings.HasPrefix(filepath.Base(filepath.Dir(name)), backupPrefix)
}

func (f *fence) Create(name string, category vfs.DiskWriteCategory) (vfs.File, error) {
	if apart(name) {
		return f.FS.Create(name, category)
	}
	return f.open(name, func() (vfs.File, error) {
		f.made.create(name)
		return f.FS.Create(name, category)
	})
}

func (f *fence) OpenReadWrite(name string, category vfs.DiskWriteCategory, opts ...vfs.OpenOption) (vfs.File, error) {
	return f.open(name, func() (vfs.File, error) { return f.FS.OpenReadWrite(name, category, opts...) })
}

func (f *fence) ReuseForWrite(oldname, newname string, category vfs.DiskWriteCategory) (vfs.File, error) {
	return f.open(newname, func() (vfs.File, error) {
		f.made.forget(oldname)
		return f.FS.ReuseForWrite(oldname, newname, category)
	})
}

// OpenDir opens a folder: it is synced like a file that is written.
func (f *fence) OpenDir(name string) (vfs.File, error) {
	file, err := f.FS.OpenDir(name)
	if err != nil || strings.HasPrefix(filepath.Base(name), backupPrefix) {
		return file, err
	}
	return &fencedFile{File: file, fence: f, name: name}, nil
}

func (f *fence) Link(oldname, newname string) error {
	if apart(newname) {
		err := f.FS.Link(oldname, newname)
		if errors.Is(err, fs.ErrPermission) {
			return syscall.EXDEV // some file systems have no links: Pebble copies then
		}
		return err
	}
	_, err := f.do("link", "", func() error { return f.FS.Link(oldname, newname) })
	return err
}

func (f *fence) Rename(oldname, newname string) error {
	if apart(newname) {
		return f.FS.Rename(oldname, newname)
	}
	_, err := f.do("rename", "", func() error { return f.FS.Rename(oldname, newname) })
	return err
}

// Remove removes a file. A file that cannot be removed is no reason to stop:
// Pebble copes.
func (f *fence) Remove(name string) error { return f.remove(name, f.FS.Remove) }

func (f *fence) RemoveAll(name string) error { return f.remove(name, f.FS.RemoveAll) }

func (f *fence) remove(name string, remove func(string) error) error {
	var failure error
	_, err := f.do("remove", "", func() error {
		if failure = remove(name); failure == nil {
			f.made.forget(name)
		}
		return nil
	})
	return errors.Join(failure, err)
}

// List lists a folder. Pebble does so at the end of an opening once more, when
// compactions run already that it does not wait for if that fails: they would end the
// process. So a folder that could be listed before still has what it had, and the fence
// is raised.
func (f *fence) List(folder string) ([]string, error) {
	names, err := f.FS.List(folder)
	if err == nil {
		f.listed.Store(folder, slices.Clone(names))
		return names, nil
	}
	if before, ok := f.listed.Load(folder); ok {
		f.fail(err)
		return slices.Clone(before.([]string)), nil //nolint:forcetypeassert // it was stored above
	}
	return nil, err
}

// Lock does nothing: the log holds the lock, over all openings.
func (f *fence) Lock(string) (io.Closer, error) { return io.NopCloser(nil), nil }

func (f *fence) Unwrap() vfs.FS { return f.FS }

// fencedFile is a file that is written, or a folder.
type fencedFile struct {
	vfs.File
	fence *fence
	name  string
	// made is nil if this opening did not create the file.
	made *madeFile

	// Up to where the file was written, where room was allocated for it, and where
	// Pebble wants it allocated. Pebble writes a file from one goroutine at a time.
	written, allocated, wanted int64
}

func (f *fencedFile) Write(p []byte) (int, error) {
	f.allocate(int64(len(p)))
	_, err := f.fence.do("write", f.name, func() error {
		f.fence.made.write(f.made)
		_, err := f.File.Write(p)
		return err
	})
	return len(p), err
}

func (f *fencedFile) WriteAt(p []byte, offset int64) (int, error) {
	_, err := f.fence.do("write", f.name, func() error {
		f.fence.made.write(f.made)
		_, err := f.File.WriteAt(p, offset)
		return err
	})
	return len(p), err
}

func (f *fencedFile) Sync() error { return f.sync(f.File.Sync) }

func (f *fencedFile) SyncData() error { return f.sync(f.File.SyncData) }

func (f *fencedFile) sync(sync func() error) error {
	_, err := f.fence.do("sync", f.name, func() error {
		err := sync()
		if err == nil {
			f.fence.made.synced(f.made)
		}
		return err
	})
	return err
}

func (f *fencedFile) SyncTo(length int64) (bool, error) {
	full := false
	_, err := f.fence.do("sync", f.name, func() (err error) {
		full, err = f.File.SyncTo(length)
		return err
	})
	return full, err
}

// Room for a file is allocated as much at a time as it has already, within these
// bounds. Pebble would take that of a whole memory table at the first write, also for
// a log that never needs it.
const (
	minAllocateBytes = 256 << 10
	maxAllocateBytes = 4 << 20
)

// Preallocate takes note of what Pebble wants. Writes take it in steps.
func (f *fencedFile) Preallocate(offset, length int64) error {
	f.wanted = offset + length
	return nil
}

// allocate allocates room for the next write. It is an optimisation: that it fails
// does not raise the fence, the write that follows shows whether the disk works.
func (f *fencedFile) allocate(length int64) {
	f.written += length
	if f.written <= f.allocated || f.allocated >= f.wanted {
		return
	}
	end := min(f.written+min(max(f.written, minAllocateBytes), maxAllocateBytes), f.wanted)
	_, _ = f.fence.do("allocate", f.name, func() error {
		_ = f.File.Preallocate(f.allocated, end-f.allocated)
		return nil
	})
	f.allocated = end
}

func (f *fencedFile) Stat() (vfs.FileInfo, error) {
	var info vfs.FileInfo
	done, err := f.fence.do("stat", f.name, func() (err error) {
		info, err = f.File.Stat()
		return err
	})
	if !done && err == nil {
		return nullFile{}.Stat()
	}
	return info, err
}

// Close always closes the file. What Close says after a sync does not matter.
func (f *fencedFile) Close() error {
	if err := f.File.Close(); err != nil {
		f.fence.fail(err)
	}
	return nil
}

// nullFile takes everything and keeps nothing.
type nullFile struct{}

func (nullFile) Close() error                           { return nil }
func (nullFile) Read([]byte) (int, error)               { return 0, io.EOF }
func (nullFile) ReadAt([]byte, int64) (int, error)      { return 0, io.EOF }
func (nullFile) Write(p []byte) (int, error)            { return len(p), nil }
func (nullFile) WriteAt(p []byte, _ int64) (int, error) { return len(p), nil }
func (nullFile) Preallocate(int64, int64) error         { return nil }
func (nullFile) Stat() (vfs.FileInfo, error)            { return nullInfo{}, nil }
func (nullFile) Sync() error                            { return nil }
func (nullFile) SyncTo(int64) (bool, error)             { return false, nil }
func (nullFile) SyncData() error                        { return nil }
func (nullFile) Prefetch(int64, int64) error            { return nil }
func (nullFile) Fd() uintptr                            { return vfs.InvalidFd }

// nullInfo describes a nullFile: an empty file without a name. Nobody asks for
// more than its size.
type nullInfo struct{ fs.FileInfo }

func (nullInfo) Size() int64            { return 0 }
func (nullInfo) DeviceID() vfs.DeviceID { return vfs.DeviceID{} }
