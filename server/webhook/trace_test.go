package webhook_test

import (
	"net/http"
	"strings"
	"testing"

	webhookgatewayv1 "github.com/webhook-gateway/webhook-gateway/gen/webhookgateway/v1"
	"github.com/webhook-gateway/webhook-gateway/server/provider"
)

// A line of the log about a refusal leads to the trace, and to the line of a proxy.
func TestTheLogNamesTheRequest(t *testing.T) {
	t.Parallel()
	const parent = "traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
	for _, test := range []struct {
		name     string
		secret   string
		lines    []string
		has, not string
	}{
		{name: "nothing", not: "_id="},
		{name: "the sender's trace", lines: []string{parent}, has: "trace_id=0af7651916cd43dd8448eb211c80319c"},
		{name: "a malformed trace", lines: []string{parent + "x"}, not: "trace_id="},
		{name: "a proxy's id", lines: []string{"x-request-id: 5f2c:1_A-b.+/="}, has: `request_id="5f2c:1_A-b.+/="`},
		{name: "a text", lines: []string{"X-Request-Id: a b"}, not: "request_id="},
		{name: "a long id", lines: []string{"X-Request-Id: " + strings.Repeat("a", 129)}, not: "request_id="},
		{name: "a secret", secret: "X-Request-Id", lines: []string{"X-Request-Id: hush"}, not: "hush"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			f := newFixture(t, func(f *fixture) {
				f.provider.refusal = &provider.Refusal{Reason: webhookgatewayv1.ErrorReason_ERROR_REASON_SIGNATURE_MISMATCH, Message: "no"}
				f.provider.secret = []string{test.secret}
			})
			if got := exchange(t, f.listen(t), request("/v1/webhooks/fake", "{}", append(test.lines, "X: y")...), false).answer; got.Code == http.StatusOK {
				t.Fatalf("answer = %+v", got)
			}
			logged := strings.ReplaceAll(f.logged.String(), "client_id=", "client=")
			if !strings.Contains(logged, "delivery refused") || !strings.Contains(logged, test.has) || test.not != "" && strings.Contains(logged, test.not) {
				t.Errorf("logged %s, want %q, not %q", logged, test.has, test.not)
			}
		})
	}
}

// A counter that begins with what it counts does not rise: an alert would not see the
// first fault.
func TestRefusalsAreCountedFromNothing(t *testing.T) {
	t.Parallel()
	f := newFixture(t, nil)
	f.wantMetric(t, `webhook_gateway_deliveries_total{outcome="internal",provider="fake",verdict="none"}`, 0)
	f.wantMetric(t, `webhook_gateway_deliveries_total{outcome="log_unavailable",provider="fake",verdict="verified"}`, 0)
}
