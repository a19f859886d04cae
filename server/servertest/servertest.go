// Package servertest runs a whole gateway within a test: the real one, on
// loopback, with a store of its own. It is for the tests of this repository and
// for those of programs that read from a gateway.
//
//	func TestConsumer(t *testing.T) {
//		gateway := servertest.Start(t, servertest.InMemory)
//		gateway.Trigger(t, "finicity.added")
//		consume(t, webhookgatewayv1.NewEventServiceClient(gateway.Conn()))
//	}
//
// What a program has to survive happens when it is asked for, by the gateway's own code:
//
//	Restart, Stop      each stream ends with a goodbye
//	Cut                connections break without a word
//	Freeze, Thaw       nothing comes, not even heartbeats
//	Expire             retention passes events: CURSOR_EXPIRED, or a gap
//	FallBehind         fell_behind
//	Redeliver          deadlines of workers pass, and waits for another attempt
//
// docs/testing.md has a test that uses them.
package servertest

import (
	"bytes"
	"io"
	"log/slog"
	"net/http"
	"path/filepath"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	webhookgatewayv1 "github.com/webhook-gateway/webhook-gateway/gen/webhookgateway/v1"
	"github.com/webhook-gateway/webhook-gateway/server"
	"github.com/webhook-gateway/webhook-gateway/server/ephemeral"
	"github.com/webhook-gateway/webhook-gateway/server/provider"
	"github.com/webhook-gateway/webhook-gateway/server/provider/all"
	"github.com/webhook-gateway/webhook-gateway/server/secret"
)

const (
	// Client is the client that both providers are configured for.
	Client = "acme"
	// FinicitySecret is its Partner Secret.
	FinicitySecret = ephemeral.FinicitySecret
	// FinicityKeyID is the name of that secret.
	FinicityKeyID = ephemeral.FinicityKeyID
)

// MaxEventBytes is the largest event that a connection of Conn receives.
const MaxEventBytes = 32 << 20

// Gateway is a running gateway. Its methods are safe for concurrent use.
type Gateway struct {
	inner *ephemeral.Gateway
	conn  *grpc.ClientConn
	http  *http.Client
}

// InMemory is an option of Start: the store is in memory. Everything but the disk is
// tried as well as with one, and faster.
func InMemory(config *server.Config) { config.Store.Pebble.Path = "" }

// Start starts a gateway with a store in tb.TempDir(), or InMemory, and stops it when the
// test ends, which fails the test if the gateway could not shut down in order. Both
// providers are enabled and enforce verification; loopback counts as a source of
// Vezgo's. The options change the configuration. Warnings of the gateway go to
// the output of the test.
func Start(tb testing.TB, options ...func(*server.Config)) *Gateway {
	tb.Helper()
	config := Config(tb)
	for _, option := range options {
		option(&config)
	}
	inner, err := ephemeral.New(tb.Context(), config, slog.New(slog.NewTextHandler(tb.Output(), &slog.HandlerOptions{Level: config.Log.Level})))
	if err != nil {
		tb.Fatalf("start a gateway: %v", err)
	}
	g := &Gateway{inner: inner, http: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 100}, Timeout: time.Minute}}
	tb.Cleanup(func() {
		if err := g.Stop(); err != nil {
			tb.Errorf("stop the gateway: %v", err)
		}
	})
	conn, err := grpc.NewClient(g.GRPCAddr(),
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(MaxEventBytes)))
	if err != nil {
		tb.Fatalf("connect to the gateway: %v", err)
	}
	g.conn = conn
	tb.Cleanup(func() { // before the gateway stops: nothing waits for an idle client
		g.http.CloseIdleConnections()
		if err := conn.Close(); err != nil {
			tb.Errorf("close the connection to the gateway: %v", err)
		}
	})
	return g
}

// Config returns the configuration that Start begins with.
func Config(tb testing.TB) server.Config {
	tb.Helper()
	config := ephemeral.Config(Client)
	config.Store.Retention.MaxBytes = 0
	config.Store.Pebble.Path = filepath.Join(tb.TempDir(), "store")
	return config
}

// Server returns the gateway itself, nil when it is stopped.
func (g *Gateway) Server() *server.Server { return g.inner.Server() }

