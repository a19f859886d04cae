package webhook_test

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	webhookgatewayv1 "github.com/webhook-gateway/webhook-gateway/gen/webhookgateway/v1"
	"github.com/webhook-gateway/webhook-gateway/server/eventlog"
	"github.com/webhook-gateway/webhook-gateway/server/provider"
	"github.com/webhook-gateway/webhook-gateway/server/telemetry"
	"github.com/webhook-gateway/webhook-gateway/server/webhook"
)

// benchProvider does no work, so that the benchmark shows the edge.
type benchProvider struct{}

func (benchProvider) Name() string                  { return "vezgo" }
func (benchProvider) ID() webhookgatewayv1.Provider { return webhookgatewayv1.Provider_PROVIDER_VEZGO }

func (benchProvider) Admit(*provider.Delivery) (string, error) { return "client", nil }

func (benchProvider) Authenticate(*provider.Delivery) (provider.Identity, error) {
	return provider.Identity{ClientID: "client", Verification: &webhookgatewayv1.Verification{}}, nil
}

func (benchProvider) VerifiedHeaders() []string { return []string{"X-Client-Id"} }
func (benchProvider) SecretHeaders() []string   { return nil }
func (benchProvider) AnyClient() bool           { return false }

func (benchProvider) Decode([]byte) (provider.Decoded, error) {
	return provider.Decoded{Event: &webhookgatewayv1.Event{}}, nil
}

// responseRecorder is cheaper than httptest's.
type responseRecorder struct {
	header http.Header
	code   int
}

func (r *responseRecorder) Header() http.Header         { return r.header }
func (r *responseRecorder) WriteHeader(code int)        { r.code = code }
func (r *responseRecorder) Write(p []byte) (int, error) { return len(p), nil }

// BenchmarkEdge is the cost of the edge per delivery, without the connection,
// the provider and the log: without traces, and with all deliveries traced, to a
// collector that is not there.
func BenchmarkEdge(b *testing.B) {
	b.Run("untraced", func(b *testing.B) { benchmarkEdge(b, nil) })
	b.Run("traced", func(b *testing.B) {
		config := telemetry.DefaultConfig()
		config.Endpoint, config.Insecure = "127.0.0.1:1", true
		tracer, err := telemetry.New(b.Context(), config, slog.New(slog.DiscardHandler), prometheus.NewRegistry())
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(func() { _ = tracer.Close() })
		benchmarkEdge(b, tracer)
	})
}

func benchmarkEdge(b *testing.B, tracer *telemetry.Tracer) {
	b.Helper()
	discard := &fakeLog{append: func(context.Context, eventlog.Entry) (eventlog.Receipt, error) {
		return eventlog.Receipt{Position: 1}, nil
	}}
	handler, err := webhook.New(webhook.DefaultConfig(), []provider.Provider{benchProvider{}}, discard,
		slog.New(slog.DiscardHandler), prometheus.NewRegistry(), tracer, nil)
	if err != nil {
		b.Fatal(err)
	}
	payload := `{"hook":"SyncAccount","user":{"id":"65a000000000000000000001","loginName":"user-42"},` +
		`"account":{"id":"65a000000000000000000002","provider":"coinbase"}}`
	body := strings.NewReader(payload)
	request := httptest.NewRequest(http.MethodPost, "/v1/webhooks/vezgo", body)
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set("User-Agent", "axios/1.6")
	request.Header.Set("X-Client-Id", "client")
	response := &responseRecorder{header: make(http.Header)}
	b.ReportAllocs()
	for b.Loop() {
		body.Reset(payload)
		request.Body = io.NopCloser(body)
		response.code = http.StatusOK
		handler.ServeHTTP(response, request)
		if response.code != http.StatusOK {
			b.Fatal(response.code)
		}
	}
}
