package pebblelog

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	webhookgatewayv1 "github.com/webhook-gateway/webhook-gateway/gen/webhookgateway/v1"
	"github.com/webhook-gateway/webhook-gateway/server/eventlog"
	"github.com/webhook-gateway/webhook-gateway/server/eventlog/eventlogtest"
)

// readDisk returns the content of a file.
func readDisk(t *testing.T, disk vfs.FS, name string) []byte {
	t.Helper()
	file, err := disk.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	content, err := io.ReadAll(file)
	if err != nil {
		t.Fatal(err)
	}
	return content
}

func writeDisk(t *testing.T, disk vfs.FS, name string, content []byte) {
	t.Helper()
	file, err := disk.Create(name, vfs.WriteCategoryUnspecified)
	if err != nil {
		t.Fatal(err)
	}
	// NOTE: with the race detector this file system changes what it was given.
	if _, err := file.Write(bytes.Clone(content)); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(file.Sync(), file.Close(), syncFolder(disk, "log")); err != nil {
		t.Fatal(err)
	}
}

func walsOf(t *testing.T, disk vfs.FS) []string {
	t.Helper()
	wals, err := listWALs(disk, "log")
	if err != nil {
		t.Fatal(err)
	}
	return wals
}

// stored is a log whose newest events are in write-ahead logs only.
type storedLog struct {
	disk    *vfs.MemFS
	bodies  map[eventlog.Position]string
	cursors map[eventlog.Position]string
	events  eventlog.Position
}

// storeEvents makes a log that was closed, or that has crashed right after its mark
// was written.
func storeEvents(t *testing.T, events int, closed bool) *storedLog {
	t.Helper()
	s := &storedLog{disk: vfs.NewCrashableMem(), bodies: make(map[eventlog.Position]string), cursors: make(map[eventlog.Position]string)}
	log := mustOpen(t, testConfig("log"), WithFS(s.disk))
	random := rand.New(rand.NewPCG(1, 2))
	for i := range events {
		body := fmt.Sprintf("%d %x", i, random.Perm(50+random.IntN(600)))
		receipt := mustAppend(t, log, fmt.Sprint("id ", i), body)
		s.bodies[receipt.Position] = body
		s.cursors[receipt.Position] = log.History().FormatCursor(receipt.Position)
		if i == events/4 {
			if err := log.store.db.Flush(); err != nil {
				t.Fatal(err)
			}
		}
	}
	s.events = log.Bounds().Head
	log.writeHeadMark()
	if !closed {
		s.disk = s.disk.CrashClone(vfs.CrashCloneCfg{})
		return s
	}
	if err := log.Close(); err != nil {
		t.Fatal(err)
	}
	return s
}

// check opens the log and checks that nothing of it is missing without a word. It
// returns how many events are lost.
func (s *storedLog) check(t *testing.T) uint64 {
	t.Helper()
	var text bytes.Buffer
	lost := uint64(0)
	for round := range 3 { // it stays so
		log, err := Open(testConfig("log"), slog.New(slog.NewTextHandler(&text, nil)), WithFS(s.disk))
		if err != nil {
			t.Fatalf("Open() = %v", err)
		}
		positions, _ := readAll(t, log, 0)
		last := s.events + eventlog.Position(round)
		if head := log.Bounds().Head; head != last {
			t.Errorf("the head is %d, and %d was acknowledged", head, last)
		}
		missing := uint64(last) - uint64(len(positions))
		if round > 0 && missing != lost {
			t.Errorf("%d events are missing, and were %d", missing, lost)
		}
		lost = missing
		damage := log.Damage()
		if damage.LostEvents() != lost || damage.Unreadable != 0 {
			t.Errorf("Damage() = %+v, and %d events are missing", damage, lost)
		}
		for _, l := range damage.Lost {
			if want := fmt.Sprintf("after=%d up_to=%d", l.After, l.UpTo); !strings.Contains(text.String(), want) {
				t.Errorf("%q is not logged", want)
			}
			if l.SetAside == "" {
				continue // there was nothing left
			}
			if _, err := s.disk.List("log/" + l.SetAside); err != nil {
				t.Error(err)
			}
		}
		for _, p := range positions {
			if body, ok := s.bodies[p]; ok {
				s.checkEvent(t, log, p, body)
			}
		}
		for p, cursor := range s.cursors {
			wantParsed(t, log.History().ParseCursor, cursor, p, nil)
		}
		receipt, err := log.Append(t.Context(), eventlogtest.Entry(t, "client", "", "more"))
		if err != nil || receipt.Position != last+1 {
			t.Errorf("Append() = %+v, %v, want position %d", receipt, err, last+1)
		}
		if err := log.Close(); err != nil {
			t.Fatal(err)
		}
	}
	return lost
}

