package pebblelog

import (
	"errors"
	"log/slog"
	"os"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"go.uber.org/goleak"

	"github.com/webhook-gateway/webhook-gateway/server/eventlog"
	"github.com/webhook-gateway/webhook-gateway/server/eventlog/eventlogtest"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m,
		// NOTE Pebble leaves it behind when Open fails late. A database that was not
		// closed has other goroutines too.
		goleak.IgnoreTopFunction("github.com/cockroachdb/pebble/v2.(*ConcurrencyLimitScheduler).periodicGranter"))
}

func testConfig(path string) Config {
	config := DefaultConfig()
	config.Path = path
	return config
}

var errCrash = errors.New("crash")

// testLogger discards: tests that fail on purpose would drown the others.
func testLogger() *slog.Logger { return slog.New(slog.DiscardHandler) }

func mustOpen(t testing.TB, config Config, options ...Option) *Log {
	t.Helper()
	log, err := Open(config, testLogger(), options...)
	if err != nil {
		t.Fatalf("Open() = %v", err)
	}
	t.Cleanup(func() {
		if err := log.Close(); err != nil {
			t.Errorf("Close() = %v", err)
		}
	})
	return log
}

func TestConformance(t *testing.T) {
	eventlogtest.Run(t, func(*testing.T) eventlogtest.Harness {
		disk := vfs.NewCrashableMem()
		var open *Log
		return eventlogtest.Harness{
			Open: func(t *testing.T) eventlog.Log {
				open = mustOpen(t, testConfig("log"), WithFS(disk))
				return open
			},
			Crash: func(*testing.T) {
				disk = disk.CrashClone(vfs.CrashCloneCfg{})
			},
			Copy: func(*testing.T) func(*testing.T) {
				copied := disk.CrashClone(vfs.CrashCloneCfg{})
				return func(*testing.T) { disk = copied.CrashClone(vfs.CrashCloneCfg{}) }
			},
		}
	})
}

func TestConformanceOnDisk(t *testing.T) {
	eventlogtest.Run(t, func(t *testing.T) eventlogtest.Harness {
		path := t.TempDir()
		var open *Log
		return eventlogtest.Harness{
			Open: func(t *testing.T) eventlog.Log {
				open = mustOpen(t, testConfig(path))
				return open
			},
			// The file system cannot lose what was not synced; the process ends in
			// the way that loses most.
			Crash: func(t *testing.T) {
				open.store.fence.fail(errCrash)
				if err := open.Close(); err != nil {
					t.Errorf("Close() = %v", err)
				}
			},
			Copy: func(t *testing.T) func(*testing.T) {
				copied := t.TempDir()
				copyFolder(t, copied, path)
				return func(t *testing.T) { replaceFolder(t, path, copied) }
			},
		}
	})
}

func copyFolder(t *testing.T, to, from string) {
	t.Helper()
	if err := os.CopyFS(to, os.DirFS(from)); err != nil {
		t.Fatal(err)
	}
}

// replaceFolder puts a copy in the place of a folder.
func replaceFolder(t *testing.T, path, copied string) {
	t.Helper()
	if err := os.RemoveAll(path); err != nil {
		t.Fatal(err)
	}
	copyFolder(t, path, copied)
}
