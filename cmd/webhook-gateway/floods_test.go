package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"

	webhookgatewayv1 "github.com/webhook-gateway/webhook-gateway/gen/webhookgateway/v1"
	"github.com/webhook-gateway/webhook-gateway/server/access"
	"github.com/webhook-gateway/webhook-gateway/server/tlsfiles/tlstest"
)

const (
	// floodDescriptors is the limit of file descriptors of a gateway that is attacked. Of
	// these, 400 are for connections to the port for webhooks, 100 for gRPC, and 50 for
	// internal HTTP.
	floodDescriptors = 800
	// crowd is more connections than any port may have.
	crowd = 450
	// few are more than any port but that for webhooks may have.
	few = 150
	// floodBytes is the most memory that it may have while it is attacked. At rest it has
	// some 60 MiB.
	floodBytes = 512 << 20
	// floodGoroutines are the most it may have: it has one for each stream, of which
	// strangers may have 4,000, and for those that are about to end.
	floodGoroutines = 10_000
)

// attacked is a gateway in a process of its own, its neighbours, and what attackers need.
type attacked struct {
	*process
	secured  bool
	token    string // of the neighbours: nobody who attacks has one
	trust    *tls.Config
	http     *http.Client
	existing grpc.ServerStreamingClient[webhookgatewayv1.SubscribeResponse]
}

func startAttacked(t *testing.T, binary string, secured bool) *attacked {
	t.Helper()
	dir := t.TempDir()
	limited := filepath.Join(dir, "limited")
	script := fmt.Sprintf("#!/bin/sh\nulimit -n %d\nexec %s \"$@\"\n", floodDescriptors, binary)
	if err := os.WriteFile(limited, []byte(script), 0o700); err != nil {
		t.Fatal(err)
	}
	a := &attacked{secured: secured}
	var ports string
	if secured {
		ca := tlstest.NewCA(t)
		pair := ca.Issue(t, time.Now().AddDate(1, 0, 0), "")
		files := "{certificate: " + pair.Certificate + ", key: " + pair.Key + "}"
		ports = "tls: {webhooks: " + files + ", grpc: " + files + ", internal_http: " + files + "}\n"
		a.trust = &tls.Config{RootCAs: ca.Pool(), MinVersion: tls.VersionTLS13}
	}
	token, sum := access.NewToken()
	a.token = token
	config := filepath.Join(dir, "gateway.yaml")
	if err := os.WriteFile(config, []byte(ports+`
listen: {webhooks: "127.0.0.1:0", grpc: "127.0.0.1:0", internal_http: "127.0.0.1:0"}
store: {pebble: {path: `+filepath.Join(dir, "data")+`}}
shutdown: {delay: 0s, timeout: 10s}
providers: {vezgo: {enabled: true, clients: [acme], source_addresses: [127.0.0.0/8]}}
access:
  tokens: {neighbour: {sha256: `+sum+`, grants: [all]}}
  grants: {all: {filters: [{}], operator: true}}
`), 0o600); err != nil {
		t.Fatal(err)
	}
	a.process = startProcess(t, limited, []string{"WEBHOOK_GATEWAY_CONFIG=" + config})
	a.http = &http.Client{Transport: &http.Transport{TLSClientConfig: a.trust, DisableKeepAlives: true}, Timeout: time.Minute}
	a.existing = a.subscribe(t)
	return a
}

func (a *attacked) url(address, path string) string {
	if a.secured {
		return "https://" + address + path
	}
	return "http://" + address + path
}

// events connects to the gRPC port.
func (a *attacked) events(t *testing.T) (context.Context, webhookgatewayv1.EventServiceClient) {
	t.Helper()
	creds := insecure.NewCredentials()
	if a.secured {
		creds = credentials.NewTLS(a.trust)
	}
	conn, err := grpc.NewClient(a.grpc, grpc.WithTransportCredentials(creds))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return metadata.AppendToOutgoingContext(t.Context(), "authorization", "Bearer "+a.token), webhookgatewayv1.NewEventServiceClient(conn)
}

