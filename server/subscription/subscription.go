package subscription

import (
	"context"
	"sync"
	"time"

	"github.com/webhook-gateway/webhook-gateway/server/eventlog"
)

// subscription runs a machine.
type subscription struct {
	manager *Manager
	name    string
	term    uint64
	seal    *seal
	parked  parkedStore
	// kick has a token when the goroutine is to look again.
	kick chan struct{}
	// tending is held by who replays, discards or removes parked events.
	tending sync.Mutex
	// parkedLog tells of what is parked.
	parkedLog parkedLog

	mu  sync.Mutex
	def definition
	// redefined is what to write of a definition that is not durable yet.
	redefined *eventlog.StateMutation
	machine   *machine
	// generation counts what makes events that are being read useless.
	generation int
	leftOut    int64
	totals     parkedTotals
	// oldest is what keepAges found last.
	oldest  oldestEvent
	streams map[uint32]*Stream
	// behind are the streams that were not told yet that they caught up.
	behind     map[uint32]*Stream
	lastStream uint32
	stop       context.CancelFunc // of the goroutine; nil while there is none
	ended      error

	// Group commit: the flush under way, and the one after it.
	running, next *flush
}

func (m *Manager) newSubscription(key sealKey, term uint64, def definition, after eventlog.Position) *subscription {
	name := def.asked.GetName()
	machine := newMachine(def.settings, after, term, time.Now())
	machine.ahead = m.Log.Clock().Ahead
	return &subscription{
		manager: m,
		name:    name,
		term:    term,
		seal:    newSeal(key),
		parked:  parkedStore{states: m.States, record: m.record, now: m.now, scope: name},
		kick:    make(chan struct{}, 1),
		def:     def,
		machine: machine,
		streams: make(map[uint32]*Stream),
		behind:  make(map[uint32]*Stream),
	}
}

func (s *subscription) definition() definition {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.def
}

// change changes the machine, and then hands out what became ready. It fails if
// the subscription has ended.
func (s *subscription) change(f func(now time.Time)) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended != nil {
		return s.ended
	}
	now := time.Now()
	f(now)
	s.dispatch(now)
	s.wake()
	return nil
}

// wake has the goroutine look again.
func (s *subscription) wake() {
	select {
	case s.kick <- struct{}{}:
	default:
	}
}

// update puts another definition in force, and makes it durable.
func (s *subscription) update(ctx context.Context, wanted definition) error {
	mutation, err := wanted.encode(s.seal.key)
	if err != nil {
		return err
	}
	err = s.change(func(time.Time) {
		refilter := !filtersAlike(s.def, wanted)
		s.def, s.redefined = wanted, &mutation
		s.machine.configure(wanted.settings)
		if refilter {
			s.machine.refilter()
			s.generation++
		}
	})
	if err != nil {
		return err
	}
	return s.durable(ctx)
}

// dispatch hands gaps, and what is ready, to the streams that wait. The mutex must
// be held.
func (s *subscription) dispatch(now time.Time) {
	if !s.manager.Sharing.certain(s.name) {
		return // what another gateway may have handed out, and had settled
	}
	m := s.machine
	for {
		w, share := m.next()
		if m.hasGaps() && m.takers.Len() > 0 {
			if first := m.takers.first(); first != w {
				w, share = first, 0
			}
		}
		if w == nil || !s.serve(w, share, now) {
			break
		}
	}
	s.tellCaughtUp()
}

// serve hands a batch to a worker, and reports whether there was something.
func (s *subscription) serve(w *worker, share int, now time.Time) bool {
	wanted := w.wanted
	batch := Batch{Gaps: s.machine.takeGaps(w), Deliveries: s.machine.deliver(w, share, now)}
	if batch.empty() {
		s.machine.want(w.id, wanted)
		return false
	}
	for i := range batch.Deliveries {
		batch.Deliveries[i].seal = s.seal
	}
	s.give(s.streams[w.id], batch)
	return true
}

// give passes a batch to a stream that waits for it.
func (s *subscription) give(st *Stream, batch Batch) {
	s.machine.want(st.id, 0)
	st.batch = batch
	st.arrived <- struct{}{} // has room: nothing was given since the stream began to wait
}

// tellCaughtUp tells the streams that wait, if everything is delivered.
func (s *subscription) tellCaughtUp() {
	if len(s.behind) == 0 || !s.machine.idle(s.manager.Log.Bounds().Head) {
		return
	}
	for id, st := range s.behind {
		if s.machine.workers[id].wanted > 0 {
			delete(s.behind, id)
			s.give(st, Batch{CaughtUp: true})
		}
	}
}

// end ends all streams, for a reason, and everything that is to come. What they
// hold is given back unused.
func (s *subscription) end(reason error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ended = reason
	now := time.Now()
	for id, st := range s.streams {
		close(st.over)
		s.machine.disconnect(id, false, now)
	}
	clear(s.streams)
	clear(s.behind)
	s.stopFeeding()
}
