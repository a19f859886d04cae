package pebblelog

import (
	"errors"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/webhook-gateway/webhook-gateway/server/commitlog/commitlogtest"
	"github.com/webhook-gateway/webhook-gateway/server/eventlog"
	"github.com/webhook-gateway/webhook-gateway/server/eventlog/eventlogtest"
)

// TestStartWithoutCopyAndCommitLog: a gateway with an empty folder starts while the commit log does
// not answer. It takes and shows nothing, says why, and begins its copy when it does.
func TestStartWithoutCopyAndCommitLog(t *testing.T) {
	memory := commitlogtest.NewMemory()
	other := openShared(t, vfs.NewMem(), commitsOf(t, memory))
	appendMany(t, other, "event", 5)
	if err := other.Trim(t.Context(), 2); err != nil {
		t.Fatal(err)
	}

	disk := vfs.NewMem()
	down := &switched{Log: commitsOf(t, memory)}
	down.off.Store(true)
	impatient := func(l *Log) { l.shared.pace.beginPatience = 0 }
	log := mustOpen(t, testConfig("log"), WithFS(disk), WithCommits(t.Context(), down), impatient)
	if _, current := log.CatchUp(); current || log.Whole() || log.Bounds() != (eventlog.Bounds{}) {
		t.Errorf("it says that it has everything: %v", log.Bounds())
	}
	if _, err := log.Append(t.Context(), eventlogtest.Entry(t, "acme", "early", "early")); !errors.Is(err, errOff) {
		t.Errorf("an append is answered %v", err)
	}
	if err := log.Err(); !errors.Is(err, errOff) {
		t.Errorf("it says %v", err)
	}
	began := time.Now()
	if err := log.Close(); err != nil || time.Since(began) >= closeTimeout/2 { // nobody waits for the commit log
		t.Errorf("Close() = %v, after %v", err, time.Since(began))
	}

	log = mustOpen(t, testConfig("log"), WithFS(disk), WithCommits(t.Context(), down), impatient)
	down.off.Store(false)
	<-log.Current()
	if log.Bounds() != other.Bounds() {
		t.Errorf("it has %v, want %v", log.Bounds(), other.Bounds())
	}
	appendMany(t, log, "more", 5)
	if log.ID() != other.ID() || !log.Whole() {
		t.Errorf("it is log %v, want %v", log.ID(), other.ID())
	}
	if err := other.Sync(t.Context()); err != nil {
		t.Fatal(err)
	}
	sameLogs(t, other, log)
}
