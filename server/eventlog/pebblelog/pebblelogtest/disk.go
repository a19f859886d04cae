// Package pebblelogtest gives tests a log on a disk that they can crash.
package pebblelogtest

import (
	"log/slog"
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

// Open opens the log on the disk. The test must close it.
func (d *Disk) Open(t testing.TB) *pebblelog.Log {
	t.Helper()
	config := pebblelog.DefaultConfig()
	config.Path = "log"
	log, err := pebblelog.Open(config, slog.New(slog.DiscardHandler), pebblelog.WithFS(d.fs))
	if err != nil {
		t.Fatalf("open the log: %v", err)
	}
	return log
}
