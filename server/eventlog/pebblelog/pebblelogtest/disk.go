// Package pebblelogtest gives tests a log on a disk that they can crash.
package pebblelogtest

import (
	"errors"
	"io"
	"log/slog"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/webhook-gateway/webhook-gateway/server/eventlog/pebblelog"
)

// Disk is a disk in memory that knows what was synced.
type Disk struct {
	fs *vfs.MemFS
}

// NewDisk returns an empty disk.
func NewDisk() *Disk { return &Disk{fs: vfs.NewCrashableMem()} }

// Crash returns a disk with what a failure of the machine at this moment would
// leave. This disk goes on.
func (d *Disk) Crash() *Disk { return &Disk{fs: d.fs.CrashClone(vfs.CrashCloneCfg{})} }

// FlipBit damages the largest table on the disk, at a part of its length.
func (d *Disk) FlipBit(t testing.TB, part float64) {
	t.Helper()
	names, err := d.fs.List("log")
	if err != nil {
		t.Fatal(err)
	}
	largest, size := "", int64(0)
	for _, name := range names {
		info, err := d.fs.Stat("log/" + name)
		if err == nil && strings.HasSuffix(name, ".sst") && info.Size() > size {
			largest, size = "log/"+name, info.Size()
		}
	}
	file, err := d.fs.Open(largest)
	if err != nil {
		t.Fatalf("open a table: %v", err)
	}
	content, err := io.ReadAll(file)
	if err != nil {
		t.Fatal(err)
	}
	content[int(float64(size)*part)] ^= 1
	damaged, err := d.fs.Create(largest, vfs.WriteCategoryUnspecified)
	if err != nil {
		t.Fatal(err)
	}
	_, err = damaged.Write(content)
	if err := errors.Join(err, damaged.Sync(), damaged.Close(), file.Close()); err != nil {
		t.Fatal(err)
	}
}

// Open opens the log on the disk, with options such as a clock. The test must close it.
func (d *Disk) Open(t testing.TB, options ...pebblelog.Option) *pebblelog.Log {
	t.Helper()
	config := pebblelog.DefaultConfig()
	config.Path = "log"
	log, err := pebblelog.Open(config, slog.New(slog.DiscardHandler), append(options, pebblelog.WithFS(d.fs))...)
	if err != nil {
		t.Fatalf("open the log: %v", err)
	}
	return log
}
