package pebblelog

import (
	"encoding/binary"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/webhook-gateway/webhook-gateway/server/eventlog"
	"github.com/webhook-gateway/webhook-gateway/server/eventlog/eventlogtest"
)

// noise returns bytes that do not compress.
func noise(seed uint64, size int) string {
	random := rand.New(rand.NewPCG(seed, 0))
	b := make([]byte, 0, size+8)
	for len(b) < size {
		b = binary.LittleEndian.AppendUint64(b, random.Uint64())
	}
	return string(b[:size])
}

// noisy returns an event of 20 kB that does not compress.
func noisy(t *testing.T, seed int) eventlog.Entry {
	return eventlogtest.Entry(t, "client", "", noise(uint64(seed), 20_000))
}

// appendUntilRefused appends until the log refuses, and returns how many it took.
func appendUntilRefused(t *testing.T, log *Log) (int, error) {
	t.Helper()
	for i := range 100_000 {
		if _, err := log.Append(t.Context(), noisy(t, i)); err != nil {
			return i, err
		}
	}
	t.Fatal("the log never refused an event")
	return 0, nil
}

// TestRetentionFreesAFullDisk fills a disk up to the reserve: events are refused, and
// the disk never fails. Retention makes room, and the log goes on unattended.
func TestRetentionFreesAFullDisk(t *testing.T) {
	const total = 32 << 20
	disk, clock := newQuotaFS(total), newClock()
	config := testConfig("log")
	config.Retention = Retention{MaxAge: time.Hour, Interval: 20 * time.Millisecond}
	log := mustOpen(t, config, WithFS(disk), clock.option())
	for round := range 3 {
		taken, err := appendUntilRefused(t, log)
		t.Logf("round %d: %d events taken, %s in use: %v", round, taken, mebibytes(uint64(disk.inUse())), err)
		if !strings.Contains(err.Error(), "nearly full") || log.Err() == nil {
			t.Fatalf("Append() = %v, Err() = %v", err, log.Err())
		}
		if taken < 300 {
			t.Errorf("only %d events were taken", taken)
		}
		clock.advance(2 * time.Hour)
		waitUntil(t, "retention has made room", func() bool { return log.Err() == nil })
		if bounds := log.Bounds(); bounds.Len() != 0 {
			t.Errorf("Bounds() = %+v after everything expired", bounds)
		}
	}
	if cause := log.store.fence.err(); cause != nil {
		t.Errorf("the disk failed: %v", cause)
	}
	if _, err := log.Append(t.Context(), eventlogtest.Entry(t, "client", "", "body")); err != nil {
		t.Errorf("Append() = %v", err)
	}
}

// TestSubscriptionsGoOnLonger has the state of subscriptions taken when events are
// not any more, down to half of the reserve; trims are always taken.
func TestSubscriptionsGoOnLonger(t *testing.T) {
	disk := newQuotaFS(1 << 30)
	log := mustOpen(t, testConfig("log"), WithFS(disk))
	ctx := t.Context()
	term, err := log.AcquireScope(ctx, "scope")
	if err != nil {
		t.Fatal(err)
	}
	state := func() error {
		return log.CommitScope(ctx, "scope", term, []eventlog.StateMutation{{Key: []byte("k"), Value: []byte("v")}})
	}
	event := func() error {
		_, err := log.Append(ctx, eventlogtest.Entry(t, "client", "", "body"))
		return err
	}
	if err := event(); err != nil {
		t.Fatal(err)
	}
	const reserve = minReserve
	log.space.reserve = reserve
	for _, step := range []struct {
		free         int64
		event, state bool
	}{
		{reserve + 1<<20, true, true},
		{reserve - 1<<20, false, true},
		{reserve + 1<<20, false, true}, // not at once
		{reserve/2 - 1<<20, false, false},
		{reserve/2 + 1<<20, false, false},
		{reserve - 1<<20, false, true},
		{2 * reserve, true, true},
	} {
		disk.fill(step.free)
		log.space.check()
		if err := event(); (err == nil) != step.event {
			t.Errorf("with %s free Append() = %v", mebibytes(uint64(step.free)), err)
		}
		if err := state(); (err == nil) != step.state {
			t.Errorf("with %s free CommitScope() = %v", mebibytes(uint64(step.free)), err)
		}
		if err := log.Trim(ctx, log.Bounds().Head); err != nil {
			t.Errorf("with %s free Trim() = %v", mebibytes(uint64(step.free)), err)
		}
	}
}

