package server_test

import (
	"bytes"
	"crypto/tls"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/status"

	webhookgatewayv1 "github.com/webhook-gateway/webhook-gateway/gen/webhookgateway/v1"
	"github.com/webhook-gateway/webhook-gateway/server"
	"github.com/webhook-gateway/webhook-gateway/server/servertest"
	"github.com/webhook-gateway/webhook-gateway/server/tlsfiles"
	"github.com/webhook-gateway/webhook-gateway/server/tlsfiles/tlstest"
)

// secured starts a gateway that speaks TLS on all ports.
func secured(t *testing.T, ca *tlstest.CA, pair tlstest.Pair, options ...func(*server.Config)) *servertest.Gateway {
	t.Helper()
	return servertest.Start(t, append([]func(*server.Config){func(c *server.Config) {
		pair.Secure(&c.TLS.Webhooks, &c.TLS.GRPC, &c.TLS.InternalHTTP)
		c.TLS.GRPC.ClientCA = ca.File
		c.TLS.InternalHTTP.ClientCA, c.TLS.InternalHTTP.RequireClientCertificate = ca.File, true
	}}, options...)...)
}

func httpClient(t *testing.T, config *tls.Config) *http.Client {
	t.Helper()
	transport := &http.Transport{TLSClientConfig: config, ForceAttemptHTTP2: true}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport, Timeout: time.Minute}
}

func grpcClient(t *testing.T, g *servertest.Gateway, config *tls.Config) webhookgatewayv1.EventServiceClient {
	t.Helper()
	conn, err := grpc.NewClient(g.GRPCAddr(), grpc.WithTransportCredentials(credentials.NewTLS(config)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return webhookgatewayv1.NewEventServiceClient(conn)
}

func https(address string) string { return "https://" + strings.TrimPrefix(address, "http://") }

// deliverTo delivers a Vezgo event by HTTPS, and returns the protocol and the status of
// the answer.
func deliverTo(t *testing.T, client *http.Client, g *servertest.Gateway) (answer string, err error) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, https(g.WebhookURL())+"/v1/webhooks/vezgo", bytes.NewReader(vezgoBody))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("X-Client-Id", servertest.Client)
	resp, err := client.Do(req)
	if err != nil {
		return "", err
	}
	defer func() { _ = resp.Body.Close() }()
	_, err = io.Copy(io.Discard, resp.Body)
	return resp.Proto + " " + resp.Status, err
}

// All three ports speak TLS, by their versions, and ask for client certificates as
// configured.
func TestTLS(t *testing.T) {
	ca, strangers := tlstest.NewCA(t), tlstest.NewCA(t)
	year := time.Now().AddDate(1, 0, 0)
	pair, client, stranger := ca.Issue(t, year, ""), ca.Issue(t, year, "spiffe://example.com/orders"), strangers.Issue(t, year, "")
	g := secured(t, ca, pair)
	with := func(version uint16, certificates ...tls.Certificate) *tls.Config {
		return &tls.Config{RootCAs: ca.Pool(), MinVersion: tls.VersionTLS10, MaxVersion: version, Certificates: certificates}
	}

	t.Run("webhooks", func(t *testing.T) {
		for version, ok := range map[uint16]bool{tls.VersionTLS11: false, tls.VersionTLS12: true, tls.VersionTLS13: true} {
			answer, err := deliverTo(t, httpClient(t, with(version)), g)
			if ok != (err == nil) {
				t.Fatalf("%s: %v", tls.VersionName(version), err)
			}
			if ok && answer != "HTTP/1.1 200 OK" {
				t.Errorf("%s: %s", tls.VersionName(version), answer)
			}
		}
	})
	t.Run("grpc", func(t *testing.T) {
		for name, test := range map[string]struct {
			config *tls.Config
			ok     bool
		}{
			"without a certificate": {with(tls.VersionTLS13), true},
			"with one":              {with(tls.VersionTLS13, client.Loaded), true},
			"with that of another":  {with(tls.VersionTLS13, stranger.Loaded), false},
			"by TLS 1.2":            {with(tls.VersionTLS12), false},
		} {
			_, err := grpcClient(t, g, test.config).GetLogInfo(t.Context(), &webhookgatewayv1.GetLogInfoRequest{})
			if test.ok != (err == nil) || !test.ok && status.Code(err) != codes.Unavailable {
				t.Errorf("%s: %v", name, err)
			}
		}
		plain := webhookgatewayv1.NewEventServiceClient(g.Conn())
		if _, err := plain.GetLogInfo(t.Context(), &webhookgatewayv1.GetLogInfoRequest{}); status.Code(err) != codes.Unavailable {
			t.Errorf("plain text: %v", err)
		}
	})
	t.Run("internal HTTP", func(t *testing.T) {
		for name, test := range map[string]struct {
			config *tls.Config
			ok     bool
		}{
			"without a certificate": {with(tls.VersionTLS13), false},
			"with one":              {with(tls.VersionTLS13, client.Loaded), true},
			"with that of another":  {with(tls.VersionTLS13, stranger.Loaded), false},
			"by TLS 1.2":            {with(tls.VersionTLS12, client.Loaded), false},
		} {
			req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, https(g.InternalURL())+"/v1/loginfo", nil)
			if err != nil {
				t.Fatal(err)
			}
			resp, err := httpClient(t, test.config).Do(req)
			if err == nil {
				_ = resp.Body.Close()
			}
			if test.ok != (err == nil) {
				t.Errorf("%s: %v", name, err)
			}
			if test.ok && resp.Proto != "HTTP/2.0" {
				t.Errorf("%s: %s %s", name, resp.Proto, resp.Status)
			}
		}
	})
}

