package subscription

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/webhook-gateway/webhook-gateway/server/eventlog"
)

// Sharing says what a Manager has to know of the other gateways, where several share the
// log. Each subscription is owned by one of them, which runs its machine. Two may take
// themselves for the owner for a moment: the term of the scope lets only one of them write,
// and the other finds out.
type Sharing struct {
	// Owns reports whether this gateway owns the subscription of a name, as far as it knows.
	Owns func(name string) bool
	// Certain is like Owns, and true only if no other gateway can own it yet: nothing is handed
	// out otherwise.
	Certain func(name string) bool
	// Sync returns when everything that was committed before is seen by this gateway, and
	// Owns goes by it.
	Sync func(ctx context.Context) error
	// Current reports whether this gateway sees everything that was committed when it was
	// started. Nil: it always does.
	Current func() bool
	// Address is what the others call this gateway.
	Address string
}

// address returns the address of the gateway, nothing if it is the only one.
func (s *Sharing) address() string {
	if s == nil {
		return ""
	}
	return s.Address
}

// certain is Certain, true for a gateway alone.
func (s *Sharing) certain(name string) bool { return s == nil || s.Certain(name) }

// current is Current, true for a gateway alone.
func (s *Sharing) current() bool { return s == nil || s.Current == nil || s.Current() }

const (
	// bringTimeout is how long a call waits for a subscription that is not loaded yet.
	bringTimeout = 2 * time.Second
	// reconcileInterval is how often a gateway looks for what it owns and has not, or has
	// and does not own any more.
	reconcileInterval = time.Second
	// atOnce is how many subscriptions are taken over or handed over at the same time: the
	// commits of the log are shared by them.
	atOnce = 64
)

// Reconcile has the manager look soon which subscriptions it owns.
func (m *Manager) Reconcile() {
	for _, kick := range []chan struct{}{m.ending, m.taking} {
		select {
		case kick <- struct{}{}:
		default:
		}
	}
}

// keepOwned calls a function when owners may have changed.
func (m *Manager) keepOwned(kick <-chan struct{}, look func()) {
	ticker := time.NewTicker(reconcileInterval)
	defer ticker.Stop()
	for {
		look()
		select {
		case <-m.ctx.Done():
			return
		case <-kick:
		case <-ticker.C:
		}
	}
}

