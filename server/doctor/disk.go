package doctor

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	"github.com/webhook-gateway/webhook-gateway/server"
)

// How often it is measured how long the disk takes, and for how long at most.
const (
	syncs       = 50
	syncBytes   = 4096
	maxSyncTime = 3 * time.Second
)

// The disk is slow if half of the deliveries, or one in a hundred, wait for longer.
const (
	slowMedian = 20 * time.Millisecond
	slowP99    = 200 * time.Millisecond
)

// A volume is what a file system says of itself.
type volume struct {
	kind        string // such as ext4; or a number in hex
	free, total uint64 // bytes
}

// checkDisk looks at the disk of the store: what kind of file system, how fast, how much
// room.
func checkDisk(store server.Store) []Finding {
	path, err := existing(store.Pebble.Path)
	if err != nil {
		return one(Warn, "run doctor as the user of the gateway", "%s cannot be looked at: %v", store.Pebble.Path, err)
	}
	var findings []Finding
	alone := !store.CommitLog.Enabled() // a copy is not synced, and what it loses comes again
	v, err := volumeOf(path)
	if err != nil {
		findings = one(Skip, "", "the file system of %s is not known: %v", path, err)
	} else {
		if alone {
			findings = append(findings, judgeKind(v.kind))
		}
		findings = append(findings, judgeSpace(store, v, sizeOf(store.Pebble.Path)))
	}
	times, err := measureSync(path)
	if err != nil {
		return append(findings, judgeUnwritable(path, err))
	}
	if alone {
		findings = append(findings, judgeSync(times))
	}
	return findings
}

func judgeKind(kind string) Finding {
	const local = "put store.pebble.path on a local disk"
	switch kind {
	case "nfs", "smb", "cifs", "smb2", "ceph", "afs", "9p", "fuse":
		return finding(Warn, local, "the file system is %s: over a network fsync and locks may promise more than they hold, and a server that is gone stops ingest", kind)
	case "tmpfs", "ramfs":
		return finding(Warn, local, "the file system is %s, in memory: all events are lost when the machine restarts", kind)
	case "overlayfs":
		return finding(Warn, "mount a volume there", "the file system is %s, a container's own: all events are lost with the container", kind)
	}
	return finding(OK, "", "the file system is local (%s)", kind)
}

func judgeSpace(store server.Store, v volume, used uint64) Finding {
	reserve := store.Reserve(v.total)
	room := fmt.Sprintf("%s of %s are free, %s of them in reserve", bytesText(v.free), bytesText(v.total), bytesText(reserve))
	const do = "make room, or keep less (store.retention)"
	most := store.Retention.MaxBytes + store.UnverifiedQuotaBytes
	switch {
	case v.free < reserve:
		return finding(Fail, do, "%s: deliveries are refused", room)
	case v.free < 2*reserve:
		return finding(Warn, do, "%s: deliveries will soon be refused", room)
	case store.Retention.MaxBytes == 0:
		return finding(OK, "", "%s; store.retention.max_bytes sets no bound", room)
	case most > used && most-used > v.free-reserve:
		return finding(Warn, "lower store.retention.max_bytes or store.unverified_quota_bytes, or give it a larger disk",
			"%s: the store may grow from %s to %s (before compression), which does not fit", room, bytesText(used), bytesText(most))
	}
	return finding(OK, "", "%s; the store has %s and grows to %s at most", room, bytesText(used), bytesText(most))
}

// judgeSync judges how long the disk took, which must be at least one time.
func judgeSync(times []time.Duration) Finding {
	slices.SortFunc(times, cmp.Compare[time.Duration])
	median, p99 := times[len(times)/2], times[(len(times)*99-1)/100]
	text := fmt.Sprintf("fsync takes %v (median), %v (p99) of %d", median.Round(10*time.Microsecond), p99.Round(10*time.Microsecond), len(times))
	if median > slowMedian || p99 > slowP99 {
		return finding(Warn, "use a faster disk, or one of its own", "%s: each delivery waits for that before it is answered", text)
	}
	return finding(OK, "", "%s", text)
}

// judgeUnwritable judges a folder in which no file can be written.
func judgeUnwritable(path string, err error) Finding {
	do := "mend the disk"
	switch {
	case errors.Is(err, fs.ErrPermission):
		do = "run doctor as the user of the gateway; if you do, give that user the folder"
	case errors.Is(err, syscall.EROFS):
		do = "mount it for writing"
	case errors.Is(err, syscall.ENOSPC):
		do = "make room"
	}
	return finding(Fail, do, "a file in %s cannot be written: %v", path, err)
}

// measureSync returns how long it takes to append to a file and sync it.
func measureSync(folder string) (times []time.Duration, err error) {
	file, err := os.CreateTemp(folder, ".doctor-*")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, file.Close(), os.Remove(file.Name())) }()
	page := make([]byte, syncBytes)
	for begin := time.Now(); len(times) < syncs && time.Since(begin) < maxSyncTime; {
		start := time.Now()
		if _, err := file.Write(page); err != nil {
			return nil, err
		}
		if err := file.Sync(); err != nil {
			return nil, err
		}
		times = append(times, time.Since(start))
	}
	return times, nil
}

// sizeOf returns the bytes of all files in a folder. What cannot be read counts nothing.
func sizeOf(folder string) uint64 {
	size := uint64(0)
	eachFile(folder, func(info fs.FileInfo) { size += uint64(max(info.Size(), 0)) })
	return size
}

// eachFile calls a function for each file in a folder that can be read.
func eachFile(folder string, f func(fs.FileInfo)) {
	_ = filepath.WalkDir(folder, func(_ string, entry fs.DirEntry, err error) error {
		if err != nil {
			return nil //nolint:nilerr // it is passed over
		}
		if info, err := entry.Info(); err == nil && info.Mode().IsRegular() {
			f(info)
		}
		return nil
	})
}

func bytesText(n uint64) string {
	if n >= 1<<30 {
		return fmt.Sprintf("%.1f GiB", float64(n)/(1<<30))
	}
	return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20))
}
