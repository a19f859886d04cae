package telemetry

import (
	"context"
	"strings"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"

	webhookgatewayv1 "github.com/webhook-gateway/webhook-gateway/gen/webhookgateway/v1"
)

// The headers of a context of the W3C, as propagation names them.
const traceparent, tracestate = "traceparent", "tracestate"

var w3c propagation.TraceContext

// Span is a step of a trace. A nil one does nothing: so is that of what is not traced.
//
// NOTE: what is set goes to another system. Never a part of a body, a secret, nor
// whom an event is about.
type Span struct {
	tracer trace.Tracer
	span   trace.Span
}

// Begin begins the span of a request. It is a part of the sender's trace if the sender
// records that; otherwise it begins a trace of its own, with a link to the sender's. The sender's context is
// well-formed, or nil.
func (t *Tracer) Begin(name string, sender *webhookgatewayv1.TraceContext) *Span {
	if t == nil {
		return nil
	}
	ctx := context.Background()
	options := []trace.SpanStartOption{trace.WithSpanKind(trace.SpanKindServer)}
	if sender != nil {
		theirs := w3c.Extract(ctx, propagation.MapCarrier{traceparent: sender.GetTraceparent(), tracestate: sender.GetTracestate()})
		if parent := trace.SpanContextFromContext(theirs); parent.IsSampled() {
			ctx = theirs
		} else {
			options = append(options, trace.WithLinks(trace.Link{SpanContext: parent}))
		}
	}
	_, span := t.tracer.Start(ctx, name, options...)
	if !span.IsRecording() {
		return nil
	}
	return &Span{tracer: t.tracer, span: span}
}

// Child begins a step of this span.
func (s *Span) Child(name string) *Span {
	if s == nil {
		return nil
	}
	_, span := s.tracer.Start(trace.ContextWithSpan(context.Background(), s.span), name)
	return &Span{tracer: s.tracer, span: span}
}

// Set describes the span by a text.
func (s *Span) Set(key, value string) {
	if s != nil {
		// One text that is not UTF-8 would lose all that is sent with it.
		s.span.SetAttributes(attribute.String(key, strings.ToValidUTF8(value, "\uFFFD")))
	}
}

// SetInt describes the span by a number.
func (s *Span) SetInt(key string, value int64) {
	if s != nil {
		s.span.SetAttributes(attribute.Int64(key, value))
	}
}

// Fail marks the span as failed, with a stable reason.
func (s *Span) Fail(reason string) {
	if s != nil {
		s.span.SetStatus(codes.Error, reason)
	}
}

// End ends the span.
func (s *Span) End() {
	if s != nil {
		s.span.End()
	}
}

// TraceID returns the id of the trace, empty for none.
func (s *Span) TraceID() string {
	if s == nil {
		return ""
	}
	return s.span.SpanContext().TraceID().String()
}

// Context returns the context that makes what follows a part of this span; nil for
// none.
func (s *Span) Context() *webhookgatewayv1.TraceContext {
	if s == nil {
		return nil
	}
	carrier := make(propagation.MapCarrier)
	w3c.Inject(trace.ContextWithSpan(context.Background(), s.span), carrier)
	return &webhookgatewayv1.TraceContext{Traceparent: carrier[traceparent], Tracestate: carrier[tracestate]}
}
