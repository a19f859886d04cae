package pebblelog

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
)

// isHeld reports whether a folder could not be locked because another process has done so.
func isHeld(err error) bool { return errors.Is(err, syscall.EAGAIN) || errors.Is(err, syscall.EACCES) }

// inUse says which process uses a folder, and what else than to stop it can be done.
func inUse(path, otherwise string) error {
	who := "another gateway"
	if pid := holder(path); pid > 0 {
		who += fmt.Sprintf(", process %d,", pid)
	}
	if whole, err := filepath.Abs(path); err == nil {
		path = whole
	}
	return fmt.Errorf("%s uses the event log in %s: stop it, or %s", who, path, otherwise)
}

// holder returns which process has locked a folder; 0 if that cannot be known, as of one in
// another container or on another machine. Only a process that has not locked it may ask:
// it would lose its lock when the file is closed.
func holder(path string) int32 {
	file, err := os.Open(filepath.Join(path, lockName)) //nolint:gosec // of the folder that is configured
	if err != nil {
		return 0
	}
	defer func() { _ = file.Close() }() // nothing was written
	lock := syscall.Flock_t{Type: syscall.F_WRLCK}
	if err := syscall.FcntlFlock(file.Fd(), syscall.F_GETLK, &lock); err != nil || lock.Type == syscall.F_UNLCK {
		return 0
	}
	return lock.Pid
}
