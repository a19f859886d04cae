package subscription

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/protobuf/types/known/fieldmaskpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	webhookgatewayv1 "github.com/webhook-gateway/webhook-gateway/gen/webhookgateway/v1"
	"github.com/webhook-gateway/webhook-gateway/server/eventlog"
	"github.com/webhook-gateway/webhook-gateway/server/filter"
)

// Params are what a Manager needs.
type Params struct {
	// Log is read. States keeps what is durable of subscriptions.
	Log    eventlog.Log
	States eventlog.StateStore
	// MaxAge is the age at which the log removes events; 0 if it does not.
	MaxAge time.Duration
	Logger *slog.Logger
	// Registerer gets the metrics.
	Registerer prometheus.Registerer
	// Sharing is set where several gateways share the log.
	Sharing *Sharing
}

// Manager has all subscriptions. All methods are safe for concurrent use.
//
// An error that is none of the typed errors of this package, of fielderr and of
// eventlog means that the log or the store cannot do it at present. Every method
// that takes a name returns ErrNotFound if there is no such subscription, an
// *UnusableError if it was set aside (but Get and Delete), ErrMoved if another gateway
// runs it, and ErrClosed.
type Manager struct {
	Params
	ctx     context.Context //nolint:containedctx // the life of the goroutines
	cancel  context.CancelFunc
	tasks   sync.WaitGroup
	metrics *metrics

	// changing is held while the set of subscriptions changes, which takes I/O.
	changing sync.Mutex

	mu     sync.RWMutex
	closed bool
	// unlisted is why the store could not be listed yet, or not in full.
	unlisted error
	byName   map[string]*subscription
	aside    map[string]*setAside
	// loading are the subscriptions that are being taken over, or created.
	loading map[string]chan struct{}
	// ending and taking have a token when owners may have changed.
	ending, taking chan struct{}
	// searching has a token while no preview searches the log.
	searching chan struct{}
}

// New loads the subscriptions. One that cannot be loaded is set aside. What the
// store cannot read at present is tried again until it can; until then calls
// return its error. New fails only if the metrics cannot be registered.
func New(ctx context.Context, params Params) (*Manager, error) {
	m := &Manager{
		Params:   params,
		unlisted: errNotLoaded,
		byName:   make(map[string]*subscription),
		aside:    make(map[string]*setAside),
		loading:  make(map[string]chan struct{}),
		ending:   make(chan struct{}, 1),
		taking:   make(chan struct{}, 1),

		searching: make(chan struct{}, 1),
	}
	m.searching <- struct{}{}
	m.ctx, m.cancel = context.WithCancel(context.WithoutCancel(ctx))
	var err error
	if m.metrics, err = newMetrics(m); err != nil {
		m.cancel()
		return nil, fmt.Errorf("register the metrics of subscriptions: %w", err)
	}
	if m.Sharing != nil {
		m.unlisted = nil
		m.tasks.Go(func() { m.keepOwned(m.ending, m.handOver) })
		m.tasks.Go(func() { m.keepOwned(m.taking, m.takeOver) })
	} else if !m.loadAll(m.ctx) {
		m.tasks.Go(m.reload)
	}
	m.tasks.Go(m.keepHouse)
	m.tasks.Go(m.keepAges)
	return m, nil
}

// Close ends all streams with ErrClosed, and makes durable what is not. What was
// held is given back unused: it is delivered again after the next start.
func (m *Manager) Close(ctx context.Context) error {
	m.mu.Lock()
	m.closed = true
	m.mu.Unlock()
	m.cancel()
	m.changing.Lock() // whoever changes the set is done
	all := m.all()
	m.changing.Unlock()
	var errs []error
	for _, s := range all {
		s.end(ErrClosed)
		errs = append(errs, s.flushed(ctx))
	}
	m.tasks.Wait()
	return errors.Join(errs...)
}

// all returns the subscriptions at this moment.
func (m *Manager) all() []*subscription {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return slices.Collect(maps.Values(m.byName))
}

