// Package telemetry makes the traces of deliveries and sends them to a collector, by
// OTLP over gRPC.
//
// It is off unless a collector is configured. A nil *Tracer and a nil *Span do
// nothing, so that those who are given one need not ask, and without traces a delivery
// costs nothing more: no span is made, nothing is allocated.
//
// What does not arrive in time is lost: neither a delivery nor a shutdown waits for
// the collector.
package telemetry

import (
	"context"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracegrpc"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
)

const (
	// flushTimeout bounds how long Close waits for the collector.
	flushTimeout = 2 * time.Second
	// maxWaiting is the most spans that wait for the collector. More are lost.
	maxWaiting = 2048
	// maxTold is how much is logged of what a collector says.
	maxTold = 500
)

// Tracer begins traces. A nil one begins none.
type Tracer struct {
	tracer   trace.Tracer
	provider *sdktrace.TracerProvider
	exporter *exporter
}

// New returns the tracer of a gateway, nil if there are no traces. It registers the
// metrics of sending them in either case. It does not wait for the collector, which
// need not be there. The environment variables of the exporter (OTEL_EXPORTER_OTLP_…)
// hold for what Config does not say, such as headers with credentials.
func New(ctx context.Context, config Config, logger *slog.Logger, registerer prometheus.Registerer) (*Tracer, error) {
	spans := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "webhook_gateway_trace_spans_total",
		Help: "Spans by result: sent to the collector, or lost because it did not take them.",
	}, []string{"result"})
	if err := registerer.Register(spans); err != nil {
		return nil, fmt.Errorf("register metrics: %w", err)
	}
	sent, lost := spans.WithLabelValues("sent"), spans.WithLabelValues("lost")
	if !config.Enabled() {
		return nil, nil //nolint:nilnil // a nil tracer is one that does nothing
	}
	options := []otlptracegrpc.Option{otlptracegrpc.WithEndpoint(config.Endpoint)}
	if config.Insecure {
		options = append(options, otlptracegrpc.WithInsecure())
	}
	otlp, err := otlptracegrpc.New(ctx, options...)
	if err != nil {
		return nil, fmt.Errorf("make the exporter of traces: %w", err)
	}
	exporter := &exporter{SpanExporter: otlp, logger: logger, sent: sent, lost: lost}
	ratio := sdktrace.TraceIDRatioBased(config.SampleRatio)
	provider := sdktrace.NewTracerProvider(
		sdktrace.WithSpanProcessor(&queue{
			SpanProcessor: sdktrace.NewBatchSpanProcessor(exporter, sdktrace.WithMaxQueueSize(maxWaiting)), exporter: exporter,
		}),
		// A sender cannot have more traced than the operator wants.
		sdktrace.WithSampler(sdktrace.ParentBased(ratio, sdktrace.WithRemoteParentSampled(ratio))),
		sdktrace.WithResource(resource.NewSchemaless(attribute.String("service.name", config.ServiceName))),
	)
	return &Tracer{
		tracer:   provider.Tracer("github.com/webhook-gateway/webhook-gateway"),
		provider: provider,
		exporter: exporter,
	}, nil
}

// Close sends what is left, and gives up after two seconds.
func (t *Tracer) Close() error {
	if t == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), flushTimeout)
	defer cancel()
	if err := t.provider.Shutdown(ctx); err != nil {
		t.exporter.logger.Warn("the last traces were not sent", "error", fmt.Sprintf("%.*s", maxTold, err.Error()))
		// The provider has given up on the exporter, which tries on until it is told.
		_ = t.exporter.Shutdown(ctx) // for the reason that was told
	}
	return nil
}

// queue bounds how many spans wait, and counts those that find no room. The processor
// behind it would lose them without a word.
type queue struct {
	sdktrace.SpanProcessor

	exporter *exporter
}

// OnEnd implements sdktrace.SpanProcessor.
func (q *queue) OnEnd(span sdktrace.ReadOnlySpan) {
	if q.exporter.waiting.Add(1) > maxWaiting {
		q.exporter.waiting.Add(-1)
		q.exporter.lost.Inc()
		return
	}
	q.SpanProcessor.OnEnd(span)
}

// exporter counts what is sent, and tells of what is not: once until the collector is
// there again.
type exporter struct {
	sdktrace.SpanExporter

	logger     *slog.Logger
	sent, lost prometheus.Counter
	waiting    atomic.Int64 // spans, among them those being sent
	failing    bool         // only ExportSpans uses it, of which there is one at a time
}

// ExportSpans implements trace.SpanExporter.
func (e *exporter) ExportSpans(ctx context.Context, spans []sdktrace.ReadOnlySpan) error {
	defer e.waiting.Add(-int64(len(spans)))
	if err := e.SpanExporter.ExportSpans(ctx, spans); err != nil {
		e.lost.Add(float64(len(spans)))
		if !e.failing {
			e.logger.Warn("traces are lost: the collector does not take them", "error", fmt.Sprintf("%.*s", maxTold, err.Error()))
		}
		e.failing = true
		return nil
	}
	e.sent.Add(float64(len(spans)))
	if e.failing {
		e.logger.Info("the collector takes traces again")
	}
	e.failing = false
	return nil
}
