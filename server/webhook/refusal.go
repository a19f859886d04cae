package webhook

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/grpc-ecosystem/grpc-gateway/v2/runtime"
	"golang.org/x/time/rate"
	"google.golang.org/grpc/status"

	webhookgatewayv1 "github.com/webhook-gateway/webhook-gateway/gen/webhookgateway/v1"
	"github.com/webhook-gateway/webhook-gateway/server/connlimit"
	"github.com/webhook-gateway/webhook-gateway/server/eventlog"
	"github.com/webhook-gateway/webhook-gateway/server/provider"
	"github.com/webhook-gateway/webhook-gateway/server/rpcerr"
)

const (
	contentTypeJSON = "application/json"
	// retryDelay is what the sender of a delivery that was not stored is told.
	retryDelay = 5 * time.Second
	// quotaRetryDelay is what the sender of a delivery beyond the quota is told, which
	// retention gives back.
	quotaRetryDelay = time.Minute
)

// httpStatus returns the HTTP status of a reason: the one table of the edge.
// What is not a refusal of a delivery was not stored, and may be tried again.
func httpStatus(reason webhookgatewayv1.ErrorReason) int {
	switch reason {
	case webhookgatewayv1.ErrorReason_ERROR_REASON_BODY_NOT_JSON_OBJECT,
		webhookgatewayv1.ErrorReason_ERROR_REASON_BODY_INCOMPLETE:
		return http.StatusBadRequest
	case webhookgatewayv1.ErrorReason_ERROR_REASON_SIGNATURE_MISSING,
		webhookgatewayv1.ErrorReason_ERROR_REASON_SIGNATURE_MISMATCH,
		webhookgatewayv1.ErrorReason_ERROR_REASON_SHARED_SECRET_MISMATCH:
		return http.StatusUnauthorized
	case webhookgatewayv1.ErrorReason_ERROR_REASON_SOURCE_NOT_ALLOWED,
		webhookgatewayv1.ErrorReason_ERROR_REASON_CLIENT_ID_MISSING,
		webhookgatewayv1.ErrorReason_ERROR_REASON_CLIENT_ID_MISMATCH,
		webhookgatewayv1.ErrorReason_ERROR_REASON_CLIENT_NOT_ALLOWED:
		return http.StatusForbidden
	case webhookgatewayv1.ErrorReason_ERROR_REASON_PROVIDER_UNKNOWN,
		webhookgatewayv1.ErrorReason_ERROR_REASON_CLIENT_UNKNOWN,
		webhookgatewayv1.ErrorReason_ERROR_REASON_PATH_UNKNOWN:
		return http.StatusNotFound
	case webhookgatewayv1.ErrorReason_ERROR_REASON_METHOD_NOT_ALLOWED:
		return http.StatusMethodNotAllowed
	case webhookgatewayv1.ErrorReason_ERROR_REASON_BODY_TIMEOUT:
		return http.StatusRequestTimeout
	case webhookgatewayv1.ErrorReason_ERROR_REASON_BODY_TOO_LARGE:
		return http.StatusRequestEntityTooLarge
	case webhookgatewayv1.ErrorReason_ERROR_REASON_CONTENT_TYPE_UNSUPPORTED,
		webhookgatewayv1.ErrorReason_ERROR_REASON_CONTENT_ENCODING_UNSUPPORTED:
		return http.StatusUnsupportedMediaType
	case webhookgatewayv1.ErrorReason_ERROR_REASON_RATE_LIMITED,
		webhookgatewayv1.ErrorReason_ERROR_REASON_UNVERIFIED_QUOTA:
		return http.StatusTooManyRequests
	default:
		return http.StatusServiceUnavailable
	}
}

type refusalBody struct {
	Error refusalError `json:"error"`
}

type refusalError struct {
	Reason  string `json:"reason"`
	Message string `json:"message"`
}

// Refused is a delivery that was refused. Nothing in it is secret, or of the body.
type Refused struct {
	Reason     webhookgatewayv1.ErrorReason
	HTTPStatus int
	// Message is what was answered for people.
	Message string
	// Provider is PROVIDER_UNSPECIFIED if the path names none that is known.
	Provider webhookgatewayv1.Provider
	// ClientID is whatever the sender has written, of any length.
	ClientID string
	// Source is where it came from; the zero Addr if that is not known.
	Source netip.Addr
	// BodyBytes is the size of the body, as it was announced if it was not read to its end; -1
	// if it is not known.
	BodyBytes int64
	// Trace is nil if there is none.
	Trace *webhookgatewayv1.TraceContext
}