func (a *attacked) subscribe(t *testing.T) grpc.ServerStreamingClient[webhookgatewayv1.SubscribeResponse] {
	t.Helper()
	ctx, client := a.events(t)
	stream, err := client.Subscribe(ctx, &webhookgatewayv1.SubscribeRequest{})
	if err != nil {
		t.Fatal(err)
	}
	if first, err := stream.Recv(); err != nil || first.GetSubscribed() == nil {
		t.Fatalf("a subscriber was told %v, %v", first, err)
	}
	return stream
}

// neighbours are served: a sender, who was subscribed, who subscribes, probes, and an
// operator.
func (a *attacked) neighbours(t *testing.T) {
	t.Helper()
	fresh := a.subscribe(t)
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, a.url(a.webhooks, "/v1/webhooks/vezgo"), strings.NewReader(`{"hook":"SyncAccount"}`))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("X-Client-Id", "acme")
	wantOK(t, a.http, req)
	for name, stream := range map[string]grpc.ServerStreamingClient[webhookgatewayv1.SubscribeResponse]{"old": a.existing, "new": fresh} {
		for {
			frame, err := stream.Recv()
			if err != nil {
				t.Fatalf("the %s subscriber: %v", name, err)
			}
			if frame.GetEvents() != nil {
				break
			}
		}
	}
	if req, err = http.NewRequestWithContext(t.Context(), http.MethodGet, a.url(a.internal, "/readyz"), nil); err != nil {
		t.Fatal(err)
	}
	wantOK(t, a.http, req)
	if bytes := a.metric(t, "process_resident_memory_bytes"); bytes > floodBytes {
		t.Errorf("the gateway has %d MiB", int(bytes)>>20)
	}
	if n := a.metric(t, "go_goroutines"); n > floodGoroutines {
		t.Errorf("the gateway has %v goroutines", n)
	}
}

func (a *attacked) metric(t *testing.T, name string) float64 {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, a.url(a.internal, "/metrics"), nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+a.token)
	resp, err := a.http.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	m := regexp.MustCompile(`(?m)^` + name + ` (\S+)$`).FindSubmatch(text)
	if m == nil {
		t.Fatalf("there is no %s in\n%s", name, bytes.TrimSpace(text))
	}
	value, err := strconv.ParseFloat(string(m[1]), 64)
	if err != nil {
		t.Fatal(err)
	}
	return value
}

// calm waits until the gateway has no more goroutines than before.
func (a *attacked) calm(t *testing.T, before float64) {
	t.Helper()
	for now := a.metric(t, "go_goroutines"); now > before+50; now = a.metric(t, "go_goroutines") {
		select {
		case <-time.After(50 * time.Millisecond): // it is not told when a connection has ended
		case <-t.Context().Done():
			t.Fatalf("%v goroutines, before there were %v", now, before)
		}
	}
}

// An attacker has connections until the test ends.
type attacker struct {
	*attacked
	t     *testing.T
	conns []net.Conn
}

func (a *attacker) end() {
	for _, c := range a.conns {
		_ = c.Close()
	}
}

// dial opens a connection without TLS.
func (a *attacker) dial(address string) net.Conn {
	a.t.Helper()
	c, err := net.Dial("tcp", address)
	if err != nil {
		a.t.Fatal(err)
	}
	a.conns = append(a.conns, c)
	return c
}

// open opens a connection, with TLS if the port speaks it. It returns nil if the gateway
// closes it at once.
func (a *attacker) open(address, protocol string) net.Conn {
	a.t.Helper()
	c := a.dial(address)
	if !a.secured {
		return c
	}
	config := a.trust.Clone()
	config.NextProtos, config.ServerName = []string{protocol}, "127.0.0.1"
	secured := tls.Client(c, config)
	if err := secured.HandshakeContext(a.t.Context()); err != nil {
		return nil
	}
	return secured
}

// send sends until the gateway does not take more.
func send(c net.Conn, pieces func(w *bufio.Writer) error) {
	if c == nil {
		return
	}
	_ = c.SetWriteDeadline(time.Now().Add(2 * time.Second)) // who is not read from ends its attack
	w := bufio.NewWriterSize(c, 64<<10)
	_ = errors.Join(pieces(w), w.Flush()) // that it fails is what the gateway is for
}

// drain reads all that the gateway says.
func drain(c net.Conn) {
	if c != nil {
		go func() { _, _ = io.Copy(io.Discard, c) }()
	}
}
