package servertest

import (
	"bytes"
	"testing"

	webhookgatewayv1 "github.com/webhook-gateway/webhook-gateway/gen/webhookgateway/v1"
	"github.com/webhook-gateway/webhook-gateway/server/provider/all"
)

// triggerPage is how many of the newest events Trigger looks through for its own.
const triggerPage = 100

// Trigger sends a delivery as its provider does, as `webhook-gateway trigger` does: a
// sample of a type, such as `finicity.added` or `SyncError`, under a new event id, with
// fields set: `payload.institutionId=100002`, see all.SetField. It returns the event as
// readers get it, and fails the test if it is not stored. Where access is configured, use
// Deliver.
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
	stored, err := webhookgatewayv1.NewEventServiceClient(g.conn).ListEvents(tb.Context(), &webhookgatewayv1.ListEventsRequest{
		NewestFirst: true, PageSize: triggerPage, View: webhookgatewayv1.EventView_EVENT_VIEW_RAW,
	})
	if err != nil {
		tb.Fatalf("trigger %s: find the event: %v", name, err)
	}
	for _, event := range stored.GetEvents() {
		if bytes.Equal(event.GetRawBody(), body) {
			event.RawBody, event.Headers = nil, nil // which the default view has not
			return event
		}
	}
	tb.Fatalf("trigger %s: the event is not among the newest %d", name, triggerPage)
	return nil
}
