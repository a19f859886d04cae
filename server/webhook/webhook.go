// Package webhook is the public HTTP edge: it takes the deliveries of providers,
// bounds and reads them, has the provider verify and decode them, stores them in
// the event log, and answers.
//
// A request passes through grpc-gateway's mux to the unary
// WebhookService.ReceiveWebhook in the same process. The mux sees only method
// and path. Headers, query, source address and body travel in the context, so
// that no header can override the method, set a timeout or populate a field, and
// the body arrives byte for byte.
//
// Answers: 200 with `{}` when the event is durable, was durable before, or is a
// probe (OutcomeHeader says which); otherwise a small JSON object with a stable reason (see ErrorReason):
//
//	{"error":{"reason":"SIGNATURE_MISMATCH","message":"…"}}
//
// It never holds a secret or a part of the body. What could not be stored is
// answered 503 with Retry-After, never otherwise.
package webhook

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"sync"
	"sync/atomic"
	"time"

	"github.com/grpc-ecosystem/grpc-gateway/v2/runtime"
	"github.com/prometheus/client_golang/prometheus"

	webhookgatewayv1 "github.com/webhook-gateway/webhook-gateway/gen/webhookgateway/v1"
	"github.com/webhook-gateway/webhook-gateway/server/eventlog"
	"github.com/webhook-gateway/webhook-gateway/server/provider"
	"github.com/webhook-gateway/webhook-gateway/server/telemetry"
)

// Appender stores events; see eventlog.Log for what Append promises.
type Appender interface {
	Append(ctx context.Context, entry eventlog.Entry) (eventlog.Receipt, error)
}

// Handler is the handler of the public listener.
type Handler struct {
	log     Appender
	logger  *slog.Logger
	metrics *metrics
	budget  *budget
	samples map[webhookgatewayv1.VerificationVerdict]*samples
	tracer  *telemetry.Tracer
	refused Refusals

	inForce atomic.Pointer[edge]
}

// New returns a handler. Serve it with the server that NewServer returns: some limits
// are the server's. A nil tracer traces nothing, and with nil refusals none are kept.
func New(
	cfg Config, providers []provider.Provider, log Appender, logger *slog.Logger, registerer prometheus.Registerer,
	tracer *telemetry.Tracer, refused Refusals,
) (*Handler, error) {
	m, err := newMetrics(registerer)
	if err != nil {
		return nil, err
	}
	h := &Handler{log: log, logger: logger, metrics: m, budget: newBudget(cfg.MaxBufferedBytes), samples: byVerdict(newSamples), tracer: tracer, refused: refused}
	return h, h.Replace(cfg, providers)
}

// Replace puts another configuration in force, but for the limits of the server.
// Deliveries that are being handled end as they began. On an error nothing changes.
func (h *Handler) Replace(cfg Config, providers []provider.Provider) error {
	e, err := h.newEdge(cfg, providers)
	if err != nil {
		return err
	}
	h.budget.setLimit(cfg.MaxBufferedBytes)
	h.inForce.Store(e)
	return nil
}

// ServeHTTP implements http.Handler.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h.inForce.Load().ServeHTTP(w, r)
}

// drainGrace is how long a body may take that is arriving when the gateway ends.
const drainGrace = 2 * time.Second

// Drain has a sender whose body does not arrive soon answered 503, so that it does not hold
// up the end of the gateway.
func (h *Handler) Drain() { time.AfterFunc(drainGrace, h.budget.drain) }

