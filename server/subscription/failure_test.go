package subscription

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	webhookgatewayv1 "github.com/webhook-gateway/webhook-gateway/gen/webhookgateway/v1"
	"github.com/webhook-gateway/webhook-gateway/server/eventlog"
	"github.com/webhook-gateway/webhook-gateway/server/eventlog/pebblelog/pebblelogtest"
)

var errDisk = errors.New("no space left")

// failingStore refuses commits while it fails.
type failingStore struct {
	eventlog.StateStore
	fails atomic.Bool
	// drops, if set, is given for each drop where to say that it fails, or nil.
	drops chan chan error
}

func (s *failingStore) DropScope(ctx context.Context, scope string, term uint64) error {
	if s.fails.Load() {
		return errDisk
	}
	if s.drops != nil {
		decide := make(chan error)
		s.drops <- decide
		if err := <-decide; err != nil {
			return err
		}
	}
	return s.StateStore.DropScope(ctx, scope, term)
}

func (s *failingStore) CommitScope(ctx context.Context, scope string, term uint64, mutations []eventlog.StateMutation) error {
	if s.fails.Load() {
		return errDisk
	}
	return s.StateStore.CommitScope(ctx, scope, term, mutations)
}

// An acknowledgement that could not be stored is an error, and no answer until it
// is stored says that the event is settled.
func TestStoreFails(t *testing.T) {
	disk := pebblelogtest.NewDisk()
	log := disk.Open(t)
	store := &failingStore{StateStore: log}
	g := startOn(t, disk, log, log, store)
	g.append(t, "a", "1")
	g.create(t, "s", nil)
	d := next(t, g.attach(t), 1)

	store.fails.Store(true)
	for range 2 {
		if _, err := g.manager.Acknowledge(t.Context(), "s", tokens(d...)); !errors.Is(err, errDisk) {
			t.Errorf("Acknowledge() = %v, want the error of the store", err)
		}
	}
	if _, err := g.manager.Create(t.Context(), &webhookgatewayv1.Subscription{Name: "other"}, fromTheBeginning); !errors.Is(err, errDisk) {
		t.Errorf("Create() = %v, want the error of the store", err)
	}
	if _, err := g.manager.Get(t.Context(), "other"); !errors.Is(err, ErrNotFound) {
		t.Errorf("Get() = %v, want ErrNotFound", err)
	}
	store.fails.Store(false)
	g.wantAck(t, resultSettled, d...)
	if got := g.crash(t).cursor(t); got != 1 {
		t.Errorf("cursor %d after a crash, want 1", got)
	}
}

// An acknowledgement that cannot be stored for long, as without a majority, is answered: whoever sent it
// may be waiting without a deadline. Whether it counts is told when it is repeated.
func TestStoreHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g, store := hooked(t)
		g.append(t, "a", "1")
		g.create(t, "s", nil)
		d := next(t, g.attach(t), 1)

		goesOn := make(chan error)
		hangs := func([]eventlog.StateMutation) error { return <-goesOn }
		store.beforeCommit.Store(&hangs)
		began := time.Now()
		if _, err := g.manager.Acknowledge(t.Context(), "s", tokens(d...)); !errors.Is(err, errHangs) {
			t.Errorf("Acknowledge() = %v, want that the store hangs", err)
		}
		if waited := time.Since(began); waited != patience {
			t.Errorf("that took %v", waited)
		}
		close(goesOn)
		g.wantAck(t, resultSettled, d...)
	})
}
