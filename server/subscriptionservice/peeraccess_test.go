package subscriptionservice_test

import (
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	grpcmetadata "google.golang.org/grpc/metadata"

	clusterv1 "github.com/webhook-gateway/webhook-gateway/gen/webhookgateway/cluster/v1"
	webhookgatewayv1 "github.com/webhook-gateway/webhook-gateway/gen/webhookgateway/v1"
	"github.com/webhook-gateway/webhook-gateway/server/access"
	"github.com/webhook-gateway/webhook-gateway/server/stream/streamtest"
)

// TestStrangersAtTheListenerOfPeers: whoever has not the secret of the cluster is nobody.
func TestStrangersAtTheListenerOfPeers(t *testing.T) {
	t.Parallel()
	n := newCluster(t, 1)[0]
	conn, err := grpc.NewClient("passthrough:///"+n.address, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	for _, given := range []string{"", "the secret of somebody else"} {
		ctx := t.Context()
		if given != "" {
			ctx = grpcmetadata.AppendToOutgoingContext(ctx, "webhook-gateway-peer-secret", given)
		}
		_, err = webhookgatewayv1.NewSubscriptionServiceClient(conn).GetSubscription(ctx, &webhookgatewayv1.GetSubscriptionRequest{Name: "team"})
		checkError(t, err, "Unauthenticated CREDENTIALS_INVALID")
		s, err := clusterv1.NewPeerServiceClient(conn).Consume(ctx)
		if err != nil {
			t.Fatal(err)
		}
		_, err = s.Recv()
		checkError(t, err, "Unauthenticated CREDENTIALS_INVALID")
	}
	// Who has it, and passes on nobody's call, may nothing.
	ctx := grpcmetadata.AppendToOutgoingContext(t.Context(), "webhook-gateway-peer-secret", peerSecret)
	_, err = webhookgatewayv1.NewSubscriptionServiceClient(conn).GetSubscription(ctx, &webhookgatewayv1.GetSubscriptionRequest{Name: "team"})
	checkError(t, err, "PermissionDenied NOT_GRANTED name")
}

// TestGrantsThroughPeers: what a caller may is the same, whichever gateway it comes to.
func TestGrantsThroughPeers(t *testing.T) {
	t.Parallel()
	nodes := newCluster(t, 2)
	for _, name := range []string{"mine", "others"} {
		nodes[0].create(t, name, nil)
	}
	caller := &access.Caller{Name: "team", Grants: []*access.Grant{{
		Filters:       []*webhookgatewayv1.EventFilter{{}},
		Views:         []webhookgatewayv1.EventView{webhookgatewayv1.EventView_EVENT_VIEW_FULL},
		Mask:          []string{"subject"},
		Subscriptions: []access.SubscriptionGrant{{Prefix: "mine"}},
	}}}
	narrow := &access.Caller{Name: "narrow", Grants: []*access.Grant{{
		Filters:       []*webhookgatewayv1.EventFilter{{ClientIds: []string{"another"}}},
		Views:         []webhookgatewayv1.EventView{webhookgatewayv1.EventView_EVENT_VIEW_FULL},
		Subscriptions: []access.SubscriptionGrant{{Prefix: "mine"}},
	}}}
	for _, n := range nodes {
		ctx := streamtest.As(t.Context(), caller)
		_, err := n.GetSubscription(ctx, &webhookgatewayv1.GetSubscriptionRequest{Name: "others"})
		checkError(t, err, "PermissionDenied NOT_GRANTED name")
		_, err = n.DeleteSubscription(ctx, &webhookgatewayv1.DeleteSubscriptionRequest{Name: "mine"})
		checkError(t, err, "PermissionDenied NOT_GRANTED name")
		list, err := n.ListSubscriptions(ctx, &webhookgatewayv1.ListSubscriptionsRequest{})
		if err != nil || len(list.GetSubscriptions()) != 1 {
			t.Errorf("it lists %v, %v", list, err)
		}
		s, err := n.Consume(streamtest.As(t.Context(), narrow), &webhookgatewayv1.ConsumeRequest{Subscription: "mine"})
		if err != nil {
			t.Fatal(err)
		}
		_, err = s.Recv()
		checkError(t, err, "PermissionDenied NOT_GRANTED subscription.filters[0]")
		w := n.consumeAs(ctx, t, &webhookgatewayv1.ConsumeRequest{Subscription: "mine", MaxInFlight: 2})
		n.add(t, 2)
		for _, d := range w.take(2) {
			n.acknowledge(t, "mine", ok, d)
			if d.GetEvent().GetSubject() == "0" || d.GetEvent().GetSubject() == "1" {
				t.Errorf("the subject is not masked: %v", d.GetEvent())
			}
		}
		w.leave()
		w.end()
		n.deserted(t, "mine")
	}
}
