package webhook_test

import (
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"

	webhookgatewayv1 "github.com/webhook-gateway/webhook-gateway/gen/webhookgateway/v1"
	"github.com/webhook-gateway/webhook-gateway/server/eventlog/pebblelog"
	"github.com/webhook-gateway/webhook-gateway/server/provider"
	"github.com/webhook-gateway/webhook-gateway/server/provider/all"
	"github.com/webhook-gateway/webhook-gateway/server/provider/finicity"
	"github.com/webhook-gateway/webhook-gateway/server/provider/vezgo"
	"github.com/webhook-gateway/webhook-gateway/server/secret"
	"github.com/webhook-gateway/webhook-gateway/server/webhook"
)

// pairs returns the stored headers of an event as lines.
func pairs(event *webhookgatewayv1.Event) []string {
	var lines []string
	for _, header := range event.GetHeaders() {
		lines = append(lines, header.GetName()+": "+header.GetValue())
	}
	return lines
}

// request returns the bytes of a delivery with further header lines.
func request(target, body string, lines ...string) string {
	return fmt.Sprintf("POST %s HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n%s\r\n\r\n%s",
		target, len(body), strings.Join(lines, "\r\n"), body)
}

func TestStoredHeadersOnTheWire(t *testing.T) {
	t.Parallel()
	many := make([]string, 70)
	for i := range many {
		many[i] = fmt.Sprintf("a-many: %02d", i)
	}
	for _, test := range []struct {
		name    string
		lines   []string
		want    []string
		dropped float64
	}{
		{
			name: "in alphabetical order, whatever the order on the wire",
			lines: []string{
				"x-zone: 1", "user-agent: axios/1.6", "X-SIGNATURE: 00ff", "Authorization: Bearer x",
				"content-type: application/json", "a-many: 1", "X-Other: 1", "Cookie: c", "X-Key: hunter2-of-headers",
			},
			want: []string{"A-Many: 1", "Content-Type: application/json", "User-Agent: axios/1.6", "X-Signature: 00ff", "X-Zone: 1"},
		},
		{
			name:  "more than once, in their order",
			lines: []string{"X-Zone: b", "x-zone: a", "X-ZONE:"},
			want:  []string{"X-Zone: b", "X-Zone: a", "X-Zone: "},
		},
		{name: "none", lines: []string{"X-Other: 1"}},
		{
			name:  "not UTF-8",
			lines: []string{"X-Zone: a\xff\xfeb\xc3\xa4"},
			want:  []string{"X-Zone: a\ufffdbä"},
		},
		{
			// The signature is not crowded out by what comes before it.
			name:    "too many",
			lines:   append(many, "X-Signature: 00ff"),
			want:    append(canonical(many[:63]), "X-Signature: 00ff"),
			dropped: 7,
		},
		{
			name:    "too long",
			lines:   []string{"A-Many: " + strings.Repeat("x", 8192), "X-Zone: 1", "User-Agent: " + strings.Repeat("u", 100)},
			want:    []string{"User-Agent: " + strings.Repeat("u", 100), "X-Zone: 1"},
			dropped: 1,
		},
		{
			name:  "as long as possible",
			lines: []string{"A-Many: " + strings.Repeat("x", 8192-len("A-Many"))},
			want:  []string{"A-Many: " + strings.Repeat("x", 8192-len("A-Many"))},
		},
		{
			name:    "a byte longer",
			lines:   []string{"A-Many: " + strings.Repeat("x", 8192-len("A-Many")+1)},
			dropped: 1,
		},
		{
			// Each byte that is not UTF-8 may become three.
			name:    "longer once it is UTF-8",
			lines:   []string{"A-Many: " + strings.Repeat("\xff ", 4000)},
			dropped: 1,
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			f := newFixture(t, func(f *fixture) {
				f.provider.verified, f.provider.secret = []string{"X-Signature"}, []string{"X-Key"}
				f.cfg.StoredHeaders = []string{"x-zone", "A-MANY", "user-agent"}
			})
			if got := exchange(t, f.listen(t), request("/v1/webhooks/fake", "{}", test.lines...), false).answer; got.Code != http.StatusOK {
				t.Fatalf("answer = %+v", got)
			}
			if diff := cmp.Diff(test.want, pairs(f.events(t)[0])); diff != "" {
				t.Errorf("headers (-want +got):\n%s", diff)
			}
			f.wantMetric(t, `webhook_gateway_stored_headers_dropped_total{provider="fake",verdict="verified"}`, test.dropped)
		})
	}
}

func canonical(lines []string) []string {
	var all []string
	for _, line := range lines {
		name, value, _ := strings.Cut(line, ": ")
		all = append(all, http.CanonicalHeaderKey(name)+": "+value)
	}
	return all
}

