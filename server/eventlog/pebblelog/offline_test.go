package pebblelog

import (
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/webhook-gateway/webhook-gateway/server/commitlog/commitlogtest"
)

// TestOfflineToolsOnCopy: what is for the log of one machine does a copy no harm, and what a
// gateway has set aside can be looked at.
func TestOfflineToolsOnCopy(t *testing.T) {
	memory, path := commitlogtest.NewMemory(), t.TempDir()
	log := mustOpen(t, testConfig(path), WithCommits(t.Context(), commitsOf(t, memory)))
	<-log.Current()
	appendMany(t, log, "event", 10)
	at := memory.Len()
	appendMany(t, log, "lost", 5)
	if err := log.Close(); err != nil {
		t.Fatal(err)
	}
	if report := mustVerify(t, path); !report.OK() || report.Events != 15 {
		t.Errorf("the copy: %d events, %v", report.Events, report.Problems)
	}
	if _, err := Repair(t.Context(), path, "", testLogger()); err == nil || !strings.Contains(err.Error(), "store.commit_log") {
		t.Errorf("Repair() = %v", err)
	}
	memory.Cut(at)
	log = mustOpen(t, testConfig(path), WithCommits(t.Context(), commitsOf(t, memory)), impatient())
	<-log.Current()
	sameLogs(t, log, openShared(t, vfs.NewMem(), commitsOf(t, memory)))
	names, err := vfs.Default.List(vfs.Default.PathJoin(path, asideFolder))
	if err != nil || len(names) != 1 {
		t.Fatalf("set aside: %v, %v", names, err)
	}
	if report := mustVerify(t, vfs.Default.PathJoin(path, asideFolder, names[0])); !report.OK() || report.Events != 15 {
		t.Errorf("what was set aside: %d events, %v", report.Events, report.Problems)
	}
}
