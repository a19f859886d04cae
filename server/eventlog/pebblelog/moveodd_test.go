package pebblelog

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/webhook-gateway/webhook-gateway/server/commitlog/commitlogtest"
	"github.com/webhook-gateway/webhook-gateway/server/eventlog/eventlogtest"
)

// TestMoveDamaged: events that are missing in a folder, or damaged, are lost events in the
// commit log: readers are told, and the copy is not taken for a damaged one.
func TestMoveDamaged(t *testing.T) {
	path, memory := t.TempDir(), commitlogtest.NewMemory()
	oneMachine(t, path)
	change(t, vfs.Default, path, func(b *pebble.Batch) error {
		return errors.Join(
			b.Delete(eventKey(30), nil), b.Delete(eventKey(31), nil),
			b.Set(eventKey(50), []byte("?"), nil),
		)
	})
	if _, err := Move(t.Context(), path, false, commitsOf(t, memory), "", testLogger(), nil); err != nil {
		t.Fatal(err)
	}
	log := openShared(t, vfs.NewMem(), commitsOf(t, memory))
	positions, damaged := readAll(t, log, 20)
	if want := []span{{29, 31}, {49, 50}}; len(positions) != 79 || fmt.Sprint(damaged) != fmt.Sprint(want) {
		t.Errorf("%d events, damaged %v, want %v", len(positions), damaged, want)
	}
	if lost := log.Damage().Lost; len(lost) != 2 {
		t.Errorf("lost %v", lost)
	}
	if n := log.shared.rebuilt.Load() + log.failures.Load(); n != 0 {
		t.Errorf("the copy was made anew %d times", n)
	}
	sameLogs(t, log, openShared(t, vfs.NewMem(), commitsOf(t, memory)))
}

// TestMoveWithoutEvents: a log that has no events, or none any more, is moved like others: a
// gateway that is started meanwhile waits.
func TestMoveWithoutEvents(t *testing.T) {
	for name, fill := range map[string]func(*Log){
		"empty": func(*Log) {},
		"trimmed": func(log *Log) {
			appendMany(t, log, "event", 10)
			if err := log.Trim(t.Context(), 10); err != nil {
				t.Fatal(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			path, memory := t.TempDir(), commitlogtest.NewMemory()
			source := mustOpen(t, testConfig(path))
			fill(source)
			head := source.Bounds().Head
			if err := source.Close(); err != nil {
				t.Fatal(err)
			}
			commits := commitsOf(t, memory)
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			// The first commit of all, and the first of the move, are there.
			if _, err := Move(ctx, path, false, &endsAfter{Log: commits, n: 2, end: cancel}, "", testLogger(), nil); !errors.Is(err, context.Canceled) {
				t.Fatalf("Move() = %v", err)
			}
			waiting := mustOpen(t, testConfig("log"), WithFS(vfs.NewMem()), WithCommits(t.Context(), commitsOf(t, memory)))
			if _, err := waiting.Append(t.Context(), eventlogtest.Entry(t, "acme", "early", "early")); !errors.Is(err, errMoving) {
				t.Errorf("an append meanwhile: %v", err)
			}
			if _, err := Move(t.Context(), path, false, commits, "", testLogger(), nil); err != nil {
				t.Fatal(err)
			}
			<-waiting.Current()
			if receipt := mustAppend(t, waiting, "", "event"); receipt.Position != head+1 {
				t.Errorf("the next event is at %d, want %d", receipt.Position, head+1)
			}
		})
	}
}
