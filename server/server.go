// Package server puts a gateway together and runs it: the public listener for
// webhooks, the gRPC listener and the internal HTTP listener, over one event log.
package server

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"google.golang.org/grpc"
	"google.golang.org/grpc/health"
	"google.golang.org/grpc/test/bufconn"

	webhookgatewayv1 "github.com/webhook-gateway/webhook-gateway/gen/webhookgateway/v1"
	"github.com/webhook-gateway/webhook-gateway/server/access"
	"github.com/webhook-gateway/webhook-gateway/server/canary"
	"github.com/webhook-gateway/webhook-gateway/server/connlimit"
	"github.com/webhook-gateway/webhook-gateway/server/eventlog"
	"github.com/webhook-gateway/webhook-gateway/server/eventlog/pebblelog"
	"github.com/webhook-gateway/webhook-gateway/server/eventservice"
	"github.com/webhook-gateway/webhook-gateway/server/filemode"
	"github.com/webhook-gateway/webhook-gateway/server/history"
	"github.com/webhook-gateway/webhook-gateway/server/operatorservice"
	"github.com/webhook-gateway/webhook-gateway/server/refusals"
	"github.com/webhook-gateway/webhook-gateway/server/secret"
	"github.com/webhook-gateway/webhook-gateway/server/sessions"
	"github.com/webhook-gateway/webhook-gateway/server/stream"
	"github.com/webhook-gateway/webhook-gateway/server/subscription"
	"github.com/webhook-gateway/webhook-gateway/server/subscriptionservice"
	"github.com/webhook-gateway/webhook-gateway/server/telemetry"
	"github.com/webhook-gateway/webhook-gateway/server/webhook"
)

// Server is a gateway. New makes it, Run serves until its context is done; each
// is called once.
type Server struct {
	// config is that of the start. What a reload can change is in force by inForce.
	config    Config
	inForce   atomic.Pointer[inForce]
	reloading sync.Mutex
	reloads   *prometheus.CounterVec
	logger    *slog.Logger

	access   *access.Control
	log      eventlog.Log
	store    *pebblelog.Log // the same, for what only this engine can
	streams  *stream.Streams
	events   *eventservice.Service
	workers  workers
	operator *operatorservice.Service
	sessions *sessions.Index
	history  *history.Recorder
	refusals *refusals.Ring
	peers    peers
	canary   *canary.Canary
	// canarySecret is what it signs with.
	canarySecret secret.Secret
	health       *health.Server
	draining     atomic.Bool

	webhooks       *webhook.Handler
	grpcServer     *grpc.Server
	endWatches     context.CancelFunc
	webhookServer  *http.Server
	internalServer *http.Server

	certificates     certificates
	shares           connlimit.Shares
	refusedConns     *prometheus.CounterVec
	webhookListener  net.Listener
	grpcListener     net.Listener
	internalListener net.Listener
	// The REST mirror and the canary call the gRPC server over this one.
	loopback *bufconn.Listener

	// closers release what New has made, in reverse order.
	closers []closer

	// For gateways that are thrown away: see Option.
	inMemory     pebblelog.Option // nil: on the disk
	wrapListener func(key string, listener net.Listener) net.Listener
	faults       *Faults

	version string
	started time.Time
}

// workers is what serves the durable subscriptions, wherever they run.
type workers interface {
	webhookgatewayv1.SubscriptionServiceServer
	operatorservice.EventStates
}

type closer struct {
	what  string
	close func() error
}

// Addrs are the addresses that a gateway listens on.
type Addrs struct {
	Webhooks, GRPC, InternalHTTP net.Addr
}

// closeTimeout bounds the last writes when everything is closed.
const closeTimeout = 5 * time.Second

