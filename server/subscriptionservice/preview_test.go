package subscriptionservice_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/testing/protocmp"

	webhookgatewayv1 "github.com/webhook-gateway/webhook-gateway/gen/webhookgateway/v1"
	"github.com/webhook-gateway/webhook-gateway/server/access"
)

// A seek that only asks says what would be delivered, and leaves everything as it is, also
// what workers hold.
func TestPreviewSeek(t *testing.T) {
	t.Parallel()
	for name, start := range map[string]func(t *testing.T) *gateway{
		"own": func(t *testing.T) *gateway {
			t.Helper()
			g := newGateway(t)
			g.create(t, "team", nil)
			return g
		},
		"through a peer": func(t *testing.T) *gateway { t.Helper(); return throughPeer(t, nil).gateway },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := start(t)
			g.add(t, 3)
			g.addOf(t, webhookgatewayv1.VerificationVerdict_VERIFICATION_VERDICT_FAILED, "client")
			g.add(t, 2)
			w := g.consume(t, &webhookgatewayv1.ConsumeRequest{Subscription: "team"})
			held := w.take(5)
			g.acknowledge(t, "team", ok, held[:2]...)
			before := g.status(t, "team")
			for at, want := range map[*webhookgatewayv1.SubscriptionStart]*webhookgatewayv1.SeekPreview{
				earliest(): {Cursor: g.log.History().FormatCursor(0), LogEvents: 6, MatchingEvents: 5, RepeatedEvents: 2, Exact: true},
				{Start: &webhookgatewayv1.SubscriptionStart_Cursor{Cursor: held[0].GetEvent().GetCursor()}}: {
					Cursor: held[0].GetEvent().GetCursor(), LogEvents: 5, MatchingEvents: 4, RepeatedEvents: 1, Exact: true,
				},
				{Start: &webhookgatewayv1.SubscriptionStart_Position{Position: webhookgatewayv1.StartPosition_START_POSITION_LATEST}}: {
					Cursor: held[4].GetEvent().GetCursor(), Exact: true,
				},
			} {
				resp, err := g.SeekSubscription(t.Context(), &webhookgatewayv1.SeekSubscriptionRequest{Name: "team", Start: at, ValidateOnly: true})
				if err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff(want, resp.GetPreview(), protocmp.Transform()); diff != "" {
					t.Errorf("the preview of %v (-want +got):\n%s", at, diff)
				}
				if resp.GetSubscription().GetStatus().GetCursor() != before.GetCursor() {
					t.Errorf("the subscription is shown at %v", resp.GetSubscription().GetStatus())
				}
			}
			if after := g.status(t, "team"); after.GetCursor() != before.GetCursor() || after.GetInFlightEvents() != 3 {
				t.Errorf("the subscription was at %v and is at %v", before, after)
			}
			g.acknowledge(t, "team", ok, held[2:]...)
			_, err := g.SeekSubscription(t.Context(), &webhookgatewayv1.SeekSubscriptionRequest{Name: "nobody", Start: earliest(), ValidateOnly: true})
			checkError(t, err, "NotFound SUBSCRIPTION_NOT_FOUND")
			_, err = g.SeekSubscription(t.Context(), &webhookgatewayv1.SeekSubscriptionRequest{Name: "team", ValidateOnly: true})
			checkError(t, err, "InvalidArgument INVALID_FIELD start")
			user := as(t, access.SubscriptionGrant{})
			_, err = g.SeekSubscription(user, &webhookgatewayv1.SeekSubscriptionRequest{Name: "team", Start: earliest(), ValidateOnly: true})
			checkError(t, err, "PermissionDenied NOT_GRANTED name")
		})
	}
}
