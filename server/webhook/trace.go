package webhook

import (
	"cmp"
	"log/slog"
	"net/http"
	"slices"
	"strings"

	webhookgatewayv1 "github.com/webhook-gateway/webhook-gateway/gen/webhookgateway/v1"
)

// Limits of a tracestate (https://www.w3.org/TR/trace-context/).
const (
	maxTracestateBytes   = 512
	maxTracestateMembers = 32
	maxTracestateText    = 256 // of a key, and of a value
)

// traceContext returns the context that is stored with the event: that of the gateway's
// own span, so that what a consumer does hangs on the delivery, or that of the sender.
func (d *delivery) traceContext() *webhookgatewayv1.TraceContext {
	if d.span != nil {
		return d.span.Context()
	}
	return traceContext(d.header)
}

// endSpan says what became of the delivery. A client id only if the delivery belongs to
// the client: strangers write what they like.
func (d *delivery) endSpan() {
	if d.span == nil {
		return
	}
	if d.provider != nil {
		d.span.Set("webhook_gateway.provider", d.provider.Name())
	}
	d.span.Set("webhook_gateway.outcome", d.outcome)
	if d.verdict != webhookgatewayv1.VerificationVerdict_VERIFICATION_VERDICT_UNSPECIFIED {
		d.span.Set("webhook_gateway.client_id", d.clientID)
		d.span.Set("webhook_gateway.verdict", verdictLabel(d.verdict))
	}
	code := cmp.Or(d.code, http.StatusOK)
	d.span.SetInt("http.response.status_code", int64(code))
	if code >= http.StatusInternalServerError {
		d.span.Fail(d.outcome)
	}
	d.span.End()
}

// maxRequestIDBytes bounds the id of a request that is logged.
const maxRequestIDBytes = 128

// ids returns what finds a delivery in the traces, and in the log of a proxy that gave
// it an id.
func (d *delivery) ids() []slog.Attr {
	var attrs []slog.Attr
	if id := d.span.TraceID(); id != "" {
		attrs = append(attrs, slog.String("trace_id", id))
	} else if sender := traceContext(d.header); sender != nil {
		attrs = append(attrs, slog.String("trace_id", sender.GetTraceparent()[3:3+32]))
	}
	const header = "X-Request-Id"
	if id := d.header.Get(header); isRequestID(id) && d.provider != nil && !slices.Contains(d.provider.SecretHeaders(), header) {
		attrs = append(attrs, slog.String("request_id", id))
	}
	return attrs
}

// isRequestID reports whether an id is one, and not whatever a stranger has written.
func isRequestID(s string) bool {
	for _, c := range []byte(s) {
		if (c < '0' || c > '9') && (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && !strings.ContainsRune("-_.:+/=", rune(c)) {
			return false
		}
	}
	return s != "" && len(s) <= maxRequestIDBytes
}

// traceContext returns the W3C trace context of a request, and nil if it has none
// that is well-formed. A tracestate that is not is left out on its own.
func traceContext(header http.Header) *webhookgatewayv1.TraceContext {
	parents := header["Traceparent"]
	if len(parents) != 1 || !isTraceparent(parents[0]) {
		return nil
	}
	trace := &webhookgatewayv1.TraceContext{Traceparent: parents[0]}
	if state := strings.Join(header["Tracestate"], ","); isTracestate(state) {
		trace.Tracestate = state
	}
	return trace
}

// isTraceparent reports whether s is a traceparent of version 00:
// `00-<32 hex>-<16 hex>-<2 hex>` in lower case. A trace or a parent of zeros only
// is none.
func isTraceparent(s string) bool {
	const version, trace, parent, length = 3, 3 + 32, 3 + 32 + 1 + 16, 3 + 32 + 1 + 16 + 1 + 2
	return len(s) == length && s[:version] == "00-" && s[trace] == '-' && s[parent] == '-' &&
		isLowerHex(s[version:trace]) && isLowerHex(s[trace+1:parent]) && isLowerHex(s[parent+1:]) &&
		strings.Trim(s[version:trace], "0") != "" && strings.Trim(s[trace+1:parent], "0") != ""
}

func isLowerHex(s string) bool {
	for _, c := range []byte(s) {
		if (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return true
}

// isTracestate reports whether s is a tracestate: a list of keys with values.
func isTracestate(s string) bool {
	if s == "" || len(s) > maxTracestateBytes {
		return false
	}
	seen := make(map[string]bool)
	for member := range strings.SplitSeq(s, ",") {
		if member = strings.Trim(member, " \t"); member == "" {
			continue
		}
		key, value, ok := strings.Cut(member, "=")
		if !ok || seen[key] || !isTracestateKey(key) || !isTracestateValue(value) {
			return false
		}
		seen[key] = true
	}
	return len(seen) > 0 && len(seen) <= maxTracestateMembers
}

func isTracestateKey(s string) bool {
	for i, c := range []byte(s) {
		letterOrDigit := 'a' <= c && c <= 'z' || '0' <= c && c <= '9'
		if !letterOrDigit && (i == 0 || !strings.ContainsRune("_-*/@", rune(c))) {
			return false
		}
	}
	return s != "" && len(s) <= maxTracestateText
}

// isTracestateValue takes printable ASCII without a comma and an equals sign. The
// space at its end was cut off.
func isTracestateValue(s string) bool {
	for _, c := range []byte(s) {
		if c < ' ' || c > '~' || c == ',' || c == '=' {
			return false
		}
	}
	return s != "" && len(s) <= maxTracestateText
}