// A gateway whose certificate has expired starts, and says so: the other ports, and a
// client that does not look, have nothing to do with it.
func TestCertificateThatHasExpired(t *testing.T) {
	ca := tlstest.NewCA(t)
	pair := ca.Issue(t, time.Now().Add(-time.Minute), "")
	g := servertest.Start(t, func(c *server.Config) {
		pair.Secure(&c.TLS.GRPC)
	})
	g.Deliver(t, syncAccount)
	if _, body := get(t, g, "/readyz"); !strings.Contains(body, "the certificate of listen.grpc expired at ") {
		t.Errorf("/readyz says %s", body)
	}
}

// One that is not valid yet is told of, too: no client takes it.
func TestCertificateThatIsNotValidYet(t *testing.T) {
	begins := time.Now().Add(time.Hour)
	pair := tlstest.NewCA(t).IssueFrom(t, begins)
	g := servertest.Start(t, func(c *server.Config) { pair.Secure(&c.TLS.GRPC) })
	if _, body := get(t, g, "/readyz"); !strings.Contains(body, "the certificate of listen.grpc is valid only from "+begins.UTC().Format(time.RFC3339)+" on") {
		t.Errorf("/readyz says %s", body)
	}
}

// A certificate that expires soon is a warning, and a metric.
func TestCertificateThatExpires(t *testing.T) {
	ca := tlstest.NewCA(t)
	soon := time.Now().Add(time.Hour)
	pair := ca.Issue(t, soon, "")
	g := servertest.Start(t, func(c *server.Config) {
		pair.Secure(&c.TLS.Webhooks)
	})
	if _, body := get(t, g, "/readyz"); !strings.Contains(body, "the certificate of listen.webhooks expires at "+soon.UTC().Format(time.RFC3339)) {
		t.Errorf("/readyz says %s", body)
	}
	if _, body := get(t, g, "/metrics"); !strings.Contains(body, `webhook_gateway_tls_certificate_expiry_timestamp_seconds{listener="webhooks"}`) {
		t.Error("there is no metric of it")
	}
}

