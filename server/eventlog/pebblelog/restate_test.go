package pebblelog

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/webhook-gateway/webhook-gateway/server/commitlog/commitlogtest"
	"github.com/webhook-gateway/webhook-gateway/server/eventlog"
	"github.com/webhook-gateway/webhook-gateway/server/eventlog/eventlogtest"
)

// withPace restates all the time, in small steps.
func withPace() Option {
	return func(l *Log) {
		l.shared.pace = pace{
			beginPatience: 20 * time.Second, // without a copy a log has no name: see nocopy_test.go
			listEach:      1, minBytes: 1, growth: 0, chunkBytes: 256, interval: time.Millisecond, stepInterval: 0,
			settlePatience: 5 * time.Second, absencePatience: 30 * time.Second,
		}
	}
}

// TestTrimmedBeginning: the commit log is trimmed as its events are, and who begins then has
// all the same: event ids, state, epochs.
func TestTrimmedBeginning(t *testing.T) {
	memory := commitlogtest.NewMemory()
	one := openShared(t, vfs.NewMem(), commitsOf(t, memory), withPace())
	term, err := one.AcquireScope(t.Context(), "worker")
	if err != nil {
		t.Fatal(err)
	}
	for i := range 20 {
		key := fmt.Appendf(nil, "key %d", i)
		if err := one.CommitScope(t.Context(), "worker", term, []eventlog.StateMutation{{Key: key, Value: []byte("state")}}); err != nil {
			t.Fatal(err)
		}
	}
	appendMany(t, one, "old", 50)
	kept := memory.Len()
	if err := one.Trim(t.Context(), 45); err != nil {
		t.Fatal(err)
	}
	eventually(t, one, func() bool { return memory.Trimmed() >= kept-10 })
	appendMany(t, one, "new", 5)
	two := openShared(t, vfs.NewMem(), commitsOf(t, memory))
	if placeOf(t, two).from == 0 || !two.Whole() {
		t.Error("it began at the beginning")
	}
	// NOTE: While somebody restates, two copies are the same only at the same commit.
	if err := one.Close(); err != nil {
		t.Fatal(err)
	}
	one = openShared(t, vfs.NewMem(), commitsOf(t, memory))
	sameLogs(t, one, two)
	if n := readsFrom(t, two, 45); n != 10 {
		t.Errorf("%d events after 45", n)
	}
	for _, log := range []*Log{one, two} {
		receipt, err := log.Append(t.Context(), eventlogtest.Entry(t, "acme", "old 3", "old 3"))
		if err != nil || !receipt.Duplicate {
			t.Errorf("an old event id: %+v, %v", receipt, err)
		}
		if err := log.CommitScope(t.Context(), "worker", term, nil); err != nil {
			t.Errorf("the owner of state: %v", err)
		}
	}
}

// TestQuietTrimmedBeginning: between the beginning of the last pass and its end there was no
// event, and events from before it were removed after it. Who begins there knows at which
// position the next event comes.
func TestQuietTrimmedBeginning(t *testing.T) {
	for name, after := range map[string]int{"an event came after it": 1, "nothing came after it": 0} {
		t.Run(name, func(t *testing.T) {
			memory := commitlogtest.NewMemory()
			one := openShared(t, vfs.NewMem(), commitsOf(t, memory), byHand())
			appendMany(t, one, "old", 10)
			trim := func(upTo eventlog.Position) {
				t.Helper()
				if err := one.Trim(t.Context(), upTo); err != nil {
					t.Fatal(err)
				}
			}
			trim(7)
			wholePass(t, one)
			appendMany(t, one, "new", after)
			trim(10)
			if _, err := one.shorten(); err != nil { // by then the pass is what bounds it
				t.Fatal(err)
			}
			pass := memory.Trimmed()
			two := openShared(t, vfs.NewMem(), commitsOf(t, memory))
			if from := placeOf(t, two).from; from != pass || from < 10 {
				t.Errorf("it began after %d", from)
			}
			appendMany(t, two, "newer", 2)
			sameLogs(t, two, one)
			if n := readsFrom(t, two, 10); n != after+2 {
				t.Errorf("%d events, want %d", n, after+2)
			}
		})
	}
}

