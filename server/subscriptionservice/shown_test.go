package subscriptionservice_test

import (
	"context"
	"testing"

	"google.golang.org/protobuf/proto"

	webhookgatewayv1 "github.com/webhook-gateway/webhook-gateway/gen/webhookgateway/v1"
	"github.com/webhook-gateway/webhook-gateway/server/access"
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
		hidden [2]bool
	}{
		"one of everything":    {t.Context(), [2]bool{}},
		"one of both clients":  {as(t, access.SubscriptionGrant{}, "a", "b"), [2]bool{}},
		"one of one client":    {as(t, access.SubscriptionGrant{}, "a"), [2]bool{false, true}},
		"one of no events":     {as(t, access.SubscriptionGrant{}), [2]bool{true, true}},
		"one without subjects": {maskedB, [2]bool{false, true}},
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
					want.ClientIds = []string{"*"}
					if i == 1 {
						want.Subjects, want.ProviderEventIds = []string{"*"}, []string{"*"}
					}
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
