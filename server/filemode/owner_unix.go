//go:build unix

package filemode

import (
	"io/fs"
	"syscall"
)

// owner returns the user id of a file's owner, if the system has such.
func owner(info fs.FileInfo) (uint32, bool) {
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return 0, false
	}
	return stat.Uid, true
}
