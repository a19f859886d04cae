package server_test

import (
	"context"
	"fmt"
	"maps"
	"testing"

	webhookgatewayv1 "github.com/webhook-gateway/webhook-gateway/gen/webhookgateway/v1"
	"github.com/webhook-gateway/webhook-gateway/server"
	"github.com/webhook-gateway/webhook-gateway/server/access"
	"github.com/webhook-gateway/webhook-gateway/server/servertest"
)

// What a worker may is decided by the gateway that it came to, whichever runs the subscription: when its
// grant is narrowed its stream ends, what it held is given back unused, and it sees no more than the
// new one shows. When its token is revoked it gets nothing.
func TestRevokedWorkersOfAnotherGateway(t *testing.T) {
	option := shares(t)
	token, sum := access.NewToken()
	grant := access.GrantConfig{Filters: []access.FilterConfig{{}}, Views: []string{"full"}, Subscriptions: []access.SubscriptionConfig{{Manage: true}}}
	granted := func(c *server.Config) {
		c.Log.Level = 12 // refusals are expected
		c.Access.Tokens = map[string]access.Token{"team": {SHA256: sum, Grants: []string{"team"}}}
		c.Access.Grants = map[string]access.GrantConfig{"team": grant}
	}
	a, b := newReloader(t, option, granted), newReloader(t, option, granted)
	ctx := as(t, token)
	client := func(g *servertest.Gateway) webhookgatewayv1.SubscriptionServiceClient {
		return webhookgatewayv1.NewSubscriptionServiceClient(g.Conn())
	}
	together(t, a.g, b.g)
	owners := make(map[string]string)
	for i := 0; len(owners) < 2; i++ {
		name := fmt.Sprint("team-", i)
		created, err := client(b.g).CreateSubscription(ctx, &webhookgatewayv1.CreateSubscriptionRequest{Subscription: &webhookgatewayv1.Subscription{Name: name}})
		if err != nil {
			t.Fatal(err)
		}
		owners[created.GetSubscription().GetStatus().GetOwner()] = name
	}
	a.g.DeliverBody(t, webhookgatewayv1.Provider_PROVIDER_FINICITY, []byte(`{"eventId":"1","eventType":"added","customerId":"customer-7","payload":{"accounts":[]}}`))
	for _, name := range owners { // one of them is run by the other gateway
		config := a.config
		first := consumeOne(ctx, t, client(a.g), name)
		if got := first.delivery.GetEvent(); got.GetSubject() != "customer-7" || first.delivery.GetAttempt() != 1 {
			t.Errorf("%s: it gets %v", name, first.delivery)
		}
		a.mustReload(t, func(c *server.Config) {
			masked := grant
			masked.Mask = []string{"subject"}
			c.Access.Grants = map[string]access.GrantConfig{"team": masked}
		})
		endsWith(t, 0, name, first.recv, webhookgatewayv1.ErrorReason_ERROR_REASON_ACCESS_CHANGED)
		second := consumeOne(ctx, t, client(a.g), name)
		if got := second.delivery.GetEvent(); got.GetSubject() != "" || len(got.GetMasked()) == 0 || second.delivery.GetAttempt() != 1 {
			t.Errorf("%s: with a narrower grant it gets %v", name, second.delivery)
		}
		a.mustReload(t, func(c *server.Config) {
			c.Access.Tokens = maps.Clone(c.Access.Tokens)
			other := c.Access.Tokens["team"]
			_, other.SHA256 = access.NewToken()
			c.Access.Tokens["team"] = other
		})
		endsWith(t, 0, name, second.recv, webhookgatewayv1.ErrorReason_ERROR_REASON_ACCESS_CHANGED)
		third := consumeOne(ctx, t, client(b.g), name) // its configuration has not changed
		if third.delivery.GetAttempt() != 1 {
			t.Errorf("%s: that a worker was revoked counts as an attempt: %v", name, third.delivery)
		}
		third.leave()
		a.mustReload(t, func(c *server.Config) { c.Access = config.Access })
	}
}

// consumed is a stream of a worker that got a delivery.
type consumed struct {
	delivery *webhookgatewayv1.Delivery
	recv     func() (frame, error)
	leave    context.CancelFunc
}

// end waits until the stream has ended.
func (c consumed) end() {
	for {
		if _, err := c.recv(); err != nil {
			return
		}
	}
}

func consumeOne(ctx context.Context, t *testing.T, client webhookgatewayv1.SubscriptionServiceClient, name string) consumed {
	t.Helper()
	c, err := tryToConsume(ctx, t, client, name)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func tryToConsume(ctx context.Context, t *testing.T, client webhookgatewayv1.SubscriptionServiceClient, name string) (c consumed, err error) {
	t.Helper()
	ctx, c.leave = context.WithCancel(ctx)
	t.Cleanup(c.leave)
	stream, err := client.Consume(ctx, &webhookgatewayv1.ConsumeRequest{Subscription: name})
	for err == nil && c.delivery == nil {
		var got *webhookgatewayv1.ConsumeResponse
		got, err = stream.Recv()
		for _, d := range got.GetDeliveries().GetDeliveries() {
			c.delivery = d
		}
	}
	c.recv = func() (frame, error) { return stream.Recv() }
	return c, err
}
