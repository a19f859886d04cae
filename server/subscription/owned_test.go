package subscription

import (
	"context"
	"errors"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/webhook-gateway/webhook-gateway/server/eventlog"
	"github.com/webhook-gateway/webhook-gateway/server/eventlog/pebblelog/pebblelogtest"
)

// commitStore calls a function after each commit, and one before a scope is acquired.
type commitStore struct {
	eventlog.StateStore
	committed, acquiring func()
}

func (s *commitStore) CommitScope(ctx context.Context, scope string, term uint64, m []eventlog.StateMutation) error {
	err := s.StateStore.CommitScope(ctx, scope, term, m)
	s.committed()
	return err
}

func (s *commitStore) AcquireScope(ctx context.Context, scope string) (uint64, error) {
	s.acquiring()
	return s.StateStore.AcquireScope(ctx, scope)
}

// TestCreatedIsNotTakenOver: the gateway that creates a subscription sees it in the store
// before its call returns, and does not take it over from itself: whom it has attached by
// then would be fenced.
func TestCreatedIsNotTakenOver(t *testing.T) {
	t.Parallel()
	disk := pebblelogtest.NewDisk()
	log := disk.Open(t)
	store := &commitStore{StateStore: log, committed: func() {}, acquiring: func() {}}
	always := func(string) bool { return true }
	manager, err := New(t.Context(), Params{
		Log: log, States: store, MaxAge: time.Hour, Logger: slog.New(slog.DiscardHandler), Registerer: prometheus.NewRegistry(),
		Sharing: &Sharing{Owns: always, Certain: always, Sync: func(context.Context) error { return nil }},
	})
	if err != nil {
		t.Fatal(err)
	}
	g := &gateway{disk: disk, log: log, manager: manager}
	t.Cleanup(func() { g.stop(t) })

	attached, taken := make(chan struct{}), make(chan struct{})
	acquired, committed := 0, false
	store.acquiring = func() {
		if acquired++; acquired > 1 {
			<-attached
		}
	}
	store.committed = func() {
		if committed {
			return
		}
		committed = true
		go func() {
			defer close(taken)
			manager.take(t.Context(), "s")
		}()
		for begun := false; !begun; {
			manager.mu.Lock()
			begun = manager.loading["s"] != nil
			manager.mu.Unlock()
		}
	}
	g.create(t, "s", nil)
	stream := g.attach(t)
	close(attached)
	<-taken
	g.append(t, "client", "one")
	batch, err := stream.Next(t.Context(), 1)
	if err != nil {
		t.Fatal(err)
	}
	g.wantAck(t, resultOK, stream.Sending(batch.Deliveries)...)
}

// TestNotTakenOverInTime: a subscription that takes long to be taken over is there. Who asks
// for it meanwhile is told to try again, and not that it does not exist.
func TestNotTakenOverInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		disk := pebblelogtest.NewDisk()
		before := startGateway(t, disk)
		before.create(t, "s", nil)
		before.stop(t)

		log := disk.Open(t)
		goesOn := make(chan struct{})
		store := &commitStore{StateStore: log, committed: func() {}, acquiring: func() { <-goesOn }}
		always := func(string) bool { return true }
		manager, err := New(t.Context(), Params{
			Log: log, States: store, MaxAge: time.Hour, Logger: slog.New(slog.DiscardHandler), Registerer: prometheus.NewRegistry(),
			Sharing: &Sharing{Owns: always, Certain: always, Sync: func(context.Context) error { return nil }},
		})
		if err != nil {
			t.Fatal(err)
		}
		g := &gateway{disk: disk, log: log, manager: manager}
		defer g.stop(t)
		if _, err := manager.Get(t.Context(), "s"); !errors.Is(err, ErrMoved) {
			t.Errorf("Get() = %v, want ErrMoved", err)
		}
		close(goesOn)
		if _, err := manager.Get(t.Context(), "s"); err != nil {
			t.Error(err)
		}
	})
}

// TestNotTakenOverAfterClose: who asks for a subscription while the gateway shuts down is told so, and nothing is taken
// over any more: the log is closed next.
func TestNotTakenOverAfterClose(t *testing.T) {
	t.Parallel()
	disk := pebblelogtest.NewDisk()
	before := startGateway(t, disk)
	before.create(t, "s", nil)
	before.stop(t)

	log := disk.Open(t)
	store := &commitStore{StateStore: log, committed: func() {}, acquiring: func() { t.Error("it is taken over") }}
	always := func(string) bool { return true }
	var manager *Manager
	manager, err := New(t.Context(), Params{
		Log: log, States: store, MaxAge: time.Hour, Logger: slog.New(slog.DiscardHandler), Registerer: prometheus.NewRegistry(),
		Sharing: &Sharing{
			Owns: always, Certain: always, Current: func() bool { return false },
			Sync: func(context.Context) error { return manager.Close(t.Context()) },
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	g := &gateway{disk: disk, log: log, manager: manager}
	defer g.stop(t)
	if _, err := manager.Get(t.Context(), "s"); !errors.Is(err, ErrClosed) {
		t.Errorf("Get() = %v, want ErrClosed", err)
	}
}

// TestCarriedWaitForTheNewCopy: deliveries of another gateway wait while the copy of this one is made
// anew. What is served meanwhile may be lost events, with others in their place.
func TestCarriedWaitForTheNewCopy(t *testing.T) {
	t.Parallel()
	current := false
	log := pebblelogtest.NewDisk().Open(t)
	defer log.Close()
	m := &Manager{Params: Params{Log: log, Sharing: &Sharing{Current: func() bool { return current }}}}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if err := m.WaitFor(ended, 0); !errors.Is(err, ErrBehind) {
		t.Errorf("WaitFor() = %v, want ErrBehind", err)
	}
	current = true
	if err := m.WaitFor(ended, 0); err != nil {
		t.Errorf("WaitFor() = %v", err)
	}
}
