package pebblelog

import (
	"context"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"github.com/webhook-gateway/webhook-gateway/server/eventlog/eventlogtest"
)

// mustEnd fails the test if something does not end.
func mustEnd(t *testing.T, what string, do func()) {
	t.Helper()
	done := make(chan struct{})
	go func() {
		defer close(done)
		do()
	}()
	select {
	case <-done:
	case <-time.After(patience):
		t.Fatalf("%s does not end", what)
	}
}

// TestCloseWhileAFlushFails has tables fail only when the log is being closed.
func TestCloseWhileAFlushFails(t *testing.T) {
	for name, match := range map[string]func(errorfs.Op) bool{
		"create": to("*.sst", errorfs.OpCreate),
		"write":  to("*.sst", errorfs.OpFileWrite),
		"sync":   to("*.sst", errorfs.OpFileSync, errorfs.OpFileSyncData),
	} {
		t.Run(name, func(t *testing.T) {
			disk := vfs.NewCrashableMem()
			// The flush waits at its table until the log is being closed.
			reached, closing := make(chan struct{}, 1), make(chan struct{})
			fault := &fault{err: syscall.ENOSPC, match: func(op errorfs.Op) bool {
				if !match(op) {
					return false
				}
				select {
				case reached <- struct{}{}:
				default:
				}
				<-closing
				return true
			}}
			log, err := Open(testConfig("log"), testLogger(), WithFS(errorfs.Wrap(disk, fault)))
			if err != nil {
				t.Fatal(err)
			}
			load := newLoad(log)
			load.run(t, "load", 80)
			fault.on.Store(true)
			flush(log)
			<-reached
			time.AfterFunc(100*time.Millisecond, func() { close(closing) }) // Close waits for the flush by then, or will
			mustEnd(t, "Close()", func() {
				if err := log.Close(); err != nil {
					t.Errorf("Close() = %v", err)
				}
			})
			load.verify(t, mustOpen(t, testConfig("log"), WithFS(disk)), load.acked)
		})
	}
}

// TestHungDisk has a sync of the write-ahead log hang: the log says so while it
// lasts, closing is bounded, and nothing was acknowledged.
func TestHungDisk(t *testing.T) {
	for name, heals := range map[string]bool{"and goes on": true, "until it is closed": false} {
		t.Run(name, func(t *testing.T) {
			gate := &gate{opened: make(chan struct{})}
			log, err := Open(testConfig("log"), testLogger(), WithFS(errorfs.Wrap(vfs.NewMem(), gate)), withPatience(20*time.Millisecond, time.Second))
			if err != nil {
				t.Fatal(err)
			}
			mustAppend(t, log, "before", "body")
			gate.shut.Store(true)
			outcomes := make(chan outcome, 1)
			go func() {
				receipt, err := log.Append(t.Context(), eventlogtest.Entry(t, "client", "during", "body"))
				outcomes <- outcome{receipt, err}
			}()
			waitUntil(t, "the log says that the disk hangs", func() bool {
				return log.Err() != nil && strings.Contains(log.Err().Error(), "has not answered")
			})
			if heals {
				gate.open()
				if o := <-outcomes; o.err != nil {
					t.Errorf("Append() = %v", o.err)
				}
				waitUntil(t, "the log works", func() bool { return log.Err() == nil })
				if err := log.Close(); err != nil {
					t.Errorf("Close() = %v", err)
				}
				return
			}
			mustEnd(t, "Close()", func() {
				if err := log.Close(); err == nil || !strings.Contains(err.Error(), "disk") {
					t.Errorf("Close() = %v", err)
				}
			})
			select {
			case o := <-outcomes:
				t.Errorf("Append() = %+v while the disk hangs", o)
			default:
			}
			gate.open() // and the goroutines end
			<-log.closed
		})
	}
}

// TestThrottleEndsWithTheLog closes a log that waits for its background work.
func TestThrottleEndsWithTheLog(t *testing.T) {
	released := make(chan struct{})
	fault := &fault{match: func(op errorfs.Op) bool {
		if to("*.sst", errorfs.OpCreate)(op) {
			<-released
		}
		return false
	}}
	config := testConfig("log")
	config.DiskReserve = 1 // small memory tables
	log, err := Open(config, testLogger(), WithFS(errorfs.Wrap(newQuotaFS(1<<30), fault)))
	if err != nil {
		t.Fatal(err)
	}
	fault.on.Store(true)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	go func() {
		for i := range 20 {
			_, _ = log.Append(ctx, eventlogtest.Entry(t, "client", "", strconv.Itoa(i)+string(make([]byte, loadCheckBytes/9))))
		}
	}()
	waitUntil(t, "it is throttled", func() bool { return log.throttling.Load() > 0 })
	go func() {
		waitUntil(t, "it is not throttled any more", func() bool { return log.throttling.Load() == 0 })
		close(released)
	}()
	mustEnd(t, "Close()", func() {
		if err := log.Close(); err != nil {
			t.Errorf("Close() = %v", err)
		}
	})
	if log.throttling.Load() != 0 || log.throttled.Load() == 0 {
		t.Error("the time that it was throttled was not counted")
	}
}
