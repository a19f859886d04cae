package subscriptionservice_test

import (
	"fmt"
	"runtime"
	"testing"

	webhookgatewayv1 "github.com/webhook-gateway/webhook-gateway/gen/webhookgateway/v1"
	"github.com/webhook-gateway/webhook-gateway/server/cluster"
	"github.com/webhook-gateway/webhook-gateway/server/rpcerr"
)

// TestDeleteWaitsWhileOwnerChanges: who deletes a subscription at a gateway that hands it over meanwhile is not told
// that there is none.
func TestDeleteWaitsWhileOwnerChanges(t *testing.T) {
	t.Parallel()
	nodes := newCluster(t, 2)
	owner, other := nodes[0], nodes[1]
	var owned []string
	for i := 0; len(owned) < 2; i++ {
		if name := fmt.Sprint("team-", i); owner.cluster.Owns(name) {
			owner.create(t, name, nil)
			owned = append(owned, name)
		}
	}
	remove := func(name string) <-chan error {
		answer := make(chan error, 1)
		go func() {
			_, err := owner.DeleteSubscription(t.Context(), &webhookgatewayv1.DeleteSubscriptionRequest{Name: name})
			answer <- err
		}()
		return answer
	}
	ended := func(w *worker) {
		for {
			if _, err := w.stream.Recv(); err != nil {
				return
			}
		}
	}
	first, second := owner.consume(t, &webhookgatewayv1.ConsumeRequest{Subscription: owned[0]}), owner.consume(t, &webhookgatewayv1.ConsumeRequest{Subscription: owned[1]})
	owner.cut.Store(true)
	waits := remove(owned[0])
	for owner.refused.Load() == 0 { // it waits for the commit log, and whatever else changes the set waits for it
		runtime.Gosched()
	}
	behind := remove(owned[1])
	for range cluster.Patience + 1 {
		beat(t, other)
	}
	other.await(1)
	for range cluster.Endurance + 1 {
		owner.beats <- make(chan error, 1)
	}
	ended(first)
	ended(second) // both are handed over
	owner.cut.Store(false)
	for _, answer := range []<-chan error{waits, behind} {
		if err := <-answer; err != nil && rpcerr.Reason(err) != webhookgatewayv1.ErrorReason_ERROR_REASON_SUBSCRIPTION_MOVING {
			for _, name := range owned {
				_, there := other.GetSubscription(t.Context(), &webhookgatewayv1.GetSubscriptionRequest{Name: name})
				t.Errorf("a deletion is answered %v; %s: %v", err, name, there)
			}
		}
	}
}
