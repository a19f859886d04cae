package subscription

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"strconv"
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
	for range 4 {
		seed := rand.Uint64()
		if v := os.Getenv("SEED"); v != "" {
			seed, _ = strconv.ParseUint(v, 10, 64)
		}
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
	log     []string
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

// act is one thing that somebody does.
func (s *soak) act() {
	g, ctx := s.g, s.t.Context()
	check := func(what string, err error) bool {
		if err != nil && !errors.Is(err, errDisk) && !errors.Is(err, ErrNotFound) && !errors.Is(err, ErrTooManyWaiting) {
			s.t.Errorf("%s = %v", what, err)
		}
		return err == nil
	}
	n := s.n(40)
	if n >= 22 {
		defer func() {
			x := s.g.status(s.t)
			s.log = append(s.log, fmt.Sprintf("%d@%d:c%d,g%v", n, len(s.events)-1, s.g.cursor(s.t), x.GetGap() != nil))
		}()
	}
	switch {
	case n < 22:
		for range 1 + s.n(8) {
			client, subject := []string{"a", "a", "b", "c"}[s.n(4)], fmt.Sprint(s.n(4))
			s.mu.Lock()
			s.events = append(s.events, subject)
			s.must[eventlog.Position(len(s.events)-1)] = client == "a"
			s.mu.Unlock()
			g.append(s.t, client, subject)
		}
	case n < 25:
		up := &webhookgatewayv1.Subscription{Name: "s", Filters: [][]*webhookgatewayv1.EventFilter{
			{{ClientIds: []string{"a"}}}, {{ClientIds: []string{"a", "b"}}}, {{ClientIds: []string{"a", "c"}}},
		}[s.n(3)]}
		if s.n(2) == 0 {
			up.Settings = s.settings()
		}
		_, err := g.manager.Update(ctx, up, nil)
		check("Update()", err)
	case n < 27:
		s.moving(func() {
			to := s.trimmed + eventlog.Position(s.n(len(s.events)-int(s.trimmed)))
			if s.n(4) > 0 {
				to = max(s.trimmed, to)
			}
			s.mu.Lock()
			s.reset(max(to, s.trimmed))
			s.mu.Unlock()
			_, err := g.manager.Seek(ctx, "s", to)
			check("Seek()", err)
			s.mu.Lock() // what overlapped with it may have been settled before
			clear(s.settled)
			clear(s.retries)
			s.mu.Unlock()
			if err != nil { // it may be forgotten after a crash
				_, err = s.retrySeek(g, to)
				check("Seek()", err)
			}
		})
	case n < 31:
		s.replay(g, check)
	case n < 33:
		list := s.list(g)
		if list == nil {
			return
		}
		ids := list[:s.n(len(list)+1)]
		s.mu.Lock()
		for _, p := range ids {
			s.maybe[p] = true
			delete(s.parked, p)
		}
		s.mu.Unlock()
		if len(ids) > 0 {
			_, _, err := g.manager.Discard(ctx, "s", ids)
			check("Discard()", err)
		}
		s.mu.Lock() // one may have been parked again meanwhile, and be discarded
		for _, p := range ids {
			delete(s.parked, p)
		}
		s.mu.Unlock()
	case n < 35:
		upTo := s.trimmed + eventlog.Position(s.n(len(s.events)-int(s.trimmed)))
		s.mu.Lock()
		s.trimmed = upTo
		s.mu.Unlock()
		if upTo > 0 {
			check("Trim()", g.log.Trim(ctx, upTo))
		}
	case n < 37:
		s.moving(func() {
			next := s.start(g.disk.Crash())
			s.mu.Lock()
			s.g = next
			s.mu.Unlock()
		})
	case n == 37:
		s.moving(func() {
			for g.manager.Delete(ctx, "s") != nil && s.exists(g) {
			}
			s.mu.Lock()
			after := s.trimmed
			s.parked = nil
			s.gaps = nil
			s.reset(after)
			s.mu.Unlock()
			in := &webhookgatewayv1.Subscription{Name: "s", Settings: s.settings()}
			for {
				_, err := g.manager.Create(ctx, in, func() (eventlog.Position, error) { return after, nil })
				if check("Create()", err) {
					return
				}
			}
		})
	case n == 38 && s.n(3) == 0:
		// What is parked for longer than an hour is removed.
		for range 2 {
			list := s.list(g)
			s.mu.Lock()
			for _, p := range list {
				s.maybe[p] = true
			}
			clear(s.parked)
			s.mu.Unlock()
			<-time.After(50 * time.Minute)
		}
	default:
		_, err := g.manager.Get(ctx, "s")
		check("Get()", err)
	}
}

func (s *soak) exists(g *gateway) bool {
	_, err := g.manager.Get(s.t.Context(), "s")
	return !errors.Is(err, ErrNotFound)
}

func (s *soak) retrySeek(g *gateway, to eventlog.Position) (any, error) {
	for {
		out, err := g.manager.Seek(s.t.Context(), "s", to)
		if !errors.Is(err, errDisk) {
			return out, err
		}
	}
}

// list returns the parked events.
func (s *soak) list(g *gateway) []eventlog.Position {
	parked, err := g.manager.ListParked(s.t.Context(), "s", 0, 10_000, 1<<30)
	if err != nil {
		if !errors.Is(err, errDisk) {
			s.t.Errorf("ListParked() = %v", err)
		}
		return nil
	}
	var list []eventlog.Position
	for _, p := range parked {
		list = append(list, p.Position)
		if p.HasRecord && string(p.Record.Subject()) != s.events[p.Position] {
			s.t.Errorf("parked event %d is of the subject %s", p.Position, p.Record.Subject())
		}
	}
	return list
}

func (s *soak) replay(g *gateway, check func(string, error) bool) {
	s.moving(func() {
		list := s.list(g)
		if len(list) == 0 {
			return
		}
		ids := list[:1+s.n(len(list))]
		forget := func() {
			s.mu.Lock()
			defer s.mu.Unlock()
			for _, p := range list {
				delete(s.settled, p)
				delete(s.parked, p)
			}
			clear(s.retries)
		}
		forget()
		before := make(map[eventlog.Position]int)
		s.mu.Lock()
		for _, p := range ids {
			before[p] = s.sends[p]
			delete(s.maybe, p)
		}
		s.mu.Unlock()
		if s.n(2) == 0 {
			ids = nil
		}
		_, unknown, err := g.manager.Replay(s.t.Context(), "s", ids)
		check("Replay()", err)
		forget()
		s.mu.Lock()
		for _, p := range unknown { // nothing is left of them
			s.maybe[p] = true
			delete(before, p)
		}
		for p, n := range before {
			if err == nil && ids != nil { // but for one delivery that is under way
				s.sends[p] -= max(0, n-1)
			}
		}
		s.mu.Unlock()
		if err == nil && len(unknown) > 0 && s.trimmed == 0 {
			s.t.Errorf("Replay() does not know %v", unknown)
		}
	})
}

// work is the life of a stream.
func (s *soak) work(ctx context.Context) {
	g, _ := s.now()
	st, err := g.manager.Attach("s", StreamOptions{MaxInFlight: s.n(6)})
	if err != nil {
		<-time.After(s.upTo(time.Second))
		return
	}
	defer st.Close()
	w := &soakWorker{soak: s, g: g, stream: st}
	for range 1 + s.n(30) {
		current, _ := s.now()
		if current != g || ctx.Err() != nil || !w.receive(ctx) {
			break
		}
		w.deal(false)
		if s.n(2) == 0 {
			<-time.After(s.upTo(time.Second))
		}
		if s.n(30) == 0 {
			<-time.After(s.upTo(15 * time.Second)) // it hangs
		}
	}
	switch s.n(3) {
	case 0:
		st.Release()
	case 1:
		w.settle(w.held, 4)
	}
}

type soakWorker struct {
	*soak
	g      *gateway
	stream *Stream
	held   []Delivery
}

func (w *soakWorker) receive(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, w.upTo(5*time.Second)+1)
	defer cancel()
	batch, err := w.stream.Next(ctx, 1+w.n(10))
	if err != nil {
		return errors.Is(err, context.DeadlineExceeded)
	}
	w.mu.Lock()
	w.gaps = append(w.gaps, batch.Gaps...)
	w.mu.Unlock()
	if w.n(10) == 0 {
		<-time.After(w.upTo(6 * time.Second))
	}
	for i := 1; i < len(batch.Deliveries); i++ {
		if batch.Deliveries[i].Position <= batch.Deliveries[i-1].Position {
			w.t.Errorf("a batch is out of order: %v", positions(batch.Deliveries))
		}
	}
	for e, err := range w.stream.Read(w.t.Context(), batch.Deliveries) {
		if err != nil {
			if !errors.Is(err, ErrNotFound) {
				w.t.Errorf("Read() = %v", err)
			}
			return false
		}
		if e.Record.Position != e.Position || string(e.Record.Subject()) != w.subject(e.Position) {
			w.t.Errorf("with the token of %d came event %d", e.Position, e.Record.Position)
		}
		w.send(e.Delivery)
	}
	return true
}

