package pebblelog

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"github.com/webhook-gateway/webhook-gateway/server/eventlog"
)

// backUp returns a backup as a tar stream.
func backUp(t *testing.T, log *Log) []byte {
	t.Helper()
	backup, err := log.Backup()
	if err != nil {
		t.Fatalf("Backup() = %v", err)
	}
	var b bytes.Buffer
	if err := errors.Join(backup.WriteTo(t.Context(), &b), backup.Close()); err != nil {
		t.Fatalf("WriteTo() = %v", err)
	}
	return b.Bytes()
}

func mustRestore(t *testing.T, backup []byte) (string, Manifest) {
	t.Helper()
	to := filepath.Join(t.TempDir(), "restored")
	manifest, err := Restore(t.Context(), bytes.NewReader(backup), to)
	if err != nil {
		t.Fatalf("Restore() = %v", err)
	}
	return to, manifest
}

func mustVerify(t *testing.T, path string) *Report {
	t.Helper()
	report, err := Verify(t.Context(), path, nil)
	if err != nil {
		t.Fatalf("Verify() = %v", err)
	}
	return report
}

// TestBackupUnderLoad takes backups while events come in: each has all that was
// acknowledged before, verifies, and opens.
func TestBackupUnderLoad(t *testing.T) {
	config := testConfig(t.TempDir())
	log := mustOpen(t, config)
	load := newLoad(log)
	var group sync.WaitGroup
	defer group.Wait()
	group.Go(func() { load.run(t, "load", 3000) })
	for round := range 4 {
		waitUntil(t, "more is acknowledged", func() bool { return load.count() >= 100+round*500 })
		if round == 2 {
			flush(log)
		}
		acked := load.snapshot()
		to, manifest := mustRestore(t, backUp(t, log))
		if report := mustVerify(t, to); !report.OK() || uint64(report.Head) < manifest.Head || report.LogID != manifest.LogID {
			t.Errorf("Verify() = %+v of %+v", report, manifest)
		}
		restored := mustOpen(t, testConfig(to))
		load.verify(t, restored, acked)
	}
	if left, err := filepath.Glob(filepath.Join(config.Path, backupPrefix+"*")); err != nil || len(left) > 0 {
		t.Errorf("%v is left, %v", left, err)
	}
}

// TestRestoredOlderCopy goes on after a backup, restores it and goes on otherwise: no
// cursor of what was lost comes to mean another event.
func TestRestoredOlderCopy(t *testing.T) {
	log := mustOpen(t, testConfig(t.TempDir()))
	const kept, lost = 20, 10
	var cursors []string
	var backup []byte
	for i := range eventlog.Position(kept + lost) {
		p := mustAppend(t, log, "", fmt.Sprint("body ", i)).Position
		cursors = append(cursors, log.History().FormatCursor(p))
		if p == kept {
			backup = backUp(t, log)
		}
	}
	to, _ := mustRestore(t, backup)
	restored := mustOpen(t, testConfig(to))
	if d := restored.Damage(); len(d.Lost) > 0 {
		t.Errorf("Damage() = %+v: a backup is whole in itself", d)
	}
	for range 2 * lost {
		mustAppend(t, restored, "", "another body")
	}
	for i, cursor := range cursors {
		want, wantErr := eventlog.Position(i+1), error(nil)
		if i >= kept {
			want, wantErr = 0, &eventlog.HistoryLostError{Last: kept}
		}
		wantParsed(t, restored.History().ParseCursor, cursor, want, wantErr)
	}
}

// A backup that is months old is restored: the clock is believed at once, events get the
// time that it is, and retention does not jump.
func TestRestoredMonthsLater(t *testing.T) {
	clock := newClock()
	log, err := Open(testConfig(t.TempDir()), slog.New(slog.DiscardHandler), clock.option())
	if err != nil {
		t.Fatal(err)
	}
	mustAppend(t, log, "", "of long ago")
	backup := backUp(t, log)
	if err := log.Close(); err != nil {
		t.Fatal(err)
	}
	to, _ := mustRestore(t, backup)
	clock.jump(time.Since(clock.now()))
	restored, err := Open(testConfig(to), slog.New(slog.DiscardHandler), clock.option())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = restored.Close() })
	if c := restored.Clock(); c.Ahead > time.Minute || clock.now().Sub(c.Retention) < 24*time.Hour {
		t.Errorf("Clock() = %+v, want that the time is believed and retention catches up", c)
	}
	p := mustAppend(t, restored, "", "of today").Position
	for r, err := range restored.Read(t.Context(), p-1) {
		if err != nil {
			t.Fatal(err)
		}
		if late := clock.now().Sub(r.ReceiveTime()); late > time.Minute {
			t.Errorf("an event of now is stored as received %v ago", late)
		}
		break
	}
}

