package doctor

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	webhookgatewayv1 "github.com/webhook-gateway/webhook-gateway/gen/webhookgateway/v1"
	"github.com/webhook-gateway/webhook-gateway/server"
	"github.com/webhook-gateway/webhook-gateway/server/access"
	"github.com/webhook-gateway/webhook-gateway/server/tlsfiles/tlstest"
)

// showing are credentials for every listener.
func showing(config *tls.Config, token string) Credentials {
	return func(string, bool) (*tls.Config, string, error) { return config, token, nil }
}

// Of a gateway that asks who calls, what needs credentials is looked at with those that
// suffice, and said otherwise.
func TestCredentials(t *testing.T) {
	tokens := make(map[string]string)
	g, config := start(t, func(c *server.Config) {
		c.Log.Level = 12 // refusals are expected
		c.Access.Tokens = make(map[string]access.Token)
		c.Access.Grants = map[string]access.GrantConfig{
			"reader":   {Filters: []access.FilterConfig{{}}},
			"other":    {Filters: []access.FilterConfig{{ClientIDs: []string{"other"}}}},
			"operator": {Operator: true},
		}
		for name := range c.Access.Grants {
			token, sum := access.NewToken()
			tokens[name] = token
			c.Access.Tokens[name] = access.Token{SHA256: sum, Grants: []string{name}}
		}
	})
	g.Deliver(t, webhookgatewayv1.EventType_EVENT_TYPE_FINICITY_ADDED)
	tokens["stranger"], _ = access.NewToken()
	for name, test := range map[string]struct {
		credentials Credentials
		clock       string
		source      Status
		why         string
	}{
		"none":     {nil, "the newest event is not known: it asks who calls: give --token-file, or --tls-cert and --tls-key", Skip, "it asks who calls: give --token-file"},
		"stranger": {showing(nil, tokens["stranger"]), "it refuses these credentials (401 CREDENTIALS_INVALID)", Skip, "401 CREDENTIALS_INVALID"},
		"operator": {showing(nil, tokens["operator"]), "not behind the newest event, ", Skip, "403 NOT_GRANTED"},
		"other":    {showing(nil, tokens["other"]), "not behind the newest event, ", Skip, "403 NOT_GRANTED"},
		"reader":   {showing(nil, tokens["reader"]), "not behind the newest event, ", OK, "sees the address of this machine"},
		"unfit":    {func(string, bool) (*tls.Config, string, error) { return nil, "", errors.New("not over plain text") }, "not over plain text", Skip, "not over plain text"},
	} {
		t.Run(name, func(t *testing.T) {
			running := newGateway(config, test.credentials)
			expect(t, checkClock(t.Context(), config.Store.Pebble.Path, running)[1], OK, test.clock)
			findings := checkOutside(t.Context(), config, running, g.WebhookURL())
			expect(t, findings[1], OK, "as it was sent")
			expect(t, findings[2], test.source, test.why)
		})
	}
}

