package pebblelog

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"github.com/webhook-gateway/webhook-gateway/server/eventlog"
	"github.com/webhook-gateway/webhook-gateway/server/eventlog/eventlogtest"
)

func TestConfig(t *testing.T) {
	for name, test := range map[string]struct {
		change func(*Config)
		want   string
	}{
		"default":       {func(*Config) {}, ""},
		"no path":       {func(c *Config) { c.Path = "" }, "path: "},
		"any age":       {func(c *Config) { c.Retention.MaxAge = 0 }, ""},
		"negative age":  {func(c *Config) { c.Retention.MaxAge = -1 }, "retention.max_age: "},
		"no interval":   {func(c *Config) { c.Retention.Interval = 0 }, "retention.interval: "},
		"short window":  {func(c *Config) { c.DedupWindow = time.Hour }, "dedup_window: "},
		"longer window": {func(c *Config) { c.DedupWindow = 1000 * time.Hour }, ""},
	} {
		t.Run(name, func(t *testing.T) {
			config := testConfig("log")
			test.change(&config)
			err := config.Validate()
			if test.want == "" {
				if err != nil {
					t.Errorf("Validate() = %v", err)
				}
				return
			}
			if err == nil || !strings.HasPrefix(err.Error(), test.want) {
				t.Errorf("Validate() = %v, want %q", err, test.want)
			}
			if _, err := Open(config, testLogger(), WithFS(vfs.NewMem())); err == nil {
				t.Error("Open() succeeded")
			}
		})
	}
}

// wantOpenError checks that a log is not opened, for a reason.
func wantOpenError(t *testing.T, want string, config Config, options ...Option) {
	t.Helper()
	log, err := Open(config, testLogger(), options...)
	if err == nil {
		t.Fatalf("Open() succeeded, want an error: %v", log.Close())
	}
	if !strings.Contains(err.Error(), want) {
		t.Errorf("Open() = %v, want %q", err, want)
	}
}

func TestOpenRefusals(t *testing.T) {
	t.Run("a file", func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "file")
		if err := os.WriteFile(path, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		wantOpenError(t, "is not a folder", testConfig(path))
	})
	t.Run("open in this process", func(t *testing.T) {
		config := testConfig(t.TempDir())
		mustOpen(t, config)
		wantOpenError(t, "lock the event log", config)
	})
	t.Run("a newer keyspace", func(t *testing.T) {
		disk := vfs.NewMem()
		log := mustOpen(t, testConfig("log"), WithFS(disk))
		if err := log.store.db.Set(metaKey(metaKeyspace), []byte{keyspaceVersion + 1}, pebble.Sync); err != nil {
			t.Fatal(err)
		}
		if err := log.Close(); err != nil {
			t.Fatal(err)
		}
		wantOpenError(t, fmt.Sprintf("keyspace version %d and this gateway supports version %d", keyspaceVersion+1, keyspaceVersion), testConfig("log"), WithFS(disk))
	})
}

// lockedPathVariable tells a process of this test to open a log and hold it.
const lockedPathVariable = "PEBBLELOG_TEST_HOLD"

func TestLockedByAnotherProcess(t *testing.T) {
	if path := os.Getenv(lockedPathVariable); path != "" {
		mustOpen(t, testConfig(path))
		fmt.Println("open") //nolint:forbidigo // the parent waits for it
		_, _ = bufio.NewReader(os.Stdin).ReadString('\n')
		return
	}
	path := t.TempDir()
	holder := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestLockedByAnotherProcess$")
	holder.Env = append(os.Environ(), lockedPathVariable+"="+path)
	stdin, err := holder.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := holder.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := holder.Start(); err != nil {
		t.Fatal(err)
	}
	if line, err := bufio.NewReader(stdout).ReadString('\n'); err != nil || line != "open\n" {
		t.Fatalf("the other process says %q, %v", line, err)
	}
	inUse := fmt.Sprintf("another gateway, process %d, uses the event log in %s: stop it", holder.Process.Pid, path)
	t.Chdir(filepath.Dir(path)) // where another gateway is started need not be where this one was
	wantOpenError(t, inUse, testConfig(filepath.Base(path)))
	if _, err := Verify(t.Context(), path, nil); err == nil || !strings.Contains(err.Error(), inUse) {
		t.Errorf("Verify() = %v, want %q", err, inUse)
	}
	if err := errors.Join(stdin.Close(), holder.Wait()); err != nil {
		t.Fatalf("the other process: %v", err)
	}
	mustOpen(t, testConfig(path))
}

// testClock is set by the test.
type testClock struct {
	mu      sync.Mutex
	wall    time.Time
	elapsed time.Duration
}

func newClock() *testClock { return &testClock{wall: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)} }

func (c *testClock) option() Option { return WithClock(c.now, c.running) }

func (c *testClock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.wall
}

func (c *testClock) running() time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.elapsed
}

// advance has time pass.
func (c *testClock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.wall = c.wall.Add(d)
	c.elapsed += d
}

// jump sets the clock of the machine, or has time pass while no gateway runs.
func (c *testClock) jump(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.wall = c.wall.Add(d)
}

func mustAppend(t testing.TB, log *Log, eventID, body string) eventlog.Receipt {
	t.Helper()
	receipt, err := log.Append(t.Context(), eventlogtest.Entry(t, "client", eventID, body))
	if err != nil {
		t.Fatalf("Append() = %v", err)
	}
	return receipt
}

