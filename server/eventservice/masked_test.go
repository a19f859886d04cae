package eventservice_test

import (
	"context"
	"testing"

	webhookgatewayv1 "github.com/webhook-gateway/webhook-gateway/gen/webhookgateway/v1"
	"github.com/webhook-gateway/webhook-gateway/server/access"
)

// What a grant masks is masked wherever the event is read, and only in the events of
// that grant.
func TestEventsAreMasked(t *testing.T) {
	t.Parallel()
	g := newGateway(t, testConfig())
	g.add(t, vezgo, syncAccount, "a")
	g.add(t, vezgo, syncAccount, "b")
	ctx := as(t, &access.Grant{Filters: filters{{}}, Views: views{full}, Mask: []string{"account_id"}}, reads(ofClients("b")))
	read := map[string]func(context.Context) []*webhookgatewayv1.Event{
		"Subscribe": func(ctx context.Context) []*webhookgatewayv1.Event {
			s := g.subscribeWith(t, ctx, &webhookgatewayv1.SubscribeRequest{Start: fromEarliest(), Stop: toHead()})
			s.expect("subscribed 0")
			return s.next().GetEvents().GetEvents()
		},
		"GetEvent": func(ctx context.Context) (events []*webhookgatewayv1.Event) {
			for p := range g.log.Bounds().Head {
				got, err := g.client.GetEvent(ctx, &webhookgatewayv1.GetEventRequest{Id: g.log.History().FormatEventID(p + 1)})
				if err != nil {
					t.Fatal(err)
				}
				events = append(events, got.GetEvent())
			}
			return events
		},
	}
	for name, newestFirst := range map[string]bool{"ListEvents": false, "ListEvents, newest first": true} {
		read[name] = func(ctx context.Context) []*webhookgatewayv1.Event {
			page, err := g.client.ListEvents(ctx, &listRequest{NewestFirst: newestFirst})
			if err != nil {
				t.Fatal(err)
			}
			return page.GetEvents()
		}
	}
	for name, call := range read {
		if events := call(ctx); len(events) != 2 {
			t.Errorf("%s: %d events", name, len(events))
		}
		for _, e := range call(ctx) {
			masked := e.GetClientId() == "a"
			if (len(e.GetMasked()) > 0) != masked || (e.GetVezgo().GetAccount().GetId() == "account") == masked {
				t.Errorf("%s: %v", name, e)
			}
		}
		for _, e := range call(t.Context()) {
			if len(e.GetMasked()) > 0 || e.GetVezgo().GetAccount().GetId() != "account" {
				t.Errorf("%s of anybody: %v", name, e)
			}
		}
	}
}
