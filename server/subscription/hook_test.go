package subscription

import (
	"bytes"
	"context"
	"iter"
	"sync/atomic"
	"testing"
	"time"

	webhookgatewayv1 "github.com/webhook-gateway/webhook-gateway/gen/webhookgateway/v1"
	"github.com/webhook-gateway/webhook-gateway/server/eventlog"
	"github.com/webhook-gateway/webhook-gateway/server/eventlog/pebblelog/pebblelogtest"
)

var bySubject = webhookgatewayv1.Ordering_ORDERING_BY_SUBJECT

// hookStore lets tests come between.
type hookStore struct {
	eventlog.StateStore
	afterRead    atomic.Pointer[func(from, to []byte)]
	readErr      atomic.Pointer[func(from, to []byte) error]
	beforeCommit atomic.Pointer[func(m []eventlog.StateMutation) error]
	afterDrop    atomic.Pointer[error]
}

func (s *hookStore) ReadScope(ctx context.Context, scope string, from, to []byte) iter.Seq2[eventlog.StatePair, error] {
	return func(yield func(eventlog.StatePair, error) bool) {
		if f := s.readErr.Load(); f != nil {
			if err := (*f)(from, to); err != nil {
				yield(eventlog.StatePair{}, err)
				return
			}
		}
		var all []eventlog.StatePair
		for p, err := range s.StateStore.ReadScope(ctx, scope, from, to) {
			if err != nil {
				yield(p, err)
				return
			}
			all = append(all, eventlog.StatePair{Key: bytes.Clone(p.Key), Value: bytes.Clone(p.Value)})
		}
		if f := s.afterRead.Load(); f != nil {
			(*f)(from, to)
		}
		for _, p := range all {
			if !yield(p, nil) {
				return
			}
		}
	}
}

func (s *hookStore) CommitScope(ctx context.Context, scope string, term uint64, m []eventlog.StateMutation) error {
	if f := s.beforeCommit.Load(); f != nil {
		if err := (*f)(m); err != nil {
			return err
		}
	}
	return s.StateStore.CommitScope(ctx, scope, term, m)
}

func (s *hookStore) DropScope(ctx context.Context, scope string, term uint64) error {
	err := s.StateStore.DropScope(ctx, scope, term)
	if f := s.afterDrop.Load(); f != nil {
		return *f
	}
	return err
}

func hooked(t *testing.T) (*gateway, *hookStore) {
	disk := pebblelogtest.NewDisk()
	log := disk.Open(t)
	store := &hookStore{StateStore: log}
	return startOn(t, disk, log, log, store), store
}

func (g *gateway) retry(t testing.TB, delay time.Duration, d ...Delivery) {
	t.Helper()
	wantResults(t, resultOK, func() ([]webhookgatewayv1.TokenResult, error) {
		return g.manager.Retry(t.Context(), "s", tokens(d...), delay, "")
	})
}

func readAll(t testing.TB, st *Stream, d []Delivery) map[eventlog.Position]eventlog.Position {
	t.Helper()
	out := make(map[eventlog.Position]eventlog.Position)
	for e, err := range st.Read(t.Context(), d) {
		if err != nil {
			t.Fatalf("Read() = %v", err)
		}
		out[e.Position] = e.Record.Position
		if e.Position != e.Record.Position {
			t.Errorf("the token of event %d came with event %d (subject %s)", e.Position, e.Record.Position, e.Record.Subject())
		}
	}
	return out
}