// Stop shuts the gateway down, in order, and returns what went wrong. Each stream is sent
// a goodbye. A second call does nothing. Restart starts it again.
func (g *Gateway) Stop() error { return g.inner.Stop() }

// Restart ends every stream with a goodbye, and starts the gateway again, unless it is
// stopped already, on the same store and at the same addresses. Connections find it again
// by themselves.
func (g *Gateway) Restart(tb testing.TB) {
	tb.Helper()
	if err := g.inner.Restart(tb.Context()); err != nil {
		tb.Fatalf("restart the gateway: %v", err)
	}
}

// Conn returns a connection to the gateway, for any number of clients. It is
// closed when the test ends.
func (g *Gateway) Conn() *grpc.ClientConn { return g.conn }

// GRPCAddr returns the address of the gRPC listener.
func (g *Gateway) GRPCAddr() string { return g.inner.Config().Listen.GRPC }

// WebhookURL returns the base URL of the listener for webhooks, without a slash at
// the end.
func (g *Gateway) WebhookURL() string { return "http://" + g.inner.Config().Listen.Webhooks }

// InternalURL returns the base URL of the internal HTTP listener: REST, metrics
// and health.
func (g *Gateway) InternalURL() string { return "http://" + g.inner.Config().Listen.InternalHTTP }

// Deliver sends a delivery of every type, in order, as its provider does: a sample
// of that type, under a new event id, signed. It fails the test unless each is
// answered 200, which says that it is stored and can be read.
func (g *Gateway) Deliver(tb testing.TB, types ...webhookgatewayv1.EventType) {
	tb.Helper()
	for _, t := range types {
		sender, body := sample(tb, t)
		g.DeliverBody(tb, sender.ID(), sender.Fresh(body))
	}
}

// DeliverBody sends a body as a provider does, and fails the test unless it is
// answered 200.
func (g *Gateway) DeliverBody(tb testing.TB, from webhookgatewayv1.Provider, body []byte) {
	tb.Helper()
	if code, answer := g.Send(tb, from, body); code != http.StatusOK {
		tb.Fatalf("a delivery of %v was answered %d %s", from, code, answer)
	}
}

// Send sends a body as a provider does, and returns the status and the body of the
// answer.
func (g *Gateway) Send(tb testing.TB, from webhookgatewayv1.Provider, body []byte) (code int, answer string) {
	tb.Helper()
	req := g.Request(tb, from, body)
	resp, err := g.http.Do(req)
	if err != nil {
		tb.Fatalf("send a delivery: %v", err)
	}
	defer func() { _ = resp.Body.Close() }() // it was read to its end
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		tb.Fatalf("read the answer to a delivery: %v", err)
	}
	return resp.StatusCode, string(text)
}

// Request returns the request that a provider sends a body with.
func (g *Gateway) Request(tb testing.TB, from webhookgatewayv1.Provider, body []byte) *http.Request {
	tb.Helper()
	target, header := senderOf(tb, from).Request(body, Client, Secret(from))
	req, err := http.NewRequestWithContext(tb.Context(), http.MethodPost, g.WebhookURL()+target, bytes.NewReader(body))
	if err != nil {
		tb.Fatalf("make a delivery: %v", err)
	}
	req.Header = header
	return req
}

// Secret returns what a provider's deliveries are signed with, zero if they are
// not.
func Secret(of webhookgatewayv1.Provider) secret.Secret {
	if of == webhookgatewayv1.Provider_PROVIDER_FINICITY {
		return secret.New(FinicitySecret)
	}
	return secret.Secret{}
}

func senderOf(tb testing.TB, id webhookgatewayv1.Provider) provider.Sender {
	tb.Helper()
	for _, sender := range all.Senders() {
		if sender.ID() == id {
			return sender
		}
	}
	tb.Fatalf("%v is no provider that this gateway knows", id)
	return nil
}

func sample(tb testing.TB, t webhookgatewayv1.EventType) (provider.Sender, []byte) {
	tb.Helper()
	for _, sender := range all.Senders() {
		for _, s := range sender.Samples() {
			if s.Type == t {
				return sender, s.Body
			}
		}
	}
	tb.Fatalf("%v is no event type that there is a sample of", t)
	return nil, nil
}