// Refusals keeps what was refused. Record must not block: it is called before a refusal is
// answered.
type Refusals interface{ Record(refused Refused) }

// refuser answers, logs, counts and keeps refusals.
type refuser struct {
	logger  *slog.Logger
	metrics *metrics
	kept    Refusals // may be nil
	samples map[webhookgatewayv1.VerificationVerdict]map[webhookgatewayv1.ErrorReason]*sampler
	// endpoints tell whom a request was for that reached none.
	endpoints map[string]*endpoint
}

func newRefuser(logger *slog.Logger, m *metrics, kept Refusals, endpoints map[string]*endpoint) *refuser {
	return &refuser{logger: logger, metrics: m, kept: kept, endpoints: endpoints, samples: byVerdict(
		func(webhookgatewayv1.VerificationVerdict) map[webhookgatewayv1.ErrorReason]*sampler {
			samples := make(map[webhookgatewayv1.ErrorReason]*sampler)
			for number := range webhookgatewayv1.ErrorReason_name {
				samples[webhookgatewayv1.ErrorReason(number)] = newSampler()
			}
			return samples
		})}
}

// handleError answers an error of the unary handler, or of reading the body.
func (r *refuser) handleError(ctx context.Context, _ *runtime.ServeMux, _ runtime.Marshaler, w http.ResponseWriter, _ *http.Request, err error) {
	d := deliveryFrom(ctx)
	if d.bodyErr != nil {
		err = d.bodyErr
		endAfterAnswer(ctx, w)
	}
	reason := rpcerr.Reason(err)
	if reason == webhookgatewayv1.ErrorReason_ERROR_REASON_UNSPECIFIED {
		err = fault(d, err)
		reason = rpcerr.Reason(err)
	}
	r.refuse(ctx, w, d, reason, status.Convert(err).Message(), rpcerr.RetryDelay(err))
}

// handleRoutingError answers what the mux has no route for.
func (r *refuser) handleRoutingError(ctx context.Context, _ *runtime.ServeMux, _ runtime.Marshaler, w http.ResponseWriter, req *http.Request, code int) {
	d := deliveryFrom(ctx)
	if parts := strings.Split(strings.TrimPrefix(req.URL.Path, "/v1/webhooks/"), "/"); d.provider == nil {
		if d.provider = r.endpoints[parts[0]]; d.provider != nil && len(parts) == 2 {
			d.clientID = parts[1]
		}
	}
	reason, message := webhookgatewayv1.ErrorReason_ERROR_REASON_PATH_UNKNOWN,
		"there is nothing at this path: deliver to /v1/webhooks/{provider} or /v1/webhooks/{provider}/{client_id}"
	if code == http.StatusMethodNotAllowed {
		reason, message = webhookgatewayv1.ErrorReason_ERROR_REASON_METHOD_NOT_ALLOWED,
			"a delivery is a POST"
		w.Header().Set("Allow", http.MethodPost)
	}
	if req.ContentLength != 0 {
		endAfterAnswer(ctx, w)
	}
	r.refuse(ctx, w, d, reason, message, 0)
}

// lingering is how long a sender whose body is not read may go on sending it. Cut off at
// once, it would not see the answer.
const lingering = time.Second

// endAfterAnswer is for a request whose body is not read to its end: its connection ends
// with the answer. Otherwise net/http would wait for the body, first to answer and then
// to go on, as long as a body may take. Meanwhile the connection makes room for others.
func endAfterAnswer(ctx context.Context, w http.ResponseWriter) {
	w.Header().Set("Connection", "close")
	_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(lingering)) // a connection that has ended is one that ends
	connlimit.Reading(ctx)
}