func TestReserve(t *testing.T) {
	for _, test := range []struct{ configured, total, want uint64 }{
		{0, 100 << 20, 25 << 20}, {0, 1 << 30, 64 << 20}, {0, 10 << 30, 512 << 20}, {0, 1 << 40, 1 << 30}, {5, 1 << 40, 5},
	} {
		if got := reserveOf(test.configured, test.total); got != test.want {
			t.Errorf("reserveOf(%d, %d) = %d, want %d", test.configured, test.total, got, test.want)
		}
	}
}

// TestNewLogIsSmall checks that a log of a few events takes about their room.
func TestNewLogIsSmall(t *testing.T) {
	path := t.TempDir()
	log := mustOpen(t, testConfig(path))
	for i := range 100 {
		if _, err := log.Append(t.Context(), noisy(t, i)); err != nil {
			t.Fatal(err)
		}
	}
	if used := allocated(t, path); used > 6<<20 {
		t.Errorf("a log of 2 MB of events takes %s", mebibytes(used))
	}
}

// TestFailedOpeningsLeaveNothing has an opening fail again and again on a full disk
// that has events to flush: what it needs does not grow.
func TestFailedOpeningsLeaveNothing(t *testing.T) {
	disk := newQuotaFS(4 << 30)
	config := testConfig("log")
	config.DiskReserve = 1 << 30 // large memory tables
	log := mustOpen(t, config, WithFS(disk))
	log.space.reserve = 1 // somebody else fills the disk
	load := newLoad(log)
	load.body = noise(1, 2000)
	load.run(t, "before", 4000)
	disk.fill(1 << 20)
	extra := 0
	waitUntil(t, "the disk is full", func() bool {
		extra++
		_, err := log.Append(t.Context(), eventlogtest.Entry(t, "client", "", strconv.Itoa(extra)+load.body))
		return err != nil && log.store.fence.err() != nil
	})
	if err := log.Close(); err != nil {
		t.Fatal(err)
	}
	tables := len(disk.files(t, ".sst"))
	for range 20 {
		disk.fill(200 << 10) // not enough for what is to be flushed
		store, err := openStore(config, log.ID(), headMark{}, disk, testLogger())
		if err == nil {
			t.Fatal(store.close(), "the opening succeeded")
		}
		if got := disk.files(t, ".sst"); len(got) > tables {
			t.Fatalf("a failed opening left %d tables: %v", len(got)-tables, got)
		}
	}
	if logs := disk.files(t, ".log"); len(logs) > 10 {
		t.Errorf("failed openings left %v", logs)
	}
	disk.resize(4 << 30)
	load.verify(t, mustOpen(t, config, WithFS(disk)), load.acked)
}

// allocated returns how much of the disk the files of a folder take.
func allocated(t *testing.T, path string) uint64 {
	t.Helper()
	var sum uint64
	entries, err := os.ReadDir(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, entry := range entries {
		info, err := entry.Info()
		if err != nil {
			t.Fatal(err)
		}
		stat, ok := info.Sys().(*syscall.Stat_t)
		if !ok {
			t.Skip("this system does not tell what a file takes of the disk")
		}
		sum += uint64(stat.Blocks) * 512
	}
	return sum
}

// TestSmallerMemoryTables reads a write-ahead log with groups that are larger than the
// memory tables of the next opening, as after a move to a smaller disk.
func TestSmallerMemoryTables(t *testing.T) {
	disk := newQuotaFS(1 << 40)
	config := testConfig("log")
	log := mustOpen(t, config, WithFS(disk))
	load := newLoad(log)
	load.body = noise(3, 700_000)
	load.run(t, "load", 80)
	log.store.fence.fail(errCrash)
	if err := log.Close(); err != nil {
		t.Fatal(err)
	}
	config.DiskReserve = 1
	log = mustOpen(t, config, WithFS(disk))
	if log.store.memTable != minMemTableBytes {
		t.Fatalf("memory tables have %d bytes", log.store.memTable)
	}
	load.log = log
	load.run(t, "after", 80)
	load.verify(t, log, load.acked)
}