func (h *Handler) newEdge(cfg Config, providers []provider.Provider) (*edge, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	trusted, err := parseProxies(cfg.TrustedProxies)
	if err != nil {
		return nil, err
	}
	var secretHeaders []string
	for _, p := range providers {
		secretHeaders = append(secretHeaders, p.SecretHeaders()...)
	}
	if err := cfg.CheckSecretHeaders(secretHeaders); err != nil {
		return nil, err
	}
	endpoints := make(map[string]*endpoint, len(providers))
	for _, p := range providers {
		if _, ok := endpoints[p.Name()]; ok {
			return nil, fmt.Errorf("two providers have the name %q", p.Name())
		}
		endpoints[p.Name()] = newEndpoint(p, cfg.StoredHeaders, h.metrics)
	}

	limits := byVerdict(func(webhookgatewayv1.VerificationVerdict) *rateLimits { return newRateLimits(cfg.RateLimit) })
	if last := h.inForce.Load(); last != nil && last.rateLimit == cfg.RateLimit {
		limits = last.limits // what was used up stays so
	}
	refuser := newRefuser(h.logger, h.metrics, h.refused, endpoints)
	admission := &admission{
		endpoints: endpoints, budget: h.budget, maxBody: cfg.MaxBodyBytes, writeTimeout: cfg.writeTimeout(), refuser: refuser, logger: h.logger,
	}
	mux := runtime.NewServeMux(
		runtime.WithMiddlewares(admission.middleware),
		runtime.WithMarshalerOption(runtime.MIMEWildcard, rawBody{success: []byte("{}")}),
		runtime.WithUnescapingMode(runtime.UnescapingModeAllExceptReserved), // %2F in a client id is a part of it
		runtime.WithDisableHTTPMethodOverride(),
		runtime.WithDisablePathLengthFallback(),
		runtime.WithForwardResponseOption(tellOutcome),
		runtime.WithErrorHandler(refuser.handleError),
		runtime.WithRoutingErrorHandler(refuser.handleRoutingError),
	)
	err = webhookgatewayv1.RegisterWebhookServiceHandlerServer(context.Background(), mux, &service{
		log:           h.log,
		appendTimeout: cfg.AppendTimeout,
		limits:        limits,
		decoding:      byVerdict(func(webhookgatewayv1.VerificationVerdict) *sync.Mutex { return &sync.Mutex{} }),
		metrics:       h.metrics,
		logger:        h.logger,
		samples:       h.samples,
		acceptedLevel: cfg.acceptedLevel(),
		success:       &webhookgatewayv1.ReceiveWebhookResponse{},
	})
	if err != nil {
		return nil, fmt.Errorf("register the webhook service: %w", err)
	}
	return &edge{
		mux:     mux,
		tracer:  h.tracer,
		trusted: trusted,
		maxBody: cfg.MaxBodyBytes,
		noForm:  url.Values{},

		rateLimit: cfg.RateLimit,
		limits:    limits,
	}, nil
}

// edge puts what the mux must not see beside it.
type edge struct {
	mux     *runtime.ServeMux
	tracer  *telemetry.Tracer
	trusted proxies
	maxBody int64
	noForm  url.Values

	// For the edge after this one.
	rateLimit RateLimit
	limits    map[webhookgatewayv1.VerificationVerdict]*rateLimits
}

func (e *edge) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	d := &delivery{
		header:        r.Header,
		rawQuery:      r.URL.RawQuery,
		source:        e.trusted.source(r.RemoteAddr, r.Header["X-Forwarded-For"]),
		sourceKnown:   len(e.trusted) > 0,
		body:          r.Body,
		contentLength: r.ContentLength,
		maxBody:       e.maxBody,
	}
	if e.tracer != nil {
		d.span = e.tracer.Begin("webhook", traceContext(r.Header))
		defer d.endSpan()
	}
	routed := r.WithContext(context.WithValue(r.Context(), deliveryKey{}, d))
	routed.Header, routed.Host, routed.RemoteAddr = nil, "", ""
	routed.Body = d
	// The generated code fills the request from a form that it parses unless there
	// is one.
	routed.Form, routed.PostForm = e.noForm, e.noForm
	e.mux.ServeHTTP(w, routed)
}

type deliveryKey struct{}

// deliveryFrom returns the delivery that ServeHTTP put into the context.
func deliveryFrom(ctx context.Context) *delivery {
	if d, ok := ctx.Value(deliveryKey{}).(*delivery); ok {
		return d
	}
	return &delivery{bodyErr: errNotADelivery}
}