// Create creates a subscription. If one with the same filters, settings and start, as
// they were asked for, exists it returns that, as it is. Otherwise it asks start for
// the position after which it begins. Errors are of fielderr, an *ExistsError, and
// those of start.
func (m *Manager) Create(ctx context.Context, in *webhookgatewayv1.Subscription, start func() (eventlog.Position, error)) (*webhookgatewayv1.Subscription, error) {
	wanted, err := define(in)
	if err != nil {
		return nil, err
	}
	name := wanted.asked.GetName()
	found, err := m.bring(name)
	if err != nil {
		return nil, err
	}
	m.changing.Lock()
	defer m.changing.Unlock()
	s, err := m.brought(name, found)
	if err == nil {
		// NOTE A Delete that seemed to fail may have removed it.
		err = s.written(m.States.CommitScope(ctx, name, s.term, nil))
	}
	if err == nil {
		if fields := differences(s.definition(), wanted); len(fields) > 0 {
			return nil, &ExistsError{Name: name, Differences: fields}
		}
		return s.describe(ctx)
	} else if !errors.Is(err, ErrNotFound) {
		return nil, err
	}
	release, err := m.claim(name)
	if err != nil {
		return nil, err
	}
	defer release()
	after, err := start()
	if err != nil {
		return nil, err
	}
	wanted.asked.CreateTime = timestamppb.Now()
	if s, err = m.create(ctx, name, wanted, after); err != nil {
		return nil, err
	}
	m.mu.Lock()
	m.byName[name] = s
	m.metrics.know(name)
	m.mu.Unlock()
	return s.describe(ctx)
}

// Get returns a subscription with its status. Of one that was set aside it is its
// name and why.
func (m *Manager) Get(ctx context.Context, name string) (*webhookgatewayv1.Subscription, error) {
	s, err := m.find(name)
	if unusable := (*UnusableError)(nil); errors.As(err, &unusable) {
		return &webhookgatewayv1.Subscription{
			Name: name, Status: &webhookgatewayv1.SubscriptionStatus{Unusable: unusable.Reason, Owner: m.Sharing.address()},
		}, nil
	}
	if err != nil {
		return nil, err
	}
	return s.describe(ctx)
}

// Filter returns the filter in force of a subscription.
func (m *Manager) Filter(name string) (*filter.Filter, error) {
	s, err := m.find(name)
	if err != nil {
		return nil, err
	}
	return s.definition().filter, nil
}

// List returns up to limit subscriptions as Get does, by name, that come after a
// name. With a function, they are those for whose names it returns true. Of gateways that
// share the log each lists its own.
func (m *Manager) List(ctx context.Context, after string, limit int, wanted func(name string) bool) ([]*webhookgatewayv1.Subscription, error) {
	names, err := m.names(ctx)
	if err != nil {
		return nil, err
	}
	slices.Sort(names)
	var list []*webhookgatewayv1.Subscription
	for _, name := range names {
		if name <= after || len(list) == limit || wanted != nil && !wanted(name) {
			continue
		}
		s, err := m.Get(ctx, name)
		if errors.Is(err, ErrNotFound) {
			continue // deleted meanwhile
		}
		if err != nil {
			return nil, err
		}
		list = append(list, s)
	}
	return list, nil
}

// Update changes what a mask names: `filters`, `settings`, a setting such as
// `settings.ack_deadline`, or `*`. Without a mask it is what the subscription
// sets. With a function, nothing is changed if it returns an error, which Update returns,
// for the filter before the change or the one after it. Other errors are of fielderr. If
// it fails otherwise, the change is in force but may be forgotten after a crash.
func (m *Manager) Update(
	ctx context.Context, in *webhookgatewayv1.Subscription, mask *fieldmaskpb.FieldMask, check func(*filter.Filter) error,
) (*webhookgatewayv1.Subscription, error) {
	found, err := m.bring(in.GetName())
	if err != nil {
		return nil, err
	}
	m.changing.Lock()
	defer m.changing.Unlock()
	s, err := m.brought(in.GetName(), found)
	if err != nil {
		return nil, err
	}
	before := s.definition()
	wanted, err := before.update(in, mask)
	if err != nil {
		return nil, err
	}
	if check != nil {
		if err := check(before.filter); err != nil {
			return nil, err
		}
		if err := check(wanted.filter); err != nil {
			return nil, err
		}
	}
	if err := s.update(ctx, wanted); err != nil {
		return nil, err
	}
	return s.describe(ctx)
}