// handOver ends what this gateway has and does not own. It does not wait for the log, which
// may be why nothing is owned any more.
func (m *Manager) handOver() {
	for _, s := range m.all() {
		if m.Sharing.Owns(s.name) || !s.handOver() {
			continue
		}
		m.tasks.Go(func() {
			ctx, cancel := context.WithTimeout(context.WithoutCancel(m.ctx), bringTimeout)
			defer cancel()
			if err := s.durable(ctx); err != nil && !errors.Is(err, ErrMoved) {
				m.Logger.Warn("a subscription was handed over before the last of it was durable: some events may be delivered again",
					"subscription", s.name, "error", err)
			}
			m.forget(s)
		})
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	for name := range m.aside {
		if !m.Sharing.Owns(name) {
			delete(m.aside, name)
		}
	}
}

// handOver ends all streams, and reports whether the subscription was not ended before.
func (s *subscription) handOver() bool {
	s.mu.Lock()
	ended := s.ended
	s.mu.Unlock()
	if ended != nil {
		return false
	}
	s.end(ErrMoved)
	return true
}

// takeOver loads what this gateway owns, and notices what it has lost.
func (m *Manager) takeOver() {
	if !m.Sharing.current() {
		return
	}
	eachAtOnce(m.all(), func(s *subscription) {
		// It costs no commit: the copy knows the term.
		if s.written(m.States.CommitScope(m.ctx, s.name, s.term, nil)) == nil {
			_ = s.change(func(time.Time) {}) // hands out what waited until the owner was certain
		}
	})
	names, err := m.lacking()
	if err == nil && len(names) > 0 {
		if err = m.Sharing.Sync(m.ctx); err == nil {
			names, err = m.lacking()
		}
	}
	if err != nil {
		if m.ctx.Err() == nil {
			m.Logger.Warn("the subscriptions that this gateway owns cannot be taken over: it is tried again", "error", err)
		}
		return
	}
	if len(names) == 0 {
		return
	}
	eachAtOnce(names, func(name string) { m.take(m.ctx, name) })
	if m.ctx.Err() == nil {
		m.Logger.Info("took over subscriptions", "subscriptions", len(names), "owned", len(m.all()))
	}
}

// lacking returns the names of the subscriptions that this gateway owns and has not.
func (m *Manager) lacking() ([]string, error) {
	all, err := m.owned(m.ctx)
	var names []string
	for _, name := range all {
		if !m.known(name) {
			names = append(names, name)
		}
	}
	return names, err
}

// take loads a subscription that this gateway owns. It returns when that is done, or ctx is, and then
// reports that it goes on.
func (m *Manager) take(ctx context.Context, name string) (goesOn bool) {
	m.mu.Lock()
	done, under := m.loading[name]
	if !under && m.byName[name] == nil && !m.closed {
		done = make(chan struct{})
		m.loading[name] = done
		m.tasks.Go(func() {
			s, err := m.load(m.ctx, name)
			if !errors.Is(err, ErrNotFound) && m.ctx.Err() == nil { // not deleted meanwhile
				m.loaded(name, s, err)
			}
			if err == nil {
				m.metrics.taken.Inc()
			}
			m.mu.Lock()
			defer m.mu.Unlock()
			delete(m.loading, name)
			close(done)
		})
	}
	m.mu.Unlock()
	if done == nil {
		return false // a call brought it, or the manager is closed
	}
	select {
	case <-done:
		return false
	case <-ctx.Done():
		return true
	}
}

// claim keeps a subscription that is being created from being taken over as soon as the
// store has it: that would fence whoever creates it. It returns ErrMoved if it is being taken
// over already.
func (m *Manager) claim(name string) (release func(), err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.loading[name] != nil || m.byName[name] != nil {
		return nil, ErrMoved
	}
	done := make(chan struct{})
	m.loading[name] = done
	return func() {
		m.mu.Lock()
		defer m.mu.Unlock()
		delete(m.loading, name)
		close(done)
	}, nil
}

// create makes the scope of a subscription that does not exist. It returns ErrMoved if
// another gateway has made it meanwhile.
func (m *Manager) create(ctx context.Context, name string, wanted definition, after eventlog.Position) (*subscription, error) {
	term, err := m.States.AcquireScope(ctx, name)
	if err != nil {
		return nil, fmt.Errorf("create the subscription: %w", err)
	}
	if m.Sharing != nil {
		// NOTE The term is ours, and whatever was committed before is seen here.
		if exists, err := m.exists(ctx, name); err != nil || exists {
			return nil, errors.Join(err, ErrMoved)
		}
	}
	s := m.newSubscription(newSealKey(), term, wanted, after)
	definition, err := wanted.encode(s.seal.key)
	if err != nil {
		return nil, fmt.Errorf("create the subscription: %w", err)
	}
	s.machine.touch(pairPlace, 0)
	// NOTE This also deletes what an earlier subscription of the name left in the store.
	everything := eventlog.StateMutation{Delete: true, End: []byte{0xff}}
	mutations := append([]eventlog.StateMutation{everything, definition}, s.machine.takeChanges().pairs...)
	if err := m.States.CommitScope(ctx, name, term, mutations); err != nil {
		return nil, fmt.Errorf("create the subscription: %w", err)
	}
	return s, nil
}

// eachAtOnce calls a function for each, at most atOnce at the same time.
func eachAtOnce[T any](list []T, f func(T)) {
	var running sync.WaitGroup
	room := make(chan struct{}, atOnce)
	for _, one := range list {
		room <- struct{}{}
		running.Go(func() {
			defer func() { <-room }()
			f(one)
		})
	}
	running.Wait()
}

// Names returns the names of all subscriptions, whichever gateway has them, in any order.
// It may not know yet of those that came and went a moment ago.
func (m *Manager) Names(ctx context.Context) ([]string, error) {
	if !m.Sharing.current() {
		return nil, errNotLoaded
	}
	var names []string
	for name, err := range m.States.ListScopes(ctx, "") {
		if err != nil {
			return names, fmt.Errorf("list the subscriptions: %w", err)
		}
		if !strings.HasPrefix(name, eventlog.ReservedPrefix) {
			names = append(names, name)
		}
	}
	return names, nil
}

// owned returns the names of the subscriptions that this gateway owns.
func (m *Manager) owned(ctx context.Context) ([]string, error) {
	all, err := m.Names(ctx)
	var names []string
	for _, name := range all {
		if m.Sharing.Owns(name) {
			names = append(names, name)
		}
	}
	return names, err
}

// exists reports whether there is a subscription of a name, as far as this gateway sees.
func (m *Manager) exists(ctx context.Context, name string) (bool, error) {
	for _, err := range m.States.ReadScope(ctx, name, nil, nil) {
		return err == nil, err
	}
	return false, nil
}

// bring loads a subscription that this gateway owns, if it exists and is not loaded. It
// returns ErrMoved if another gateway owns it, or if it takes long. Of gateways that share the log it
// reports whether there is one: if not, there is none since the call began.
func (m *Manager) bring(name string) (found bool, err error) {
	if m.Sharing == nil {
		return false, nil
	}
	_, err = m.lookup(name)
	switch {
	case errors.Is(err, ErrClosed):
		return false, err
	case !m.Sharing.Owns(name):
		return false, ErrMoved
	case !errors.Is(err, ErrNotFound):
		return true, nil
	case !ValidName(name):
		return false, nil
	}
	ctx, cancel := context.WithTimeout(m.ctx, bringTimeout)
	defer cancel()
	if err := m.Sharing.Sync(ctx); err != nil {
		return false, fmt.Errorf("find out whether there is a subscription of the name: %w", err)
	}
	if !m.Sharing.Owns(name) {
		return false, ErrMoved
	}
	exists, err := m.exists(ctx, name)
	if err != nil && !errors.Is(err, eventlog.ErrStateDamaged) {
		return false, fmt.Errorf("find out whether there is a subscription of the name: %w", err)
	}
	found = exists || err != nil
	if found && m.take(ctx, name) {
		return true, ErrMoved // it is there, and is not loaded yet
	}
	return found, nil
}

// brought is lookup after bring. One that was there and is not loaded any more was deleted or handed over
// meanwhile: who asks again is told which.
func (m *Manager) brought(name string, found bool) (*subscription, error) {
	s, err := m.lookup(name)
	if found && errors.Is(err, ErrNotFound) {
		return nil, ErrMoved
	}
	return s, err
}
