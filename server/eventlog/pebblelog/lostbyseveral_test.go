package pebblelog

import (
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/webhook-gateway/webhook-gateway/server/commitlog/commitlogtest"
	"github.com/webhook-gateway/webhook-gateway/server/eventlog"
	"github.com/webhook-gateway/webhook-gateway/server/eventlog/eventlogtest"
)

// TestLostEndOfSeveral: several gateways have what the commit log has lost, all of it or a part, and start one after
// the other, or at once. The loss is told once. Cursors of what was lost stay valid, also if the first one has gone on.
func TestLostEndOfSeveral(t *testing.T) {
	for name, c := range map[string]struct {
		second int // how many of the six lost events the second one has
		before int // how many new ones come before it starts
	}{
		"the same":              {6, 0},
		"the same, went on":     {6, 4},
		"the same, went on far": {6, 10},
		"the second had less":   {3, 4},
	} {
		t.Run(name, func(t *testing.T) {
			memory, disks := commitlogtest.NewMemory(), []*vfs.MemFS{vfs.NewMem(), vfs.NewMem()}
			one := openShared(t, disks[0], commitsOf(t, memory))
			appendMany(t, one, "kept", 5)
			at := memory.Len()
			two := openShared(t, disks[1], commitsOf(t, memory))
			appendMany(t, one, "lost", c.second)
			if err := errors.Join(two.Sync(t.Context()), two.Close()); err != nil {
				t.Fatal(err)
			}
			appendMany(t, one, "lost too", 6-c.second)
			had := cursorsOf(one)
			if err := one.Close(); err != nil {
				t.Fatal(err)
			}
			memory.Cut(at)
			one = openShared(t, disks[0], commitsOf(t, memory), impatient())
			appendMany(t, one, "new", c.before)
			two = openShared(t, disks[1], commitsOf(t, memory), impatient())
			appendMany(t, one, "newer", 1)
			sameLogs(t, one, two)
			for _, log := range []*Log{one, two} {
				positions, damaged := readAll(t, log, 0)
				if want := []span{{5, 11}}; len(positions) != 6+c.before || fmt.Sprint(damaged) != fmt.Sprint(want) {
					t.Errorf("events %v, damaged %v", positions, damaged)
				}
				wantParted(t, log, had, 11)
				wantParted(t, log, cursorsOf(log), log.Bounds().Head)
			}
			if len(asides(disks[0])) != 1 || len(asides(disks[1])) != 1 {
				t.Errorf("set aside: %v %v", asides(disks[0]), asides(disks[1]))
			}
		})
	}
}

// TestLostEndOfSeveralWithMore: the second one has more than the first, which has gone on. Of its cursors only those are
// refused at whose positions other events came, and all that it lost is told.
func TestLostEndOfSeveralWithMore(t *testing.T) {
	memory, disks := commitlogtest.NewMemory(), []*vfs.MemFS{vfs.NewMem(), vfs.NewMem()}
	two := openShared(t, disks[1], commitsOf(t, memory))
	appendMany(t, two, "kept", 5)
	at := memory.Len()
	one := openShared(t, disks[0], commitsOf(t, memory))
	appendMany(t, two, "lost", 3)
	if err := errors.Join(one.Sync(t.Context()), one.Close()); err != nil {
		t.Fatal(err)
	}
	appendMany(t, two, "lost too", 3)
	had := cursorsOf(two)
	if err := two.Close(); err != nil {
		t.Fatal(err)
	}
	memory.Cut(at)
	one = openShared(t, disks[0], commitsOf(t, memory), impatient())
	appendMany(t, one, "new", 2)
	given := cursorsOf(one)
	two = openShared(t, disks[1], commitsOf(t, memory), impatient())
	appendMany(t, one, "newer", 3)
	sameLogs(t, one, two)
	for _, log := range []*Log{one, two} {
		positions, damaged := readAll(t, log, 0)
		if want := []span{{5, 8}, {10, 11}}; len(positions) != 10 || fmt.Sprint(damaged) != fmt.Sprint(want) {
			t.Errorf("events %v, damaged %v", positions, damaged)
		}
		wantParted(t, log, had, 8)
		wantParted(t, log, given, 10)
		wantParted(t, log, cursorsOf(log), 14)
	}
}

