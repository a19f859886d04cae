package refusals

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"syscall"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
)

// Wherever a write was cut off, what came before is known after every later start, also if
// nothing is refused in between, and the disk is full at first.
func TestCutFileSurvivesManyStarts(t *testing.T) {
	disk := vfs.NewMem()
	r := ring(t, disk, "/r")
	for i := range 3 {
		r.Record(from("192.0.2.1", mismatch, fmt.Sprint(i)))
	}
	r.Close()
	whole := read(t, disk)
	for cut := 1; cut < len(whole); cut += 7 {
		write := func(file vfs.File, err error) {
			if err == nil {
				_, err = file.Write(bytes.Clone(whole[:cut])) // it is allowed to change them
			}
			if err := errors.Join(err, file.Close()); err != nil {
				t.Fatal(err)
			}
		}
		write(disk.Create("/r/"+fileName, vfs.WriteCategoryUnspecified))
		want := []string{"", "0*1", "1*1 0*1"}[cut*3/len(whole)]
		full := errorfs.Wrap(disk, errorfs.InjectorFunc(func(op errorfs.Op) error {
			if op.Kind == errorfs.OpFileWrite {
				return syscall.ENOSPC
			}
			return nil
		}))
		for start, disk := range []vfs.FS{full, full, disk, disk} {
			r := ring(t, disk, "/r")
			got := clients(all(r))
			r.Close()
			if got != want {
				t.Fatalf("cut at %d of %d bytes, at start %d there are %q, want %q", cut, len(whole), start, got, want)
			}
		}
	}
}

func read(t *testing.T, disk vfs.FS) []byte {
	t.Helper()
	file, err := disk.Open("/r/" + fileName)
	if err != nil {
		t.Fatal(err)
	}
	all, err := io.ReadAll(file)
	if err := errors.Join(err, file.Close()); err != nil {
		t.Fatal(err)
	}
	return all
}
