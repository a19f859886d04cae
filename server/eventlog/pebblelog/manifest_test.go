package pebblelog

import (
	"errors"
	"fmt"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// TestDamagedManifest flips a bit of the manifest. Either nothing is missing without a
// word, or the log does not open; in both cases no table is removed.
func TestDamagedManifest(t *testing.T) {
	const events, flips = 400, 60
	good := vfs.NewMem()
	log := mustOpen(t, testConfig("log"), WithFS(good))
	for i := range events {
		mustAppend(t, log, fmt.Sprint("id ", i), fmt.Sprint(i, string(benchBody(300))))
		if i%50 == 49 {
			flushAll(t, log)
		}
	}
	if err := log.Close(); err != nil {
		t.Fatal(err)
	}
	tables, err := listTables(good, "log")
	if err != nil || len(tables) == 0 {
		t.Fatal(tables, err)
	}
	names, err := good.List("log")
	if err != nil {
		t.Fatal(err)
	}
	opened, refused := 0, 0
	for _, name := range names {
		if len(name) < 8 || name[:8] != "MANIFEST" {
			continue
		}
		content := readDisk(t, good, "log/"+name)
		for i := range flips {
			disk := vfs.NewMem()
			if ok, err := vfs.Clone(good, disk, "log", "log"); !ok || err != nil {
				t.Fatal(ok, err)
			}
			bad := append([]byte(nil), content...)
			at := i * len(content) / flips
			bad[at] ^= 4
			writeDisk(t, disk, "log/"+name, bad)
			log, err := Open(testConfig("log"), testLogger(), WithFS(disk))
			if err != nil {
				refused++
				if !errors.Is(err, errManifest) {
					t.Errorf("Open() = %v with a bit flipped at %d of %d", err, at, len(content))
				}
				for _, table := range tables {
					if _, err := disk.Stat(table); err != nil {
						t.Errorf("with a bit flipped at %d: %v", at, err)
					}
				}
				continue
			}
			opened++
			positions, damaged := readAll(t, log, 0)
			if head := log.Bounds().Head; head != events || len(positions) < events && len(damaged) == 0 {
				t.Errorf("with a bit flipped at %d the head is %d, and %d events are there, damaged %v", at, head, len(positions), damaged)
			}
			if err := log.Close(); err != nil {
				t.Error(err)
			}
		}
	}
	t.Logf("%d opened, %d refused", opened, refused)
	if refused == 0 {
		t.Error("no manifest was refused")
	}
}
