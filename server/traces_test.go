package server_test

import (
	"encoding/hex"
	"fmt"
	"net/http"
	"strings"
	"testing"

	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"

	webhookgatewayv1 "github.com/webhook-gateway/webhook-gateway/gen/webhookgateway/v1"
	"github.com/webhook-gateway/webhook-gateway/server"
	"github.com/webhook-gateway/webhook-gateway/server/servertest"
	"github.com/webhook-gateway/webhook-gateway/server/telemetry/telemetrytest"
)

const (
	senderTrace = "0af7651916cd43dd8448eb211c80319c"
	senderSpan  = "b7ad6b7169203331"
	traceparent = "00-" + senderTrace + "-" + senderSpan + "-01"
)

func attribute(span *tracepb.Span, key string) string {
	for _, a := range span.GetAttributes() {
		if a.GetKey() == key {
			if a.GetValue().GetStringValue() == "" {
				return fmt.Sprint(a.GetValue().GetIntValue())
			}
			return a.GetValue().GetStringValue()
		}
	}
	return ""
}

// From the sender's span to the consumer's: the spans of a delivery reach a collector over
// the wire, hang on the sender's, and the event leads to them. They hold nothing of the
// body.
func TestTraces(t *testing.T) {
	collector := telemetrytest.Start(t)
	g := servertest.Start(t, func(c *server.Config) {
		c.Telemetry.Endpoint, c.Telemetry.Insecure = collector.Addr(), true
	})
	stream := subscribe(t, g, &webhookgatewayv1.SubscribeRequest{})
	next(t, stream, (*webhookgatewayv1.SubscribeResponse).GetCaughtUp)
	subscriptions := webhookgatewayv1.NewSubscriptionServiceClient(g.Conn())
	if _, err := subscriptions.CreateSubscription(t.Context(), &webhookgatewayv1.CreateSubscriptionRequest{
		Subscription: &webhookgatewayv1.Subscription{Name: "workers"},
	}); err != nil {
		t.Fatal(err)
	}
	worker, err := subscriptions.Consume(t.Context(), &webhookgatewayv1.ConsumeRequest{Subscription: "workers"})
	if err != nil {
		t.Fatal(err)
	}
	next(t, worker, (*webhookgatewayv1.ConsumeResponse).GetCaughtUp)
	good := g.Request(t, vezgo, vezgoBody)
	good.Header.Set("Traceparent", traceparent)
	if code, answer := do(t, good); code != http.StatusOK {
		t.Fatalf("%d %s", code, answer)
	}
	event := next(t, stream, (*webhookgatewayv1.SubscribeResponse).GetEvents).GetEvents()[0]
	next(t, worker, (*webhookgatewayv1.ConsumeResponse).GetDeliveries)
	bad := g.Request(t, webhookgatewayv1.Provider_PROVIDER_FINICITY, []byte(`{"customerId":"7000000001","eventType":"added"}`))
	bad.Header.Set("X-Finicity-Signature", strings.Repeat("0", 64))
	if code, answer := do(t, bad); code != http.StatusUnauthorized {
		t.Fatalf("%d %s", code, answer)
	}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, g.InternalURL()+"/metrics", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Accept", "application/openmetrics-text; version=1.0.0")
	_, metrics := do(t, req)
	if err := g.Stop(); err != nil { // sends the last spans
		t.Fatal(err)
	}

	var names []string
	spans := make(map[string]*tracepb.Span)
	for _, span := range collector.Spans() {
		names = append(names, span.GetName())
		spans[span.GetName()+" "+attribute(span, "webhook_gateway.outcome")] = span
		if text := span.String(); strings.Contains(text, "user-42") || strings.Contains(text, "7000000001") {
			t.Errorf("a span holds what the body says: %s", text)
		}
	}
	if got, want := strings.Join(names, " "), "verify decode commit webhook verify webhook"; got != want {
		t.Errorf("spans %s, want %s", got, want)
	}
	stored, refused := spans["webhook stored"], spans["webhook signature_mismatch"]
	if stored == nil || refused == nil {
		t.Fatalf("the collector has %v", collector.Spans())
	}
	if hex.EncodeToString(stored.GetTraceId()) != senderTrace || hex.EncodeToString(stored.GetParentSpanId()) != senderSpan {
		t.Errorf("%v does not hang on the sender's span", stored)
	}
	for _, name := range []string{"decode ", "commit "} {
		if string(spans[name].GetParentSpanId()) != string(stored.GetSpanId()) {
			t.Errorf("%v does not hang on %v", spans[name], stored)
		}
	}
	if want := "00-" + senderTrace + "-" + hex.EncodeToString(stored.GetSpanId()) + "-01"; event.GetTraceContext().GetTraceparent() != want {
		t.Errorf("the event has %v, want %s", event.GetTraceContext(), want)
	}
	for key, want := range map[string]string{
		"webhook_gateway.provider": "vezgo", "webhook_gateway.client_id": servertest.Client, "webhook_gateway.verdict": "verified",
		"webhook_gateway.event_type": "EVENT_TYPE_VEZGO_SYNC_ACCOUNT", "webhook_gateway.position": "1", "http.response.status_code": "200",
	} {
		if got := attribute(stored, key); got != want {
			t.Errorf("%s = %q, want %q", key, got, want)
		}
	}
	if attribute(refused, "http.response.status_code") != "401" || attribute(refused, "webhook_gateway.client_id") != "" {
		t.Errorf("a refused delivery has the span %v", refused)
	}
	for _, histogram := range []string{
		"webhook_gateway_append_duration_seconds_bucket{",
		`webhook_gateway_stream_live_delay_seconds_bucket{frame="events"`, `webhook_gateway_stream_live_delay_seconds_bucket{frame="deliveries"`,
	} {
		if !hasExemplar(metrics, histogram, senderTrace) {
			t.Errorf("%s has no example with the trace", histogram)
		}
	}
}

func hasExemplar(metrics, histogram, trace string) bool {
	for line := range strings.Lines(metrics) {
		if strings.HasPrefix(line, histogram) && strings.Contains(line, `# {trace_id="`+trace+`"}`) {
			return true
		}
	}
	return false
}