// TestLostEndAtOnce: gateways that have what was lost notice it at once, as they are started or while they run. It is told
// once, nothing is doubled, and cursors stay valid.
func TestLostEndAtOnce(t *testing.T) {
	for name, stop := range map[string]bool{"started": true, "running": false} {
		t.Run(name, func(t *testing.T) {
			memory, logs := commitlogtest.NewMemory(), make([]*Log, 3)
			disks := []*vfs.MemFS{vfs.NewMem(), vfs.NewMem(), vfs.NewMem()}
			for i, disk := range disks {
				logs[i] = openShared(t, disk, commitsOf(t, memory), impatient(), withSettlePatience(20*time.Millisecond))
			}
			appendMany(t, logs[0], "kept", 5)
			at := memory.Len()
			for i, log := range logs {
				appendMany(t, log, fmt.Sprint("lost ", i, " "), 2)
			}
			for _, log := range logs {
				if err := log.Sync(t.Context()); err != nil {
					t.Fatal(err)
				}
			}
			had := cursorsOf(logs[2])
			if stop {
				for _, log := range logs {
					if err := log.Close(); err != nil {
						t.Fatal(err)
					}
				}
			}
			memory.Cut(at)
			var all sync.WaitGroup
			for i, disk := range disks {
				all.Go(func() {
					if stop {
						log, err := Open(testConfig("log"), testLogger(), WithFS(disk), WithCommits(t.Context(), commitsOf(t, memory)), impatient())
						if err != nil {
							t.Error(err)
							return
						}
						logs[i] = log
						t.Cleanup(func() { _ = log.Close() })
					}
					entry := eventlogtest.Entry(t, "acme", fmt.Sprint("new ", i), "new")
					for t.Context().Err() == nil {
						if _, err := logs[i].Append(t.Context(), entry); err == nil {
							return
						}
						_ = logs[i].Sync(t.Context()) // takes its time
					}
				})
			}
			all.Wait()
			if t.Failed() {
				t.FailNow()
			}
			for i, log := range logs {
				sameLogs(t, logs[0], log)
				positions, damaged := readAll(t, log, 0)
				if want := []span{{5, 11}}; len(positions) != 8 || fmt.Sprint(damaged) != fmt.Sprint(want) {
					t.Errorf("events %v, damaged %v", positions, damaged)
				}
				wantParted(t, log, had, 11)
				wantParted(t, log, cursorsOf(log), 14)
				if names := asides(disks[i]); len(names) != 1 {
					t.Errorf("set aside: %v", names)
				}
			}
		})
	}
}

// TestRetryOfWhatTheEngineLost: a provider sends again what the commit log has lost. Until a gateway that has it notices, it
// takes that for a retry; from then on it is stored, once, whichever gateway gets it.
func TestRetryOfWhatTheEngineLost(t *testing.T) {
	memory := commitlogtest.NewMemory()
	one := openShared(t, vfs.NewMem(), commitsOf(t, memory), impatient(), withSettlePatience(20*time.Millisecond))
	two := openShared(t, vfs.NewMem(), commitsOf(t, memory), impatient(), withSettlePatience(20*time.Millisecond))
	send := func(log *Log, id string, want eventlog.Receipt) {
		t.Helper()
		var got eventlog.Receipt
		eventually(t, log, func() (done bool) {
			var err error
			got, err = log.Append(t.Context(), eventlogtest.Entry(t, "acme", id, id))
			return err == nil
		})
		if got != want {
			t.Errorf("%s: %+v, want %+v", id, got, want)
		}
	}
	send(one, "kept", eventlog.Receipt{Position: 1})
	at := memory.Len()
	send(one, "lost", eventlog.Receipt{Position: 2})
	send(two, "lost too", eventlog.Receipt{Position: 3})
	for range 20 { // both are far beyond what comes next: no commit of theirs fits by chance
		if err := errors.Join(one.Sync(t.Context()), two.Sync(t.Context())); err != nil {
			t.Fatal(err)
		}
	}
	memory.Cut(at)
	send(two, "lost", eventlog.Receipt{Position: 2, Duplicate: true}) // nothing is committed for it
	send(one, "new", eventlog.Receipt{Position: 4})                   // it is noticed
	send(one, "lost", eventlog.Receipt{Position: 5})
	send(two, "newer", eventlog.Receipt{Position: 6})
	send(two, "lost", eventlog.Receipt{Position: 5, Duplicate: true})
	send(two, "lost too", eventlog.Receipt{Position: 7})
	send(one, "lost too", eventlog.Receipt{Position: 7, Duplicate: true})
	for _, log := range []*Log{one, two} {
		send(log, "kept", eventlog.Receipt{Position: 1, Duplicate: true})
		if positions, damaged := readAll(t, log, 0); len(positions) != 5 || fmt.Sprint(damaged) != fmt.Sprint([]span{{1, 3}}) {
			t.Errorf("events %v, damaged %v", positions, damaged)
		}
	}
	sameLogs(t, one, two)
}
