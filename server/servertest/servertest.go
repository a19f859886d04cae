// Package servertest runs a whole gateway within a test: the real one, on
// loopback, with a store of its own. It is for the tests of this repository and
// for those of programs that read from a gateway.
//
//	func TestConsumer(t *testing.T) {
//		gateway := servertest.Start(t)
//		gateway.Deliver(t, webhookgatewayv1.EventType_EVENT_TYPE_FINICITY_ADDED)
//		consume(t, webhookgatewayv1.NewEventServiceClient(gateway.Conn()))
//	}
package servertest

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"net/http"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	webhookgatewayv1 "github.com/webhook-gateway/webhook-gateway/gen/webhookgateway/v1"
	"github.com/webhook-gateway/webhook-gateway/server"
	"github.com/webhook-gateway/webhook-gateway/server/provider"
	"github.com/webhook-gateway/webhook-gateway/server/provider/all"
	"github.com/webhook-gateway/webhook-gateway/server/provider/finicity"
	"github.com/webhook-gateway/webhook-gateway/server/secret"
)

const (
	// Client is the client that both providers are configured for.
	Client = "acme"
	// FinicitySecret is its Partner Secret.
	FinicitySecret = "a partner secret for tests"
	// FinicityKeyID is the name of that secret.
	FinicityKeyID = "test"
)

// MaxEventBytes is the largest event that a connection of Conn receives.
const MaxEventBytes = 32 << 20

// rebindTimeout bounds how long a restart waits for its ports.
const rebindTimeout = 5 * time.Second

// Gateway is a running gateway. Its methods are safe for concurrent use, but for
// Stop and Restart.
type Gateway struct {
	logger *slog.Logger
	conn   *grpc.ClientConn
	http   *http.Client
	// config has the addresses that were picked at first, so that clients find the
	// gateway again after a restart.
	config server.Config

	mu     sync.Mutex
	server *server.Server // nil when it is stopped
	stop   context.CancelFunc
	ended  chan error // gets what Run returned
}

// Start starts a gateway with a store in tb.TempDir() and stops it when the test
// ends, which fails the test if the gateway could not shut down in order. Both
// providers are enabled and enforce verification; loopback counts as a source of
// Vezgo's. The options change the configuration. Warnings of the gateway go to
// the output of the test.
func Start(tb testing.TB, options ...func(*server.Config)) *Gateway {
	tb.Helper()
	config := Config(tb)
	for _, option := range options {
		option(&config)
	}
	g := &Gateway{
		config: config,
		logger: slog.New(slog.NewTextHandler(tb.Output(), &slog.HandlerOptions{Level: config.Log.Level})),
		http:   &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 100}, Timeout: time.Minute},
	}
	if err := g.start(tb.Context()); err != nil {
		tb.Fatalf("start a gateway: %v", err)
	}
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
	config := server.DefaultConfig()
	config.Shutdown.Delay = 0
	config.Listen = server.Listen{Webhooks: "127.0.0.1:0", GRPC: "127.0.0.1:0", InternalHTTP: "127.0.0.1:0"}
	config.Log.Level = slog.LevelWarn
	config.Store.Pebble.Path = filepath.Join(tb.TempDir(), "store")
	config.Providers.Finicity.Enabled = true
	config.Providers.Finicity.Clients = map[string]finicity.ClientConfig{
		Client: {Secrets: map[string]secret.Secret{FinicityKeyID: secret.New(FinicitySecret)}},
	}
	config.Providers.Vezgo.Enabled = true
	config.Providers.Vezgo.Clients = []string{Client}
	config.Providers.Vezgo.SourceAddresses = []string{"127.0.0.0/8", "::1"}
	return config
}

func (g *Gateway) start(ctx context.Context) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	s, err := server.New(ctx, g.config, g.logger)
	if err != nil {
		return err
	}
	addrs := s.Addrs()
	g.config.Listen = server.Listen{
		Webhooks: addrs.Webhooks.String(), GRPC: addrs.GRPC.String(), InternalHTTP: addrs.InternalHTTP.String(),
	}
	run, stop := context.WithCancel(context.Background())
	g.server, g.stop, g.ended = s, stop, make(chan error, 1)
	go func() { g.ended <- s.Run(run) }()
	return nil
}

// Stop shuts the gateway down, in order, and returns what went wrong. A second
// call does nothing.
func (g *Gateway) Stop() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.server == nil {
		return nil
	}
	g.server = nil
	g.stop()
	return <-g.ended
}

// Restart shuts the gateway down, unless it is stopped, and starts it again on the
// same store and at the same addresses. Connections find it again by themselves.
func (g *Gateway) Restart(tb testing.TB) {
	tb.Helper()
	if err := g.Stop(); err != nil {
		tb.Fatalf("stop the gateway: %v", err)
	}
	tooLong := time.After(rebindTimeout)
	for {
		err := g.start(tb.Context())
		if err == nil {
			return
		}
		select {
		case <-time.After(rebindTimeout / 100): // a port may be in use for a moment
		case <-tooLong:
			tb.Fatalf("start the gateway again: %v", err)
		}
	}
}

// Server returns the gateway itself, nil when it is stopped.
func (g *Gateway) Server() *server.Server {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.server
}

// Conn returns a connection to the gateway, for any number of clients. It is
// closed when the test ends.
func (g *Gateway) Conn() *grpc.ClientConn { return g.conn }

// GRPCAddr returns the address of the gRPC listener.
func (g *Gateway) GRPCAddr() string { return g.config.Listen.GRPC }

// WebhookURL returns the base URL of the listener for webhooks, without a slash at
// the end.
func (g *Gateway) WebhookURL() string { return "http://" + g.config.Listen.Webhooks }

// InternalURL returns the base URL of the internal HTTP listener: REST, metrics
// and health.
func (g *Gateway) InternalURL() string { return "http://" + g.config.Listen.InternalHTTP }

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
