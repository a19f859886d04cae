package server_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"

	webhookgatewayv1 "github.com/webhook-gateway/webhook-gateway/gen/webhookgateway/v1"
	"github.com/webhook-gateway/webhook-gateway/server"
	"github.com/webhook-gateway/webhook-gateway/server/access"
	"github.com/webhook-gateway/webhook-gateway/server/servertest"
)

// clientsOf returns clients of a gateway, each with a connection of its own.
func clientsOf(t *testing.T, g *servertest.Gateway, n int) []webhookgatewayv1.SubscriptionServiceClient {
	t.Helper()
	clients := make([]webhookgatewayv1.SubscriptionServiceClient, n)
	for i := range clients {
		conn, err := grpc.NewClient(g.GRPCAddr(), grpc.WithTransportCredentials(insecure.NewCredentials()))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = conn.Close() })
		clients[i] = webhookgatewayv1.NewSubscriptionServiceClient(conn)
	}
	return clients
}

// Clients that give up calls as fast as each of them may do not cost others of the same gateway
// what they have by the gateway that the calls are passed on to.
func TestImpatientClientsOfAnotherGateway(t *testing.T) {
	option := shares(t)
	a, b := servertest.Start(t, option), servertest.Start(t, option)
	name, _ := theirs(t, a, b)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	worker := consumeOneOf(ctx, t, a, name)

	var running sync.WaitGroup
	for _, client := range clientsOf(t, a, 40) {
		running.Go(func() {
			for givenUp := 0; givenUp < 150; { // a connection may give up 200 at once
				ctx, cancel := context.WithCancel(t.Context())
				time.AfterFunc(time.Duration(rand.IntN(1000))*time.Microsecond, cancel)
				_, err := client.Acknowledge(ctx, &webhookgatewayv1.AcknowledgeRequest{Subscription: name, AckTokens: []string{"none"}})
				cancel()
				switch status.Code(err) {
				case codes.OK:
				case codes.Canceled:
					givenUp++
				default:
					t.Errorf("another client is answered %v", err)
					return
				}
			}
		})
	}
	running.Wait()
	for range 20 {
		if _, err := webhookgatewayv1.NewSubscriptionServiceClient(a.Conn()).Acknowledge(t.Context(), &webhookgatewayv1.AcknowledgeRequest{Subscription: name, AckTokens: []string{"none"}}); err != nil {
			t.Fatalf("a patient client is answered %v", err)
		}
	}
	b.DeliverBody(t, webhookgatewayv1.Provider_PROVIDER_FINICITY, finicityBody("2"))
	if got := worker(); got != "2" {
		t.Errorf("the worker gets %s", got)
	}
	if n := metric(t, b, `webhook_gateway_connections_refused_total{listener="cluster"}`); n != 0 {
		t.Error("the connection between the gateways was closed")
	}
}

// Calls for more workers than a stranger may make reach another gateway, also while nobody has to show
// who they are.
func TestManyWorkersOfAnotherGateway(t *testing.T) {
	option := shares(t)
	many := func(c *server.Config) { c.Streams.MaxStreams = 2000 }
	a, b := servertest.Start(t, option, many), servertest.Start(t, option, many)
	name, _ := theirs(t, a, b)
	const each, clients = 300, 4
	streams := make(chan webhookgatewayv1.SubscriptionService_ConsumeClient, each*clients)
	var running sync.WaitGroup
	ctx, leave := context.WithCancel(t.Context())
	defer leave()
	for _, client := range clientsOf(t, a, clients) {
		running.Go(func() {
			for range each {
				stream, err := client.Consume(ctx, &webhookgatewayv1.ConsumeRequest{Subscription: name, MaxInFlight: 1})
				if err == nil {
					_, err = stream.Recv()
				}
				if err != nil {
					t.Error(err)
					return
				}
				streams <- stream
			}
		})
	}
	running.Wait()
	if n := metric(t, a, `webhook_gateway_cluster_forwarded_calls_total{result="unreachable"}`); n != 0 || len(streams) != each*clients {
		t.Errorf("%d workers are served, %v calls did not reach the gateway", len(streams), n)
	}
	leave() // to stop the gateways beside so many takes longer than they have
	eventually(t, "no stream is open any more", func() bool {
		const open = "webhook_gateway_streams_open"
		return metric(t, a, open)+metric(t, b, open) == 0
	})
}

// What a caller may is passed on, however much it is.
func TestLargeGrantsReachAnotherGateway(t *testing.T) {
	option := shares(t)
	token, sum := access.NewToken()
	granted := func(c *server.Config) {
		c.Access.Grants = make(map[string]access.GrantConfig)
		var names []string
		for i := range 10 {
			var ids []string
			for j := range 1000 {
				ids = append(ids, fmt.Sprintf("a client with a long name %d%03d", i, j))
			}
			names = append(names, fmt.Sprint("team", i))
			c.Access.Grants[names[i]] = access.GrantConfig{
				Filters: []access.FilterConfig{{ClientIDs: ids}}, Views: []string{"full"}, Subscriptions: []access.SubscriptionConfig{{Manage: true}},
			}
		}
		c.Access.Tokens = map[string]access.Token{"team": {SHA256: sum, Grants: names}}
	}
	a, b := servertest.Start(t, option, granted), servertest.Start(t, option, granted)
	together(t, a, b)
	ctx := as(t, token)
	owners := make(map[string]bool)
	for i := 0; len(owners) < 2; i++ {
		name := fmt.Sprint("team-", i)
		created, err := webhookgatewayv1.NewSubscriptionServiceClient(a.Conn()).CreateSubscription(ctx, &webhookgatewayv1.CreateSubscriptionRequest{
			Subscription: &webhookgatewayv1.Subscription{Name: name, Filters: []*webhookgatewayv1.EventFilter{{ClientIds: []string{"a client with a long name 0001"}}}},
		})
		if err != nil {
			t.Fatal(err)
		}
		owners[created.GetSubscription().GetStatus().GetOwner()] = true
		if _, err := webhookgatewayv1.NewSubscriptionServiceClient(b.Conn()).GetSubscription(ctx, &webhookgatewayv1.GetSubscriptionRequest{Name: name}); err != nil {
			t.Fatal(err)
		}
	}
}

// consumeOneOf has a worker take one event, and returns a function that returns the next one.
func consumeOneOf(ctx context.Context, t *testing.T, g *servertest.Gateway, name string) (next func() string) {
	t.Helper()
	g.DeliverBody(t, webhookgatewayv1.Provider_PROVIDER_FINICITY, finicityBody("1"))
	stream, err := webhookgatewayv1.NewSubscriptionServiceClient(g.Conn()).Consume(ctx, &webhookgatewayv1.ConsumeRequest{Subscription: name})
	if err != nil {
		t.Fatal(err)
	}
	next = func() string {
		for {
			frame, err := stream.Recv()
			if err != nil {
				t.Fatal(err)
			}
			for _, d := range frame.GetDeliveries().GetDeliveries() {
				return d.GetEvent().GetProviderEventId()
			}
		}
	}
	if got := next(); got != "1" {
		t.Fatalf("the worker gets %s", got)
	}
	return next
}