func wantTrimmed(t *testing.T, log *Log, want eventlog.Position) {
	t.Helper()
	if err := log.enforceRetention(t.Context()); err != nil {
		t.Fatalf("enforceRetention() = %v", err)
	}
	if got := log.Bounds().Trimmed; got != want {
		t.Errorf("trimmed up to %d, want %d", got, want)
	}
}

func TestRetentionByAge(t *testing.T) {
	clock := newClock()
	config := testConfig("log")
	config.Retention.MaxAge = 10 * time.Hour
	log := mustOpen(t, config, WithFS(vfs.NewMem()), clock.option())
	for range 20 { // one event an hour
		mustAppend(t, log, "", "body")
		clock.advance(time.Hour)
	}
	wantTrimmed(t, log, 10) // the eleventh is ten hours old
	clock.advance(time.Hour)
	wantTrimmed(t, log, 11)
	wantTrimmed(t, log, 11)
	clock.advance(1000 * time.Hour)
	wantTrimmed(t, log, 20)
	if receipt := mustAppend(t, log, "", "body"); receipt.Position != 21 {
		t.Errorf("position %d, want 21", receipt.Position)
	}
	wantTrimmed(t, log, 20)
}

func TestRetentionByBytes(t *testing.T) {
	size := uint64(eventlogtest.Entry(t, "client", "", "body").Size())
	config := testConfig("log")
	config.Retention.MaxBytes = 10*size + size/2
	log := mustOpen(t, config, WithFS(vfs.NewMem()))
	for range 10 {
		mustAppend(t, log, "", "body")
	}
	wantTrimmed(t, log, 0)
	for range 15 {
		mustAppend(t, log, "", "body")
	}
	wantTrimmed(t, log, 15)
	wantTrimmed(t, log, 15)
	mustAppend(t, log, "", strings.Repeat("x", 1000)) // more than is kept, on its own
	wantTrimmed(t, log, 25)
	if stats, err := log.Stats(t.Context()); err != nil || stats.Bytes < 1000 || stats.Bounds.Len() != 1 {
		t.Errorf("Stats() = %+v, %v, want the newest event", stats, err)
	}
}

// TestReceiveTimeNeverDecreases has the clock set back, also over a restart.
func TestReceiveTimeNeverDecreases(t *testing.T) {
	clock, disk := newClock(), vfs.NewMem()
	var last time.Time
	for range 3 {
		log := mustOpen(t, testConfig("log"), WithFS(disk), clock.option())
		mustAppend(t, log, "", "body")
		for record, err := range log.Read(t.Context(), log.Bounds().Head-1) {
			if err != nil {
				t.Fatal(err)
			}
			if record.ReceiveTime().Before(last) {
				t.Errorf("event %d was received at %v, the one before at %v", record.Position, record.ReceiveTime(), last)
			}
			last = record.ReceiveTime()
		}
		if err := log.Close(); err != nil {
			t.Fatal(err)
		}
		clock.advance(-time.Hour)
	}
}

// TestBackpressure checks that appends wait when the disk does not keep up, and
// give up when their context ends.
func TestBackpressure(t *testing.T) {
	gate := &gate{opened: make(chan struct{})}
	log := mustOpen(t, testConfig("log"), WithFS(errorfs.Wrap(vfs.NewMem(), gate)))
	gate.shut.Store(true)
	body := strings.Repeat("x", 1<<20)
	const appends = 40 // more than the batches under way and the queue hold
	errs := make(chan error, appends)
	ctx, cancel := context.WithCancelCause(t.Context())
	for range appends {
		go func() {
			_, err := log.Append(ctx, eventlogtest.Entry(t, "client", "", body))
			errs <- err
		}()
	}
	waitUntil(t, "appends wait for room", func() bool {
		log.queue.mu.Lock()
		defer log.queue.mu.Unlock()
		// What is under way cannot be given up any more, and is stored.
		return gate.held.Load() && log.queue.room != nil && log.queue.bytes > maxQueuedBytes/2
	})
	late := errors.New("too late")
	cancel(late)
	for range appends {
		if err := <-errs; !errors.Is(err, late) {
			t.Errorf("Append() = %v, want that it gave up", err)
		}
	}
	gate.open()
	mustAppend(t, log, "", "body")
	if head := log.Bounds().Head; head <= 1 || head > appends {
		t.Errorf("head %d: what was queued is stored, and only that", head)
	}
}

// TestMarksCopyNoValues checks that what needs only the mark of an event, as Seek and
// retention do, copies nothing of its body.
func TestMarksCopyNoValues(t *testing.T) {
	log := mustOpen(t, testConfig("log"), WithFS(vfs.NewMem()))
	mustAppend(t, log, "", strings.Repeat("x", 16<<20))
	least := uint64(math.MaxUint64)
	for range 5 { // the database works in the background too
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		if _, err := log.Stats(t.Context()); err != nil {
			t.Fatal(err)
		}
		runtime.ReadMemStats(&after)
		least = min(least, after.TotalAlloc-before.TotalAlloc)
	}
	if least > 1<<20 {
		t.Errorf("Stats() allocates %d bytes", least)
	}
}