// A header that verification and the operator name is not stored if it holds a
// secret, and a configuration that would store one is refused.
func TestSecretHeadersAreNeverStored(t *testing.T) {
	t.Parallel()
	f := newFixture(t, func(f *fixture) {
		f.provider.verified, f.provider.secret = []string{"X-Signature", "X-Key"}, []string{"X-Key"}
	})
	if got := f.post(t, "/v1/webhooks/fake", "{}", http.Header{"X-Key": {"hunter2-of-headers"}}).answer; got.Code != http.StatusOK {
		t.Fatalf("answer = %+v", got)
	}
	if diff := cmp.Diff([]string{"Content-Type: application/json"}, pairs(f.events(t)[0])); diff != "" {
		t.Errorf("headers (-want +got):\n%s", diff)
	}
	g := newFixture(t, nil)
	g.registry = newRegistry()
	g.cfg.StoredHeaders = []string{"X-Other", "x-key"}
	_, err := newHandler(g.cfg, []provider.Provider{f.provider}, g)
	if err == nil || !strings.Contains(err.Error(), "stored_headers[1]: x-key holds a required secret") {
		t.Errorf("New() = %v, want that it refuses to store a secret", err)
	}
}

func TestTraceContextOnTheWire(t *testing.T) {
	t.Parallel()
	const parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
	long := func(n int) string { return "k=" + strings.Repeat("v", n-2) }
	members := func(n int) string {
		all := make([]string, n)
		for i := range all {
			all[i] = fmt.Sprintf("k%d=v", i)
		}
		return strings.Join(all, ",")
	}
	longest := long(200) + ",l=" + strings.Repeat("v", 200) + ",m=" + strings.Repeat("v", 106) // 512 bytes
	for _, test := range []struct {
		name   string
		lines  []string
		parent string
		state  string
	}{
		{name: "none"},
		{"parent only", []string{"traceparent: " + parent}, parent, ""},
		{"both", []string{"Tracestate: rojo=00f067aa0ba902b7,congo=t61rcWkgMzE", "TraceParent: " + parent}, parent, "rojo=00f067aa0ba902b7,congo=t61rcWkgMzE"},
		{"state in two headers", []string{"traceparent: " + parent, "tracestate: a=1", "tracestate: b=2"}, parent, "a=1,b=2"},
		{"state with a tenant, space and empty members", []string{"traceparent: " + parent, "tracestate: 0t-_*/@v=a b!~ ,,\tb=2"}, parent, "0t-_*/@v=a b!~ ,,\tb=2"},
		{"the longest state", []string{"traceparent: " + parent, "tracestate: " + longest}, parent, longest},
		{"a longer state", []string{"traceparent: " + parent, "tracestate: " + longest + "v"}, parent, ""},
		{"a long value", []string{"traceparent: " + parent, "tracestate: " + long(2+257)}, parent, ""},
		{"32 members", []string{"traceparent: " + parent, "tracestate: " + members(32)}, parent, members(32)},
		{"33 members", []string{"traceparent: " + parent, "tracestate: " + members(33)}, parent, ""},
		{"the same key twice", []string{"traceparent: " + parent, "tracestate: a=1,a=2"}, parent, ""},
		{"no value", []string{"traceparent: " + parent, "tracestate: a"}, parent, ""},
		{"an empty value", []string{"traceparent: " + parent, "tracestate: a="}, parent, ""},
		{"a key in capitals", []string{"traceparent: " + parent, "tracestate: A=1"}, parent, ""},
		{"a value with an equals sign", []string{"traceparent: " + parent, "tracestate: a=1=2"}, parent, ""},
		{"not ASCII", []string{"traceparent: " + parent, "tracestate: a=ü"}, parent, ""},
		{"commas only", []string{"traceparent: " + parent, "tracestate: ,,"}, parent, ""},
		{name: "state without a parent", lines: []string{"tracestate: a=1"}},
		{name: "two parents", lines: []string{"traceparent: " + parent, "traceparent: " + parent}},
		{name: "trace of zeros", lines: []string{"traceparent: 00-00000000000000000000000000000000-b7ad6b7169203331-01"}},
		{name: "parent of zeros", lines: []string{"traceparent: 00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01"}},
		{name: "another version", lines: []string{"traceparent: 01" + parent[2:]}},
		{name: "the invalid version", lines: []string{"traceparent: ff" + parent[2:]}},
		{name: "capitals", lines: []string{"traceparent: " + strings.ToUpper(parent)}},
		{name: "not hexadecimal", lines: []string{"traceparent: " + strings.Replace(parent, "7", "g", 1)}},
		{name: "too short", lines: []string{"traceparent: " + parent[:54]}},
		{name: "too long", lines: []string{"traceparent: " + parent + "-x"}},
		{name: "no hyphens", lines: []string{"traceparent: " + strings.ReplaceAll(parent, "-", "_")}},
		{name: "empty", lines: []string{"traceparent:"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			f := newFixture(t, nil)
			if got := exchange(t, f.listen(t), request("/v1/webhooks/fake", "{}", append(test.lines, "X: y")...), false).answer; got.Code != http.StatusOK {
				t.Fatalf("answer = %+v", got)
			}
			trace := f.events(t)[0].GetTraceContext()
			if (trace != nil) != (test.parent != "") || trace.GetTraceparent() != test.parent || trace.GetTracestate() != test.state {
				t.Errorf("trace context %v, want %q, %q", trace, test.parent, test.state)
			}
		})
	}
}