// Over TLS the gateway is known by a name in its certificate, whatever its address is, and
// is shown a client certificate.
func TestCredentialsOverTLS(t *testing.T) {
	ca, strangers := tlstest.NewCA(t), tlstest.NewCA(t)
	year := time.Now().AddDate(1, 0, 0)
	client := ca.Issue(t, year, "spiffe://example.com/billing").Loaded
	pair := ca.IssueFor(t, year, "gateway.example.com")
	g, config := start(t, func(c *server.Config) {
		c.Log.Level = 12 // refusals are expected
		pair.Secure(&c.TLS.GRPC, &c.TLS.InternalHTTP)
		c.TLS.GRPC.ClientCA, c.TLS.GRPC.RequireClientCertificate = ca.File, true
		c.TLS.InternalHTTP.ClientCA, c.TLS.InternalHTTP.RequireClientCertificate = ca.File, true
		c.Access.Certificates = []access.Certificate{{SPIFFEID: "spiffe://example.com/billing", Grants: []string{"read"}}}
		c.Access.Grants = map[string]access.GrantConfig{"read": {Filters: []access.FilterConfig{{}}}}
	})
	g.Deliver(t, webhookgatewayv1.EventType_EVENT_TYPE_FINICITY_ADDED)
	for name, test := range map[string]struct {
		credentials Credentials
		ports       Status
		says, clock string
	}{
		"with a certificate": {showing(ca.Client(client), ""), OK, "is served by a running gateway", "not behind the newest event, "},
		"without":            {nil, Skip, "asks for a client certificate", "asks for a client certificate: give --tls-cert and --tls-key"},
		"trusting others":    {showing(strangers.Client(client), ""), Skip, "is not trusted by --tls-ca", "is not trusted by --tls-ca"},
	} {
		t.Run(name, func(t *testing.T) {
			running := newGateway(config, test.credentials)
			for _, f := range checkPorts(t.Context(), config.Listen, running)[1:] {
				expect(t, f, test.ports, test.says)
			}
			expect(t, checkClock(t.Context(), config.Store.Pebble.Path, running)[1], OK, test.clock)
		})
	}
	// By mistake the certificate has no name: then it must be that of the address.
	config.TLS.GRPC.Certificate = "nowhere"
	expect(t, checkPorts(t.Context(), config.Listen, newGateway(config, showing(ca.Client(client), "")))[1], Skip, "127.0.0.1")
}

// The configuration of the doctor is compared with that in force.
func TestRunning(t *testing.T) {
	token, sum := access.NewToken()
	_, config := start(t, func(c *server.Config) {
		c.Log.Level = 12                                                        // refusals are expected
		c.Providers.Finicity.Enabled, c.Providers.Finicity.Clients = false, nil // their secrets have no reference
		c.Access.Tokens = map[string]access.Token{"ops": {SHA256: sum, Grants: []string{"operate"}}}
		c.Access.Grants = map[string]access.GrantConfig{"operate": {Operator: true}}
	})
	check := func(address, token string, c server.Config) []Finding {
		return checkRunning(t.Context(), c, newListener(address, c.TLS.InternalHTTP, showing(nil, token)))
	}
	address := config.Listen.InternalHTTP
	config.Listen = server.Listen{Webhooks: "127.0.0.1:0", GRPC: "127.0.0.1:0", InternalHTTP: "127.0.0.1:0"} // as it was started
	expectOne(t, check(address, token, config), OK, "has this configuration")
	expectOne(t, check(address, "", config), Skip, "it asks who calls: give --token-file, or --tls-cert and --tls-key, of an operator")
	expectOne(t, check("127.0.0.1:1", token, config), Skip, "no gateway runs at listen.internal_http 127.0.0.1:1")
	expectOne(t, check("127.0.0.1:0", token, config), Skip, "its port (0) is picked at each start")
	config.Webhooks.TrustedProxies = []string{"127.0.0.9"}
	expectOne(t, check(address, token, config), Warn, "the running gateway has another value of webhooks.trusted_proxies")
	expect(t, judgeDifferences([]server.Difference{{Path: "a"}, {Path: "b", Restart: true}}), Warn, "2 differences, such as b")
	expect(t, judgeDifferences([]server.Difference{{Path: "a"}, {Path: "b"}}), Warn, "2 differences, such as a")

	other := httptest.NewServer(http.NotFoundHandler())
	defer other.Close()
	expectOne(t, check(other.Listener.Addr().String(), token, config), Skip, "it answers 404")
}

// One that hangs is not taken for another program.
func TestHangingGateway(t *testing.T) {
	deadline := func(context.Context) error { return context.DeadlineExceeded }
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = taken.Close() }()
	expect(t, checkPort(t.Context(), "listen.grpc", taken.Addr().String(), deadline), Fail, "a gateway that hangs, or another process")
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	l := listener{address: taken.Addr().String()}
	expect(t, checkPort(ctx, "listen.grpc", l.address, l.isGRPC), Fail, "a gateway that hangs, or another process")
	expect(t, checkPort(ctx, "listen.internal_http", l.address, l.isInternal), Fail, "a gateway that hangs, or another process")
}
