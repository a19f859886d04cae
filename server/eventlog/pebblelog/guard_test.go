package pebblelog

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"github.com/webhook-gateway/webhook-gateway/server/eventlog"
)

// tableOf makes a log whose events are in one table, and returns the table.
func tableOf(t *testing.T, disk vfs.FS, events int) string {
	t.Helper()
	log := mustOpen(t, testConfig("log"), WithFS(disk))
	for i := range events {
		mustAppend(t, log, fmt.Sprint("id ", i), fmt.Sprint(i, string(benchBody(900))))
	}
	if err := errors.Join(log.store.db.Flush(), log.Close()); err != nil {
		t.Fatal(err)
	}
	names, err := disk.List("log")
	if err != nil {
		t.Fatal(err)
	}
	table, size := "", int64(0)
	for _, name := range names {
		info, err := disk.Stat("log/" + name)
		if err != nil {
			t.Fatal(err)
		}
		if isTable(name) && info.Size() > size {
			table, size = "log/"+name, info.Size()
		}
	}
	return table
}

// TestDamagedTable damages the one table, anywhere. The log opens, takes events, and
// says at once which it lacks.
func TestDamagedTable(t *testing.T) {
	const events, flips = 400, 24
	good := vfs.NewMem()
	table := tableOf(t, good, events)
	content := readDisk(t, good, table)
	type damage struct {
		name string
		do   func(b []byte) []byte // nil removes the table
	}
	damages := []damage{
		{"removed", nil},
		{"emptied", func([]byte) []byte { return nil }},
		{"cut to half", func(b []byte) []byte { return b[:len(b)/2] }},
		{"zeroed", func(b []byte) []byte { return make([]byte, len(b)) }},
	}
	for i := range flips {
		at := len(content) - 1 - i*len(content)/flips
		damages = append(damages, damage{fmt.Sprintf("a bit at %d", at), func(b []byte) []byte { b[at] ^= 0x10; return b }})
	}
	for _, marked := range []bool{true, false} {
		for i, d := range damages {
			if !marked && i%3 > 0 {
				continue
			}
			t.Run(fmt.Sprintf("%s, mark %t", d.name, marked), func(t *testing.T) {
				disk := vfs.NewMem()
				if ok, err := vfs.Clone(good, disk, "log", "log"); !ok || err != nil {
					t.Fatal(ok, err)
				}
				if !marked {
					if err := disk.Remove("log/" + headMarkName); err != nil {
						t.Fatal(err)
					}
				}
				if err := disk.Remove(table); err != nil {
					t.Fatal(err)
				}
				if d.do != nil {
					writeDisk(t, disk, table, d.do(append([]byte(nil), content...)))
				}

				start := time.Now()
				log, err := Open(testConfig("log"), testLogger(), WithFS(disk))
				if err != nil {
					if !marked && strings.Contains(err.Error(), "no mark of the head") {
						return // nothing tells what log it is
					}
					t.Fatalf("Open() = %v", err)
				}
				defer log.Close()
				positions, damaged := readAll(t, log, 0)
				lost := log.Bounds().Head - eventlog.Position(len(positions))
				if took := time.Since(start); took > time.Minute { // with the race detector, on a busy machine; Pebble's search takes far longer
					t.Errorf("opening and reading took %v", took)
				}
				if head := log.Bounds().Head; head < events || head > events && marked {
					t.Errorf("the head is %d, want %d", head, events)
				}
				if lost > 0 && len(damaged) == 0 {
					t.Errorf("%d events are missing without a word", lost)
				}
				if d := log.Damage(); d.LostEvents()+d.Unreadable != uint64(lost) {
					t.Errorf("Damage() = %+v, and %d events cannot be read", d, lost)
				}
				mustAppend(t, log, "id 1", "another body")
			})
		}
	}
}

// TestBadSector has a part of a table fail to be read, for good.
func TestBadSector(t *testing.T) {
	disk := vfs.NewMem()
	table := tableOf(t, disk, 1000)
	fault := &fault{err: syscall.EIO, match: func(op errorfs.Op) bool {
		return op.Kind == errorfs.OpFileReadAt && filepath.Base(op.Path) == filepath.Base(table) && op.Offset > 100<<10 && op.Offset < 140<<10
	}}
	log := mustOpen(t, testConfig("log"), WithFS(errorfs.Wrap(disk, fault)))
	clock := newClock()
	log.store.guard.sectors.now = clock.now
	fault.on.Store(true)
	read := func() (eventlog.Position, error) {
		after := eventlog.Position(0)
		for record, err := range log.Read(t.Context(), 0) {
			if err != nil {
				return after, err
			}
			after = record.Position
		}
		return after, nil
	}
	for range 5 {
		if _, err := read(); err == nil || pebble.IsCorruptionError(err) || errors.As(err, new(*eventlog.DamagedError)) {
			t.Fatalf("Read() = %v at first, want a failure that may pass", err)
		}
	}
	clock.advance(time.Minute)
	if _, err := read(); !errors.As(err, new(*eventlog.DamagedError)) {
		t.Fatalf("Read() = %v when it lasts, want damage", err)
	}
	fault.on.Store(false)
	if last, err := read(); err != nil || last != 1000 {
		t.Errorf("Read() = up to %d, %v when the sector works again", last, err)
	}
}