// New opens the event log, puts the gateway together and binds its listeners.
// On an error everything is closed again. The context bounds New only. A Server
// that is not run is released by Close.
func New(ctx context.Context, config Config, logger *slog.Logger, options ...Option) (*Server, error) {
	if err := config.Validate(); err != nil {
		return nil, err
	}
	s := &Server{config: config, logger: logger, reloads: newReloads(), canarySecret: newCanarySecret(), started: time.Now()}
	for _, option := range options {
		option(s)
	}
	inForce, err := newInForce(config)
	if err != nil {
		return nil, err
	}
	s.inForce.Store(inForce)
	if err := s.build(ctx); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

// build makes everything, each part after those that it works with.
func (s *Server) build(ctx context.Context) error {
	loaded, err := s.config.loadTLS()
	if err != nil {
		return err
	}
	s.certificates = newCertificates(loaded)
	if err := s.openLog(ctx); err != nil {
		return err
	}
	registry := s.newRegistry()
	s.warnUnsafe(s.inForce.Load().unsafe)
	if s.access, err = access.New(s.config.Access, s.certificates.roots(), s.logger, registry); err != nil {
		return fmt.Errorf("decide who may call: %w", err)
	}
	if err := s.buildWebhooks(ctx, registry); err != nil {
		return err
	}
	if err := s.buildServices(ctx, registry); err != nil {
		return err
	}
	s.buildGRPC()
	conn, err := s.dialLoopback()
	if err != nil {
		return err
	}
	if err := s.buildInternal(ctx, conn, registry); err != nil {
		return err
	}
	if err := s.listen(ctx); err != nil {
		return err
	}
	s.canary, err = canary.New(s.config.Canary, canary.Params{
		Secret: s.canarySecret, Own: s.ownWebhooksURL(), Conn: conn, Logger: s.logger, Registerer: registry,
	})
	return err
}

// openLog opens the event log, with its share of the file descriptors, and what it is shared
// by.
func (s *Server) openLog(ctx context.Context) error {
	descriptors, err := connlimit.Descriptors()
	if err != nil {
		return fmt.Errorf("ask for the limit of file descriptors: %w", err)
	}
	s.shares = connlimit.Divide(descriptors)
	config := s.config.Store.pebblelog()
	config.MaxOpenFiles = s.shares.StoreFiles
	options, err := s.shareLog(ctx)
	if err != nil {
		return err
	}
	if s.inMemory != nil {
		options = append(options, s.inMemory)
	}
	log, err := pebblelog.Open(config, s.logger, options...)
	if err != nil {
		return fmt.Errorf("open the event log: %w", err)
	}
	s.log, s.store = log, log
	s.closeLater("close the event log", log.Close)
	s.warnNotPrivate()
	return nil
}

// newRegistry returns a registry with the metrics of the process, the log and the configuration.
func (s *Server) newRegistry() *prometheus.Registry {
	registry := prometheus.NewRegistry()
	s.refusedConns = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "webhook_gateway_connections_refused_total",
		Help: "Connections closed because a listener had as many as it may have, because their client reset streams too often, or because it opened too many without credentials (listener grpc).",
	}, []string{"listener"})
	registry.MustRegister(
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		collectors.NewBuildInfoCollector(),
		newLogMetrics(s.store, s.config.Store.UnverifiedQuotaBytes),
		modeMetrics(s.modes),
		configMetrics{s},
		s.store.Metrics(),
		s.certificates,
		s.refusedConns,
		s.reloads,
	)
	if shared := s.store.SharedMetrics(); shared != nil {
		registry.MustRegister(shared)
	}
	return registry
}

// buildWebhooks makes what takes deliveries.
func (s *Server) buildWebhooks(ctx context.Context, registry *prometheus.Registry) error {
	tracer, err := telemetry.New(ctx, s.config.Telemetry, s.logger, registry)
	if err != nil {
		return err
	}
	s.closeLater("send the last traces", tracer.Close)
	providers, err := s.newProviders(s.config)
	if err != nil {
		return fmt.Errorf("make the providers: %w", err)
	}
	s.webhooks, err = webhook.New(s.config.Webhooks, providers, s.log, s.logger, registry, tracer, s.keepRefusals())
	if err != nil {
		return fmt.Errorf("make the webhook endpoint: %w", err)
	}
	s.webhookServer = webhook.NewServer(s.config.Webhooks, s.closeWhileDraining(s.webhooks), s.logger)
	s.webhookServer.RegisterOnShutdown(s.webhooks.Drain)
	return nil
}

