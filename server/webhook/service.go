package webhook

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	webhookgatewayv1 "github.com/webhook-gateway/webhook-gateway/gen/webhookgateway/v1"
	"github.com/webhook-gateway/webhook-gateway/server/connlimit"
	"github.com/webhook-gateway/webhook-gateway/server/eventlog"
	"github.com/webhook-gateway/webhook-gateway/server/provider"
	"github.com/webhook-gateway/webhook-gateway/server/rpcerr"
	"github.com/webhook-gateway/webhook-gateway/server/telemetry"
)

// What a provider may name can be stored.
const (
	_ = uint(eventlog.MaxSubjectLen - provider.MaxSubjectBytes)
	_ = uint(eventlog.MaxProviderEventIDLen - provider.MaxEventIDBytes)
)

// probeTimeout bounds the wait for the log of a provider's probe, which is
// answered OK whatever the log says, and should be answered soon.
const probeTimeout = 2 * time.Second

// endpoint is a provider with its counters.
type endpoint struct {
	provider.Provider
	headers storedHeaders
	// counters of deliveries, by verdict.
	counters map[webhookgatewayv1.VerificationVerdict]*counters
}

// counters count what became of deliveries.
type counters struct {
	stored, duplicate, conflict, probeNotStored prometheus.Counter
	drifted, headersDropped                     prometheus.Counter
}

func newEndpoint(p provider.Provider, configuredHeaders []string, m *metrics) *endpoint {
	m.expect(p.Name())
	return &endpoint{
		Provider: p,
		headers:  newStoredHeaders(p, configuredHeaders),
		counters: byVerdict(func(verdict webhookgatewayv1.VerificationVerdict) *counters { return newCounters(p.Name(), verdict, m) }),
	}
}

func newCounters(providerName string, verdict webhookgatewayv1.VerificationVerdict, m *metrics) *counters {
	label := verdictLabel(verdict)
	return &counters{
		stored:         m.deliveries.WithLabelValues(providerName, label, OutcomeStored),
		duplicate:      m.deliveries.WithLabelValues(providerName, label, OutcomeDuplicate),
		conflict:       m.deliveries.WithLabelValues(providerName, label, OutcomeConflict),
		probeNotStored: m.deliveries.WithLabelValues(providerName, label, OutcomeProbeNotStored),
		drifted:        m.drifted.WithLabelValues(providerName, label),
		headersDropped: m.headersDropped.WithLabelValues(providerName, label),
	}
}

// countersOf returns the counters of a delivery that was verified. The canary's are looked
// up each time: there is one every second at most.
func (s *service) countersOf(d *delivery) *counters {
	if d.canary {
		return newCounters(canaryProvider, d.verdict, s.metrics)
	}
	return d.provider.counters[d.verdict]
}

// service is the WebhookService. It is called in-process by the mux only, with a
// delivery in the context.
type service struct {
	webhookgatewayv1.UnimplementedWebhookServiceServer

	log           Appender
	appendTimeout time.Duration
	limits        map[webhookgatewayv1.VerificationVerdict]*rateLimits
	metrics       *metrics
	logger        *slog.Logger
	samples       map[webhookgatewayv1.VerificationVerdict]*samples
	// AcceptedLevel is the level of the log line of each accepted delivery.
	acceptedLevel slog.Level
	success       *webhookgatewayv1.ReceiveWebhookResponse
	// Held while a large body is verified, and, by verdict, decoded.
	verifying sync.Mutex
	decoding  map[webhookgatewayv1.VerificationVerdict]*sync.Mutex
}

// samples bound the log lines about deliveries that were not refused.
type samples struct{ probeNotStored, conflict, unverified *sampler }

func newSamples(webhookgatewayv1.VerificationVerdict) *samples {
	return &samples{newSampler(), newSampler(), newSampler()}
}

