package pebblelog

import (
	"io"
	"os"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// machineDisk is the file system of the machine. What is made there only its owner can
// read, whatever the umask is: Pebble leaves that to the umask.
var machineDisk vfs.FS = privateDisk{vfs.Default}

type privateDisk struct{ vfs.FS }

const (
	privateFolder = 0o700
	privateFile   = 0o600
)

// makePrivate takes the rights of others on a file that was made, and is empty yet. A file
// system that cannot do that is no reason not to run: the gateway warns at its start.
func makePrivate(name string, err error) {
	if err == nil {
		_ = os.Chmod(name, privateFile)
	}
}

// Create creates a file.
func (d privateDisk) Create(name string, category vfs.DiskWriteCategory) (vfs.File, error) {
	file, err := d.FS.Create(name, category)
	makePrivate(name, err)
	return file, err
}

// OpenReadWrite opens a file, or creates it.
func (d privateDisk) OpenReadWrite(name string, category vfs.DiskWriteCategory, opts ...vfs.OpenOption) (vfs.File, error) {
	file, err := d.FS.OpenReadWrite(name, category, opts...)
	makePrivate(name, err)
	return file, err
}

// MkdirAll makes a folder.
func (d privateDisk) MkdirAll(name string, _ os.FileMode) error {
	return d.FS.MkdirAll(name, privateFolder)
}

// Lock locks a file, and makes it if it is not there.
func (d privateDisk) Lock(name string) (io.Closer, error) {
	lock, err := d.FS.Lock(name)
	makePrivate(name, err)
	return lock, err
}

// Unwrap returns what it stands on.
func (d privateDisk) Unwrap() vfs.FS { return d.FS }
