package doctor

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/netip"
	"net/url"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	webhookgatewayv1 "github.com/webhook-gateway/webhook-gateway/gen/webhookgateway/v1"
	"github.com/webhook-gateway/webhook-gateway/server"
	"github.com/webhook-gateway/webhook-gateway/server/provider/finicity"
	"github.com/webhook-gateway/webhook-gateway/server/secret"
	"github.com/webhook-gateway/webhook-gateway/server/servertest"
	"github.com/webhook-gateway/webhook-gateway/server/tlsfiles/tlstest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// start starts a gateway, and returns its configuration with the addresses it has.
func start(t *testing.T, options ...func(*server.Config)) (*servertest.Gateway, server.Config) {
	t.Helper()
	var config server.Config
	g := servertest.Start(t, append(options, func(c *server.Config) { config = *c })...)
	addrs := g.Server().Addrs()
	config.Listen = server.Listen{Webhooks: addrs.Webhooks.String(), GRPC: addrs.GRPC.String(), InternalHTTP: addrs.InternalHTTP.String()}
	return g, config
}

// outside looks from outside at the gateway of a configuration, without credentials.
func outside(t *testing.T, config server.Config, base string) []Finding {
	t.Helper()
	return checkOutside(t.Context(), config, newGateway(config, nil), base)
}

// Of a gateway that runs nothing is wrong, but what is so in a test.
func TestRun(t *testing.T) {
	g, config := start(t)
	g.Deliver(t, webhookgatewayv1.EventType_EVENT_TYPE_FINICITY_ADDED)
	o := Options{Load: func() (server.Config, error) { return config, nil }, URL: g.WebhookURL()}
	checks := make(map[string][]Finding)
	Run(t.Context(), o, func(f Finding) { checks[f.Check] = append(checks[f.Check], f) })
	for _, name := range []string{"config", "folder", "disk", "commits", "ports", "running", "clock", "secrets", "tls", "access", "limits", "outside"} {
		if len(checks[name]) == 0 {
			t.Errorf("nothing is said of %s", name)
		}
		for _, f := range checks[name] {
			if f.Status == Fail {
				t.Errorf("%+v", f)
			}
		}
	}
	for _, f := range checks["ports"] {
		expect(t, f, OK, "is served by a running gateway")
	}
	expect(t, checks["clock"][1], OK, "not behind the newest event")
	seen := checks["outside"]
	expect(t, seen[0], Warn, "is not encrypted")
	expect(t, seen[1], OK, "as it was sent, and is stored")
	expect(t, seen[2], OK, "sees the address of this machine, 127.0.0.1")
	expect(t, seen[3], Skip, "not a public address")
}

func TestPorts(t *testing.T) {
	ca := tlstest.NewCA(t)
	pair := ca.Issue(t, time.Now().AddDate(1, 0, 0), "")
	_, config := start(t, func(c *server.Config) {
		pair.Secure(&c.TLS.Webhooks, &c.TLS.GRPC, &c.TLS.InternalHTTP)
		c.TLS.InternalHTTP.ClientCA, c.TLS.InternalHTTP.RequireClientCertificate = ca.File, true
	})
	findings := checkPorts(t.Context(), config.Listen, newGateway(config, nil))
	expect(t, findings[0], OK, "is served by a running gateway")
	expect(t, findings[1], OK, "is served by a running gateway")
	expect(t, findings[2], Skip, "asks for a client certificate")

	other := httptest.NewServer(http.NotFoundHandler())
	defer other.Close()
	taken := other.Listener.Addr().String()
	config = server.DefaultConfig()
	config.Listen = server.Listen{Webhooks: taken, GRPC: taken, InternalHTTP: taken}
	findings = checkPorts(t.Context(), config.Listen, newGateway(config, nil))
	for _, f := range findings {
		expect(t, f, Fail, "is taken by another process")
	}
	expect(t, findings[1], Fail, ": what answers does not speak gRPC")
	is := func(context.Context) error { return nil }
	expect(t, checkPort(t.Context(), "listen.grpc", "127.0.0.1:0", is), OK, "listen.grpc 127.0.0.1:0 is free")
	expect(t, checkPort(t.Context(), "listen.grpc", "203.0.113.1:0", is), Fail, "cannot be listened on")
}

// A clock is compared with the files of the store when no gateway runs.
func TestClockOfAStoppedGateway(t *testing.T) {
	g, config := start(t)
	if err := g.Stop(); err != nil {
		t.Fatal(err)
	}
	expect(t, checkClock(t.Context(), config.Store.Pebble.Path, newGateway(config, nil))[1], OK, "the last write to the store")
}

// proxy returns the URL of a proxy in front of a gateway. It speaks to it from 127.0.0.2.
func proxy(t *testing.T, to string, change func(*httputil.ProxyRequest)) string {
	t.Helper()
	target, err := url.Parse(to)
	if err != nil {
		t.Fatal(err)
	}
	dialer := &net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 2)}}
	p := httptest.NewServer(&httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(target)
			change(r)
		},
		Transport: &http.Transport{DialContext: dialer.DialContext, DisableKeepAlives: true},
	})
	t.Cleanup(p.Close)
	return p.URL
}

