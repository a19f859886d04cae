package ephemeral

import (
	"context"

	webhookgatewayv1 "github.com/webhook-gateway/webhook-gateway/gen/webhookgateway/v1"
	"github.com/webhook-gateway/webhook-gateway/server"
)

// running returns the faults of the gateway that runs.
func (g *Gateway) running() (*server.Faults, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.faults == nil {
		return nil, errStopped
	}
	return g.faults, nil
}

// Find returns the newest event with a body, as readers get it; nil if it is not among the
// newest ones. It works whatever happens to readers.
func (g *Gateway) Find(ctx context.Context, body []byte) (*webhookgatewayv1.Event, error) {
	faults, err := g.running()
	if err != nil {
		return nil, err
	}
	return faults.Find(ctx, body)
}

// Cut breaks all connections of readers, gRPC and HTTP, as a network or a gateway that
// dies does: they are reset, and no stream says goodbye. Readers may connect again at
// once.
func (g *Gateway) Cut() { g.readers.cut() }

// Freeze has nothing pass to and from readers any more, as a network does that loses every
// packet: connections stay open, and not even heartbeats come. New ones are taken, and
// hear nothing either. Thaw ends it.
func (g *Gateway) Freeze() { g.readers.freeze(true) }

// Thaw ends Freeze. What was held up passes.
func (g *Gateway) Thaw() { g.readers.freeze(false) }

// Expire has retention pass all events but the newest ones, this many. A reader that
// resumes at a cursor before these is answered CURSOR_EXPIRED, or told of a gap if it
// asked for on_expired EARLIEST; a subscription that had not delivered them tells of a gap.
func (g *Gateway) Expire(ctx context.Context, keep uint64) error {
	faults, err := g.running()
	if err != nil {
		return err
	}
	return faults.Expire(ctx, keep)
}

// FallBehind has each stream of Subscribe that had caught up fall behind with every event
// that is stored from now on: it is sent fell_behind, the event, and caught_up. KeepUp ends
// it.
func (g *Gateway) FallBehind() error { return g.fallBehind(true) }

// KeepUp ends FallBehind.
func (g *Gateway) KeepUp() error { return g.fallBehind(false) }

func (g *Gateway) fallBehind(all bool) error {
	faults, err := g.running()
	if err != nil {
		return err
	}
	faults.FallBehind(all)
	return nil
}

// Redeliver has the deadline of everything that the workers of a subscription hold pass,
// and every wait for another attempt. What they have not settled is delivered again, with
// the attempt counted as if the time had passed. The tokens that they have are worth
// nothing any more.
func (g *Gateway) Redeliver(subscription string) error {
	faults, err := g.running()
	if err != nil {
		return err
	}
	return faults.Redeliver(subscription)
}
