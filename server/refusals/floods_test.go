package refusals

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"syscall"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
)

// TestCutFileSurvivesManyStarts: wherever a write was cut off, what came before is known after every later start, also if
// nothing is refused in between, and the disk is full at first.
func TestCutFileSurvivesManyStarts(t *testing.T) {
	disk := vfs.NewMem()
	r := ring(t, disk, "/r")
	for i := range 3 {
		r.Record(from("192.0.2.1", mismatch, fmt.Sprint(i)))
	}
	end(t, r)
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
			end(t, r)
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

// TestFloodOfManyNetworks: whoever has many networks of IPv6, as one line of a provider of internet access has, pushes
// out itself too.
func TestFloodOfManyNetworks(t *testing.T) {
	r := ring(t, nil, "")
	for range 3 {
		r.Record(from("192.0.2.1", mismatch, "a"))
		r.Record(from("2001:db8:1::1", mismatch, "a"))
		r.Record(from("2001:db8:1::1", mismatch, "b"))
	}
	for i := range 100 { // fewer than half
		r.Record(from("192.0.2.7", mismatch, fmt.Sprint(i)))
	}
	for i := range 100_000 {
		r.Record(from(fmt.Sprintf("2001:db8:2:%x::%x", i%0x10000, i/0x10000), mismatch, "a"))
	}
	list := all(r)
	if len(list) != MaxPerReason {
		t.Errorf("%d entries, want %d", len(list), MaxPerReason)
	}
	if got := clients(list[len(list)-103:]); !strings.HasPrefix(got, "99*1 98*1 ") {
		t.Errorf("of those from one address there are %s", got)
	}
	if got := clients(list[len(list)-3:]); got != "b*3 a*3 a*3" {
		t.Errorf("of those from elsewhere there are %s", got)
	}
}