func (s *storedLog) checkEvent(t *testing.T, log *Log, p eventlog.Position, body string) {
	t.Helper()
	if err := log.store.view(p, func(record eventlog.Record) {
		event, err := record.Event(log.History(), webhookgatewayv1.EventView_EVENT_VIEW_RAW)
		if err != nil || string(event.GetRawBody()) != body {
			t.Fatalf("event %d has another body, or none: %v", p, err)
		}
	}); err != nil {
		t.Fatal(err)
	}
}

// TestDamagedWAL damages the newest write-ahead log in every way.
func TestDamagedWAL(t *testing.T) {
	const events = 400
	random := rand.New(rand.NewPCG(3, 4))
	type damage struct {
		name string
		do   func(content []byte) []byte
		// most is how many events may be lost.
		most uint64
	}
	damages := []damage{
		{"nothing", func(b []byte) []byte { return b }, 0},
		{"zeroed", func(b []byte) []byte { return make([]byte, len(b)) }, events},
		{"emptied", func([]byte) []byte { return nil }, events},
		{"removed", nil, events},
		{"cut to half", func(b []byte) []byte { return b[:len(b)/2] }, events},
		{"cut by little", func(b []byte) []byte { return b[:len(b)-300] }, 3},
		{"a block zeroed", func(b []byte) []byte { clear(b[40<<10 : 80<<10]); return b }, 80},
		{"the beginning zeroed", func(b []byte) []byte { clear(b[:40<<10]); return b }, 80},
	}
	for i := range 40 {
		damages = append(damages, damage{fmt.Sprint("a bit flipped ", i), func(b []byte) []byte {
			end := len(bytes.TrimRight(b, "\x00"))
			b[random.IntN(end)] ^= 1 << random.IntN(8)
			return b
		}, 2})
	}
	for _, closed := range []bool{true, false} {
		for i, d := range damages {
			if !closed && i > 15 {
				break
			}
			t.Run(fmt.Sprintf("%s, closed %t", d.name, closed), func(t *testing.T) {
				s := storeEvents(t, events, closed)
				wals := walsOf(t, s.disk)
				newest := wals[len(wals)-1]
				if d.do == nil {
					if err := s.disk.Remove(newest); err != nil {
						t.Fatal(err)
					}
				} else {
					content := readDisk(t, s.disk, newest)
					writeDisk(t, s.disk, newest, d.do(content))
				}
				lost := s.check(t)
				if lost > d.most {
					t.Errorf("%d events are lost, want at most %d", lost, d.most)
				}
			})
		}
	}
}

// TestDamagedWALOfTwo damages the older of two write-ahead logs.
func TestDamagedWALOfTwo(t *testing.T) {
	for _, cut := range []bool{true, false} {
		t.Run(fmt.Sprint("cut ", cut), func(t *testing.T) {
			disk := vfs.NewCrashableMem()
			gate := &tableGate{opened: make(chan struct{})}
			log := mustOpen(t, testConfig("log"), WithFS(errorfs.Wrap(disk, gate)))
			defer close(gate.opened)
			s := &storedLog{bodies: make(map[eventlog.Position]string), cursors: make(map[eventlog.Position]string)}
			for i := range 200 {
				body := fmt.Sprint(i, strings.Repeat(" x", 400))
				p := mustAppend(t, log, "", body).Position
				s.bodies[p], s.cursors[p] = body, log.History().FormatCursor(p)
				if i == 100 {
					flush(log)
				}
			}
			s.events = log.Bounds().Head
			log.writeHeadMark()
			s.disk = disk.CrashClone(vfs.CrashCloneCfg{})
			wals := walsOf(t, s.disk)
			if len(wals) != 2 {
				t.Fatalf("write-ahead logs %v, want two", wals)
			}
			content := readDisk(t, s.disk, wals[0])
			if cut {
				content = content[:len(content)/2]
			} else {
				content[len(content)/2] ^= 1
			}
			writeDisk(t, s.disk, wals[0], content)
			if lost := s.check(t); lost == 0 || cut != (lost > 10) {
				t.Errorf("%d events are lost", lost)
			}
		})
	}
}

// tableGate holds the creation of tables.
type tableGate struct{ opened chan struct{} }

func (g *tableGate) MaybeError(op errorfs.Op) error {
	if to("*.sst", errorfs.OpCreate)(op) {
		<-g.opened
	}
	return nil
}

func (g *tableGate) String() string { return "gate of tables" }