// buildServices makes the services of the internal listeners.
func (s *Server) buildServices(ctx context.Context, registry *prometheus.Registry) error {
	sharing, err := s.joinCluster(ctx, registry)
	if err != nil {
		return err
	}
	subscriptions, err := subscription.New(ctx, subscription.Params{
		Log: s.store, States: s.store, MaxAge: s.config.Store.Retention.MaxAge,
		Logger: s.logger, Registerer: registry, Sharing: sharing,
	})
	if err != nil {
		return fmt.Errorf("load the subscriptions: %w", err)
	}
	s.closeLater("close the subscriptions", func() error {
		ctx, cancel := context.WithTimeout(context.Background(), closeTimeout)
		defer cancel()
		return subscriptions.Close(ctx)
	})
	if s.streams, err = stream.New(s.config.Streams, func() time.Time { return s.log.Clock().Now }, registry); err != nil {
		return fmt.Errorf("make the streams: %w", err)
	}
	if s.faults != nil {
		*s.faults = Faults{store: s.store, subscriptions: subscriptions}
	}
	s.events = eventservice.New(s.log, s.streams, s.logger)
	if s.workers, err = s.serveCluster(subscriptionservice.New(s.log, subscriptions, s.streams, s.logger), subscriptions, registry); err != nil {
		return err
	}
	s.history = history.New(registry, s.logger)
	if s.sessions, err = sessions.New(s.config.Sessions, s.log, s.logger, registry); err != nil {
		return fmt.Errorf("find the sessions: %w", err)
	}
	s.closeLater("end the reading of sessions", func() error { s.sessions.Close(); return nil })
	s.operator = operatorservice.New(operatorservice.Params{
		Log: s.log, Logger: s.logger, Overview: s.overview, History: s.history, Sessions: s.sessions,
		Streams: s.streams, States: s.workers, Refusals: s.refusals,
		ConsoleActions: func() bool { return s.inForce.Load().config.Console.Actions },
	})
	return nil
}

// warnNotPrivate tells who else on this machine can reach the event log.
func (s *Server) warnNotPrivate() {
	if s.inMemory != nil {
		return
	}
	problems, err := filemode.CheckFolder(s.config.Store.Pebble.Path)
	if err != nil {
		s.logger.Warn("it is not known who else can read the folder of the event log", "error", err)
	}
	for _, problem := range problems {
		s.logger.Warn("the folder of the event log is not private", "problem", problem.Text, "do", problem.Do)
	}
}

func (s *Server) listen(ctx context.Context) error {
	var config net.ListenConfig
	for _, l := range []struct {
		key, address string
		listener     *net.Listener
		limit        func(inner net.Listener, refused func()) net.Listener
	}{
		{listenerWebhooks, s.config.Listen.Webhooks, &s.webhookListener, func(inner net.Listener, refused func()) net.Listener {
			return s.certificates.listener(listenerWebhooks, connlimit.New(inner, s.shares.Webhooks, refused))
		}},
		{listenerGRPC, s.config.Listen.GRPC, &s.grpcListener, func(inner net.Listener, refused func()) net.Listener {
			encrypted := s.certificates.listener(listenerGRPC, connlimit.New(inner, s.shares.GRPC, refused))
			return connlimit.LimitStreams(encrypted, func(remote net.Addr, why error) {
				refused()
				s.logger.Warn("a connection was closed", "remote", remote, "why", why)
			})
		}},
		{listenerInternalHTTP, s.config.Listen.InternalHTTP, &s.internalListener, func(inner net.Listener, refused func()) net.Listener {
			return s.certificates.listener(listenerInternalHTTP, connlimit.New(inner, s.shares.InternalHTTP, refused))
		}},
	} {
		listener, err := config.Listen(ctx, "tcp", l.address)
		if err != nil {
			return listenError("listen."+l.key, l.address, err)
		}
		if s.wrapListener != nil {
			listener = s.wrapListener(l.key, listener)
		}
		*l.listener = l.limit(listener, s.refusedConns.WithLabelValues(l.key).Inc)
		s.closeLater("close the listener "+l.key, func() error { return ignoreClosed(listener.Close()) })
	}
	return nil
}

// Addrs returns the addresses that the gateway listens on, with the ports that
// were picked where the configuration has port 0.
func (s *Server) Addrs() Addrs {
	return Addrs{
		Webhooks:     s.webhookListener.Addr(),
		GRPC:         s.grpcListener.Addr(),
		InternalHTTP: s.internalListener.Addr(),
	}
}

func (s *Server) closeLater(what string, closeIt func() error) {
	s.closers = append(s.closers, closer{what: what, close: closeIt})
}

// Close releases everything without shutting down in order. Run does so by
// itself; a second call does nothing.
func (s *Server) Close() error {
	var errs []error
	for i := len(s.closers) - 1; i >= 0; i-- {
		if err := s.closers[i].close(); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", s.closers[i].what, err))
		}
	}
	s.closers = nil
	return errors.Join(errs...)
}

func ignoreClosed(err error) error {
	if errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}
