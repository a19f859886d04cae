package subscriptionservice_test

import (
	"testing"

	webhookgatewayv1 "github.com/webhook-gateway/webhook-gateway/gen/webhookgateway/v1"
	"github.com/webhook-gateway/webhook-gateway/server/access"
)

// TestStatesWithoutOwner: of the subscriptions of a gateway that breaks off, does not answer or is
// dead it is not known where they stand with an event. Of the others it is.
func TestStatesWithoutOwner(t *testing.T) {
	t.Parallel()
	nodes := newCluster(t, 3)
	asked, gone := nodes[0], nodes[1]
	all, owned := names(12), 0
	for _, name := range all {
		asked.create(t, name, nil)
		if owner, _ := ownerOf(nodes, name); owner == gone {
			owned++
		}
	}
	if owned == 0 || owned == len(all) {
		t.Fatalf("the gateway has %d of %d subscriptions", owned, len(all))
	}
	asked.add(t, 1)
	ctx := access.NewContext(t.Context(), access.Carried(everybody()))
	check := func(what string, ofGone webhookgatewayv1.DeliveryState) {
		t.Helper()
		for record, err := range asked.log.Read(ctx, 0) {
			if err != nil {
				t.Fatal(err)
			}
			states, more, err := asked.router.EventStates(ctx, asked.log.History().FormatEventID(record.Position), record)
			if err != nil || more || len(states) != len(all) {
				t.Fatalf("%s: %d states, more: %v, %v", what, len(states), more, err)
			}
			for i, name := range all {
				want := webhookgatewayv1.DeliveryState_DELIVERY_STATE_PENDING
				if owner, _ := asked.cluster.View().Owner(name); owner.Address == gone.address {
					want = ofGone
				}
				if states[i].GetSubscription() != name || states[i].GetState() != want {
					t.Errorf("%s: %v, want %s %v", what, states[i], name, want)
				}
			}
		}
	}
	check("all answer", webhookgatewayv1.DeliveryState_DELIVERY_STATE_PENDING)
	gone.breaks.Store(1)
	check("one breaks off", webhookgatewayv1.DeliveryState_DELIVERY_STATE_UNSPECIFIED)
	gone.hangs.Store(true)
	check("one hangs", webhookgatewayv1.DeliveryState_DELIVERY_STATE_UNSPECIFIED)
	gone.peers.Stop()
	check("one is dead", webhookgatewayv1.DeliveryState_DELIVERY_STATE_UNSPECIFIED)
}
