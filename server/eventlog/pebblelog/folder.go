package pebblelog

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
)

// GatewayFolder is the folder within that of a log in which the gateway keeps what is no part of
// the log. No log touches it, and no backup has it.
const GatewayFolder = "gateway"

// lockName is the file that a process locks to have the folder for itself.
const lockName = "LOCK"

// acquire makes the folder and locks it against other processes.
func (l *Log) acquire() error {
	path := l.config.Path
	if info, err := l.disk.Stat(path); err == nil && !info.IsDir() {
		return fmt.Errorf("open the event log: %s is not a folder: give the path of a folder", path)
	}
	if err := l.disk.MkdirAll(path, 0o700); err != nil {
		return folderError("create the folder of the event log", path, err)
	}
	lock, err := l.disk.Lock(l.disk.PathJoin(path, lockName))
	switch {
	case errors.As(err, new(*fs.PathError)): // not the lock was refused, but its file
		return folderError("lock the event log", path, err)
	case isHeld(err):
		return inUse(path, "give another folder, by store.pebble.path")
	case err != nil:
		return folderError("lock the event log", path, err)
	}
	l.lock = lock
	return nil
}

func folderError(what, path string, err error) error {
	switch {
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("%s in %s: the user that the gateway runs as may not write there: give it the folder: %w", what, path, err)
	case errors.Is(err, syscall.EROFS):
		return fmt.Errorf("%s in %s: the file system is read-only: mount it for writing: %w", what, path, diskError{err})
	case isDiskFault(err):
		err = diskError{err}
	}
	return fmt.Errorf("%s in %s: %w", what, path, err)
}

// checkIsLog refuses a folder that has nothing of a log.
func checkIsLog(path string, disk vfs.FS) error {
	if err := checkFolder(path, disk); err != nil {
		return err
	}
	if _, err := disk.Stat(disk.PathJoin(path, headMarkName)); !errors.Is(err, fs.ErrNotExist) {
		return nil // it had one at least
	}
	if found, err := pebble.Peek(path, disk); err != nil || found.Exists {
		return err
	}
	return fmt.Errorf("%w: %s", errNoLog, path)
}

// errFolder is for a folder that lacks files of a log.
var errFolder = errors.New("the folder is not whole")

// checkFolder refuses a folder that has the files of a log, but not the one that says
// which of them are in force: Pebble would make a new, empty log of it, and remove
// them.
func checkFolder(path string, disk vfs.FS) error {
	names, err := disk.List(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	slices.Sort(names) // numbers have leading zeros
	manifest, stored := "", 0
	for _, name := range names {
		switch {
		case strings.HasPrefix(name, manifestMarker):
			return nil
		case strings.HasPrefix(name, "MANIFEST-"):
			manifest = name
		case isTable(name), filepath.Ext(name) == ".log":
			if info, err := disk.Stat(disk.PathJoin(path, name)); err != nil || info.Size() > 0 {
				stored++
			}
		}
	}
	if stored == 0 {
		return nil // nothing was ever stored
	}
	repair := "restore the folder from a backup"
	if manifest != "" {
		repair += fmt.Sprintf(", or if only this file was lost, create it, empty, as %s000001.%s", manifestMarker, manifest)
	}
	return fmt.Errorf("%w: %d files of an event log are in %s, but not the file %s... that says which of them are in force: nothing was changed: %s",
		errFolder, stored, path, manifestMarker, repair)
}
