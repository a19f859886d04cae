package server_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"

	webhookgatewayv1 "github.com/webhook-gateway/webhook-gateway/gen/webhookgateway/v1"
	"github.com/webhook-gateway/webhook-gateway/server"
	"github.com/webhook-gateway/webhook-gateway/server/rpcerr"
	"github.com/webhook-gateway/webhook-gateway/server/servertest"
	"github.com/webhook-gateway/webhook-gateway/server/tlsfiles/tlstest"
)

// unreached returns a subscription of b that a does not reach.
func unreached(t *testing.T, a, b *servertest.Gateway) string {
	t.Helper()
	at := func(g *servertest.Gateway) webhookgatewayv1.SubscriptionServiceClient {
		return webhookgatewayv1.NewSubscriptionServiceClient(g.Conn())
	}
	together(t, a, b)
	for i := range 50 {
		name := fmt.Sprint("team-", i)
		if _, err := at(b).CreateSubscription(t.Context(), &webhookgatewayv1.CreateSubscriptionRequest{
			Subscription: &webhookgatewayv1.Subscription{Name: name},
		}); rpcerr.Reason(err) == webhookgatewayv1.ErrorReason_ERROR_REASON_SUBSCRIPTION_MOVING {
			continue // a runs it, and is not reached either
		} else if err != nil {
			t.Fatal(err)
		}
		_, err := at(a).GetSubscription(t.Context(), &webhookgatewayv1.GetSubscriptionRequest{Name: name})
		switch {
		case err == nil:
		case rpcerr.Reason(err) == webhookgatewayv1.ErrorReason_ERROR_REASON_SUBSCRIPTION_MOVING:
			return name
		default:
			t.Fatalf("a call on what is not reached is answered %v", err)
		}
	}
	t.Fatal("one gateway runs all")
	return ""
}

// Gateways that do not come together by TLS say why, in /readyz and by a metric. Workers are told
// to try again, and are served as soon as the certificates are mended by a reload.
func TestGatewaysThatDoNotComeTogether(t *testing.T) {
	year := time.Now().AddDate(1, 0, 0)
	ca, stranger := tlstest.NewCA(t), tlstest.NewCA(t)
	good := ca.Issue(t, year, "")
	for name, test := range map[string]struct {
		pair tlstest.Pair // of b, as a server
		want string
	}{
		"another name":        {ca.IssueFor(t, year, "gateway-2.internal"), "certificate is valid for gateway-2.internal, not localhost"},
		"another CA":          {stranger.Issue(t, year, ""), "certificate signed by unknown authority"},
		"has expired":         {ca.Issue(t, time.Now().Add(-time.Minute), ""), "certificate has expired"},
		"b speaks plain text": {tlstest.Pair{}, "first record does not look like a TLS handshake"},
	} {
		t.Run(name, func(t *testing.T) {
			option := shares(t)
			with := func(pair tlstest.Pair) func(*server.Config) {
				return func(c *server.Config) {
					c.Cluster.Listen = "localhost:0"
					if pair.Certificate == "" {
						return
					}
					pair.Secure(&c.Cluster.TLS)
					c.Cluster.TLS.ClientCA = ca.File
				}
			}
			a, b := newReloader(t, option, with(good)), newReloader(t, option, with(test.pair))
			name := unreached(t, a.g, b.g)
			// Why a connection is not made is known when the first attempt has failed.
			eventually(t, "/readyz says "+test.want, func() bool {
				_, body := get(t, a.g, "/readyz")
				said := strings.Contains(body, test.want)
				if !said { // another call is not answered either
					_, _ = webhookgatewayv1.NewSubscriptionServiceClient(a.g.Conn()).GetSubscription(t.Context(), &webhookgatewayv1.GetSubscriptionRequest{Name: name})
				}
				return said
			})
			if n := metric(t, a.g, `webhook_gateway_cluster_forwarded_calls_total{result="unreachable"}`); n == 0 {
				t.Error("nothing is counted")
			}
			if test.pair.Certificate == "" {
				return // needs a restart
			}
			a.g.DeliverBody(t, webhookgatewayv1.Provider_PROVIDER_FINICITY, finicityBody("1"))
			waiting, err := webhookgatewayv1.NewSubscriptionServiceClient(a.g.Conn()).Consume(t.Context(),
				&webhookgatewayv1.ConsumeRequest{Subscription: name}, grpc.WaitForReady(true))
			if err == nil {
				_, err = waiting.Recv()
			}
			if got := rpcerr.Reason(err); got != webhookgatewayv1.ErrorReason_ERROR_REASON_SUBSCRIPTION_MOVING {
				t.Errorf("a worker is answered %v: %v", got, err)
			}
			b.mustReload(t, func(c *server.Config) { good.Secure(&c.Cluster.TLS) })
			if got := fmt.Sprint(consume(t, a.g, name, 1)); got != "[1]" {
				t.Errorf("a worker gets %s", got)
			}
			if _, body := get(t, a.g, "/readyz"); strings.Contains(body, "cannot be reached") {
				t.Errorf("/readyz still says %s", body)
			}
		})
	}
}
