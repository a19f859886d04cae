package subscriptionservice_test

import (
	"testing"
	"time"

	webhookgatewayv1 "github.com/webhook-gateway/webhook-gateway/gen/webhookgateway/v1"
	"github.com/webhook-gateway/webhook-gateway/server/commitlog/commitlogtest"
	"github.com/webhook-gateway/webhook-gateway/server/eventlog"
	"github.com/webhook-gateway/webhook-gateway/server/rpcerr"
)

// addAbout stores events with these subjects.
func (g *gateway) addAbout(t *testing.T, subjects ...string) {
	t.Helper()
	for _, subject := range subjects {
		entry, err := eventlog.NewEntry(&webhookgatewayv1.Event{
			Provider: webhookgatewayv1.Provider_PROVIDER_FINICITY, Type: webhookgatewayv1.EventType_EVENT_TYPE_FINICITY_DONE,
			ClientId: "client", Subject: subject, RawBody: []byte(`{"raw":true}`),
			Verification: &webhookgatewayv1.Verification{Verdict: webhookgatewayv1.VerificationVerdict_VERIFICATION_VERDICT_VERIFIED},
		})
		if err == nil {
			_, err = g.log.Append(t.Context(), entry)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

// TestLostEndIsNotHandedOut: the commit log has lost its end, and the owner of a subscription has put other events
// there. A worker of a gateway that has not noticed yet is not given a lost event with the token of one that came in its
// place: by its acknowledgement that one would never be delivered.
func TestLostEndIsNotHandedOut(t *testing.T) {
	t.Parallel()
	memory := commitlogtest.NewMemory()
	nodes := []*node{join(t, memory), join(t, memory)}
	for _, n := range nodes {
		n.await(2)
	}
	settleOwners(t, nodes...)
	beat(t, nodes...)
	nodes[0].create(t, "team", nil)
	owner, others := ownerOf(nodes, "team")
	n := others[0]
	for _, one := range nodes {
		if err := one.log.Sync(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	at := memory.Len()
	owner.blind.Store(true)
	n.addAbout(t, "lost 1", "lost 2", "lost 3", "lost 4", "lost 5")
	memory.Cut(at)
	owner.blind.Store(false)
	owner.addAbout(t, "new 1", "new 2")

	// Until it notices, its workers get nothing. From then on they get what there is.
	got := make(map[string]bool)
	for deadline := time.Now().Add(20 * time.Second); !got["new 1"] || !got["new 2"] || !got["new 6"]; {
		if time.Now().After(deadline) {
			t.Fatalf("workers were given %v", got)
		}
		stream, err := n.Consume(t.Context(), &webhookgatewayv1.ConsumeRequest{Subscription: "team"})
		for err == nil {
			var frame *webhookgatewayv1.ConsumeResponse
			if frame, err = stream.Recv(); err != nil {
				break
			}
			for _, d := range frame.GetDeliveries().GetDeliveries() {
				subject := d.GetEvent().GetSubject()
				if subject[:3] != "new" {
					t.Fatalf("a worker is given the event %q, which is lost, in place of another", subject)
				}
				got[subject] = true
			}
			if got["new 6"] {
				break
			}
		}
		if err != nil && rpcerr.Reason(err) != moving {
			t.Fatalf("the stream ended with %v", err)
		}
		if memory.Len() <= at+5 { // it has not noticed
			owner.addAbout(t, "new 3", "new 4", "new 5", "new 6")
		}
	}
}
