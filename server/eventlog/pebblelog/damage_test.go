package pebblelog

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/google/go-cmp/cmp"

	"github.com/webhook-gateway/webhook-gateway/server/eventlog"
)

// span is a range of positions.
type span struct{ After, UpTo eventlog.Position }

// readAll reads past all damage, as a caller is told to.
func readAll(t *testing.T, log *Log, after eventlog.Position) (positions []eventlog.Position, damaged []span) {
	t.Helper()
	for again := true; again; {
		again = false
		for record, err := range log.Read(t.Context(), after) {
			var damage *eventlog.DamagedError
			switch {
			case errors.As(err, &damage):
				if damage.After != after || damage.UpTo <= after || damage.Err == nil {
					t.Fatalf("damage %+v after %d", damage, after)
				}
				damaged = append(damaged, span{damage.After, damage.UpTo})
				after, again = damage.UpTo, true
			case err != nil:
				t.Fatalf("Read() = %v", err)
			default:
				if record.Position != after+1 {
					t.Fatalf("event %d came after %d", record.Position, after)
				}
				positions = append(positions, record.Position)
				after = record.Position
			}
		}
	}
	if head := log.Bounds().Head; after != head {
		t.Errorf("read up to %d, and the head is %d", after, head)
	}
	return positions, damaged
}

// reopened damages the values of events of a log of n events and opens it again, so
// that they are read from where they are stored.
func reopened(t *testing.T, n int, damage func(b *pebble.Batch) error) (*Log, *clock) {
	t.Helper()
	clock, disk := newClock(), vfs.NewMem()
	log := mustOpen(t, testConfig("log"), WithFS(disk), WithClock(clock.Now))
	for i := range n {
		mustAppend(t, log, "", fmt.Sprint(i))
		clock.advance(time.Minute)
	}
	b := log.store.db.NewBatch()
	if err := errors.Join(damage(b), b.Commit(pebble.Sync), log.Close()); err != nil {
		t.Fatal(err)
	}
	return mustOpen(t, testConfig("log"), WithFS(disk), WithClock(clock.Now)), clock
}

