package access

import (
	"bytes"
	"context"
	"encoding/json"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/time/rate"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protojson"

	webhookgatewayv1 "github.com/webhook-gateway/webhook-gateway/gen/webhookgateway/v1"
	"github.com/webhook-gateway/webhook-gateway/server/rpcerr"
)

// maxLogged bounds a text in the audit that a caller chooses.
const maxLogged = 4 << 10

// audit writes who did what: a line for each stream that opens or ends, each call that
// changes something, and each refusal; of strangers not more than a number. Never a token.
type audit struct {
	logger  *slog.Logger
	refusal *prometheus.CounterVec
	// strangers bounds the lines about callers that nobody knows: they could fill the log.
	strangers *rate.Limiter
	// suppressed are the lines that were left out since the last one about a stranger.
	suppressed *atomic.Int64
}

// Lines about refused strangers: so many a second, and at once.
const (
	strangersPerSecond = 5
	strangersBurst     = 50
)

func newAudit(logger *slog.Logger, registerer prometheus.Registerer) (audit, error) {
	a := audit{
		logger: logger,
		refusal: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "webhook_gateway_access_refused_total",
			Help: "Calls on the internal ports that were refused for want of credentials or grants, by reason.",
		}, []string{"reason"}),
		strangers: rate.NewLimiter(strangersPerSecond, strangersBurst), suppressed: &atomic.Int64{},
	}
	return a, registerer.Register(a.refusal)
}

// who are the attributes of a call; of none it is a stranger's.
func (c *call) who(method, remote, subscription string) []any {
	attributes := []any{"method", clip(method), "remote", remote}
	if c != nil {
		attributes = append(attributes, "caller", clip(c.caller.Name), "authenticated_by", string(c.caller.Method))
	}
	if subscription != "" {
		attributes = append(attributes, "subscription", clip(subscription))
	}
	return attributes
}

// refused notes a call that was refused. call is nil if nobody knows whose it is.
func (a audit) refused(ctx context.Context, call *call, method, remote, subscription string, err error) {
	outcome := outcomeOf(err)
	a.refusal.WithLabelValues(outcome).Inc()
	attributes := append(call.who(method, remote, subscription), "outcome", outcome, "message", clip(status.Convert(err).Message()))
	if call == nil {
		if !a.strangers.Allow() {
			a.suppressed.Add(1)
			return
		}
		if n := a.suppressed.Swap(0); n > 0 {
			attributes = append(attributes, "suppressed", n)
		}
	}
	a.logger.WarnContext(ctx, "audit: a call was refused", attributes...)
}

// called notes a call that changes something.
func (a audit) called(ctx context.Context, call *call, method, subscription string, err error) {
	a.logger.InfoContext(ctx, "audit: a call was made",
		append(call.who(method, call.remote, subscription), "outcome", outcomeOf(err))...)
}

// streamAudit notes what happens to one stream.
type streamAudit struct {
	audit
	call   *call
	method string

	mu           sync.Mutex // a stream may receive and send at a time
	subscription string
	opened       time.Time
}

// received notes a request.
func (a *streamAudit) received(request any) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.subscription = subscriptionOf(request)
}

// sending notes that a message is sent. The first of a stream opens it.
func (a *streamAudit) sending(ctx context.Context, message any) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if !a.opened.IsZero() || a.call.proof.own != nil {
		return
	}
	a.opened = time.Now()
	attributes := a.call.who(a.method, a.call.remote, a.subscription)
	if m, ok := message.(interface {
		GetSubscribed() *webhookgatewayv1.Subscribed
	}); ok {
		attributes = append(attributes, "view", m.GetSubscribed().GetView().String(), "filters", filtersText(m.GetSubscribed().GetFilters()))
	}
	a.logger.InfoContext(ctx, "audit: a stream was opened", attributes...)
}

// ended notes that a stream has ended, or was refused.
func (a *streamAudit) ended(ctx context.Context, err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.call.proof.own != nil {
		return
	}
	if a.opened.IsZero() && isRefusal(err) {
		a.refused(ctx, a.call, a.method, a.call.remote, a.subscription, err)
		return
	}
	var open time.Duration
	if !a.opened.IsZero() {
		open = time.Since(a.opened)
	}
	a.logger.InfoContext(ctx, "audit: a stream ended", append(a.call.who(a.method, a.call.remote, a.subscription), "outcome", outcomeOf(err), "duration", open)...)
}

// isRefusal reports whether a status is one for want of credentials or grants.
func isRefusal(err error) bool {
	code := status.Code(err)
	return code == codes.PermissionDenied || code == codes.Unauthenticated
}

// outcomeOf returns the reason of a status, or else its code.
func outcomeOf(err error) string {
	if reason := rpcerr.Reason(err); reason != webhookgatewayv1.ErrorReason_ERROR_REASON_UNSPECIFIED {
		return rpcerr.Name(reason)
	}
	return status.Code(err).String()
}

// subscriptionOf returns the name of the subscription that a request is about, if any.
func subscriptionOf(request any) string {
	switch r := request.(type) {
	case interface{ GetSubscription() string }:
		return r.GetSubscription()
	case interface {
		GetSubscription() *webhookgatewayv1.Subscription
	}:
		return r.GetSubscription().GetName()
	case interface{ GetName() string }:
		return r.GetName()
	}
	return ""
}

// filtersText returns filters as JSON.
func filtersText(filters []*webhookgatewayv1.EventFilter) string {
	var text bytes.Buffer
	for _, f := range filters {
		one, err := protojson.Marshal(f)
		if err != nil || json.Compact(&text, one) != nil { // protojson varies white space on purpose
			return "?"
		}
	}
	return clip(text.String())
}

func clip(text string) string {
	if len(text) > maxLogged {
		return text[:maxLogged] + "…"
	}
	return text
}