// Delete removes a subscription. When that is durable its streams end with ErrNotFound. If it fails the
// subscription goes on, and so do they.
func (m *Manager) Delete(ctx context.Context, name string) error {
	found, err := m.bring(name)
	if err != nil {
		return err
	}
	m.changing.Lock()
	defer m.changing.Unlock()
	s, err := m.brought(name, found)
	if unusable := (*UnusableError)(nil); errors.As(err, &unusable) {
		return m.deleteAside(ctx, name)
	}
	if err != nil {
		return err
	}
	// NOTE A write that is under way ends before the drop or fails after it: the drop
	// ends its term.
	err = m.States.DropScope(ctx, name, s.term)
	if err != nil && !errors.Is(err, eventlog.ErrScopeLost) { // an earlier drop that seemed to fail
		return fmt.Errorf("delete the subscription: %w", err)
	}
	s.end(ErrNotFound)
	m.forget(s)
	if err != nil && m.Sharing != nil {
		return ErrMoved // it may be there, and another's
	}
	return nil
}

// forget takes a subscription that is gone out of the set.
func (m *Manager) forget(s *subscription) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.byName[s.name] == s {
		delete(m.byName, s.name)
		m.metrics.forget(s.name)
	}
}

// Seek moves a subscription to after a position, and fences what workers hold.
func (m *Manager) Seek(ctx context.Context, name string, after eventlog.Position) (*webhookgatewayv1.Subscription, error) {
	s, err := m.find(name)
	if err != nil {
		return nil, err
	}
	err = s.change(func(time.Time) {
		s.machine.seek(after)
		s.generation++
	})
	if err != nil {
		return nil, err
	}
	if err := s.durable(ctx); err != nil {
		return nil, err
	}
	return s.describe(ctx)
}

// names returns the names of the subscriptions that this gateway has.
func (m *Manager) names(ctx context.Context) ([]string, error) {
	m.mu.RLock()
	closed, unlisted := m.closed, m.unlisted
	names := slices.Concat(slices.Collect(maps.Keys(m.byName)), slices.Collect(maps.Keys(m.aside)))
	m.mu.RUnlock()
	switch {
	case closed:
		return nil, ErrClosed
	case m.Sharing != nil:
		return m.owned(ctx) // reads the store
	case unlisted != nil:
		return nil, unlisted
	}
	return names, nil
}

// find returns a subscription of this gateway. It must not be called while the set of
// subscriptions changes.
func (m *Manager) find(name string) (*subscription, error) {
	found, err := m.bring(name)
	if err != nil {
		return nil, err
	}
	return m.brought(name, found)
}

// lookup returns a subscription that is loaded.
func (m *Manager) lookup(name string) (*subscription, error) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	if m.closed {
		return nil, ErrClosed
	}
	if s, ok := m.byName[name]; ok {
		return s, nil
	}
	if a, ok := m.aside[name]; ok {
		return nil, a.err(name)
	}
	if m.unlisted != nil {
		return nil, m.unlisted
	}
	return nil, ErrNotFound
}

// now returns the time of the log, which ages of events go by: the clock of the machine
// may be wrong, and the log knows.
func (m *Manager) now() time.Time { return m.Log.Clock().Now }

// cursor returns the cursor of a position.
func (m *Manager) cursor(p eventlog.Position) string { return m.Log.History().FormatCursor(p) }

// record reads one event. Its bytes do not change.
func (m *Manager) record(ctx context.Context, p eventlog.Position) (eventlog.Record, error) {
	for record, err := range m.Log.Read(ctx, p-1) {
		if err != nil || record.Live {
			return record, err
		}
		return eventlog.ParseRecord(p, slices.Clone(record.Value()), true)
	}
	return eventlog.Record{}, fmt.Errorf("event %d is missing", p)
}