func (r *refuser) refuse(
	ctx context.Context, w http.ResponseWriter, d *delivery, reason webhookgatewayv1.ErrorReason, message string, retry time.Duration,
) {
	providerName := unknownProvider
	if d.provider != nil {
		providerName = d.provider.Name()
	}
	if d.provider != nil && d.clientID == provider.CanaryClientID {
		r.metrics.refused(canaryProvider, d.verdict, reason)
	} else {
		r.metrics.refused(providerName, d.verdict, reason)
	}
	code := httpStatus(reason)
	d.outcome, d.code = strings.ToLower(rpcerr.Name(reason)), code
	if r.kept != nil {
		r.kept.Record(d.asRefused(reason, code, message))
	}
	if suppressed, ok := r.samples[d.verdict][reason].sample(); ok {
		r.log(ctx, d, code, suppressed,
			slog.String("provider", providerName), slog.String("reason", rpcerr.Name(reason)), slog.String("message", message))
	}

	body, err := json.Marshal(refusalBody{Error: refusalError{Reason: rpcerr.Name(reason), Message: message}})
	if err != nil {
		body = nil // two strings always encode
	}
	header := w.Header()
	header.Set("Content-Type", contentTypeJSON)
	if retry > 0 {
		seconds := (retry + time.Second - 1) / time.Second
		header.Set("Retry-After", strconv.FormatInt(int64(seconds), 10))
	}
	if reason == webhookgatewayv1.ErrorReason_ERROR_REASON_CONTENT_ENCODING_UNSUPPORTED {
		header.Set("Accept-Encoding", "identity") // RFC 9110, 15.5.16
	}
	w.WriteHeader(code)
	_, _ = w.Write(body) // the sender may be gone
}

func (d *delivery) asRefused(reason webhookgatewayv1.ErrorReason, code int, message string) Refused {
	refused := Refused{
		Reason: reason, HTTPStatus: code, Message: message, ClientID: d.clientID,
		Source: d.source, BodyBytes: d.contentLength, Trace: d.traceContext(),
	}
	if d.provider != nil {
		refused.Provider = d.provider.ID()
	}
	if refused.BodyBytes < 0 && d.bodyRead {
		refused.BodyBytes = d.bodyBytes
	}
	return refused
}

// levelOf returns how grave a refusal is. A GET of nobody's path is no delivery, but
// somebody who looks whether the gateway is there, such as its doctor.
func levelOf(d *delivery, code int) slog.Level {
	switch {
	case d.cause != nil && code >= http.StatusInternalServerError:
		return slog.LevelError
	case d.provider == nil && code == http.StatusMethodNotAllowed:
		return slog.LevelDebug
	}
	return slog.LevelWarn
}

// log writes one line. Never the query, which may hold a secret, nor the body,
// nor the path, of which only the client id is of use.
func (r *refuser) log(ctx context.Context, d *delivery, code int, suppressed int64, attrs ...slog.Attr) {
	attrs = append(attrs, slog.Int("status", code), slog.Any("source", d.source))
	if d.clientID != "" {
		attrs = append(attrs, slog.String("client_id", clip(d.clientID)))
	}
	level := levelOf(d, code)
	if level == slog.LevelError {
		attrs = append(attrs, slog.Any("error", d.cause))
	}
	if d.fault != "" {
		attrs = append(attrs, slog.String("fault", d.fault))
	}
	attrs = append(attrs, d.ids()...)
	if suppressed > 0 {
		attrs = append(attrs, slog.Int64("suppressed", suppressed))
	}
	r.logger.LogAttrs(ctx, level, "delivery refused", attrs...)
}

// notStored is the answer to a delivery that could not be stored.
func notStored() error {
	return rpcerr.Error(webhookgatewayv1.ErrorReason_ERROR_REASON_LOG_UNAVAILABLE,
		"the event could not be stored: try again later", rpcerr.WithRetryDelay(retryDelay))
}

// notStoredBecause is the answer to a delivery that the log did not store.
func notStoredBecause(err error) error {
	if errors.Is(err, eventlog.ErrUnverifiedQuota) {
		return rpcerr.Error(webhookgatewayv1.ErrorReason_ERROR_REASON_UNVERIFIED_QUOTA,
			"the delivery failed verification, and the quota of bytes of such events is used up: "+
				"correct the sender's signature or address, or raise store.unverified_quota_bytes",
			rpcerr.WithRetryDelay(quotaRetryDelay))
	}
	return notStored()
}

// sampler lets through ten log lines at once and one per second after that, so
// that nobody can flood the log. Metrics count everything.
type sampler struct {
	limiter    *rate.Limiter
	suppressed atomic.Int64
}

func newSampler() *sampler { return &sampler{limiter: rate.NewLimiter(1, 10)} }

// sample reports whether to log, and how many lines were suppressed since the last.
func (s *sampler) sample() (suppressed int64, ok bool) {
	if !s.limiter.Allow() {
		s.suppressed.Add(1)
		return 0, false
	}
	return s.suppressed.Swap(0), true
}
