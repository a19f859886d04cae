package server_test

import (
	"context"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	webhookgatewayv1 "github.com/webhook-gateway/webhook-gateway/gen/webhookgateway/v1"
	"github.com/webhook-gateway/webhook-gateway/server"
	"github.com/webhook-gateway/webhook-gateway/server/rpcerr"
	"github.com/webhook-gateway/webhook-gateway/server/secret"
	"github.com/webhook-gateway/webhook-gateway/server/servertest"
	"github.com/webhook-gateway/webhook-gateway/server/tlsfiles/tlstest"
)

// together waits until gateways know each other: from then on no subscription moves.
func together(t *testing.T, all ...*servertest.Gateway) {
	t.Helper()
	for _, g := range all {
		eventually(t, "the gateways know each other", func() bool { return g.Server().Settled(len(all)) })
	}
}

// ownerOf returns the address of the gateway that runs a subscription, as another one shows
// it.
func ownerOf(t *testing.T, g *servertest.Gateway, name string) string {
	t.Helper()
	resp, err := webhookgatewayv1.NewSubscriptionServiceClient(g.Conn()).
		GetSubscription(t.Context(), &webhookgatewayv1.GetSubscriptionRequest{Name: name})
	if err != nil {
		t.Fatal(err)
	}
	return resp.GetSubscription().GetStatus().GetOwner()
}

// consume takes and acknowledges the next n events of a subscription at a gateway. While it is being
// taken over it tries again, as a worker does.
func consume(t *testing.T, g *servertest.Gateway, name string, n int) (ids []string) {
	t.Helper()
	client := webhookgatewayv1.NewSubscriptionServiceClient(g.Conn())
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	stream, err := client.Consume(ctx, &webhookgatewayv1.ConsumeRequest{Subscription: name})
	if err != nil {
		t.Fatal(err)
	}
	for len(ids) < n {
		frame, err := stream.Recv()
		if rpcerr.Reason(err) == webhookgatewayv1.ErrorReason_ERROR_REASON_SUBSCRIPTION_MOVING && len(ids) == 0 {
			stream, err = client.Consume(ctx, &webhookgatewayv1.ConsumeRequest{Subscription: name})
		}
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range frame.GetDeliveries().GetDeliveries() {
			ids = append(ids, d.GetEvent().GetProviderEventId())
			if _, err := client.Acknowledge(t.Context(), &webhookgatewayv1.AcknowledgeRequest{
				Subscription: name, AckTokens: []string{d.GetAckToken()},
			}); err != nil {
				t.Fatal(err)
			}
		}
	}
	return ids
}

// Gateways that share a log share the subscriptions: any of them takes any call, over TLS as
// well, and when the one that runs a subscription ends in order another one goes on.
func TestGatewaysShareSubscriptions(t *testing.T) {
	option := shares(t)
	ca := tlstest.NewCA(t)
	pair := ca.IssueFor(t, time.Now().AddDate(1, 0, 0), "localhost")
	secured := func(c *server.Config) {
		pair.Secure(&c.Cluster.TLS)
		c.Cluster.TLS.ClientCA, c.Cluster.TLS.RequireClientCertificate = ca.File, true
		c.Cluster.Listen = "localhost:0"
	}
	all := []*servertest.Gateway{servertest.Start(t, option, secured), servertest.Start(t, option, secured), servertest.Start(t, option, secured)}
	together(t, all...)
	const subscriptions = 20 // which of them each runs is left to chance
	for i := range subscriptions {
		if _, err := webhookgatewayv1.NewSubscriptionServiceClient(all[i%3].Conn()).CreateSubscription(t.Context(), &webhookgatewayv1.CreateSubscriptionRequest{
			Subscription: &webhookgatewayv1.Subscription{Name: fmt.Sprint("team-", i)},
		}); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 3 {
		all[i].DeliverBody(t, webhookgatewayv1.Provider_PROVIDER_FINICITY, finicityBody(fmt.Sprint("event-", i)))
	}
	owners := make(map[string]bool)
	for i := range subscriptions {
		name := fmt.Sprint("team-", i)
		owners[ownerOf(t, all[i%3], name)] = true
		if got := fmt.Sprint(consume(t, all[(i+1)%3], name, 3)); got != "[event-0 event-1 event-2]" {
			t.Errorf("%s gets %s", name, got)
		}
	}
	if len(owners) < 2 {
		t.Errorf("one gateway of three runs all subscriptions: %v", owners)
	}
	all[1].DeliverBody(t, webhookgatewayv1.Provider_PROVIDER_FINICITY, finicityBody("event-3"))
	if err := all[0].Stop(); err != nil {
		t.Fatal(err)
	}
	for i := range subscriptions {
		name := fmt.Sprint("team-", i)
		if got := fmt.Sprint(consume(t, all[1+i%2], name, 1)); got != "[event-3]" {
			t.Errorf("%s gets %s once a gateway has ended", name, got)
		}
	}
}

func TestClusterIsRefused(t *testing.T) {
	shared := func(c *server.Config) {
		c.Store.CommitLog.Engine = server.CommitLogJetStream
		c.Store.CommitLog.JetStream.URLs = []string{"nats://127.0.0.1:4222"}
		c.Cluster.Advertise, c.Cluster.Secret = "gateway-1:9091", secret.New("a long secret")
	}
	for name, test := range map[string]struct {
		change func(*server.Config)
		want   string
	}{
		"no commit log":    {func(c *server.Config) { c.Store = server.DefaultConfig().Store }, "cluster: this is for gateways that share a commit log"},
		"no secret":        {func(c *server.Config) { c.Cluster.Secret = secret.Secret{} }, "cluster.secret: is missing: give the same to all gateways"},
		"a short secret":   {func(c *server.Config) { c.Cluster.Secret = secret.New("short") }, "cluster.secret: the secret has less than 8 bytes"},
		"no address":       {func(c *server.Config) { c.Cluster.Listen = "nowhere" }, `cluster.listen: "nowhere" is no address`},
		"nothing to reach": {func(c *server.Config) { c.Cluster.Advertise = "" }, "cluster.advertise: give the address at which the other gateways reach this one"},
		"everywhere":       {func(c *server.Config) { c.Cluster.Advertise = "0.0.0.0:9091" }, `cluster.advertise: "0.0.0.0:9091" names no host`},
		"any port":         {func(c *server.Config) { c.Cluster.Advertise = "a:0" }, `cluster.advertise: "a:0" names no host, or no port`},
		"short previous":   {func(c *server.Config) { c.Cluster.PreviousSecret = secret.New("short") }, "cluster.previous_secret: the secret has less than 8 bytes"},
		"random bytes":     {func(c *server.Config) { c.Cluster.Secret = secret.New("\xffrandom bytes") }, "cluster.secret: the secret has characters that a header of a call cannot have"},
		"alone": {func(c *server.Config) {
			c.Store, c.Cluster = server.DefaultConfig().Store, server.DefaultConfig().Cluster
			c.Cluster.PreviousSecret = secret.New("a long secret")
		}, "cluster: this is for gateways that share a commit log"},
		"half of TLS": {func(c *server.Config) { c.Cluster.TLS.Certificate = "c" }, "cluster.tls.certificate: a certificate and its key go together"},
	} {
		config := server.DefaultConfig()
		shared(&config)
		before := config.Validate()
		test.change(&config)
		if err := config.Validate(); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v, want %q", name, err, test.want)
		}
		if before != nil && strings.Contains(before.Error(), "cluster") {
			t.Errorf("before: %v", before)
		}
	}
}

