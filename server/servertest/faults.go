package servertest

import "testing"

// Cut breaks all connections of readers, gRPC and HTTP, as a gateway or a network that
// dies does: they are reset, and no stream says goodbye. Readers may connect again at
// once.
func (g *Gateway) Cut() { g.inner.Cut() }

// Freeze has nothing pass to and from readers any more, as a network does that loses every
// packet: connections stay open, and not even heartbeats come. Thaw, Stop and Restart end
// it. Deliveries are taken all the same.
func (g *Gateway) Freeze() { g.inner.Freeze() }

// Thaw ends Freeze. What was held up passes.
func (g *Gateway) Thaw() { g.inner.Thaw() }

// Expire has retention pass all events but the newest ones, this many. A reader that
// resumes at a cursor before these is answered CURSOR_EXPIRED, or told of a gap if it
// asked for on_expired EARLIEST; a subscription that had not delivered them tells of a gap.
func (g *Gateway) Expire(tb testing.TB, keep uint64) {
	tb.Helper()
	if err := g.inner.Expire(tb.Context(), keep); err != nil {
		tb.Fatalf("expire events: %v", err)
	}
}

// FallBehind has each stream of Subscribe that had caught up fall behind with every event
// that is stored from now on: it is sent fell_behind, the event, and caught_up. KeepUp and
// Restart end it.
func (g *Gateway) FallBehind(tb testing.TB) {
	tb.Helper()
	if err := g.inner.FallBehind(); err != nil {
		tb.Fatalf("have streams fall behind: %v", err)
	}
}

// KeepUp ends FallBehind.
func (g *Gateway) KeepUp(tb testing.TB) {
	tb.Helper()
	if err := g.inner.KeepUp(); err != nil {
		tb.Fatalf("have streams keep up: %v", err)
	}
}

// Redeliver has the deadline of everything that the workers of a subscription hold pass,
// and every wait for another attempt. What they have not settled is delivered again, with
// the attempt counted as if the time had passed. The tokens that they have are worth
// nothing any more.
func (g *Gateway) Redeliver(tb testing.TB, subscription string) {
	tb.Helper()
	if err := g.inner.Redeliver(subscription); err != nil {
		tb.Fatalf("have the events of %s delivered again: %v", subscription, err)
	}
}
