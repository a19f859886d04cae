package server_test

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"

	webhookgatewayv1 "github.com/webhook-gateway/webhook-gateway/gen/webhookgateway/v1"
	"github.com/webhook-gateway/webhook-gateway/server"
	"github.com/webhook-gateway/webhook-gateway/server/access"
	"github.com/webhook-gateway/webhook-gateway/server/servertest"
	"github.com/webhook-gateway/webhook-gateway/server/tlsfiles/tlstest"
)

// ofEach returns a subscription of each of two gateways, made by a caller at the first. They begin with the
// earliest event.
func ofEach(ctx context.Context, t *testing.T, g, other *servertest.Gateway) []string {
	t.Helper()
	together(t, g, other)
	owners := make(map[string]string)
	for i := 0; len(owners) < 2; i++ {
		name := fmt.Sprint("team-", i)
		created, err := webhookgatewayv1.NewSubscriptionServiceClient(g.Conn()).CreateSubscription(ctx, &webhookgatewayv1.CreateSubscriptionRequest{
			Subscription: &webhookgatewayv1.Subscription{
				Name: name, Settings: &webhookgatewayv1.SubscriptionSettings{AckDeadline: durationpb.New(10 * time.Minute)},
				Start: &webhookgatewayv1.SubscriptionStart{Start: &webhookgatewayv1.SubscriptionStart_Position{
					Position: webhookgatewayv1.StartPosition_START_POSITION_EARLIEST,
				}},
			},
		})
		if err != nil {
			t.Fatal(err)
		}
		owners[created.GetSubscription().GetStatus().GetOwner()] = name
	}
	var names []string
	for _, name := range owners {
		names = append(names, name)
	}
	return names
}

// A worker of another gateway that reads nothing is cut off as one of this gateway is: what it
// held is delivered to others at once, as if it had never been there. It settles nothing afterwards.
func TestRevokedWorkersOfAnotherGatewayWhoDoNotRead(t *testing.T) {
	option := shares(t)
	token, sum := access.NewToken()
	successor, successorSum := access.NewToken()
	granted := func(c *server.Config) {
		c.Log.Level = 12 // refusals are expected
		c.Access.Tokens = map[string]access.Token{
			"revoked": {SHA256: sum, Grants: []string{"team"}}, "successor": {SHA256: successorSum, Grants: []string{"team"}},
		}
		c.Access.Grants = map[string]access.GrantConfig{"team": {
			Filters: []access.FilterConfig{{}}, Views: []string{"raw"}, Subscriptions: []access.SubscriptionConfig{{Manage: true}},
		}}
	}
	a, b := newReloader(t, option, granted), newReloader(t, option, granted)
	names := ofEach(as(t, token), t, a.g, b.g)
	for range largeEvents {
		if _, err := a.g.Server().Log().Append(t.Context(), eventOf(t, bytes.Repeat([]byte("x"), 1<<20))); err != nil {
			t.Fatal(err)
		}
	}
	client := webhookgatewayv1.NewSubscriptionServiceClient(dialAs(t, a.g, token))
	raw := webhookgatewayv1.EventView_EVENT_VIEW_RAW
	held := make(map[string]string)
	for _, name := range names {
		working, err := client.Consume(t.Context(), &webhookgatewayv1.ConsumeRequest{Subscription: name, View: raw})
		opened(t, working, err)
		// The gateway that runs it may not have the events yet, and say that it has caught up.
		held[name] = next(t, working, (*webhookgatewayv1.ConsumeResponse).GetDeliveries).GetDeliveries()[0].GetAckToken()
	}
	a.mustReload(t, func(c *server.Config) {
		c.Access.Tokens = maps.Clone(c.Access.Tokens)
		delete(c.Access.Tokens, "revoked")
	})
	for _, name := range names {
		ack := &webhookgatewayv1.AcknowledgeRequest{Subscription: name, AckTokens: []string{held[name]}}
		if _, err := client.Acknowledge(t.Context(), ack); status.Code(err) != codes.Unauthenticated {
			t.Errorf("%s: the revoked worker settles: %v", name, err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		settleFirstAttempts(ctx, t, webhookgatewayv1.NewSubscriptionServiceClient(dialAs(t, b.g, successor)), name)
	}
}

// A worker whose certificate expires is told so, and settles nothing afterwards, whichever gateway runs
// the subscription.
func TestWorkersOfAnotherGatewayEndWithTheirCertificate(t *testing.T) {
	option := shares(t)
	ca := tlstest.NewCA(t)
	token, sum := access.NewToken()
	granted := func(c *server.Config) {
		c.Log.Level = 12 // refusals are expected
		c.Access.Tokens = map[string]access.Token{"team": {SHA256: sum, Grants: []string{"team"}}}
		c.Access.Certificates = []access.Certificate{{SPIFFEID: "spiffe://example.com/orders", Grants: []string{"team"}}}
		c.Access.Grants = map[string]access.GrantConfig{"team": {Filters: []access.FilterConfig{{}}, Subscriptions: []access.SubscriptionConfig{{Manage: true}}}}
	}
	pair := ca.Issue(t, time.Now().AddDate(1, 0, 0), "")
	a := newReloader(t, option, granted, func(c *server.Config) {
		pair.Secure(&c.TLS.GRPC)
		c.TLS.GRPC.ClientCA = ca.File
	})
	b := newReloader(t, option, granted)
	names := ofEach(as(t, token), t, b.g, a.g)
	if _, err := b.g.Server().Log().Append(t.Context(), eventOf(t, []byte("{}"))); err != nil {
		t.Fatal(err)
	}
	var client webhookgatewayv1.SubscriptionServiceClient
	var streams map[string]consumed
	life := 2 * time.Second
	for len(streams) < len(names) {
		life *= 2
		own := ca.Issue(t, time.Now().Add(life), "spiffe://example.com/orders")
		conn, err := grpc.NewClient(a.g.GRPCAddr(), grpc.WithTransportCredentials(credentials.NewTLS(ca.Client(own.Loaded))))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = conn.Close() })
		client, streams = webhookgatewayv1.NewSubscriptionServiceClient(conn), make(map[string]consumed)
		for _, name := range names {
			if streams[name], err = tryToConsume(t.Context(), t, client, name); err == nil {
				continue
			}
			if life > time.Minute {
				t.Fatal(err)
			}
			delete(streams, name)
			for _, early := range streams { // it expired before it could be used, on a busy machine
				early.end()
			}
			break
		}
	}
	for _, name := range names {
		endsWith(t, life, name, streams[name].recv, webhookgatewayv1.ErrorReason_ERROR_REASON_CREDENTIALS_EXPIRED)
		ack := &webhookgatewayv1.AcknowledgeRequest{Subscription: name, AckTokens: []string{streams[name].delivery.GetAckToken()}}
		if _, err := client.Acknowledge(t.Context(), ack); status.Code(err) != codes.Unauthenticated {
			t.Errorf("%s: who has expired settles: %v", name, err)
		}
		again := consumeOne(as(t, token), t, webhookgatewayv1.NewSubscriptionServiceClient(b.g.Conn()), name)
		if again.delivery.GetAttempt() != 1 {
			t.Errorf("%s: it counts as an attempt: %v", name, again.delivery)
		}
	}
}