// TestEventOfTheWire sends the real providers' deliveries over the wire, and looks
// at all that comes back from the real log.
func TestEventOfTheWire(t *testing.T) {
	t.Parallel()
	const (
		traceparent = "traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
		body        = " {\"customerId\":\"7\",\t\"eventType\":\"started\",\r\n\"eventId\":\"e-1\",\"payload\":{\"x\":1.0e2,\"x\":\"\xff\"}}\n"
		vezgoBody   = `{"hook":"SyncAccount","user":{"id":"u-1"}}`
	)
	key := secret.New("a partner secret")
	config := all.DefaultConfig()
	config.Finicity.Enabled, config.Vezgo.Enabled, config.Vezgo.AnyClient = true, true, true
	config.Finicity.Clients = map[string]finicity.ClientConfig{testClient: {
		Secrets:        map[string]secret.Secret{"key-1": key},
		RequiredHeader: &finicity.RequiredHeader{Name: "x-gateway-key", Secret: secret.New("hunter2-of-headers")},
	}}
	if got := config.SecretHeaders(); len(got) != 1 || got[0] != "X-Gateway-Key" {
		t.Errorf("SecretHeaders() = %q", got)
	}
	providers, err := all.New(config)
	if err != nil {
		t.Fatal(err)
	}
	logConfig := pebblelog.DefaultConfig()
	logConfig.Path = t.TempDir()
	log, err := pebblelog.Open(logConfig, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = log.Close() })
	cfg := webhook.DefaultConfig()
	cfg.TrustedProxies, cfg.StoredHeaders = []string{"127.0.0.1"}, []string{"x-tenant"}
	handler, err := webhook.New(cfg, providers, log, slog.New(slog.DiscardHandler), prometheus.NewRegistry(), nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	addr := serve(t, cfg, handler)
	signature := finicity.Sign(key, []byte(body))
	for _, delivery := range []string{
		request("/v1/webhooks/"+finicity.Name+"/"+testClient, body, "x-tenant: blue", "x-gateway-key: hunter2-of-headers",
			"x-finicity-signature: "+signature, "user-agent: axios/0.27.2", "content-type: application/json", traceparent),
		request("/v1/webhooks/"+vezgo.Name, vezgoBody, "x-client-id: "+testClient, "x-forwarded-for: "+vezgoSource, "x-tenant: blue"),
	} {
		if got := exchange(t, addr, delivery, false).answer; got.Code != http.StatusOK {
			t.Fatalf("answer = %+v", got)
		}
	}

	g := &gateway{log: log}
	events := g.events(t)
	if len(events) != 2 {
		t.Fatalf("%d events, want 2", len(events))
	}
	for i, want := range []struct {
		body, subject, id, trace string
		headers                  []string
	}{
		{body, "7", "e-1", traceparent[len("traceparent: "):], []string{
			"Content-Type: application/json", "User-Agent: axios/0.27.2", "X-Finicity-Signature: " + signature, "X-Tenant: blue",
		}},
		{vezgoBody, "u-1", "", "", []string{"X-Client-Id: " + testClient, "X-Tenant: blue"}},
	} {
		event := events[i]
		if string(event.GetRawBody()) != want.body {
			t.Errorf("the raw body is %q, want %q", event.GetRawBody(), want.body)
		}
		if event.GetSubject() != want.subject || event.GetProviderEventId() != want.id || event.GetTraceContext().GetTraceparent() != want.trace {
			t.Errorf("event %v, want subject %q, id %q, trace %q", event, want.subject, want.id, want.trace)
		}
		if diff := cmp.Diff(want.headers, pairs(event)); diff != "" {
			t.Errorf("headers (-want +got):\n%s", diff)
		}
	}
	for record, err := range log.Read(t.Context(), 0) {
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(record.Value()), "hunter2-of-headers") {
			t.Error("a required secret is stored")
		}
	}
}
