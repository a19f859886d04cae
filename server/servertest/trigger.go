package servertest

import (
	"testing"

	webhookgatewayv1 "github.com/webhook-gateway/webhook-gateway/gen/webhookgateway/v1"
	"github.com/webhook-gateway/webhook-gateway/server/provider/all"
)

// Trigger sends a delivery as its provider does, as `webhook-gateway trigger` does: a
// sample of a type, such as `finicity.added` or `SyncError`, under a new event id, with
// fields set: `payload.institutionId=100002`, see all.SetField. It returns the event as
// readers get it, whatever happens to them at the time, and fails the test if it is not
// stored.
func (g *Gateway) Trigger(tb testing.TB, name string, set ...string) *webhookgatewayv1.Event {
	tb.Helper()
	t, err := all.FindEventType(name)
	if err != nil {
		tb.Fatalf("trigger: %v", err)
	}
	body := t.Sender.Fresh(t.Sample.Body)
	for _, assignment := range set {
		if body, err = all.SetField(body, assignment); err != nil {
			tb.Fatalf("trigger %s: set %v", name, err)
		}
	}
	g.DeliverBody(tb, t.Sender.ID(), body)
	event, err := g.inner.Find(tb.Context(), body)
	if err != nil {
		tb.Fatalf("trigger %s: find the event: %v", name, err)
	}
	if event == nil {
		tb.Fatalf("trigger %s: the event is not among the newest ones", name)
	}
	return event
}