func TestRestoreRefusals(t *testing.T) {
	log := mustOpen(t, testConfig(t.TempDir()))
	for range 50 {
		mustAppend(t, log, "", string(benchBody(1000)))
	}
	good := backUp(t, log)
	for name, test := range map[string]struct {
		damage func(b []byte) []byte
		want   string
	}{
		"cut":           {func(b []byte) []byte { return b[:len(b)/2] }, "damaged or not complete"},
		"cut at a file": {func(b []byte) []byte { return b[:bytes.Index(b, []byte("OPTIONS-"))] }, "it has no backup.json"},
		"a bit":         {func(b []byte) []byte { b[3000] ^= 1; return b }, "is not as the manifest says"},
		"nothing":       {func([]byte) []byte { return nil }, "it has no backup.json"},
		"newer": {func(b []byte) []byte {
			return bytes.Replace(b, []byte(`"version": 1`), []byte(`"version": 9`), 1)
		}, "version 9 and this gateway reads version 1"},
		"a name outside": {func(b []byte) []byte {
			return bytes.Replace(b, []byte("MANIFEST-000001"), []byte("../../../0000001"), 1)
		}, "damaged or not complete"},
	} {
		t.Run(name, func(t *testing.T) {
			to := filepath.Join(t.TempDir(), "restored")
			_, err := Restore(t.Context(), bytes.NewReader(test.damage(bytes.Clone(good))), to)
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("Restore() = %v, want %q", err, test.want)
			}
			if _, err := os.Stat(to); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("the folder is left: %v", err)
			}
			if _, err := CheckBackup(t.Context(), bytes.NewReader(test.damage(bytes.Clone(good)))); err == nil {
				t.Error("CheckBackup() finds nothing wrong")
			}
		})
	}
	t.Run("not empty", func(t *testing.T) {
		to, _ := mustRestore(t, good)
		if _, err := Restore(t.Context(), bytes.NewReader(good), to); !errors.Is(err, errNotEmpty) {
			t.Errorf("Restore() = %v, want %v", err, errNotEmpty)
		}
		mustOpen(t, testConfig(to)) // it was left alone
	})
	t.Run("not finished", func(t *testing.T) {
		to, _ := mustRestore(t, good)
		if err := os.WriteFile(filepath.Join(to, restoringName), nil, 0o600); err != nil {
			t.Fatal(err)
		}
		wantOpenError(t, "a restore into", testConfig(to))
		if _, err := Verify(t.Context(), to, nil); err == nil {
			t.Error("Verify() looks at it")
		}
	})
}

