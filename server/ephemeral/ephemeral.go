// Package ephemeral runs a gateway that is thrown away, for the tests of programs that
// read from one: a whole, real gateway on loopback, in memory unless it is given a folder,
// with faults that such a program has to survive. In Go it is used through package
// servertest; `webhook-gateway serve --ephemeral` gives it to every other language.
//
// Nothing of it is in a gateway that serves anybody: the faults are reached by Gateway and
// by the listener of Control, which only this package opens.
package ephemeral

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/webhook-gateway/webhook-gateway/server"
	"github.com/webhook-gateway/webhook-gateway/server/provider/finicity"
	"github.com/webhook-gateway/webhook-gateway/server/secret"
)

const (
	// FinicitySecret is the Partner Secret of the client that Config makes. Everybody
	// knows it.
	FinicitySecret = "a partner secret for tests"
	// FinicityKeyID is the name of that secret.
	FinicityKeyID = "test"
)

const (
	// rebindTimeout bounds how long Restart waits for the ports, which may be in use for a
	// moment.
	rebindTimeout = 5 * time.Second
	// maxBytes of events are kept at most, if they are in memory.
	maxBytes = 256 << 20
)

// errStopped is for faults of a gateway that does not run.
var errStopped = errors.New("the gateway is stopped: start it again first")

// Gateway is a gateway that is thrown away. Its methods are safe for concurrent use.
type Gateway struct {
	logger  *slog.Logger
	options []server.Option
	readers *readers
	failed  chan error

	// changing is held while the gateway is started or stopped.
	changing sync.Mutex
	mu       sync.Mutex
	// config has the addresses that were picked at first, so that clients find the
	// gateway again after a restart.
	config server.Config
	server *server.Server // nil when it is stopped
	faults *server.Faults // those of server
	stop   context.CancelFunc
	ended  chan error // gets what Run returned
}

// Config returns the configuration of a gateway on free ports of loopback, in memory. It
// enforces verification of both providers, for one client: Finicity's deliveries are signed
// with FinicitySecret, and loopback counts as a source of Vezgo's. It logs warnings.
func Config(client string) server.Config {
	config := server.DefaultConfig()
	config.Shutdown.Delay = 0
	config.Listen = server.Listen{Webhooks: "127.0.0.1:0", GRPC: "127.0.0.1:0", InternalHTTP: "127.0.0.1:0"}
	config.Log.Level = slog.LevelWarn
	config.Store.Pebble.Path = ""
	config.Store.Retention.MaxBytes = maxBytes
	config.Providers.Finicity.Enabled = true
	config.Providers.Finicity.Clients = map[string]finicity.ClientConfig{
		client: {Secrets: map[string]secret.Secret{FinicityKeyID: secret.New(FinicitySecret)}},
	}
	config.Providers.Vezgo.Enabled = true
	config.Providers.Vezgo.Clients = []string{client}
	config.Providers.Vezgo.SourceAddresses = []string{"127.0.0.0/8", "::1"}
	return config
}

// New starts a gateway, in memory if the configuration has no path for the store. It must
// be stopped.
func New(ctx context.Context, config server.Config, logger *slog.Logger) (*Gateway, error) {
	g := &Gateway{config: config, logger: logger, readers: newReaders(), failed: make(chan error, 1)}
	g.options = []server.Option{server.WithReaders(g.readers.wrap)}
	if config.Store.Pebble.Path == "" {
		g.config.Store.Pebble.Path = "memory"
		g.options = append(g.options, server.InMemory())
	}
	g.changing.Lock()
	defer g.changing.Unlock()
	if err := g.start(ctx); err != nil {
		return nil, err
	}
	return g, nil
}

func (g *Gateway) start(ctx context.Context) error {
	faults := new(server.Faults)
	s, err := server.New(ctx, g.Config(), g.logger, append(g.options, server.WithFaults(faults))...)
	if err != nil {
		return err
	}
	addrs := s.Addrs()
	run, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	g.mu.Lock()
	listen := &g.config.Listen
	listen.Webhooks, listen.GRPC, listen.InternalHTTP = addrs.Webhooks.String(), addrs.GRPC.String(), addrs.InternalHTTP.String()
	g.server, g.faults, g.stop, g.ended = s, faults, stop, ended
	g.mu.Unlock()
	go func() {
		err := s.Run(run)
		if run.Err() == nil {
			select {
			case g.failed <- fmt.Errorf("the gateway has ended by itself: %w", err):
			default: // nobody has asked why it did so before
			}
		}
		ended <- err
	}()
	return nil
}

// Failed gets why the gateway ended, if it did so by itself.
func (g *Gateway) Failed() <-chan error { return g.failed }

// Config returns the configuration of the gateway, with the addresses that it listens on,
// also while it is stopped.
func (g *Gateway) Config() server.Config {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.config
}

// Server returns the gateway itself, nil when it is stopped.
func (g *Gateway) Server() *server.Server {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.server
}

// Stop shuts the gateway down in order: each stream is sent a goodbye. It returns what
// went wrong. What is stored stays until the gateway is thrown away. A second call does
// nothing. Connections that are frozen are thawed.
func (g *Gateway) Stop() error {
	g.changing.Lock()
	defer g.changing.Unlock()
	return g.end()
}

func (g *Gateway) end() error {
	g.mu.Lock()
	stop, ended, running := g.stop, g.ended, g.server != nil
	g.server, g.faults = nil, nil
	g.mu.Unlock()
	if !running {
		return nil
	}
	g.readers.freeze(false)
	stop()
	return <-ended
}

// Restart stops the gateway, unless it is stopped, and starts it again with what it has
// stored and at the same addresses. It ends FallBehind.
func (g *Gateway) Restart(ctx context.Context) error {
	g.changing.Lock()
	defer g.changing.Unlock()
	if err := g.end(); err != nil {
		return fmt.Errorf("stop the gateway: %w", err)
	}
	return g.startAgain(ctx)
}

// Start starts a gateway again that was stopped. Otherwise it does nothing.
func (g *Gateway) Start(ctx context.Context) error {
	g.changing.Lock()
	defer g.changing.Unlock()
	if g.Server() != nil {
		return nil
	}
	return g.startAgain(ctx)
}

func (g *Gateway) startAgain(ctx context.Context) error {
	tooLong := time.After(rebindTimeout)
	for {
		err := g.start(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-time.After(rebindTimeout / 100):
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-tooLong:
			return fmt.Errorf("start the gateway again: %w", err)
		}
	}
}
