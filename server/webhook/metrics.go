package webhook

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	webhookgatewayv1 "github.com/webhook-gateway/webhook-gateway/gen/webhookgateway/v1"
	"github.com/webhook-gateway/webhook-gateway/server/rpcerr"
)

// unknownProvider is the label of a delivery that names no provider of ours.
const unknownProvider = "unknown"

// canaryProvider is the label of what is delivered for the canary, or in its name: it must not
// hide that a provider has gone silent.
const canaryProvider = "canary"

// metrics has no label for the client where its id comes from outside and has no bound:
// only secrets are configured by client.
type metrics struct {
	deliveries *prometheus.CounterVec
	drifted    *prometheus.CounterVec
	// headersDropped has values of headers.
	headersDropped *prometheus.CounterVec
	appendTiming   prometheus.Histogram
	secretUsed     *prometheus.GaugeVec
}

func newMetrics(registerer prometheus.Registerer) (*metrics, error) {
	m := &metrics{
		deliveries: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "webhook_gateway_deliveries_total",
			Help: "Deliveries by outcome: stored, duplicate, conflict (stored, but another body with the same event id was stored before), " +
				"probe_not_stored (a ping answered 200 while the log fails), or the reason of the refusal. " +
				"By verdict: verified, failed (accepted in report mode), not_checked, or none for what was refused before it was known. The provider is canary for what the gateway's own canary sent, and what was sent in its name.",
		}, []string{"provider", "verdict", "outcome"}),
		drifted: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "webhook_gateway_decode_drift_total",
			Help: "Accepted deliveries whose typed payload lacks something of the body: an unknown type or field, or a field of another type.",
		}, []string{"provider", "verdict"}),
		headersDropped: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "webhook_gateway_stored_headers_dropped_total",
			Help: "Values of headers that were not stored with their event because they exceed 64 values or 8 KiB.",
		}, []string{"provider", "verdict"}),
		appendTiming: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name:    "webhook_gateway_append_duration_seconds",
			Help:    "How long the event log took to store a delivery, failures included.",
			Buckets: prometheus.ExponentialBuckets(0.0001, 2, 17),
		}),
		secretUsed: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "webhook_gateway_secret_last_verified_timestamp_seconds",
			Help: "When a delivery was last verified by a secret, by the name of its key: an old one that is not used any more can be removed.",
		}, []string{"provider", "client", "key"}),
	}
	err := errors.Join(
		registerer.Register(m.deliveries),
		registerer.Register(m.drifted),
		registerer.Register(m.headersDropped),
		registerer.Register(m.appendTiming),
		registerer.Register(m.secretUsed),
	)
	if err != nil {
		return nil, fmt.Errorf("register metrics: %w", err)
	}
	return m, nil
}

// appended counts how long an append took, with an example of a trace unless there is none.
func (m *metrics) appended(took time.Duration, traceID string) {
	if observer, ok := m.appendTiming.(prometheus.ExemplarObserver); ok && traceID != "" {
		observer.ObserveWithExemplar(took.Seconds(), prometheus.Labels{"trace_id": traceID})
		return
	}
	m.appendTiming.Observe(took.Seconds())
}

// expect counts from nothing those refusals of a provider that an alert waits for: a
// counter that begins with the first of them does not rise.
func (m *metrics) expect(providerName string) {
	for number := range webhookgatewayv1.VerificationVerdict_name {
		for _, reason := range []webhookgatewayv1.ErrorReason{
			webhookgatewayv1.ErrorReason_ERROR_REASON_INTERNAL,
			webhookgatewayv1.ErrorReason_ERROR_REASON_LOG_UNAVAILABLE,
			webhookgatewayv1.ErrorReason_ERROR_REASON_OVERLOADED,
			webhookgatewayv1.ErrorReason_ERROR_REASON_UNVERIFIED_QUOTA,
			webhookgatewayv1.ErrorReason_ERROR_REASON_SIGNATURE_MISMATCH,
			webhookgatewayv1.ErrorReason_ERROR_REASON_SOURCE_NOT_ALLOWED,
		} {
			m.refusals(providerName, webhookgatewayv1.VerificationVerdict(number), reason)
		}
	}
}

func (m *metrics) refusals(providerName string, verdict webhookgatewayv1.VerificationVerdict, reason webhookgatewayv1.ErrorReason) prometheus.Counter {
	return m.deliveries.WithLabelValues(providerName, verdictLabel(verdict), strings.ToLower(rpcerr.Name(reason)))
}

func (m *metrics) refused(providerName string, verdict webhookgatewayv1.VerificationVerdict, reason webhookgatewayv1.ErrorReason) {
	m.refusals(providerName, verdict, reason).Inc()
}