func readsFrom(t *testing.T, log *Log, after eventlog.Position) (n int) {
	t.Helper()
	for _, err := range log.Read(t.Context(), after) {
		if err != nil {
			t.Fatal(err)
		}
		n++
	}
	return n
}

// TestCopyOlderThanTheCommitLog is made anew.
func TestCopyOlderThanTheCommitLog(t *testing.T) {
	memory, disk := commitlogtest.NewMemory(), vfs.NewMem()
	two := openShared(t, disk, commitsOf(t, memory))
	if err := two.Close(); err != nil {
		t.Fatal(err)
	}
	one := openShared(t, vfs.NewMem(), commitsOf(t, memory), withPace())
	appendMany(t, one, "event", 50)
	if err := one.Trim(t.Context(), 40); err != nil {
		t.Fatal(err)
	}
	eventually(t, one, func() bool { return memory.Trimmed() > 10 })
	if err := one.Close(); err != nil {
		t.Fatal(err)
	}
	two = openShared(t, disk, commitsOf(t, memory))
	sameLogs(t, openShared(t, vfs.NewMem(), commitsOf(t, memory)), two)
}

// TestGatewaysUnderFaults: gateways share a log whose answers are bad, are closed and crash,
// begin anew, and all the while the commit log is trimmed. Everything that was acknowledged
// is there once, on all.
func TestGatewaysUnderFaults(t *testing.T) {
	const gateways, each = 3, 150
	memory := commitlogtest.NewMemory()
	clock := newClock()
	positions := make(map[eventlog.Position]string)
	var mu sync.Mutex
	var group sync.WaitGroup
	for g := range gateways {
		group.Go(func() {
			r := rand.New(rand.NewPCG(uint64(g), 1))
			disk := vfs.NewCrashableMem()
			open := func() *Log {
				return openShared(t, disk, memory.Open(commitlogtest.NewBadAnswers(uint64(g))), withPace(), clock.option())
			}
			log := open()
			for i := range each {
				id := fmt.Sprint("event ", i) // the same on every gateway
				receipt, err := log.Append(t.Context(), eventlogtest.Entry(t, "acme", id, id))
				if err != nil {
					t.Errorf("Append() = %v", err)
					return
				}
				mu.Lock()
				if was, ok := positions[receipt.Position]; ok && was != id {
					t.Errorf("position %d is of %s and of %s", receipt.Position, was, id)
				}
				positions[receipt.Position] = id
				mu.Unlock()
				switch r.IntN(20) {
				case 0:
					if err := log.Close(); err != nil {
						t.Error(err)
					}
					log = open()
				case 1:
					crashed := disk.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: r.IntN(100), RNG: r})
					if err := log.Close(); err != nil {
						t.Error(err)
					}
					disk = crashed
					log = open()
				case 2:
					if err := log.Close(); err != nil {
						t.Error(err)
					}
					disk = vfs.NewCrashableMem()
					log = open()
				case 3:
					if head := log.Bounds().Head; head > 30 {
						if err := log.Trim(t.Context(), head-30); err != nil {
							t.Errorf("Trim() = %v", err)
						}
					}
				}
			}
		})
	}
	group.Wait()
	if len(positions) != each {
		t.Errorf("%d positions, want %d", len(positions), each)
	}
	one, two := openShared(t, vfs.NewMem(), commitsOf(t, memory)), openShared(t, vfs.NewMem(), commitsOf(t, memory))
	sameLogs(t, one, two)
	for record, err := range two.Read(t.Context(), two.Bounds().Trimmed) {
		if err != nil {
			t.Fatal(err)
		}
		if positions[record.Position] == "" {
			t.Errorf("event %d was not acknowledged", record.Position)
		}
	}
	if memory.Trimmed() == 0 {
		t.Error("the commit log was not trimmed")
	}
}
