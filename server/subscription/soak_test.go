package subscription

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/protobuf/types/known/durationpb"

	webhookgatewayv1 "github.com/webhook-gateway/webhook-gateway/gen/webhookgateway/v1"
	"github.com/webhook-gateway/webhook-gateway/server/eventlog"
	"github.com/webhook-gateway/webhook-gateway/server/eventlog/pebblelog/pebblelogtest"
)

// TestSoak has workers of all kinds take from a subscription on the real store,
// while somebody seeks, updates, parks, replays, discards, trims, deletes, creates
// and crashes, and while writes fail. What is promised must hold all the time.
func TestSoak(t *testing.T) {
	for range 2 {
		seed := rand.Uint64()
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { newSoak(t, seed).run() })
		})
	}
}

// faultyStore has some commits fail, some of them after they were done.
type faultyStore struct {
	eventlog.StateStore
	soak *soak
}

func (s *faultyStore) CommitScope(ctx context.Context, scope string, term uint64, m []eventlog.StateMutation) error {
	if s.soak.fault() {
		<-time.After(s.soak.upTo(time.Second))
		return errDisk
	}
	if err := s.StateStore.CommitScope(ctx, scope, term, m); err != nil || !s.soak.fault() {
		return err
	}
	return errDisk
}

func (s *faultyStore) DropScope(ctx context.Context, scope string, term uint64) error {
	if s.soak.fault() {
		return errDisk
	}
	if err := s.StateStore.DropScope(ctx, scope, term); err != nil || !s.soak.fault() {
		return err
	}
	return errDisk
}

// soak is a run, and what is known for sure. An epoch is odd while somebody moves,
// replays or crashes: what overlaps with that is known to nobody.
type soak struct {
	t      *testing.T
	faulty atomic.Bool

	mu      sync.Mutex
	random  *rand.Rand
	g       *gateway
	epoch   int
	events  []string // subjects by position, from 1; those of client a match all filters
	must    map[eventlog.Position]bool
	after   eventlog.Position // where the subscription began
	trimmed eventlog.Position
	settled map[eventlog.Position]bool // acknowledged or parked: not to be delivered
	parked  map[eventlog.Position]bool // parked by a worker
	maybe   map[eventlog.Position]bool // may be settled
	retries map[eventlog.Position]int  // counted for sure
	sends   map[eventlog.Position]int  // each may have failed
	gaps    []Gap
}

func newSoak(t *testing.T, seed uint64) *soak {
	s := &soak{t: t, random: rand.New(rand.NewPCG(seed, 0)), events: []string{""}, must: map[eventlog.Position]bool{}}
	s.reset(0)
	s.g = s.start(pebblelogtest.NewDisk())
	return s
}

func (s *soak) start(disk *pebblelogtest.Disk) *gateway {
	log := disk.Open(s.t)
	store := &faultyStore{StateStore: log, soak: s}
	manager, err := New(s.t.Context(), Params{
		Log: log, States: store, Logger: slog.New(slog.DiscardHandler), Registerer: prometheus.NewRegistry(),
	})
	if err != nil {
		s.t.Fatal(err)
	}
	g := &gateway{disk: disk, log: log, manager: manager}
	s.t.Cleanup(func() { g.stop(s.t) })
	return g
}

// reset forgets what was settled.
func (s *soak) reset(after eventlog.Position) {
	s.after = after
	s.settled, s.maybe = map[eventlog.Position]bool{}, map[eventlog.Position]bool{}
	s.retries, s.sends = map[eventlog.Position]int{}, map[eventlog.Position]int{}
	if s.parked == nil {
		s.parked = map[eventlog.Position]bool{}
	}
}

func (s *soak) n(n int) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.random.IntN(n)
}

func (s *soak) upTo(d time.Duration) time.Duration { return time.Duration(s.n(int(d))) }

func (s *soak) fault() bool { return s.faulty.Load() && s.n(15) == 0 }

