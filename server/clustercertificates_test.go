package server_test

import (
	"crypto/tls"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	webhookgatewayv1 "github.com/webhook-gateway/webhook-gateway/gen/webhookgateway/v1"
	"github.com/webhook-gateway/webhook-gateway/server"
	"github.com/webhook-gateway/webhook-gateway/server/servertest"
	"github.com/webhook-gateway/webhook-gateway/server/tlsfiles/tlstest"
)

// The authority of the gateways' certificates is replaced by reloads, one gateway after the other: first all believe
// both, then each gets its new certificate, then all believe the new one alone. No stream of a worker ends, and no
// call fails.
func TestAuthorityOfGatewaysIsReplaced(t *testing.T) {
	year := time.Now().AddDate(1, 0, 0)
	before, after := tlstest.NewCA(t), tlstest.NewCA(t)
	both := t.TempDir() + "/both.pem"
	var roots []byte
	for _, ca := range []*tlstest.CA{before, after} {
		pem, err := os.ReadFile(ca.File)
		if err != nil {
			t.Fatal(err)
		}
		roots = append(roots, pem...)
	}
	if err := os.WriteFile(both, roots, 0o600); err != nil {
		t.Fatal(err)
	}
	option := shares(t)
	with := func(pair tlstest.Pair, roots string) func(*server.Config) {
		return func(c *server.Config) {
			c.Cluster.Listen = "localhost:0"
			pair.Secure(&c.Cluster.TLS)
			c.Cluster.TLS.ClientCA, c.Cluster.TLS.RequireClientCertificate = roots, true
		}
	}
	old := before.Issue(t, year, "")
	gateways := make([]*reloader, 2)
	for i := range gateways {
		gateways[i] = newReloader(t, option, with(before.Issue(t, year, ""), before.File))
	}
	a := gateways[0].g
	client := webhookgatewayv1.NewSubscriptionServiceClient(a.Conn())
	names := ofEach(t.Context(), t, a, gateways[1].g)
	streams := make(map[string]func() (frame, error))
	var owners []string
	for _, name := range names {
		subscription, err := client.GetSubscription(t.Context(), &webhookgatewayv1.GetSubscriptionRequest{Name: name})
		if err != nil {
			t.Fatal(err)
		}
		owners = append(owners, subscription.GetSubscription().GetStatus().GetOwner())
		stream, err := client.Consume(t.Context(), &webhookgatewayv1.ConsumeRequest{Subscription: name})
		streams[name] = opened(t, stream, err)
	}
	delivered := 0
	works := func(step string) {
		t.Helper()
		delivered++
		a.DeliverBody(t, webhookgatewayv1.Provider_PROVIDER_FINICITY, finicityBody(fmt.Sprint(delivered)))
		for _, name := range names {
			for got := false; !got; {
				f, err := streams[name]()
				if err != nil {
					t.Fatalf("%s: the stream of a worker ends: %v", step, err)
				}
				response, ok := f.(*webhookgatewayv1.ConsumeResponse)
				if !ok {
					t.Fatalf("a frame is a %T", f)
				}
				for _, d := range response.GetDeliveries().GetDeliveries() {
					answer, err := client.Acknowledge(t.Context(), &webhookgatewayv1.AcknowledgeRequest{Subscription: name, AckTokens: []string{d.GetAckToken()}})
					if err != nil || answer.GetResults()[0] != webhookgatewayv1.TokenResult_TOKEN_RESULT_OK {
						t.Errorf("%s: it settles: %v, %v", step, answer, err)
					}
					got = true
				}
			}
		}
	}
	works("at first")
	for i, g := range gateways {
		g.mustReload(t, func(c *server.Config) { c.Cluster.TLS.ClientCA = both })
		works(fmt.Sprint("believe both, ", i))
	}
	for i, g := range gateways {
		g.mustReload(t, with(after.Issue(t, year, ""), both))
		works(fmt.Sprint("new certificate, ", i))
	}
	for i, g := range gateways {
		g.mustReload(t, func(c *server.Config) { c.Cluster.TLS.ClientCA = after.File })
		works(fmt.Sprint("believe the new one, ", i))
	}
	refused := &tls.Config{
		ServerName: "localhost", RootCAs: after.Pool(), MinVersion: tls.VersionTLS13, NextProtos: []string{"h2"},
		GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &old.Loaded, nil },
	}
	for _, address := range owners {
		conn, err := (&tls.Dialer{Config: refused}).DialContext(t.Context(), "tcp", address)
		if err == nil {
			_, err = conn.Read(make([]byte, 1)) // a client is told then
			_ = conn.Close()
		}
		if err == nil || !strings.Contains(err.Error(), "tls: unknown certificate authority") {
			t.Errorf("who comes with a certificate of the old authority: %v", err)
		}
	}
	c := servertest.Start(t, option, with(after.Issue(t, year, ""), after.File))
	for _, name := range names { // whoever runs them now, all reach each other by new connections
		for _, g := range []*servertest.Gateway{c, a, gateways[1].g} {
			eventually(t, "it is answered", func() bool {
				_, err := webhookgatewayv1.NewSubscriptionServiceClient(g.Conn()).GetSubscription(t.Context(), &webhookgatewayv1.GetSubscriptionRequest{Name: name})
				return err == nil
			})
		}
	}
}

// A gateway that the others refuse for its certificate says so, though TLS does not always tell who is refused.
func TestGatewaysThatAreRefusedByTheirCertificate(t *testing.T) {
	year := time.Now().AddDate(1, 0, 0)
	ca, stranger := tlstest.NewCA(t), tlstest.NewCA(t)
	for name, test := range map[string]struct {
		pair tlstest.Pair
		want string
	}{
		"another name":     {ca.IssueFor(t, year, "gateway-2.internal"), "as that of a server: x509: certificate is valid for gateway-2.internal, not localhost"},
		"another CA":       {stranger.Issue(t, year, ""), "as that of a server: x509: certificate signed by unknown authority"},
		"has expired":      {ca.Issue(t, time.Now().Add(-time.Minute), ""), "the certificate of cluster.listen expired at"},
		"for servers only": {ca.IssueForServers(t, year, "localhost"), "as that of a client: x509: certificate specifies an incompatible key usage"},
	} {
		t.Run(name, func(t *testing.T) {
			r := newReloader(t, shares(t), func(c *server.Config) {
				c.Cluster.Listen = "localhost:0"
				test.pair.Secure(&c.Cluster.TLS)
				c.Cluster.TLS.ClientCA, c.Cluster.TLS.RequireClientCertificate = ca.File, true
			})
			if _, body := get(t, r.g, "/readyz"); !strings.Contains(body, test.want) {
				t.Errorf("/readyz says %s", body)
			}
			good := ca.Issue(t, year, "")
			r.mustReload(t, func(c *server.Config) { good.Secure(&c.Cluster.TLS) })
			if _, body := get(t, r.g, "/readyz"); strings.Contains(body, "certificate") {
				t.Errorf("/readyz still says %s", body)
			}
		})
	}
}
