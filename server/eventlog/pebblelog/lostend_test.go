package pebblelog

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/webhook-gateway/webhook-gateway/server/commitlog/commitlogtest"
	"github.com/webhook-gateway/webhook-gateway/server/eventlog"
	"github.com/webhook-gateway/webhook-gateway/server/eventlog/eventlogtest"
)

// TestLostEnd: a commit log that has lost its end is noticed. What was lost is named, its
// positions are not given out again, and the copy that has it is set aside.
func TestLostEnd(t *testing.T) {
	memory, disk := commitlogtest.NewMemory(), vfs.NewMem()
	behind := openShared(t, vfs.NewMem(), commitsOf(t, memory))
	appendMany(t, behind, "kept", 5)
	two := openShared(t, disk, commitsOf(t, memory))
	at := memory.Len()
	if err := behind.Close(); err != nil {
		t.Fatal(err)
	}
	appendMany(t, two, "lost", 5)
	cursor := two.History().FormatCursor(10)
	if err := two.Close(); err != nil {
		t.Fatal(err)
	}
	memory.Cut(at)
	two = openShared(t, disk, commitsOf(t, memory), impatient())
	one := openShared(t, vfs.NewMem(), commitsOf(t, memory))
	appendMany(t, one, "new", 5)
	sameLogs(t, one, two)
	for _, log := range []*Log{one, two} {
		positions, damaged := readAll(t, log, 0)
		if want := []span{{5, 10}}; len(positions) != 10 || fmt.Sprint(damaged) != fmt.Sprint(want) {
			t.Errorf("events %v, damaged %v", positions, damaged)
		}
		if starts := log.History().Starts(); len(starts) != 2 || starts[1].First != 11 {
			t.Errorf("epochs %v", starts)
		}
		if p, err := log.History().ParseCursor(cursor); err != nil || p != 10 {
			t.Errorf("cursor of what was lost: %d, %v", p, err)
		}
	}
	if names := asides(disk); len(names) != 1 {
		t.Errorf("set aside: %v", names)
	}
	// The metric says so while it is there, and not of a gateway that has nothing there.
	wantAside(t, one, 0)
	wantAside(t, two, 1)
	if err := disk.RemoveAll("log/" + asideFolder + "/" + asides(disk)[0]); err != nil {
		t.Fatal(err)
	}
	wantAside(t, two, 0)
}

// wantAside waits until the metric of what was set aside has a value.
func wantAside(t *testing.T, log *Log, want float64) {
	t.Helper()
	registry := prometheus.NewRegistry()
	registry.MustRegister(log.Metrics())
	waitUntil(t, fmt.Sprintf("%v folders are set aside", want), func() bool {
		families, err := registry.Gather()
		if err != nil {
			t.Fatal(err)
		}
		for _, family := range families {
			if family.GetName() == "webhook_gateway_store_set_aside_folders" {
				return family.GetMetric()[0].GetGauge().GetValue() == want
			}
		}
		return false
	})
}

// TestLostEverything: the same if nothing is left.
func TestLostEverything(t *testing.T) {
	memory, disk := commitlogtest.NewMemory(), vfs.NewMem()
	log := openShared(t, disk, commitsOf(t, memory))
	appendMany(t, log, "lost", 5)
	id := log.ID()
	if err := log.Close(); err != nil {
		t.Fatal(err)
	}
	memory = commitlogtest.NewMemory()
	log = openShared(t, disk, commitsOf(t, memory), impatient())
	appendMany(t, log, "new", 5)
	if positions, damaged := readAll(t, log, 0); len(positions) != 5 || len(damaged) != 1 || log.ID() != id {
		t.Errorf("log %v, events %v, damaged %v", log.ID(), positions, damaged)
	}
}

// impatient believes a commit log at once that lacks what it had.
func impatient() Option {
	return func(l *Log) { l.shared.pace.absencePatience = 0 }
}

