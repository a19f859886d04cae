package subscriptionservice_test

import (
	"context"
	"testing"

	"google.golang.org/protobuf/proto"

	webhookgatewayv1 "github.com/webhook-gateway/webhook-gateway/gen/webhookgateway/v1"
	"github.com/webhook-gateway/webhook-gateway/server/access"
	"github.com/webhook-gateway/webhook-gateway/server/provider"
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