// ReceiveWebhook verifies, decodes and stores one delivery.
func (s *service) ReceiveWebhook(ctx context.Context, req *webhookgatewayv1.ReceiveWebhookRequest) (*webhookgatewayv1.ReceiveWebhookResponse, error) {
	d := deliveryFrom(ctx)
	connlimit.Working(ctx)
	ep := d.provider // it was admitted
	identity, decoded, err := s.understand(ep, d, req)
	if err != nil {
		return nil, err
	}
	verdict := d.verdict
	if !decoded.Probe && !d.canary {
		if delay := s.limits[verdict].delay(clientKey{ep.ID(), identity.ClientID}, time.Now()); delay > 0 {
			return nil, rpcerr.Error(webhookgatewayv1.ErrorReason_ERROR_REASON_RATE_LIMITED,
				"the deliveries of this client exceed the configured rate: try again later", rpcerr.WithRetryDelay(delay))
		}
	}

	if key := identity.Verification.GetKeyId(); key != "" && !d.canary && verdict == webhookgatewayv1.VerificationVerdict_VERIFICATION_VERDICT_VERIFIED {
		s.metrics.secretUsed.WithLabelValues(ep.Name(), identity.ClientID, key).SetToCurrentTime()
	}
	event := decoded.Event
	event.Provider = ep.ID()
	event.ClientId = identity.ClientID
	event.Verification = identity.Verification
	event.TraceContext = d.traceContext()
	event.RawBody = req.GetBody()
	headers, dropped := ep.headers.of(d.header)
	event.Headers = headers
	counters := s.countersOf(d)
	counters.headersDropped.Add(float64(dropped))
	receipt, err := s.store(ctx, d.span, event, decoded.Probe)
	if err != nil {
		if !decoded.Probe {
			d.cause = err
			return nil, notStoredBecause(err)
		}
		d.outcome = OutcomeProbeNotStored
		counters.probeNotStored.Inc()
		if suppressed, ok := s.samples[verdict].probeNotStored.sample(); ok {
			s.logger.LogAttrs(ctx, slog.LevelError, "a probe was answered OK although it could not be stored",
				d.describe(suppressed, slog.Any("error", err))...)
		}
		return s.success, nil
	}
	s.record(ctx, d, event, identity.Failure, receipt)
	return s.success, nil
}

// understand verifies and decodes a delivery. Work on large bodies goes one after the
// other, for each verdict: a crowd of them takes a part of the processors, and not all,
// and what is not verified holds up nothing that is.
func (s *service) understand(
	ep *endpoint, d *delivery, req *webhookgatewayv1.ReceiveWebhookRequest,
) (identity provider.Identity, decoded provider.Decoded, err error) {
	large := len(req.GetBody()) > readBytes
	verify := d.span.Child("verify")
	err = inTurn(large, &s.verifying, func() (err error) {
		identity, err = authenticate(ep, d, req)
		return err
	})
	verify.End()
	if err != nil {
		return identity, decoded, err
	}
	if err = d.share.take(decodedBytes(req.GetBody())); err != nil {
		return identity, decoded, err
	}
	decode := d.span.Child("decode")
	err = inTurn(large, s.decoding[d.verdict], func() (err error) {
		decoded, err = ep.Decode(req.GetBody())
		return err
	})
	decode.End()
	if err != nil {
		return identity, decoded, d.refused(err)
	}
	return identity, decoded, nil
}

// inTurn does work, and nothing else of the same kind meanwhile if it is large.
func inTurn(large bool, turn *sync.Mutex, work func() error) error {
	if large {
		turn.Lock()
		defer turn.Unlock()
	}
	return work()
}

// authenticate returns whom a delivery belongs to, with a client id that can be
// stored, and the verification with its source address.
func authenticate(ep *endpoint, d *delivery, req *webhookgatewayv1.ReceiveWebhookRequest) (provider.Identity, error) {
	request := d.request(req.GetClientId())
	request.Body = req.GetBody()
	identity, err := ep.Authenticate(request)
	if err != nil {
		return provider.Identity{}, d.refused(err)
	}
	d.clientID, d.verdict, d.canary = identity.ClientID, identity.Verification.GetVerdict(), identity.Canary
	// NOTE: an id that cannot be stored would be answered 503 and retried for ever.
	if err := provider.CheckClientID(identity.ClientID); err != nil && !identity.Canary {
		return provider.Identity{}, rpcerr.Error(webhookgatewayv1.ErrorReason_ERROR_REASON_CLIENT_NOT_ALLOWED, err.Error())
	}
	if d.source.IsValid() {
		identity.Verification.SourceAddress = d.source.String()
	}
	return identity, nil
}

// store makes the event durable. It goes on when the sender hangs up, because
// the sender cannot know whether it has been stored.
func (s *service) store(ctx context.Context, span *telemetry.Span, event *webhookgatewayv1.Event, probe bool) (eventlog.Receipt, error) {
	entry, err := newEntry(event)
	if err != nil {
		return eventlog.Receipt{}, err
	}
	timeout := s.appendTimeout
	if probe {
		timeout = min(timeout, probeTimeout)
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), timeout)
	defer cancel()
	commit := span.Child("commit")
	start := time.Now()
	receipt, err := s.log.Append(ctx, entry)
	s.metrics.appended(time.Since(start), span.TraceID())
	if err != nil {
		commit.Fail("the event was not stored")
	}
	commit.End()
	if err != nil {
		return eventlog.Receipt{}, fmt.Errorf("append to the event log: %w", err)
	}
	return receipt, nil
}

