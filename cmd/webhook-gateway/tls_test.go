package main

import (
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/webhook-gateway/webhook-gateway/server/servertest"
	"github.com/webhook-gateway/webhook-gateway/server/tlsfiles/tlstest"
)

// TestCommandsOverTLS: a gateway that speaks TLS on all ports and asks who calls, as the
// operations guide sets it up, is used by every command that calls one, with a token and
// with a client certificate, and by none that shows neither or does not trust it.
func TestCommandsOverTLS(t *testing.T) {
	ca, another := tlstest.NewCA(t), tlstest.NewCA(t)
	year := time.Now().AddDate(1, 0, 0)
	own, client := ca.Issue(t, year, ""), ca.Issue(t, year, "spiffe://example.com/billing")
	stranger := another.Issue(t, year, "spiffe://example.com/billing")
	dir := t.TempDir()
	tokenFile, sum := createToken(t)
	write := func(name, text string) string {
		t.Helper()
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	pair := "{certificate: " + own.Certificate + ", key: " + own.Key
	config := write("gateway.yaml", `
listen: {webhooks: "127.0.0.1:0", grpc: "127.0.0.1:0", internal_http: "127.0.0.1:0"}
store: {pebble: {path: `+filepath.Join(dir, "data")+`}}
providers: {vezgo: {enabled: true, any_client: true, source_addresses: [127.0.0.0/8]}}
tls:
  webhooks: `+pair+`}
  grpc: `+pair+`, client_ca: `+ca.File+`}
  internal_http: `+pair+`, client_ca: `+ca.File+`}
access:
  tokens:
    billing: {sha256: `+sum+`, grants: [all]}
  certificates:
    - {spiffe_id: "spiffe://example.com/billing", grants: [all]}
  grants:
    all: {filters: [{}], subscriptions: [{prefix: billing-, manage: true}], operator: true}
`)
	served := begin(t, nil, "serve", "--config", config)
	addrs := serving.FindStringSubmatch(served.err.waitFor(t, serving.MatchString))
	webhooks, grpcAddr, internal := addrs[1], addrs[2], addrs[3]

	transport := &http.Transport{TLSClientConfig: ca.Client(), DisableKeepAlives: true}
	delivery, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "https://"+webhooks+"/v1/webhooks/vezgo",
		strings.NewReader(`{"eventType": "Sync", "user": {"id": "u1"}}`))
	if err != nil {
		t.Fatal(err)
	}
	delivery.Header.Set("X-Client-Id", "acme")
	delivery.Header.Set("Content-Type", "application/json")
	answer, err := transport.RoundTrip(delivery)
	if err != nil || answer.StatusCode != http.StatusOK {
		t.Fatalf("%v %v", answer, err)
	}
	_ = answer.Body.Close()

	trust := []string{"--tls-ca", ca.File}
	byToken := append([]string{"--token-file", tokenFile}, trust...)
	byCertificate := append([]string{"--tls-cert", client.Certificate, "--tls-key", client.Key}, trust...)
	for i, args := range [][]string{
		{"log", "info", "--addr", grpcAddr},
		{"events", "list", "--addr", grpcAddr},
		{"tail", "--stop-at-head", "--addr", grpcAddr},
		{"subscriptions", "create", "billing-a", "--addr", grpcAddr},
		{"subscriptions", "list", "--addr", grpcAddr},
		{"parked", "list", "billing-a", "--addr", grpcAddr},
		{"call", "EventService/GetLogInfo", "--addr", grpcAddr},
		{"backup", "--to", filepath.Join(dir, "copy"), "--http-addr", internal},
	} {
		refused := func(what, want string, credentials ...string) {
			t.Helper()
			if code, out, errOut := execute(t, append(args, credentials...)...); code != exitFailure || !strings.Contains(errOut, want) {
				t.Errorf("%v %s: %d %s %s", args, what, code, out, errOut)
			}
		}
		refused("without credentials", "(CREDENTIALS_MISSING): give --token-file", trust...)
		if i == 0 || args[0] == "backup" {
			refused("trusting another", "certificate", "--tls-ca", another.File, "--token-file", tokenFile)
			refused("without TLS", "--tls-ca", "--token-file", tokenFile)
			refused("with the certificate of another", "certificate", append([]string{"--tls-cert", stranger.Certificate, "--tls-key", stranger.Key}, trust...)...)
		}
		for what, credentials := range map[string][]string{"token": byToken, "certificate": byCertificate} {
			with := append(args, credentials...)
			if args[0] == "backup" {
				with[2] += what
			}
			if code, out, errOut := execute(t, with...); code != exitOK {
				t.Errorf("%v by %s: %d %s %s", args, what, code, out, errOut)
			} else if args[0] == "events" && !strings.Contains(out, "acme") {
				t.Errorf("%v by %s shows %s", args, what, out)
			}
		}
	}
	environ := []string{"WHG_TLS_CA=" + ca.File, "WHG_TLS_CERT=" + client.Certificate, "WHG_TLS_KEY=" + client.Key}
	if code, out, errOut := executeIn(t, environ, "log", "info", "--addr", grpcAddr); code != exitOK {
		t.Errorf("by the environment: %d %s %s", code, out, errOut)
	}
	if code, out, errOut := execute(t, "health", "--config", config, "--http-addr", internal); code != exitOK {
		t.Errorf("health: %d %s %s", code, out, errOut)
	}
}

// TestBrokenOff: a gateway that does not take a client certificate closes the connection,
// and what it says of that may be lost. What a command makes of a connection that breaks
// off says what the reason may be.
func TestBrokenOff(t *testing.T) {
	listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = listener.Close() }()
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return // the test is over
			}
			_, _ = conn.Read(make([]byte, 1))
			_ = conn.(*net.TCPConn).SetLinger(0)
			_ = conn.Close()
		}
	}()
	ca := tlstest.NewCA(t)
	for _, args := range [][]string{
		{"log", "info", "--addr", listener.Addr().String()},
		{"backup", "--to", filepath.Join(t.TempDir(), "copy"), "--http-addr", listener.Addr().String()},
	} {
		code, _, errOut := execute(t, append(args, "--tls-ca", ca.File)...)
		if code != exitFailure || !strings.Contains(errOut, "is the gateway running?") || !strings.Contains(errOut, "does not take the client certificate (--tls-cert)") {
			t.Errorf("%v: %d %s", args, code, errOut)
		}
	}
}

// TestTLSWherePlainTextIsSpoken: a command that asks for TLS says what is wrong, and does
// not try for ever.
func TestTLSWherePlainTextIsSpoken(t *testing.T) {
	gateway := servertest.Start(t)
	ca := tlstest.NewCA(t)
	for _, args := range [][]string{
		{"log", "info", "--addr", gateway.GRPCAddr()},
		{"tail", "--addr", gateway.GRPCAddr()},
	} {
		code, _, errOut := execute(t, append(args, "--tls-ca", ca.File)...)
		if code != exitFailure || !strings.Contains(errOut, "does not speak TLS: leave out --tls-ca") {
			t.Errorf("%v: %d %s", args, code, errOut)
		}
	}
}