func TestDamagedValues(t *testing.T) {
	log, _ := reopened(t, 20, func(b *pebble.Batch) error {
		newer := append([]byte{99}, make([]byte, 100)...)
		return errors.Join(
			b.Set(eventKey(1), []byte("no event"), nil),
			b.Set(eventKey(7), nil, nil),
			b.Set(eventKey(8), newer, nil),
			b.DeleteRange(eventKey(12), eventKey(15), nil),
			b.Set(eventKey(20), []byte("no event"), nil),
		)
	})
	positions, damaged := readAll(t, log, 0)
	if diff := cmp.Diff([]eventlog.Position{2, 3, 4, 5, 6, 9, 10, 11, 15, 16, 17, 18, 19}, positions); diff != "" {
		t.Errorf("events (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]span{{0, 1}, {6, 7}, {7, 8}, {11, 14}, {19, 20}}, damaged); diff != "" {
		t.Errorf("damaged (-want +got):\n%s", diff)
	}
	// A position within what is damaged.
	if _, damaged := readAll(t, log, 12); len(damaged) == 0 || damaged[0] != (span{12, 14}) {
		t.Errorf("damaged after 12: %v, want up to 14", damaged)
	}
	for _, err := range log.Read(t.Context(), 7) {
		if err == nil || !strings.Contains(err.Error(), "record version 99 and this gateway reads version 2") {
			t.Errorf("Read() = %v, want that it names the version", err)
		}
		break
	}
	// The log goes on.
	if receipt := mustAppend(t, log, "", "body"); receipt.Position != 21 {
		t.Errorf("position %d, want 21", receipt.Position)
	}
	positions, _ = readAll(t, log, 19)
	if diff := cmp.Diff([]eventlog.Position{21}, positions); diff != "" {
		t.Errorf("events after the newest (-want +got):\n%s", diff)
	}
}

// TestDamageStopsNothing checks that what needs an event's mark only goes on
// without it.
func TestDamageStopsNothing(t *testing.T) {
	for name, damage := range map[string]func(b *pebble.Batch, p eventlog.Position) error{
		"malformed": func(b *pebble.Batch, p eventlog.Position) error { return b.Set(eventKey(p), []byte("no event"), nil) },
		"missing":   func(b *pebble.Batch, p eventlog.Position) error { return b.Delete(eventKey(p), nil) },
	} {
		t.Run(name, func(t *testing.T) {
			log, clock := reopened(t, 20, func(b *pebble.Batch) error {
				var errs []error
				for _, p := range []eventlog.Position{1, 5, 9, 10, 11, 16} {
					errs = append(errs, damage(b, p))
				}
				return errors.Join(errs...)
			})
			start := newClock().Now()
			// Event p came at minute p-1. Of a damaged one the next one's time counts.
			counts := map[eventlog.Position]int{1: 1, 5: 5, 9: 11, 10: 11, 11: 11, 16: 16}
			for minute := range 20 {
				want := eventlog.Position(0)
				for p := eventlog.Position(1); p <= 20; p++ {
					at, damaged := counts[p]
					if !damaged {
						at = int(p) - 1
					}
					if at < minute {
						want = p
					}
				}
				got, err := log.Seek(t.Context(), start.Add(time.Duration(minute)*time.Minute))
				if err != nil || got != want {
					t.Errorf("Seek(minute %d) = %d, %v, want %d", minute, got, err, want)
				}
			}
			stats, err := log.Stats(t.Context())
			if err != nil || !stats.EarliestTime.Equal(start.Add(time.Minute)) {
				t.Errorf("Stats() = %+v, %v, want the time of event 2", stats, err)
			}
			for _, upTo := range []eventlog.Position{1, 5, 10} {
				if err := log.Trim(t.Context(), upTo); err != nil || log.Bounds().Trimmed != upTo {
					t.Errorf("Trim(%d) = %v, trimmed up to %d", upTo, err, log.Bounds().Trimmed)
				}
			}
			if positions, damaged := readAll(t, log, 10); len(positions) != 8 || len(damaged) != 2 {
				t.Errorf("events %v, damaged %v after a trim", positions, damaged)
			}
			log.config.Retention.MaxAge = 5*time.Minute + time.Second
			wantTrimmed(t, log, 15)
			clock.advance(time.Hour)
			wantTrimmed(t, log, 20)
		})
	}
}

// TestCorruptTable flips bytes of a table on the disk.
func TestCorruptTable(t *testing.T) {
	config := testConfig(t.TempDir())
	log := mustOpen(t, config)
	body := benchBody(1000)
	const events = 2000
	fill(t, log, body, events)
	if err := log.store.db.Flush(); err != nil {
		t.Fatal(err)
	}
	if err := log.Close(); err != nil {
		t.Fatal(err)
	}
	tables, err := filepath.Glob(filepath.Join(config.Path, "*.sst"))
	if err != nil || len(tables) == 0 {
		t.Fatalf("tables %v, %v", tables, err)
	}
	for _, table := range tables {
		content, err := os.ReadFile(table)
		if err != nil {
			t.Fatal(err)
		}
		content[len(content)/3] ^= 0xff
		content[len(content)/2] ^= 0xff
		if err := os.WriteFile(table, content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	log = mustOpen(t, config)
	positions, damaged := readAll(t, log, 0)
	lost := eventlog.Position(0)
	for _, d := range damaged {
		lost += d.UpTo - d.After
	}
	if len(damaged) != 2 || lost < 2 || lost > 200 || len(positions)+int(lost) != events {
		t.Errorf("%d events read, %d damaged in %v, want two blocks of %d events", len(positions), lost, damaged, events)
	}
	if _, err := log.Seek(t.Context(), time.Now().Add(-time.Hour)); err != nil {
		t.Errorf("Seek() = %v", err)
	}
	if err := log.Trim(t.Context(), damaged[0].After+1); err != nil {
		t.Errorf("Trim() = %v", err)
	}
	mustAppend(t, log, "", "body")
}
