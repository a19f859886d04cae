package pebblelog

import (
	"errors"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// A quotaFS is a disk in memory of a limited size. As a real one it writes what fits
// before it fails.
type quotaFS struct {
	vfs.FS
	mu          sync.Mutex
	used, total int64
}

func newQuotaFS(total int64) *quotaFS { return &quotaFS{FS: vfs.NewMem(), total: total} }

// setFree leaves a number of bytes free, or all if it is negative.
func (q *quotaFS) setFree(free int64) {
	if free < 0 {
		q.resize(1 << 40)
		return
	}
	q.fill(free)
}

func (q *quotaFS) GetDiskUsage(string) (vfs.DiskUsage, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	free := uint64(max(q.total-q.used, 0))
	return vfs.DiskUsage{AvailBytes: free, TotalBytes: uint64(q.total), UsedBytes: uint64(q.used)}, nil
}

// resize changes the size of the disk.
func (q *quotaFS) resize(total int64) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.total = total
}

// fill leaves a number of bytes free.
func (q *quotaFS) fill(free int64) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.total = q.used + free
}

func (q *quotaFS) inUse() int64 {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.used
}

func (q *quotaFS) sizeOf(name string) int64 {
	if info, err := q.Stat(name); err == nil && !info.IsDir() {
		return info.Size()
	}
	return 0
}

func (q *quotaFS) Create(name string, category vfs.DiskWriteCategory) (vfs.File, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.used -= q.sizeOf(name)
	file, err := q.FS.Create(name, category)
	return &quotaFile{file, q}, err
}

func (q *quotaFS) ReuseForWrite(oldname, newname string, category vfs.DiskWriteCategory) (vfs.File, error) {
	file, err := q.FS.ReuseForWrite(oldname, newname, category)
	return &quotaFile{file, q}, err
}

func (q *quotaFS) Remove(name string) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	size := q.sizeOf(name)
	err := q.FS.Remove(name)
	if err == nil {
		q.used -= size
	}
	return err
}

func (q *quotaFS) RemoveAll(name string) error {
	names, err := q.List(name)
	for _, file := range names {
		err = errors.Join(err, q.Remove(q.PathJoin(name, file)))
	}
	return errors.Join(err, q.FS.RemoveAll(name))
}

func (q *quotaFS) Unwrap() vfs.FS { return q.FS }

type quotaFile struct {
	vfs.File
	fs *quotaFS
}

func (f *quotaFile) Write(p []byte) (int, error) {
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	before := f.size()
	n := int(min(max(f.fs.total-f.fs.used, 0), int64(len(p))))
	if _, err := f.File.Write(p[:n]); err != nil {
		return 0, err
	}
	f.fs.used += f.size() - before
	if n < len(p) {
		return n, syscall.ENOSPC
	}
	return n, nil
}

func (f *quotaFile) size() int64 {
	info, err := f.Stat()
	if err != nil {
		return 0
	}
	return info.Size()
}

// files returns the names in the folder of the log that have a suffix.
func (q *quotaFS) files(t *testing.T, suffix string) []string {
	t.Helper()
	all, err := q.List("log")
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, name := range all {
		if strings.HasSuffix(name, suffix) {
			names = append(names, name)
		}
	}
	return names
}