// TestLostEndWhileRunning: it is noticed at the next append, and the gateway goes on.
func TestLostEndWhileRunning(t *testing.T) {
	memory, disk := commitlogtest.NewMemory(), vfs.NewMem()
	log := openShared(t, disk, commitsOf(t, memory), impatient(), withSettlePatience(50*time.Millisecond))
	appendMany(t, log, "kept", 5)
	at := memory.Len()
	appendMany(t, log, "lost", 5)
	memory.Cut(at)
	eventually(t, log, func() bool {
		_, err := log.Append(t.Context(), eventlogtest.Entry(t, "acme", "new", "new"))
		return err == nil
	})
	eventually(t, log, func() bool { _, current := log.CatchUp(); return current })
	positions, damaged := readAll(t, log, 0)
	if want := []span{{5, 10}}; len(positions) != 6 || fmt.Sprint(damaged) != fmt.Sprint(want) {
		t.Errorf("events %v, damaged %v", positions, damaged)
	}
	aside, err := log.openAside(asideFolder + "/" + asides(disk)[0])
	if err != nil {
		t.Fatal(err)
	}
	if _, err := aside.mark(10); errors.Join(err, aside.close()) != nil {
		t.Errorf("the last event is not in what was set aside: %v", err)
	}
}

func withSettlePatience(d time.Duration) Option {
	return func(l *Log) { l.shared.pace.settlePatience = d }
}

// TestLostTerms: a term that the commit log has lost is not given again, with events that
// were lost or without, and whether or not others went on before it was noticed.
func TestLostTerms(t *testing.T) {
	for name, c := range map[string]struct{ lost, before int }{
		"with events":            {3, 0},
		"state alone":            {0, 0},
		"others went on":         {3, 5},
		"others went on, a part": {3, 1},
	} {
		t.Run(name, func(t *testing.T) {
			memory, disk := commitlogtest.NewMemory(), vfs.NewMem()
			two := openShared(t, disk, commitsOf(t, memory))
			appendMany(t, two, "kept", 5)
			acquire := func(log *Log) uint64 {
				term, err := log.AcquireScope(t.Context(), "worker")
				if err != nil {
					t.Fatal(err)
				}
				return term
			}
			acquire(two)
			at := memory.Len()
			appendMany(t, two, "lost", c.lost)
			acquire(two)
			given := acquire(two)
			if err := two.Close(); err != nil {
				t.Fatal(err)
			}
			memory.Cut(at)
			one := openShared(t, vfs.NewMem(), commitsOf(t, memory))
			appendMany(t, one, "went on", c.before)
			two = openShared(t, disk, commitsOf(t, memory), impatient())
			if term := acquire(two); term <= given {
				t.Errorf("term %d is given, and %d was", term, given)
			}
			if err := two.CommitScope(t.Context(), "worker", given, nil); !errors.Is(err, eventlog.ErrScopeLost) {
				t.Errorf("the owner from before: %v", err)
			}
			receipt := mustAppend(t, one, "", "new")
			if starts := one.History().Starts(); starts[len(starts)-1].First != receipt.Position {
				t.Errorf("epochs %v, want a new one at %d", starts, receipt.Position)
			}
			sameLogs(t, one, two)
		})
	}
}

// TestLostEndIsRead: readers who are where the commit log has lost events wait until it is
// known what becomes of them. The copy is not taken for a damaged one.
func TestLostEndIsRead(t *testing.T) {
	memory := commitlogtest.NewMemory()
	commits := &switched{Log: commitsOf(t, memory)}
	log := openShared(t, vfs.NewMem(), commits, impatient(), withSettlePatience(20*time.Millisecond))
	appendMany(t, log, "kept", 5)
	at := memory.Len()
	appendMany(t, log, "lost", 5)
	memory.Cut(at)
	commits.noAppends.Store(true)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	go func() { _ = log.Sync(ctx) }() // finds out
	served := func() *store {
		log.storeMu.RLock()
		defer log.storeMu.RUnlock()
		return log.store
	}
	first := served()
	for served() == first {
		<-time.After(time.Millisecond)
	}
	for range 100 {
		for _, err := range log.Read(t.Context(), 5) {
			if errors.As(err, new(*eventlog.DamagedError)) {
				t.Fatalf("a reader is told of a gap that nobody has decided: %v", err)
			}
		}
	}
	commits.noAppends.Store(false)
	eventually(t, log, func() bool { _, current := log.CatchUp(); return current })
	if n := log.shared.rebuilt.Load(); n != 1 {
		t.Errorf("the copy was made anew %d times", n)
	}
	if positions, damaged := readAll(t, log, 0); len(positions) != 5 || fmt.Sprint(damaged) != fmt.Sprint([]span{{5, 10}}) {
		t.Errorf("events %v, damaged %v", positions, damaged)
	}
}