// TestBackupFolder saves a backup as a folder, damages it, and restores it.
func TestBackupFolder(t *testing.T) {
	log := mustOpen(t, testConfig(t.TempDir()))
	for i := range 50 {
		mustAppend(t, log, fmt.Sprint(i), string(benchBody(1000)))
	}
	folder := filepath.Join(t.TempDir(), "backup")
	stream := bytes.NewReader(append(backUp(t, log), make([]byte, 10<<10)...)) // what pads some archives
	if _, err := SaveBackup(t.Context(), stream, folder); err != nil {
		t.Fatal(err)
	}
	if stream.Len() > 0 { // a gateway that sends it is not done before
		t.Errorf("%d bytes were not read", stream.Len())
	}
	before, err := os.ReadDir(folder)
	if err != nil {
		t.Fatal(err)
	}
	if report := mustVerify(t, folder); !report.OK() || report.Events != 50 {
		t.Errorf("Verify() = %+v", report)
	}
	if after, err := os.ReadDir(folder); err != nil || len(after) != len(before) {
		t.Errorf("Verify() changes the backup: %v, %v, %v", before, after, err)
	}
	to := filepath.Join(t.TempDir(), "restored")
	if err := os.MkdirAll(filepath.Join(to, "lost+found"), 0o700); err != nil { // the root of a file system
		t.Fatal(err)
	}
	if _, err := RestoreFolder(t.Context(), folder, to); err != nil {
		t.Fatal(err)
	}
	if positions, _ := readAll(t, mustOpen(t, testConfig(to)), 0); len(positions) != 50 {
		t.Errorf("events %v", positions)
	}
	wals, err := listWALs(vfs.Default, folder)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(wals[0], 20_000); err != nil {
		t.Fatal(err)
	}
	if report := mustVerify(t, folder); report.OK() || !strings.Contains(fmt.Sprint(report.Problems), "is not as the manifest says") {
		t.Errorf("Verify() = %+v of a damaged backup", report)
	}
	if _, err := RestoreFolder(t.Context(), folder, filepath.Join(t.TempDir(), "other")); !errors.Is(err, ErrBackupDamaged) {
		t.Errorf("RestoreFolder() = %v", err)
	}
}

// TestBackupFails has a backup fail: the log does not.
func TestBackupFails(t *testing.T) {
	fault := &fault{err: syscall.ENOSPC, match: func(op errorfs.Op) bool { return isWrite(op) && strings.Contains(op.Path, backupPrefix) }}
	log := mustOpen(t, testConfig("log"), WithFS(errorfs.Wrap(vfs.NewMem(), fault)))
	mustAppend(t, log, "", "body")
	fault.on.Store(true)
	if _, err := log.Backup(); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("Backup() = %v", err)
	}
	if err := log.Err(); err != nil {
		t.Errorf("Err() = %v", err)
	}
	mustAppend(t, log, "", "body")
	fault.on.Store(false)
	backup, err := log.Backup()
	if err != nil {
		t.Fatalf("Backup() = %v after one that failed", err)
	}
	if _, err := log.Backup(); !errors.Is(err, ErrBackupRunning) {
		t.Errorf("Backup() = %v, want %v", err, ErrBackupRunning)
	}
	if err := backup.Close(); err != nil {
		t.Error(err)
	}
}

// TestBackupOnAFullDisk takes backups with less and less room: each is whole or is refused
// with what to do, leaves nothing, and half of the reserve stays for others.
func TestBackupOnAFullDisk(t *testing.T) {
	disk := newQuotaFS(1 << 40)
	config := testConfig("log")
	config.DiskReserve = 1 << 20
	log := mustOpen(t, config, WithFS(disk))
	load := newLoad(log)
	load.body = noise(5, 20_000)
	load.run(t, "load", 400)
	// NOTE: What runs in the background would take room, too.
	flushAll(t, log)
	if err := log.store.db.Compact(t.Context(), []byte{0}, []byte{0xff}, false); err != nil {
		t.Fatal(err)
	}
	load.run(t, "in the write-ahead log", 40)
	taken, refused := 0, 0
	for free := int64(16 << 20); free >= 0; free -= 1 << 20 {
		disk.fill(free)
		backup, err := log.Backup()
		if left, _ := log.space.free(); left < min(uint64(free), 1<<19) {
			t.Errorf("with %d bytes free a backup left %d", free, left)
		}
		if err == nil {
			taken++
			if err := errors.Join(backup.WriteTo(t.Context(), io.Discard), backup.Close()); err != nil {
				t.Errorf("with %d bytes free: %v", free, err)
			}
		} else if refused++; !strings.Contains(err.Error(), "make room on it") {
			t.Errorf("Backup() = %v with %d bytes free", err, free)
		}
		for _, name := range mustList(t, disk) {
			if strings.HasPrefix(name, backupPrefix) {
				t.Errorf("%s is left with %d bytes free", name, free)
			}
		}
	}
	if taken == 0 || refused < 2 || log.current().fence.err() != nil {
		t.Errorf("%d backups were taken and %d refused; the log: %v", taken, refused, log.current().fence.err())
	}
	disk.setFree(-1)
	log.space.check()
	load.run(t, "after", 8)
}