func (s *soak) now() (*gateway, int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.g, s.epoch
}

// sure reports whether nothing was moved since a call began. The mutex must be held.
func (s *soak) sure(g *gateway, epoch int) bool {
	return s.g == g && s.epoch == epoch && epoch%2 == 0
}

// moving has f run in an epoch of its own.
func (s *soak) moving(f func()) {
	s.mu.Lock()
	s.epoch++
	s.mu.Unlock()
	f()
	s.mu.Lock()
	s.epoch++
	s.mu.Unlock()
}

func (s *soak) run() {
	in := &webhookgatewayv1.Subscription{Name: "s", Settings: s.settings()}
	if _, err := s.g.manager.Create(s.t.Context(), in, fromTheBeginning); err != nil {
		s.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(s.t.Context())
	var group sync.WaitGroup
	for range 1 + s.n(4) {
		group.Go(func() {
			for ctx.Err() == nil {
				s.work(ctx)
			}
		})
	}
	s.faulty.Store(s.n(2) == 0)
	for range 150 {
		s.act()
		<-time.After(s.upTo(2 * time.Second))
	}
	s.faulty.Store(false)
	cancel()
	group.Wait()
	s.finish()
}

func (s *soak) settings() *webhookgatewayv1.SubscriptionSettings {
	return &webhookgatewayv1.SubscriptionSettings{
		AckDeadline: durationpb.New(time.Duration(1+s.n(5)) * time.Second), MaxAttempts: []int32{-1, 1, 2, 5}[s.n(4)],
		MinBackoff: durationpb.New(time.Duration(s.n(3)) * time.Second), MaxBackoff: durationpb.New(5 * time.Second),
		MaxInFlight: int32(1 + s.n(30)), MaxInFlightPerStream: int32(1 + s.n(10)), MaxWaiting: int32(1 + s.n(20)),
		Ordering: webhookgatewayv1.Ordering(1 + s.n(3)), ParkedRetention: durationpb.New(time.Hour),
	}
}

// finish settles what is left, and looks whether anything is missing.
func (s *soak) finish() {
	ctx := s.t.Context()
	if err := s.g.manager.Delete(ctx, "other"); !errors.Is(err, ErrNotFound) {
		s.t.Error(err)
	}
	st := s.g.attach(s.t)
	w := &soakWorker{soak: s, g: s.g, stream: st}
	for range 2000 {
		x := s.g.status(s.t)
		if x.GetLagEvents() == 0 && x.GetWaitingEvents() == 0 && x.GetInFlightEvents() == 0 {
			break
		}
		if !w.receive(ctx) {
			s.t.Fatal("the stream ended")
		}
		w.settle(w.held, 0)
	}
	x := s.g.status(s.t)
	if x.GetLagEvents()+x.GetWaitingEvents()+x.GetInFlightEvents()+x.GetReadyEvents() != 0 {
		s.t.Errorf("in the end: %v", x)
	}
	w.receive(ctx) // gaps
	list := s.list(s.g)
	x = s.g.status(s.t)
	if int(x.GetParkedEvents()) != len(list) {
		s.t.Errorf("%d events are parked, and %d are listed", x.GetParkedEvents(), len(list))
	}
	parked := make(map[eventlog.Position]bool)
	for _, p := range list {
		parked[p] = true
	}
	for p := range s.parked {
		if !parked[p] {
			s.t.Errorf("event %d was parked, and is not listed", p)
		}
	}
	told := func(p eventlog.Position) bool {
		for _, g := range s.gaps {
			if p > g.From && p <= g.To && p <= s.trimmed {
				return true
			}
		}
		return false
	}
	for p := s.after + 1; int(p) < len(s.events); p++ {
		if s.must[p] && !s.settled[p] && !parked[p] && !s.maybe[p] && !told(p) {
			s.t.Errorf("event %d is neither settled, nor parked, nor in a gap %v, trimmed %d, began after %d", p, s.gaps, s.trimmed, s.after)
		}
	}
}
