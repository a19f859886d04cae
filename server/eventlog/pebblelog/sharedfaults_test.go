package pebblelog

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"github.com/webhook-gateway/webhook-gateway/server/commitlog/commitlogtest"
	"github.com/webhook-gateway/webhook-gateway/server/eventlog"
	"github.com/webhook-gateway/webhook-gateway/server/eventlog/eventlogtest"
)

// TestGatewaysUnderDiskFaults: the disks of gateways fail again and again while they append,
// own state and trim. What was acknowledged is there once, at one position, in one order for
// readers; no term is given twice; and who begins at any moment has the same.
func TestGatewaysUnderDiskFaults(t *testing.T) {
	const gateways, each = 3, 60
	memory := commitlogtest.NewMemory()
	var mu sync.Mutex
	positions := make(map[string]eventlog.Position)
	events := make(map[eventlog.Position]string)
	terms := make(map[uint64]bool)
	ctx, cancel := context.WithTimeout(t.Context(), 5*patience)
	defer cancel()
	until := func(do func() error) {
		for {
			err := do()
			if err == nil || errors.Is(err, eventlog.ErrScopeLost) {
				return
			}
			if ctx.Err() != nil {
				t.Errorf("it is refused for ever: %v", err)
				return
			}
			<-time.After(time.Millisecond)
		}
	}
	var group sync.WaitGroup
	for g := range gateways {
		r := rand.New(rand.NewPCG(uint64(g), 3))
		broken := &fault{err: syscall.EIO, match: isWrite}
		log := openShared(t, errorfs.Wrap(vfs.NewMem(), broken), memory.Open(commitlogtest.NewBadAnswers(uint64(g))), withPace())
		stop := make(chan struct{})
		var reader sync.WaitGroup
		reader.Go(func() { readInOrder(t, log, stop, &mu, events) })
		group.Go(func() {
			defer reader.Wait()
			defer close(stop)
			for i := range each {
				switch r.IntN(12) {
				case 0:
					broken.on.Store(true)
					time.AfterFunc(time.Duration(r.IntN(20))*time.Millisecond, func() { broken.on.Store(false) })
				case 1:
					until(func() error {
						term, err := log.AcquireScope(ctx, "worker")
						if err != nil {
							return err
						}
						mu.Lock()
						if terms[term] {
							t.Errorf("term %d is given twice", term)
						}
						terms[term] = true
						mu.Unlock()
						return log.CommitScope(ctx, "worker", term, []eventlog.StateMutation{{Key: fmt.Append(nil, i), Value: []byte("state")}})
					})
				case 2:
					if head := log.Bounds().Head; head > 30 {
						until(func() error { return log.Trim(ctx, head-30) })
					}
				case 3:
					fresh := openShared(t, vfs.NewMem(), commitsOf(t, memory))
					if err := fresh.Close(); err != nil {
						t.Error(err)
					}
				}
				id := fmt.Sprint("event ", i) // the same on every gateway
				until(func() error {
					receipt, err := log.Append(ctx, eventlogtest.Entry(t, "acme", id, id))
					if err != nil {
						return err
					}
					mu.Lock()
					defer mu.Unlock()
					if p, ok := positions[id]; ok && p != receipt.Position {
						t.Errorf("%s is at %d and at %d", id, p, receipt.Position)
					}
					positions[id] = receipt.Position
					return nil
				})
			}
			broken.on.Store(false)
		})
	}
	group.Wait()
	one, two := openShared(t, vfs.NewMem(), commitsOf(t, memory)), openShared(t, vfs.NewMem(), commitsOf(t, memory))
	sameLogs(t, one, two)
	if head := one.Bounds().Head; head != each || len(positions) != each {
		t.Errorf("%d events are stored, %d acknowledged, want %d", head, len(positions), each)
	}
}

// readInOrder follows a log as a subscriber does, and compares what it is served with what
// others were.
func readInOrder(t *testing.T, log *Log, stop <-chan struct{}, mu *sync.Mutex, events map[eventlog.Position]string) {
	after := eventlog.Position(0)
	for {
		changed := log.Changed()
		for record, err := range log.Read(t.Context(), after) {
			trimmed := (*eventlog.TrimmedError)(nil)
			switch {
			case errors.As(err, &trimmed):
				after = trimmed.Trimmed
			case errors.As(err, new(*eventlog.DamagedError)):
				t.Errorf("a reader after %d is told: %v", after, err)
			case err != nil: // the disk fails: it is tried again
			case record.Position != after+1:
				t.Errorf("event %d comes after %d", record.Position, after)
				return
			default:
				after = record.Position
				value := string(record.Value())
				mu.Lock()
				if was, ok := events[after]; ok && was != value {
					t.Errorf("event %d is two", after)
				}
				events[after] = value
				mu.Unlock()
			}
		}
		select {
		case <-changed:
		case <-time.After(5 * time.Millisecond):
		case <-stop:
			return
		}
	}
}
