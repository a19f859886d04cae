package subscription

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"google.golang.org/protobuf/proto"

	webhookgatewayv1 "github.com/webhook-gateway/webhook-gateway/gen/webhookgateway/v1"
	"github.com/webhook-gateway/webhook-gateway/server/eventlog"
)

// subscription runs a machine.
type subscription struct {
	manager *Manager
	id      subscriptionID
	name    string
	epoch   uint64
	// kick has a token when the goroutine is to look again.
	kick chan struct{}

	mu      sync.Mutex
	def     definition
	machine *machine
	// generation counts what makes events that are being read useless.
	generation int
	streams    map[uint32]*Stream
	lastStream uint32
	stop       context.CancelFunc // of the goroutine; nil while there is none
	ended      error

	// Group commit: the commit under way, and the one after it.
	running, next *commit
}

// commit is a commit that callers wait for.
type commit struct {
	done chan struct{}
	err  error
}

func (m *Manager) newSubscription(id subscriptionID, epoch uint64, def definition, after eventlog.Position) *subscription {
	return &subscription{
		manager: m,
		id:      id,
		name:    def.proto.GetName(),
		epoch:   epoch,
		kick:    make(chan struct{}, 1),
		def:     def,
		machine: newMachine(def.settings, after, epoch, time.Now()),
		streams: make(map[uint32]*Stream),
	}
}

// keyDefinition is the key of id and definition among the pairs of a
// subscription; the others are those of its machine.
const keyDefinition = "d"

func (s *subscription) encodeDefinition(def definition) (eventlog.StateMutation, error) {
	value, err := proto.MarshalOptions{}.MarshalAppend(s.id[:len(s.id):len(s.id)], def.proto)
	if err != nil {
		return eventlog.StateMutation{}, fmt.Errorf("encode the subscription %s: %w", s.name, err)
	}
	return eventlog.StateMutation{Key: []byte(keyDefinition), Value: value}, nil
}

// load takes over a subscription that exists.
func (m *Manager) load(ctx context.Context, name string) (*subscription, error) {
	epoch, err := m.States.AcquireScope(ctx, name)
	if err != nil {
		return nil, err
	}
	var s *subscription
	var replays []eventlog.Position
	// NOTE The definition sorts after the pairs of kinds a and b.
	var early []eventlog.StatePair
	for pair, err := range m.States.LoadScope(ctx, name) {
		switch {
		case err != nil:
			return nil, err
		case string(pair.Key) == keyDefinition:
			if s, err = m.decodeDefinition(name, epoch, pair.Value); err != nil {
				return nil, err
			}
			for _, pair := range early {
				if _, err := s.machine.load(pair.Key, pair.Value); err != nil {
					return nil, err
				}
			}
		case s == nil:
			early = append(early, eventlog.StatePair{Key: append([]byte(nil), pair.Key...), Value: append([]byte(nil), pair.Value...)})
		default:
			replay, err := s.machine.load(pair.Key, pair.Value)
			if err != nil {
				return nil, err
			}
			if replay > 0 {
				replays = append(replays, replay)
			}
		}
	}
	if s == nil {
		return nil, errors.New("its definition is missing")
	}
	for _, p := range replays {
		record, err := m.record(ctx, p)
		var trimmed *eventlog.TrimmedError
		switch {
		case errors.As(err, &trimmed):
			s.machine.touch(changeReplay, p)
			s.machine.widenGap(p-1, p)
		case err != nil:
			return nil, err
		default:
			s.machine.addReplay(offer{position: p, hash: record.OrderingGroup()})
		}
	}
	return s, nil
}

func (m *Manager) decodeDefinition(name string, epoch uint64, value []byte) (*subscription, error) {
	var id subscriptionID
	in := &webhookgatewayv1.Subscription{}
	if len(value) < len(id) {
		return nil, errors.New("its definition is truncated")
	}
	if err := proto.Unmarshal(value[len(id):], in); err != nil {
		return nil, fmt.Errorf("decode its definition: %w", err)
	}
	def, err := m.define(in)
	if err != nil {
		return nil, fmt.Errorf("its definition is not valid for this gateway: %w", err)
	}
	if def.proto.GetName() != name {
		return nil, errors.New("its definition is of another subscription")
	}
	def.proto.CreateTime = in.GetCreateTime()
	return m.newSubscription(subscriptionID(value[:len(id)]), epoch, def, 0), nil
}

// record reads one event. Its bytes do not change.
func (m *Manager) record(ctx context.Context, p eventlog.Position) (eventlog.Record, error) {
	for record, err := range m.Log.Read(ctx, p-1) {
		return record, err
	}
	return eventlog.Record{}, fmt.Errorf("event %d is missing", p)
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

func (s *subscription) update(ctx context.Context, wanted definition) error {
	wanted.proto.CreateTime = s.definition().proto.GetCreateTime()
	mutation, err := s.encodeDefinition(wanted)
	if err != nil {
		return err
	}
	refilter := false
	err = s.change(func(time.Time) {
		for _, d := range difference(s.def.proto, wanted.proto) {
			refilter = refilter || d == "filters"
		}
		s.def = wanted
		s.machine.configure(wanted.settings)
		if refilter {
			s.machine.refilter()
			s.generation++
		}
	})
	if err != nil {
		return err
	}
	if err := s.manager.States.CommitScope(ctx, s.name, s.epoch, []eventlog.StateMutation{mutation}); err != nil {
		return fmt.Errorf("update the subscription: %w", err)
	}
	return nil
}

// commit returns when all that has changed before the call is durable.
func (s *subscription) commit(ctx context.Context) error {
	s.mu.Lock()
	if s.next == nil {
		s.next = &commit{done: make(chan struct{})}
	}
	mine := s.next
	if s.running == nil {
		s.startCommit()
	}
	s.mu.Unlock()
	select {
	case <-mine.done:
		return mine.err
	case <-ctx.Done():
		return fmt.Errorf("wait until the subscription is durable: %w", context.Cause(ctx))
	}
}

// startCommit begins the next commit. Another one must not be under way.
func (s *subscription) startCommit() {
	s.running, s.next = s.next, nil
	mutations := s.machine.takeChanges()
	if len(mutations) == 0 {
		s.endCommit(nil)
		return
	}
	s.manager.tasks.Go(func() {
		// NOTE Not cancelled: others wait for it, and it must end in order.
		err := s.manager.States.CommitScope(context.WithoutCancel(s.manager.ctx), s.name, s.epoch, mutations)
		s.mu.Lock()
		defer s.mu.Unlock()
		if err != nil {
			err = fmt.Errorf("write the subscription: %w", err)
			s.machine.untakeChanges(mutations)
		}
		s.endCommit(err)
	})
}

func (s *subscription) endCommit(err error) {
	s.running.err = err
	close(s.running.done)
	s.running = nil
	if s.next != nil {
		s.startCommit()
	}
}

// end ends all streams, for a reason, and everything that is to come.
func (s *subscription) end(reason error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ended = reason
	for _, st := range s.streams {
		close(st.over)
	}
	clear(s.streams)
	s.stopFeeding()
}