func (s *soak) subject(p eventlog.Position) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.events[p]
}

func (w *soakWorker) send(d Delivery) {
	p := d.Position
	w.mu.Lock()
	epoch, settled, retries := w.epoch, w.settled[p], w.retries[p]
	w.mu.Unlock()
	sent := w.stream.Sending([]Delivery{d})
	if len(sent) == 0 {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.sure(w.g, epoch) {
		switch failed := d.Attempt - 1; {
		case settled:
			w.t.Errorf("event %d was delivered again, and is settled", p)
		case failed < retries:
			w.t.Errorf("event %d: %d failed attempts, and %d were counted", p, failed, retries)
		case failed > w.sends[p]:
			w.t.Errorf("event %d: %d failed attempts, and it was sent %d times", p, failed, w.sends[p])
		}
	}
	w.sends[p]++
	w.held = append(w.held, sent...)
}

// deal settles some of what is held.
func (w *soakWorker) deal(all bool) {
	for range 3 {
		if len(w.held) == 0 {
			return
		}
		n := 1 + w.n(len(w.held))
		if all {
			n = len(w.held)
		}
		some := w.held[:n]
		if action := []int{0, 0, 0, 0, 0, 1, 1, 2, 3, 4, 5, 6, 6}[w.n(13)]; action < 6 {
			w.settle(some, action)
		} else {
			return
		}
	}
}

// settle does one of the things that can be done with tokens.
func (w *soakWorker) settle(some []Delivery, action int) {
	if len(some) == 0 {
		return
	}
	_, epoch := w.now()
	ctx, m, texts := w.t.Context(), w.g.manager, tokens(some...)
	var results []webhookgatewayv1.TokenResult
	var err error
	switch action {
	case 0:
		results, err = m.Acknowledge(ctx, "s", texts)
	case 1:
		results, err = m.Retry(ctx, "s", texts, time.Duration(w.n(3)-1)*time.Second, "retry")
	case 2:
		results, err = m.Park(ctx, "s", texts, "park")
	case 3:
		_, err = m.Extend(ctx, "s", texts, time.Duration(1+w.n(8))*time.Second)
		if err == nil {
			return
		}
	case 4:
		results, err = m.Release(ctx, "s", texts)
	case 5: // for the single reader
		last := some[len(some)-1]
		var result webhookgatewayv1.TokenResult
		if result, err = m.CommitCursor(ctx, "s", last.Position, last.AckToken()); err == nil {
			results = make([]webhookgatewayv1.TokenResult, len(some))
			for i := range results {
				results[i] = result
			}
		} else if errors.Is(err, ErrNotStrict) || errors.Is(err, ErrCursorNotDelivered) {
			return
		}
	}
	if errors.Is(err, ErrTooManyWaiting) {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	sure := w.sure(w.g, epoch) && err == nil
	for i, d := range some {
		p := d.Position
		switch {
		case !sure:
			w.maybe[p] = w.maybe[p] || action != 3 && action != 4
		case results[i] == resultOK && action == 1:
			w.retries[p]++
		case results[i] == resultOK && action == 4:
			w.sends[p] = max(0, w.sends[p]-1)
		case results[i] == resultOK && (action != 5 || p <= some[len(some)-1].Position):
			w.settled[p] = true
			if action == 2 {
				w.parked[p] = true
			}
		}
	}
	w.held = w.held[len(some):]
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
			s.t.Errorf("event %d is neither settled, nor parked, nor in a gap %v, trimmed %d, began after %d: %v", p, s.gaps, s.trimmed, s.after, s.log)
		}
	}
}