// TestLostEndOfDamagedCopy: a gateway whose copy is damaged, and whose commit log has lost
// what readers have seen of it, goes on, and does not give the positions out again.
func TestLostEndOfDamagedCopy(t *testing.T) {
	memory := commitlogtest.NewMemory()
	log := openShared(t, vfs.NewMem(), commitsOf(t, memory))
	appendMany(t, log, "kept", 5)
	at := memory.Len()
	appendMany(t, log, "lost", 5)
	memory.Cut(at)
	log.storeMu.RLock()
	log.store.fence.fail(&copyError{errCopy, false})
	log.storeMu.RUnlock()
	var receipt eventlog.Receipt
	eventually(t, log, func() (done bool) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		r, err := log.Append(ctx, eventlogtest.Entry(t, "acme", "new", "new"))
		receipt = r
		return err == nil
	})
	if receipt.Position != 11 {
		t.Errorf("the next event is at %d", receipt.Position)
	}
	if positions, damaged := readAll(t, log, 0); len(positions) != 6 || fmt.Sprint(damaged) != fmt.Sprint([]span{{5, 10}}) {
		t.Errorf("events %v, damaged %v", positions, damaged)
	}
}

// TestLostEndTwice: two gateways have more than the commit log, one more than the other, and
// the end is lost again before they have said so.
func TestLostEndTwice(t *testing.T) {
	memory := commitlogtest.NewMemory()
	disks := []*vfs.MemFS{vfs.NewMem(), vfs.NewMem()}
	one := openShared(t, disks[0], commitsOf(t, memory))
	appendMany(t, one, "kept", 5)
	at := memory.Len()
	two := openShared(t, disks[1], commitsOf(t, memory))
	appendMany(t, one, "lost", 3)
	if err := errors.Join(two.Sync(t.Context()), two.Close()); err != nil {
		t.Fatal(err)
	}
	appendMany(t, one, "lost too", 3)
	if err := one.Close(); err != nil {
		t.Fatal(err)
	}
	memory.Cut(at)
	two = openShared(t, disks[1], commitsOf(t, memory), impatient())
	memory.Cut(at) // what it has said is lost
	one = openShared(t, disks[0], commitsOf(t, memory), impatient())
	if err := two.Close(); err != nil {
		t.Fatal(err)
	}
	two = openShared(t, disks[1], commitsOf(t, memory), impatient())
	mustAppend(t, two, "", "new")
	sameLogs(t, one, two)
	if positions, damaged := readAll(t, one, 0); len(positions) != 6 || damaged[0].After != 5 || damaged[len(damaged)-1].UpTo != 11 {
		t.Errorf("events %v, damaged %v", positions, damaged)
	}
}

// TestLostEndIsNotForgotten: a gateway that has set its copy aside, because the commit log has lost its end, and is
// stopped before it could say so, says so when it is started again.
func TestLostEndIsNotForgotten(t *testing.T) {
	memory, disk := commitlogtest.NewMemory(), vfs.NewMem()
	commits := &switched{Log: commitsOf(t, memory)}
	log, err := Open(testConfig("log"), testLogger(), WithFS(disk), WithCommits(t.Context(), commits), impatient(),
		withSettlePatience(20*time.Millisecond))
	if err != nil {
		t.Fatal(err)
	}
	<-log.retained
	appendMany(t, log, "kept", 5)
	at := memory.Len()
	appendMany(t, log, "lost", 5)
	memory.Cut(at)
	commits.noAppends.Store(true)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	go func() { _ = log.Sync(ctx) }() // finds out
	waitUntil(t, "the copy is set aside", func() bool {
		return log.shared.rebuilt.Load() == 1 && !log.shared.current.Load() && len(asides(disk)) > 0
	})
	cancel()
	closeSoon(t, log)
	for range 2 { // it is said once
		log = openShared(t, disk, commitsOf(t, memory), impatient())
		if err := log.Sync(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := log.Close(); err != nil {
			t.Fatal(err)
		}
	}
	log = openShared(t, disk, commitsOf(t, memory), impatient())
	if receipt := mustAppend(t, log, "", "new"); receipt.Position != 11 {
		t.Errorf("the next event is at %d, where another was", receipt.Position)
	}
	if starts := log.History().Starts(); len(starts) != 2 {
		t.Errorf("epochs %v", starts)
	}
}

func asides(disk vfs.FS) []string {
	names, _ := disk.List("log/" + asideFolder) // there may be none
	return names
}