// newEntry encodes the event. What the provider made of a body is left out if it
// cannot be encoded: the delivery is authentic, so its raw body is stored all the
// same.
func newEntry(event *webhookgatewayv1.Event) (eventlog.Entry, error) {
	entry, err := eventlog.NewEntry(event)
	if err == nil {
		return entry, nil
	}
	event.Payload = nil
	event.Type = webhookgatewayv1.EventType_EVENT_TYPE_UNRECOGNIZED
	event.TypeName, event.Subject, event.ProviderEventId = "", "", ""
	event.DecodeError = "what the body says cannot be encoded"
	entry, retryErr := eventlog.NewEntry(event)
	if retryErr != nil {
		return eventlog.Entry{}, fmt.Errorf("encode the event: %w", errors.Join(err, retryErr))
	}
	return entry, nil
}

// record counts and logs what became of a stored delivery.
func (s *service) record(
	ctx context.Context, d *delivery, event *webhookgatewayv1.Event, failure *provider.Refusal, receipt eventlog.Receipt,
) {
	ep := d.provider
	counters, samples := s.countersOf(d), s.samples[d.verdict]
	switch {
	case receipt.Duplicate:
		d.outcome = OutcomeDuplicate
		counters.duplicate.Inc()
	case receipt.Conflict:
		d.outcome = OutcomeConflict
		counters.conflict.Inc()
		if suppressed, ok := samples.conflict.sample(); ok {
			s.logger.LogAttrs(ctx, slog.LevelWarn, "another body with the event id of this delivery was stored before: both are kept",
				d.describe(suppressed, slog.Uint64("position", uint64(receipt.Position)))...)
		}
	default:
		d.outcome = OutcomeStored
		counters.stored.Inc()
	}
	d.span.Set("webhook_gateway.event_type", event.GetType().String())
	d.span.SetInt("webhook_gateway.position", int64(receipt.Position)) //nolint:gosec // far from the limit
	if d.verdict == webhookgatewayv1.VerificationVerdict_VERIFICATION_VERDICT_FAILED {
		if suppressed, ok := samples.unverified.sample(); ok {
			s.logger.LogAttrs(ctx, slog.LevelWarn, "a delivery that failed verification was accepted in report mode",
				d.describe(suppressed, slog.String("failure", advice(event, failure)))...)
		}
	}
	if event.GetDecodeError() != "" {
		counters.drifted.Inc()
	}
	level := s.acceptedLevel
	if d.canary {
		level = slog.LevelDebug
	}
	if s.logger.Enabled(ctx, level) {
		attrs := []slog.Attr{
			slog.String("provider", ep.Name()), slog.String("type_name", event.GetTypeName()), slog.String("client_id", event.GetClientId()),
			slog.String("outcome", d.outcome), slog.Uint64("position", uint64(receipt.Position)), slog.Any("source", d.source),
		}
		if drift := event.GetDecodeError(); drift != "" {
			attrs = append(attrs, slog.String("decode_error", drift))
		}
		s.logger.LogAttrs(ctx, level, "delivery accepted", attrs...)
	}
}

// advice returns what the log says of a delivery that failed verification.
func advice(event *webhookgatewayv1.Event, failure *provider.Refusal) string {
	if failure == nil {
		return event.GetVerification().GetFailure().String()
	}
	return failure.Message
}

// describe returns what a warning about a delivery says.
func (d *delivery) describe(suppressed int64, attr slog.Attr) []slog.Attr {
	return append(d.ids(),
		slog.String("provider", d.provider.Name()), slog.String("client_id", clip(d.clientID)),
		slog.String("verdict", verdictLabel(d.verdict)), slog.Any("source", d.source), slog.Int64("suppressed", suppressed), attr)
}

// refused returns the status of an error of a provider. An error that is no
// refusal is a fault of ours: the delivery is not refused for it, only not
// stored.
func (d *delivery) refused(err error) error {
	var refusal *provider.Refusal
	if errors.As(err, &refusal) {
		return rpcerr.Error(refusal.Reason, refusal.Message)
	}
	return fault(d, err)
}

// clip keeps a client id that came from outside short enough for the log.
func clip(clientID string) string {
	return clientID[:min(len(clientID), eventlog.MaxClientIDLen)]
}