func TestOutsideThroughProxies(t *testing.T) {
	if conn, err := net.ListenPacket("udp", "127.0.0.2:0"); err != nil {
		t.Skipf("this system has no 127.0.0.2 for a proxy: %v", err)
	} else {
		_ = conn.Close()
	}
	g, config := start(t, func(c *server.Config) { c.Webhooks.TrustedProxies = []string{"127.0.0.2"} })
	appending := func(r *httputil.ProxyRequest) {
		r.Out.Header["X-Forwarded-For"] = r.In.Header["X-Forwarded-For"]
		r.SetXForwarded()
	}
	compact := func(r *httputil.ProxyRequest) {
		appending(r)
		body, _ := io.ReadAll(r.In.Body)
		var b bytes.Buffer
		if err := json.Compact(&b, body); err != nil {
			t.Error(err)
		}
		r.Out.Body, r.Out.ContentLength = io.NopCloser(&b), int64(b.Len())
	}
	believing := func(r *httputil.ProxyRequest) { r.Out.Header["X-Forwarded-For"] = r.In.Header["X-Forwarded-For"] }

	findings := outside(t, config, proxy(t, g.WebhookURL(), appending))
	expect(t, findings[1], OK, "as it was sent")
	expect(t, findings[2], OK, "sees the address of this machine, 127.0.0.1, and not one that was made up")
	findings = outside(t, config, proxy(t, g.WebhookURL(), believing))
	expect(t, findings[2], Fail, "choose its source address")
	findings = outside(t, config, proxy(t, g.WebhookURL(), compact))
	expect(t, findings[1], Fail, "the body is changed on the way")

	unknown, config := start(t)
	findings = outside(t, config, proxy(t, unknown.WebhookURL(), appending))
	expect(t, findings[2], Warn, "takes the proxy, 127.0.0.2, for the source")
	// The URL of one gateway, and the configuration of another.
	findings = outside(t, config, g.WebhookURL())
	expect(t, findings[2], Fail, "another gateway has it")
	config.Listen.InternalHTTP = "127.0.0.1:1"
	findings = outside(t, config, g.WebhookURL())
	expect(t, findings[2], Skip, "cannot be looked up at listen.internal_http 127.0.0.1:1")
}

func TestOutsideOfSomethingElse(t *testing.T) {
	_, config := start(t, func(c *server.Config) {
		required := &finicity.RequiredHeader{Name: "X-Required", Secret: secret.New("a required secret")}
		c.Providers.Finicity.Clients = map[string]finicity.ClientConfig{
			"acme": {Secrets: map[string]secret.Secret{"k": secret.New(servertest.FinicitySecret)}, RequiredHeader: required},
		}
	})
	base := "http://" + config.Listen.Webhooks
	expect(t, outside(t, config, base)[1], OK, "as it was sent")
	wrong := config
	wrong.Providers.Finicity.Clients = map[string]finicity.ClientConfig{"acme": {
		Secrets: map[string]secret.Secret{"k": secret.New("not the secret it has")}, RequiredHeader: config.Providers.Finicity.Clients["acme"].RequiredHeader,
	}}
	expect(t, outside(t, wrong, base)[1], Fail, "another secret than this configuration")

	redirect := httptest.NewServer(http.RedirectHandler(base, http.StatusPermanentRedirect))
	defer redirect.Close()
	expect(t, outside(t, config, redirect.URL)[1], Fail, "a redirect (308)")
	untrusted := httptest.NewUnstartedServer(http.NotFoundHandler())
	untrusted.Config.ErrorLog = log.New(io.Discard, "", 0)
	untrusted.StartTLS()
	defer untrusted.Close()
	expect(t, outside(t, config, untrusted.URL)[0], Fail, "certificate signed by unknown authority")
	expect(t, outside(t, config, "http://127.0.0.1:1")[0], Fail, "connection refused")
	expect(t, outside(t, config, "")[0], Skip, "no URL was given")

	config.Providers.Finicity.Clients = nil
	expect(t, outside(t, config, base)[0], Skip, "no client of Finicity has a secret")
	config.Providers.Finicity.Enabled = false
	expect(t, outside(t, config, base)[0], Skip, "only Finicity signs")
	if text := plain(&url.Error{URL: "https://x?secret=s", Err: errors.Join(context.DeadlineExceeded)}); strings.Contains(text, "secret") {
		t.Errorf("it says %s", text)
	}
}

func TestExposedPorts(t *testing.T) {
	open, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	expect(t, checkExposed(t.Context(), "listen.grpc", open.Addr().String()), Warn, "is reachable at the public address")
	if err := open.Close(); err != nil {
		t.Fatal(err)
	}
	expect(t, checkExposed(t.Context(), "listen.grpc", open.Addr().String()), OK, "is not reachable")
	expect(t, checkInternalPorts(t.Context(), server.DefaultConfig(), netip.MustParseAddr("10.0.0.1"))[0], Skip, "not a public address")
}
