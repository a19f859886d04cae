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
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	webhookgatewayv1 "github.com/webhook-gateway/webhook-gateway/gen/webhookgateway/v1"
	"github.com/webhook-gateway/webhook-gateway/server/eventlog"
)

// CompileFunc validates filters. It returns them normalised, and what says
// whether an event matches any of them.
type CompileFunc func([]*webhookgatewayv1.EventFilter) ([]*webhookgatewayv1.EventFilter, func(eventlog.Record) bool, error)

// Params are what a Manager needs.
type Params struct {
	// Log is read. States keeps what is durable of subscriptions.
	Log    eventlog.Log
	States eventlog.StateStore
	// Compile compiles filters. The errors it returns are passed on.
	Compile CompileFunc
	// MaxAge is the age at which the log removes events; 0 if it does not.
	MaxAge time.Duration
	Logger *slog.Logger
	// Registerer gets the metrics.
	Registerer prometheus.Registerer
}

// Manager has all subscriptions. All methods are safe for concurrent use.
//
// An error that is none of the typed errors of this package and of eventlog means
// that the log or the store cannot do it at present.
type Manager struct {
	Params
	ctx    context.Context //nolint:containedctx // the life of the goroutines
	cancel context.CancelFunc
	tasks  sync.WaitGroup

	// changing is held while the set of subscriptions changes, which takes I/O.
	changing sync.Mutex

	mu     sync.RWMutex
	closed bool
	byName map[string]*subscription
	byID   map[subscriptionID]*subscription
}

// New loads the subscriptions.
func New(ctx context.Context, params Params) (*Manager, error) {
	m := &Manager{
		Params: params,
		byName: make(map[string]*subscription),
		byID:   make(map[subscriptionID]*subscription),
	}
	m.ctx, m.cancel = context.WithCancel(context.WithoutCancel(ctx))
	for name, err := range m.States.ListScopes(ctx) {
		if err != nil {
			return nil, fmt.Errorf("list the subscriptions: %w", err)
		}
		s, err := m.load(ctx, name)
		if err != nil {
			return nil, fmt.Errorf("load the subscription %s: %w", name, err)
		}
		m.byName[name], m.byID[s.id] = s, s
	}
	if err := m.Registerer.Register(newCollector(m)); err != nil {
		m.cancel()
		return nil, fmt.Errorf("register the metrics of subscriptions: %w", err)
	}
	return m, nil
}

// Close ends all streams with ErrClosed, and makes durable what is not. What was
// held is delivered again after the next start; these deliveries do not count as
// attempts.
func (m *Manager) Close(ctx context.Context) error {
	m.mu.Lock()
	m.closed = true
	all := slices.Collect(maps.Values(m.byName))
	m.mu.Unlock()
	m.cancel()
	var errs []error
	for _, s := range all {
		s.end(ErrClosed)
		errs = append(errs, s.commit(ctx))
	}
	m.tasks.Wait()
	return errors.Join(errs...)
}

// Create creates a subscription that begins after a position. If one with the
// same filters and settings exists it returns that, as it is. Errors are
// *InvalidError, *ExistsError, and those of Compile.
func (m *Manager) Create(ctx context.Context, in *webhookgatewayv1.Subscription, after eventlog.Position) (*webhookgatewayv1.Subscription, error) {
	wanted, err := m.define(in)
	if err != nil {
		return nil, err
	}
	m.changing.Lock()
	defer m.changing.Unlock()
	name := wanted.proto.GetName()
	if s, err := m.find(name); err == nil {
		if differences := difference(s.definition().proto, wanted.proto); len(differences) > 0 {
			return nil, &ExistsError{Name: name, Differences: differences}
		}
		return s.describe(ctx)
	} else if !errors.Is(err, ErrNotFound) {
		return nil, err
	}
	wanted.proto.CreateTime = timestamppb.Now()
	epoch, err := m.States.AcquireScope(ctx, name)
	if err != nil {
		return nil, fmt.Errorf("create the subscription: %w", err)
	}
	s := m.newSubscription(newSubscriptionID(), epoch, wanted, after)
	s.machine.touch(changeState, 0)
	definition, err := s.encodeDefinition(wanted)
	if err != nil {
		return nil, err
	}
	if err := m.States.CommitScope(ctx, name, epoch, append(s.machine.takeChanges(), definition)); err != nil {
		return nil, fmt.Errorf("create the subscription: %w", err)
	}
	m.mu.Lock()
	m.byName[name], m.byID[s.id] = s, s
	m.mu.Unlock()
	return s.describe(ctx)
}