// Over TLS, too, resets of streams are counted, and silent connections make room.
func TestAttacksOverTLS(t *testing.T) {
	ca := tlstest.NewCA(t)
	g := secured(t, ca, ca.Issue(t, time.Now().AddDate(1, 0, 0), ""))
	config := &tls.Config{RootCAs: ca.Pool(), NextProtos: []string{"h2"}, MinVersion: tls.VersionTLS13}
	client := grpcClient(t, g, config)
	stream, err := client.Subscribe(t.Context(), &webhookgatewayv1.SubscribeRequest{})
	if err != nil {
		t.Fatal(err)
	}
	next(t, stream, (*webhookgatewayv1.SubscribeResponse).GetSubscribed)

	// 100 connections that never finish their handshake on each port.
	for _, addr := range []string{g.GRPCAddr(), strings.TrimPrefix(g.WebhookURL(), "http://"), strings.TrimPrefix(g.InternalURL(), "http://")} {
		for range 100 {
			conn, err := net.Dial("tcp", addr)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = conn.Close() })
		}
	}
	conn, err := tls.Dial("tcp", g.GRPCAddr(), config)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	if err := conn.SetDeadline(time.Now().Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() {
		_, err := io.Copy(io.Discard, conn)
		ended <- err
	}()
	framer := http2.NewFramer(conn, nil)
	_, err = io.WriteString(conn, http2.ClientPreface)
	err = errors.Join(err, framer.WriteSettings())
	head := callHead()
	for id := uint32(1); err == nil && id < 2_000_000; id += 2 {
		err = errors.Join(
			framer.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: head, EndHeaders: true}),
			framer.WriteRSTStream(id, http2.ErrCodeCancel),
		)
	}
	if err == nil {
		t.Error("a million streams were reset on one connection")
	}
	var timeout net.Error
	if err := <-ended; errors.As(err, &timeout) && timeout.Timeout() {
		t.Error("the connection was not closed")
	}
	if answer, err := deliverTo(t, httpClient(t, ca.Client()), g); err != nil || answer != "HTTP/1.1 200 OK" {
		t.Errorf("a delivery meanwhile: %s, %v", answer, err)
	}
	next(t, stream, (*webhookgatewayv1.SubscribeResponse).GetEvents)
}

// A start with files that cannot be used says which, and what is wrong.
func TestTLSFilesThatCannotBeUsed(t *testing.T) {
	ca := tlstest.NewCA(t)
	good := ca.Issue(t, time.Now().Add(time.Hour), "")
	other := ca.Issue(t, time.Now().Add(time.Hour), "")
	for name, test := range map[string]struct {
		config tlsfiles.Config
		want   string
	}{
		"key of another":    {tlsfiles.Config{Certificate: good.Certificate, Key: other.Key}, "tls.grpc.certificate: tls: private key does not match public key"},
		"no file":           {tlsfiles.Config{Certificate: good.Certificate, Key: "/none"}, "tls.grpc.certificate: open /none: no such file"},
		"no roots":          {tlsfiles.Config{Certificate: good.Certificate, Key: good.Key, ClientCA: good.Key}, "tls.grpc.client_ca: " + good.Key + " has no certificate in PEM"},
		"no key":            {tlsfiles.Config{Certificate: good.Certificate}, "tls.grpc.certificate: a certificate and its key go together"},
		"roots alone":       {tlsfiles.Config{ClientCA: ca.File}, "tls.grpc.client_ca: client certificates need TLS"},
		"nothing to check":  {tlsfiles.Config{RequireClientCertificate: true}, "tls.grpc.require_client_certificate: there is nothing to check"},
		"an unsafe version": {tlsfiles.Config{MinVersion: "1.1"}, `tls.grpc.min_version: "1.1" is no version: choose 1.2 or 1.3`},
	} {
		config := server.DefaultConfig()
		config.Store.Pebble.Path = t.TempDir()
		config.Listen = server.Listen{Webhooks: "127.0.0.1:0", GRPC: "127.0.0.1:0", InternalHTTP: "127.0.0.1:0"}
		if test.config.MinVersion == "" {
			test.config.MinVersion = "1.3"
		}
		config.Providers.Vezgo.Enabled, config.Providers.Vezgo.AnyClient = true, true
		config.TLS.GRPC = test.config
		s, err := server.New(t.Context(), config, slog.New(slog.DiscardHandler))
		if err == nil {
			_ = s.Close()
		}
		if err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v, want %q", name, err, test.want)
		}
	}
}
