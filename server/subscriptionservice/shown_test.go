package subscriptionservice_test

import (
	"context"
	"testing"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"

	webhookgatewayv1 "github.com/webhook-gateway/webhook-gateway/gen/webhookgateway/v1"
	"github.com/webhook-gateway/webhook-gateway/server/access"
	"github.com/webhook-gateway/webhook-gateway/server/provider"
	"github.com/webhook-gateway/webhook-gateway/server/stream"
	"github.com/webhook-gateway/webhook-gateway/server/stream/streamtest"
)

// Who may use a subscription by its name, but may not ask for the events of its filters,
// does not learn whom they name. Nobody else notices.
func TestFiltersOfOthersAreHidden(t *testing.T) {
	t.Parallel()
	g := newGateway(t)
	filters := []*webhookgatewayv1.EventFilter{
		{ClientIds: []string{"a"}},
		{ClientIds: []string{"b"}, Subjects: []string{"secret-7"}, ProviderEventIds: []string{"e"}},
		{ExcludeClientIds: []string{"c", provider.CanaryClientID}},
		{ExcludeClientIds: []string{provider.CanaryClientID}, ProviderEventIds: []string{"e"}},
	}
	hidden := []*webhookgatewayv1.EventFilter{
		{ClientIds: []string{"*"}},
		{ClientIds: []string{"*"}, Subjects: []string{"*"}, ProviderEventIds: []string{"*"}},
		{ExcludeClientIds: []string{"*", provider.CanaryClientID}},
		{ExcludeClientIds: []string{provider.CanaryClientID}, ProviderEventIds: []string{"*"}},
	}
	if _, err := g.CreateSubscription(t.Context(), &webhookgatewayv1.CreateSubscriptionRequest{
		Subscription: &webhookgatewayv1.Subscription{Name: "team", Filters: filters},
	}); err != nil {
		t.Fatal(err)
	}
	maskedB := streamtest.As(t.Context(), &access.Caller{Grants: []*access.Grant{{
		Filters: []*webhookgatewayv1.EventFilter{{}}, Views: []webhookgatewayv1.EventView{full},
		Mask: []string{"subject"}, Subscriptions: []access.SubscriptionGrant{{}},
	}}})
	for name, tc := range map[string]struct {
		ctx    context.Context //nolint:containedctx // who asks
		hidden [4]bool
	}{
		"one of everything":    {t.Context(), [4]bool{}},
		"one of both clients":  {as(t, access.SubscriptionGrant{}, "a", "b"), [4]bool{2: true, 3: true}},
		"one of one client":    {as(t, access.SubscriptionGrant{}, "a"), [4]bool{1: true, 2: true, 3: true}},
		"one of no events":     {as(t, access.SubscriptionGrant{}), [4]bool{true, true, true, true}},
		"one without subjects": {maskedB, [4]bool{1: true}},
	} {
		got, err := g.GetSubscription(tc.ctx, &webhookgatewayv1.GetSubscriptionRequest{Name: "team"})
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		list, err := g.ListSubscriptions(tc.ctx, &webhookgatewayv1.ListSubscriptionsRequest{})
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		for _, shown := range []*webhookgatewayv1.Subscription{got.GetSubscription(), list.GetSubscriptions()[0]} {
			for i, want := range filters {
				want = proto.CloneOf(want)
				if tc.hidden[i] {
					want = hidden[i]
				}
				f := proto.CloneOf(shown.GetFilters()[i])
				f.Verdicts = nil
				if !proto.Equal(f, want) {
					t.Errorf("%s: filter %d is %v, want %v", name, i, f, want)
				}
			}
		}
	}
}

// What workers write about an event may have anything that they read of it: it is for those
// who may read that.
func TestTextsOfWorkersAreForWhoReadsEvents(t *testing.T) {
	t.Parallel()
	g := newGateway(t)
	g.create(t, "team", nil)
	g.add(t, 1)
	g.reject(t, park, g.consume(t, &webhookgatewayv1.ConsumeRequest{Subscription: "team"}).take(1)...)
	caller := func(views ...webhookgatewayv1.EventView) context.Context {
		return streamtest.As(t.Context(), &access.Caller{Grants: []*access.Grant{{
			Filters: []*webhookgatewayv1.EventFilter{{}}, Views: views, Subscriptions: []access.SubscriptionGrant{{}},
		}}})
	}
	for _, tc := range []struct {
		ctx  context.Context //nolint:containedctx // who asks
		want string
	}{{caller(metadata), ""}, {caller(metadata, full), "why"}, {t.Context(), "why"}} {
		list, err := g.ListParkedEvents(tc.ctx, &webhookgatewayv1.ListParkedEventsRequest{Subscription: "team", View: metadata})
		if err != nil || len(list.GetParkedEvents()) != 1 {
			t.Fatalf("%v %v", list, err)
		}
		if p := list.GetParkedEvents()[0]; p.GetMessage() != tc.want || p.GetEvent().GetClientId() == "" {
			t.Errorf("want the message %q: %v", tc.want, p)
		}
	}
}

// A worker that was there before the filters of its subscription changed learns no more
// from them than one that comes now.
func TestLeftOutIsCountedByTheFiltersInForce(t *testing.T) {
	t.Parallel()
	g := newGateway(t)
	if _, err := g.CreateSubscription(t.Context(), &webhookgatewayv1.CreateSubscriptionRequest{Subscription: subscriptionTo("team", "a")}); err != nil {
		t.Fatal(err)
	}
	w := g.consumeAs(as(t, access.SubscriptionGrant{}, "a"), t, &webhookgatewayv1.ConsumeRequest{
		Subscription: "team", HeartbeatInterval: durationpb.New(stream.MinHeartbeat),
	})
	if _, err := g.UpdateSubscription(t.Context(), &webhookgatewayv1.UpdateSubscriptionRequest{Subscription: subscriptionTo("team", "b")}); err != nil {
		t.Fatal(err)
	}
	g.addOf(t, failed, "b", "b")
	for at := ""; at != g.log.History().FormatCursor(2); {
		frame := w.next()
		if n := frame.GetHeartbeat().GetLeftOutEvents() + frame.GetCaughtUp().GetLeftOutEvents(); n > 0 {
			t.Fatalf("a reader of a knows of %d events of b", n)
		}
		at = frame.GetHeartbeat().GetCursor()
	}
}