// Get returns a subscription with its status.
func (m *Manager) Get(ctx context.Context, name string) (*webhookgatewayv1.Subscription, error) {
	s, err := m.find(name)
	if err != nil {
		return nil, err
	}
	return s.describe(ctx)
}

// List returns up to limit subscriptions with their status, by name, that come
// after a name.
func (m *Manager) List(ctx context.Context, after string, limit int) ([]*webhookgatewayv1.Subscription, error) {
	m.mu.RLock()
	names := slices.Sorted(maps.Keys(m.byName))
	m.mu.RUnlock()
	var list []*webhookgatewayv1.Subscription
	for _, name := range names {
		if name <= after || len(list) == limit {
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

// Update replaces filters and settings. Errors are *InvalidError, ErrNotFound and
// those of Compile. If it fails otherwise, the change is in force but may be
// forgotten after a crash.
func (m *Manager) Update(ctx context.Context, in *webhookgatewayv1.Subscription) (*webhookgatewayv1.Subscription, error) {
	wanted, err := m.define(in)
	if err != nil {
		return nil, err
	}
	m.changing.Lock()
	defer m.changing.Unlock()
	s, err := m.find(wanted.proto.GetName())
	if err != nil {
		return nil, err
	}
	if err := s.update(ctx, wanted); err != nil {
		return nil, err
	}
	return s.describe(ctx)
}

// Delete removes a subscription. Its streams end with ErrNotFound.
func (m *Manager) Delete(ctx context.Context, name string) error {
	m.changing.Lock()
	defer m.changing.Unlock()
	s, err := m.find(name)
	if err != nil {
		return err
	}
	if err := m.States.DropScope(ctx, name, s.epoch); err != nil {
		return fmt.Errorf("delete the subscription: %w", err)
	}
	m.mu.Lock()
	delete(m.byName, name)
	delete(m.byID, s.id)
	m.mu.Unlock()
	s.end(ErrNotFound)
	return nil
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
	if err := s.commit(ctx); err != nil {
		return nil, err
	}
	return s.describe(ctx)
}

func (m *Manager) find(name string) (*subscription, error) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	if m.closed {
		return nil, ErrClosed
	}
	s, ok := m.byName[name]
	if !ok {
		return nil, ErrNotFound
	}
	return s, nil
}

// definition is what the operator gave.
type definition struct {
	// proto has name, normalised filters, settings with defaults and create time.
	// It never changes.
	proto    *webhookgatewayv1.Subscription
	settings settings
	match    func(eventlog.Record) bool
}

func (m *Manager) define(in *webhookgatewayv1.Subscription) (definition, error) {
	if err := checkName(in.GetName()); err != nil {
		return definition{}, err
	}
	settings, err := parseSettings(in.GetSettings())
	if err != nil {
		return definition{}, err
	}
	filters, match, err := m.Compile(in.GetFilters())
	if err != nil {
		return definition{}, err
	}
	return definition{
		proto:    &webhookgatewayv1.Subscription{Name: in.GetName(), Filters: filters, Settings: settings.proto()},
		settings: settings,
		match:    match,
	}, nil
}

func checkName(name string) error {
	const allowed = "1 to 64 characters of a-z, 0-9, '-', '_' and '.', beginning with a letter"
	if name == "" || len(name) > eventlog.MaxScopeLen {
		return invalid("subscription.name", "%d characters are given: give %s", len(name), allowed)
	}
	for i, c := range []byte(name) {
		letter := c >= 'a' && c <= 'z'
		if !letter && (i == 0 || (c < '0' || c > '9') && c != '-' && c != '_' && c != '.') {
			return invalid("subscription.name", "%q is given: give %s", name, allowed)
		}
	}
	return nil
}

// difference returns which fields of two subscriptions differ.
func difference(a, b *webhookgatewayv1.Subscription) []string {
	var differences []string
	if !slices.EqualFunc(a.GetFilters(), b.GetFilters(), func(a, b *webhookgatewayv1.EventFilter) bool { return proto.Equal(a, b) }) {
		differences = append(differences, "filters")
	}
	x, y := a.GetSettings().ProtoReflect(), b.GetSettings().ProtoReflect()
	fields := x.Descriptor().Fields()
	for i := range fields.Len() {
		if f := fields.Get(i); !x.Get(f).Equal(y.Get(f)) {
			differences = append(differences, "settings."+string(f.Name()))
		}
	}
	slices.Sort(differences)
	return differences
}
