package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	webhookgatewayv1 "github.com/webhook-gateway/webhook-gateway/gen/webhookgateway/v1"
	"github.com/webhook-gateway/webhook-gateway/server"
	"github.com/webhook-gateway/webhook-gateway/server/servertest"
)

// wantRun runs a command line and returns what it prints to stdout and stderr.
func wantRun(t *testing.T, code int, args ...string) string {
	t.Helper()
	got, out, errOut := execute(t, args...)
	if got != code {
		t.Errorf("%v ended with %d, want %d:\n%s%s", args, got, code, out, errOut)
	}
	return out + errOut
}

// TestBackupAndRestore goes the way of an operator: backup, verify, restore, damage,
// repair.
func TestBackupAndRestore(t *testing.T) {
	t.Chdir(t.TempDir())
	g := servertest.Start(t, func(config *server.Config) { config.Store.Pebble.Path = "store" })
	for range 10 {
		g.Deliver(t, webhookgatewayv1.EventType_EVENT_TYPE_VEZGO_SYNC_ACCOUNT)
	}
	addr := strings.TrimPrefix(g.InternalURL(), "http://")
	for _, to := range []string{"folder", "file.tar"} {
		if text := wantRun(t, exitOK, "backup", "--http-addr", addr, "--to", to); !strings.Contains(text, "up to event 10") {
			t.Errorf("backup prints %s", text)
		}
		// The gateway is not asked: one that makes a backup for nobody refuses the next.
		if text := wantRun(t, exitFailure, "backup", "--http-addr", "127.0.0.1:1", "--to", to); !strings.Contains(text, "not empty") && !strings.Contains(text, "exists") {
			t.Errorf("backup over another prints %s", text)
		}
		restored := "restored-" + to
		wantRun(t, exitOK, "restore", "--from", to, "--to", restored)
		if text := wantRun(t, exitOK, "log", "verify", restored); !strings.Contains(text, "events 1 to 10") || !strings.Contains(text, "nothing is wrong") {
			t.Errorf("verify prints %s", text)
		}
		if text := wantRun(t, exitFailure, "restore", "--from", to, "--to", restored); !strings.Contains(text, "not empty") {
			t.Errorf("restore over another prints %s", text)
		}
	}
	code, tar, problem := execute(t, "backup", "--http-addr", addr, "--to", "-")
	content, err := os.ReadFile("file.tar")
	if err != nil || code != exitOK || len(tar) < len(content)/2 {
		t.Errorf("backup to stdout: %d, %d bytes, %v: %s", code, len(tar), err, problem)
	}
	if text := wantRun(t, exitFailure, "log", "verify", "store"); !strings.Contains(text, "a process has the event log in store open") && !strings.Contains(text, "lock the event log") {
		t.Errorf("verify of a running store prints %s", text)
	}
	if err := os.Truncate("file.tar", int64(len(content)/2)); err != nil {
		t.Fatal(err)
	}
	if text := wantRun(t, exitFailure, "restore", "--from", "file.tar", "--to", "other"); !strings.Contains(text, "damaged or not complete") {
		t.Errorf("restore of half a backup prints %s", text)
	}

	wals, err := filepath.Glob("restored-folder/*.log")
	if err != nil || len(wals) == 0 {
		t.Fatal(wals, err)
	}
	for _, wal := range wals {
		if err := os.Truncate(wal, 500); err != nil {
			t.Fatal(err)
		}
	}
	if text := wantRun(t, exitFailure, "log", "verify", "restored-folder"); !strings.Contains(text, "DAMAGED ") {
		t.Errorf("verify prints %s", text)
	}
	if text := wantRun(t, exitFailure, "log", "repair", "restored-folder"); !strings.Contains(text, "LOST events ") {
		t.Errorf("repair prints %s", text)
	}
	if text := wantRun(t, exitFailure, "log", "verify", "restored-folder"); !strings.Contains(text, "LOST events ") {
		t.Errorf("verify prints %s", text)
	}
	if text := wantRun(t, exitOK, "log", "repair", "restored-folder", "--from", "folder"); !strings.Contains(text, "10 events were put back") {
		t.Errorf("repair prints %s", text)
	}
	if text := wantRun(t, exitOK, "log", "verify", "restored-folder"); !strings.Contains(text, "nothing is wrong") {
		t.Errorf("verify prints %s", text)
	}
}

// A reader that has seen more than a backup is told where it may go on, so that a person
// can type it.
func TestRestoredHistory(t *testing.T) {
	t.Chdir(t.TempDir())
	g := servertest.Start(t)
	certain := g.Trigger(t, "vezgo.SyncAccount")
	wantRun(t, exitOK, "backup", "--http-addr", strings.TrimPrefix(g.InternalURL(), "http://"), "--to", "monday")
	lost := g.Trigger(t, "vezgo.SyncAccount")
	wantRun(t, exitOK, "restore", "--from", "monday", "--to", "store")
	restored := servertest.Start(t, func(config *server.Config) { config.Store.Pebble.Path = "store" })
	want := "(HISTORY_LOST, last_cursor " + certain.GetCursor() + ")"
	if text := wantRun(t, exitFailure, "tail", "--addr", restored.GRPCAddr(), "--from", lost.GetCursor(), "--stop-at-head"); !strings.Contains(text, want) {
		t.Errorf("tail after what was lost prints %s, want %s", text, want)
	}
	wantRun(t, exitOK, "tail", "--addr", restored.GRPCAddr(), "--from", certain.GetCursor(), "--stop-at-head")
}

func TestBackupRefusals(t *testing.T) {
	t.Chdir(t.TempDir())
	g := servertest.Start(t)
	for name, test := range map[string]struct {
		args []string
		code int
		want string
	}{
		"no gateway":     {[]string{"backup", "--http-addr", "127.0.0.1:1", "--to", "x"}, exitFailure, "is the gateway running?"},
		"another port":   {[]string{"backup", "--http-addr", strings.TrimPrefix(g.WebhookURL(), "http://"), "--to", "x"}, exitFailure, "is that the internal HTTP port of a gateway?"},
		"nowhere":        {[]string{"backup"}, exitUsage, "--to: give a folder"},
		"restore what":   {[]string{"restore", "--to", "x"}, exitUsage, "--from and --to"},
		"no backup":      {[]string{"restore", "--from", "nothing", "--to", "x"}, exitFailure, "no such file"},
		"verify nothing": {[]string{"log", "verify", "nothing"}, exitFailure, "no such file"},
		"repair nothing": {[]string{"log", "repair", "nothing"}, exitFailure, "no such file"},
	} {
		t.Run(name, func(t *testing.T) {
			if text := wantRun(t, test.code, test.args...); !strings.Contains(text, test.want) {
				t.Errorf("%v prints %s, want %q", test.args, text, test.want)
			}
			if _, err := os.Stat("x"); err == nil {
				t.Error("something is left")
			}
		})
	}
}

// TestBar shows no progress where there is no terminal, and a whole bar at the end of
// one.
func TestBar(t *testing.T) {
	file, err := os.Create(filepath.Join(t.TempDir(), "file"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	newBar(file).show(1, 2)
	if info, err := file.Stat(); err != nil || info.Size() > 0 {
		t.Errorf("a bar in a file: %v, %v", info.Size(), err)
	}
	var b strings.Builder
	bar{&b}.show(2, 2)
	if want := "[" + strings.Repeat("=", barWidth) + "] 2 of 2 events"; !strings.Contains(b.String(), want) {
		t.Errorf("the bar is %q, want %q", b.String(), want)
	}
}
