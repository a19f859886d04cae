package subscriptionservice_test

import (
	"fmt"
	"testing"
	"time"

	webhookgatewayv1 "github.com/webhook-gateway/webhook-gateway/gen/webhookgateway/v1"
	"github.com/webhook-gateway/webhook-gateway/server/access"
)

// TestStatesWithoutOwner: of the subscriptions of a gateway that breaks off, does not answer or is
// dead it is not known where they stand with an event. Of the others it is.
func TestStatesWithoutOwner(t *testing.T) {
	t.Parallel()
	nodes := newCluster(t, 3)
	asked, gone := nodes[0], nodes[1]
	var all []string
	for others, owned := 0, 0; others < 2 || owned < 2; { // who owns a name is left to chance
		name := fmt.Sprintf("team-%03d", len(all))
		all = append(all, name)
		asked.create(t, name, nil)
		if owner, _ := ownerOf(nodes, name); owner == gone {
			owned++
		} else {
			others++
		}
	}
	asked.add(t, 1)
	ctx := access.NewContext(t.Context(), access.Carried(everybody()))
	// wrong returns what is not as wanted of the states.
	wrong := func(ofGone webhookgatewayv1.DeliveryState) (found []string) {
		t.Helper()
		for record, err := range asked.log.Read(ctx, 0) {
			if err != nil {
				t.Fatal(err)
			}
			states, more, err := asked.router.EventStates(ctx, asked.log.History().FormatEventID(record.Position), record)
			if err != nil || more || len(states) != len(all) {
				t.Fatalf("%d states, more: %v, %v", len(states), more, err)
			}
			for i, name := range all {
				want := webhookgatewayv1.DeliveryState_DELIVERY_STATE_PENDING
				if owner, _ := asked.cluster.View().Owner(name); owner.Address == gone.address {
					want = ofGone
				}
				if states[i].GetSubscription() != name || states[i].GetState() != want {
					found = append(found, fmt.Sprintf("%v, want %s %v", states[i], name, want))
				}
			}
		}
		return found
	}
	for _, step := range []struct {
		what  string
		begin func()
		want  webhookgatewayv1.DeliveryState
	}{
		{"all answer", func() {}, webhookgatewayv1.DeliveryState_DELIVERY_STATE_PENDING},
		{"one breaks off", func() { gone.breaks.Store(1) }, webhookgatewayv1.DeliveryState_DELIVERY_STATE_UNSPECIFIED},
		{"one hangs", func() { gone.hangs.Store(true) }, webhookgatewayv1.DeliveryState_DELIVERY_STATE_UNSPECIFIED},
		{"one is dead", gone.peers.Stop, webhookgatewayv1.DeliveryState_DELIVERY_STATE_UNSPECIFIED},
	} {
		for began := time.Now(); ; { // a gateway has a second to answer, which a busy machine may need more than once
			step.begin()
			found := wrong(step.want)
			if len(found) == 0 {
				break
			}
			if time.Since(began) > time.Minute {
				t.Fatalf("%s: %q", step.what, found)
			}
		}
	}
}
