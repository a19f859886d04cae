package pebblelog

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/webhook-gateway/webhook-gateway/server/commitlog/commitlogtest"
)

// TestCopyOfAnotherLog: a gateway that is started with the commit log of another event log
// says so, keeps its copy, and does nothing to the other log: what it has is not lost there.
func TestCopyOfAnotherLog(t *testing.T) {
	for name, events := range map[string]int{"shorter": 0, "longer": 30} {
		t.Run(name, func(t *testing.T) {
			disk := vfs.NewMem()
			log := openShared(t, disk, commitsOf(t, commitlogtest.NewMemory()))
			appendMany(t, log, "mine", 10)
			if err := log.Close(); err != nil {
				t.Fatal(err)
			}
			memory := commitlogtest.NewMemory()
			others := openShared(t, vfs.NewMem(), commitsOf(t, memory))
			appendMany(t, others, "theirs", events)
			// foreign are the commits in the other log that are not its own gateway's.
			foreign := func() int64 { return int64(memory.Len()) - others.shared.committed.Load() }
			before := foreign()

			log = mustOpen(t, testConfig("log"), WithFS(disk), WithCommits(t.Context(), commitsOf(t, memory)), impatient())
			t.Cleanup(func() { closeSoon(t, log) })
			deadline := time.After(patience)
			for want := "and the commit log is of " + others.ID().String(); ; {
				if err := log.Err(); err != nil && strings.Contains(err.Error(), want) {
					break
				}
				select {
				case <-log.Current():
					t.Fatal("it has become the other log")
				case <-deadline:
					t.Fatalf("it says %v, want %q", log.Err(), want)
				case <-time.After(time.Millisecond): // Err tells nobody when it changes
				}
			}
			if err := others.Sync(t.Context()); err != nil || others.Damage().LostEvents() != 0 || int(others.Bounds().Head) != events {
				t.Errorf("the other log has %v, damage %v: %v", others.Bounds(), others.Damage(), err)
			}
			if n := foreign(); n != before {
				t.Errorf("the other log has %d commits of others, and had %d", n, before)
			}
			if names, err := disk.List("log/" + asideFolder); err == nil && len(names) > 0 {
				t.Errorf("set aside: %v", names)
			}
		})
	}
}

// TestErrOfTheCommitLog: the commit log knows better why it takes nothing than those who
// waited for it in vain.
func TestErrOfTheCommitLog(t *testing.T) {
	off := &switched{}
	off.off.Store(true)
	s := &shared{commits: off}
	waited := context.DeadlineExceeded
	s.failing.Store(&waited)
	if err := s.err(); !errors.Is(err, errOff) {
		t.Error(err)
	}
}