// theirs returns a subscription that is run by the other one of two gateways, and where that
// listens for the first.
func theirs(t *testing.T, g, other *servertest.Gateway) (name, address string) {
	t.Helper()
	together(t, g, other)
	client := webhookgatewayv1.NewSubscriptionServiceClient(g.Conn())
	owners := make(map[string]string)
	for i := range 100 {
		name := fmt.Sprint("team-", i)
		if _, err := client.CreateSubscription(t.Context(), &webhookgatewayv1.CreateSubscriptionRequest{
			Subscription: &webhookgatewayv1.Subscription{Name: name},
		}); err != nil {
			t.Fatal(err)
		}
		owner := ownerOf(t, other, name)
		owners[owner] = name
		if forwarded := metric(t, g, `webhook_gateway_cluster_forwarded_calls_total{result="ok"}`); forwarded > 0 {
			return name, owner
		}
	}
	t.Fatalf("one gateway runs all: %v", owners)
	return "", ""
}

// The secret of the gateways is changed by loading the configuration again, at one after the
// other, and every call is answered meanwhile.
func TestReloadOfTheClusterSecret(t *testing.T) {
	option := shares(t)
	a, b := newReloader(t, option), newReloader(t, option)
	name, _ := theirs(t, a.g, b.g)
	older, newer := a.config.Cluster.Secret, secret.New("another secret of the gateways")
	for _, step := range []server.Cluster{{Secret: newer, PreviousSecret: older}, {Secret: newer}} {
		for _, r := range []*reloader{a, b} {
			r.mustReload(t, func(c *server.Config) {
				c.Cluster.Secret, c.Cluster.PreviousSecret = step.Secret, step.PreviousSecret
			})
			ownerOf(t, a.g, name)
		}
	}
	if _, body := get(t, a.g, "/readyz"); strings.Contains(body, "cluster") {
		t.Errorf("/readyz says %s", body)
	}
}

// Connections of strangers to the listener for the other gateways push out each other: calls
// of gateways are answered, and nobody waits for the strangers at the end.
func TestStrangersFloodTheListenerOfPeers(t *testing.T) {
	option := shares(t)
	a, b := servertest.Start(t, option), servertest.Start(t, option)
	name, address := theirs(t, a, b)
	for i := range 600 {
		conn, err := new(net.Dialer).DialContext(t.Context(), "tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = conn.Close() })
		if i%2 == 0 {
			_, _ = conn.Write([]byte("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00")) // it may be closed already
		}
		if i%100 == 99 {
			ownerOf(t, a, name)
		}
	}
	eventually(t, "connections are refused", func() bool {
		return metric(t, b, `webhook_gateway_connections_refused_total{listener="cluster"}`) > 0
	})
	began := time.Now()
	if err := b.Stop(); err != nil {
		t.Error(err)
	}
	if took := time.Since(began); took > 20*time.Second {
		t.Errorf("the end took %v", took)
	}
}
