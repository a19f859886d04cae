package server

import (
	"bytes"
	"context"
	"net"

	webhookgatewayv1 "github.com/webhook-gateway/webhook-gateway/gen/webhookgateway/v1"
	"github.com/webhook-gateway/webhook-gateway/server/eventlog"
	"github.com/webhook-gateway/webhook-gateway/server/eventlog/pebblelog"
	"github.com/webhook-gateway/webhook-gateway/server/subscription"
)

// Option is what New is told beside the configuration. All but WithVersion make a gateway that
// is thrown away, for the tests of programs that read from it: see package ephemeral.
type Option func(*Server)

// WithVersion says which version of the gateway this is.
func WithVersion(version string) Option { return func(s *Server) { s.version = version } }

// InMemory keeps the event log in memory, whatever Store.Pebble.Path is. Gateways that are
// made with the same option, one after the other, have the same log.
func InMemory() Option {
	memory := pebblelog.InMemory()
	return func(s *Server) { s.inMemory = memory }
}

// WithReaders passes the listeners that readers connect to, gRPC and internal HTTP,
// through a function.
func WithReaders(wrap func(net.Listener) net.Listener) Option {
	return func(s *Server) {
		s.wrapListener = func(key string, listener net.Listener) net.Listener {
			if key == listenerWebhooks {
				return listener
			}
			return wrap(listener)
		}
	}
}

// WithFaults has New set the faults of the gateway. They are for use while it runs.
func WithFaults(faults *Faults) Option { return func(s *Server) { s.faults = faults } }

// Faults have happen what otherwise happens rarely, by the same code.
type Faults struct {
	store         *pebblelog.Log
	subscriptions *subscription.Manager
}

// Expire removes the oldest events, as retention does, and keeps the newest ones: this
// many, as far as there are so many.
func (f *Faults) Expire(ctx context.Context, keep uint64) error {
	bounds := f.store.Bounds()
	return f.store.Trim(ctx, bounds.Head-eventlog.Position(min(keep, bounds.Len())))
}

// newest is how many events Find looks through.
const newest = 100

// Find returns the newest event with a body, as readers get it; nil if it is not among the
// newest ones. It takes no way that a fault may be in.
func (f *Faults) Find(ctx context.Context, body []byte) (found *webhookgatewayv1.Event, err error) {
	bounds := f.store.Bounds()
	for record, err := range f.store.Read(ctx, bounds.Head-eventlog.Position(min(newest, bounds.Len()))) {
		if err != nil {
			return nil, err
		}
		event, err := record.Event(f.store.History(), webhookgatewayv1.EventView_EVENT_VIEW_RAW)
		if err != nil {
			return nil, err
		}
		if bytes.Equal(event.GetRawBody(), body) {
			event.RawBody, event.Headers = nil, nil // which the default view has not
			found = event
		}
	}
	return found, nil
}

// FallBehind has every reader that had caught up fall behind with each further event:
// no event is kept in memory for those who follow the log. False ends that.
func (f *Faults) FallBehind(all bool) { f.store.KeepLive(!all) }

// Redeliver has every deadline of what the workers of a subscription hold be over, and
// every wait for another attempt: see subscription.Manager.Hasten.
func (f *Faults) Redeliver(name string) error { return f.subscriptions.Hasten(name) }
