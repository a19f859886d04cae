package webhook_test

import (
	"errors"
	"log/slog"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/protobuf/testing/protocmp"

	webhookgatewayv1 "github.com/webhook-gateway/webhook-gateway/gen/webhookgateway/v1"
	"github.com/webhook-gateway/webhook-gateway/server/eventlog"
	"github.com/webhook-gateway/webhook-gateway/server/eventlog/pebblelog"
	"github.com/webhook-gateway/webhook-gateway/server/provider"
	"github.com/webhook-gateway/webhook-gateway/server/provider/all"
	"github.com/webhook-gateway/webhook-gateway/server/provider/finicity"
	"github.com/webhook-gateway/webhook-gateway/server/secret"
	"github.com/webhook-gateway/webhook-gateway/server/webhook"
)

const (
	testClient  = "client-1"
	vezgoSource = "52.60.234.183"
)

// gateway is the edge with the real providers and the real log, on a real port,
// behind a proxy on this machine.
type gateway struct {
	url    string
	log    *pebblelog.Log
	secret secret.Secret
}

func newGateway(t *testing.T) *gateway {
	t.Helper()
	g := &gateway{secret: secret.New("a partner secret")}
	providerConfig := all.DefaultConfig()
	providerConfig.Finicity.Enabled = true
	providerConfig.Finicity.Clients = map[string]finicity.ClientConfig{
		testClient: {Secrets: map[string]secret.Secret{"key-1": g.secret}},
	}
	providerConfig.Vezgo.Enabled = true
	providerConfig.Vezgo.Clients = []string{testClient, "client-2"}
	providers, err := all.New(providerConfig)
	if err != nil {
		t.Fatal(err)
	}
	logConfig := pebblelog.DefaultConfig()
	logConfig.Path = t.TempDir()
	g.log, err = pebblelog.Open(logConfig, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = g.log.Close() })
	cfg := webhook.DefaultConfig()
	cfg.TrustedProxies = []string{"127.0.0.1"}
	handler, err := webhook.New(cfg, providers, g.log, slog.New(slog.DiscardHandler), prometheus.NewRegistry(), nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	g.url = "http://" + serve(t, cfg, handler)
	return g
}

func (g *gateway) post(t *testing.T, target, body string, header http.Header) answer {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, g.url+target, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	request.Header = header
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	response, err := client.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	return readReply(t, response).answer
}

// deliver posts a body as its provider does.
func (g *gateway) deliver(t *testing.T, sender provider.Sender, body string) answer {
	t.Helper()
	key := g.secret
	if sender.ID() == webhookgatewayv1.Provider_PROVIDER_VEZGO {
		key = secret.Secret{} // none is configured in the URL
	}
	target, header := sender.Request([]byte(body), testClient, key)
	header.Set("X-Forwarded-For", vezgoSource)
	return g.post(t, target, body, header)
}

func (g *gateway) events(t *testing.T) []*webhookgatewayv1.Event {
	t.Helper()
	var events []*webhookgatewayv1.Event
	for record, err := range g.log.Read(t.Context(), 0) {
		if err != nil {
			t.Fatal(err)
		}
		event, err := record.Event(g.log.History(), webhookgatewayv1.EventView_EVENT_VIEW_RAW)
		if err != nil {
			t.Fatal(err)
		}
		events = append(events, event)
	}
	return events
}

// Every event type of every provider arrives verified, typed and byte for byte.
func TestEverySampleIsStored(t *testing.T) {
	t.Parallel()
	g := newGateway(t)
	type stored struct {
		Type         webhookgatewayv1.EventType
		TypeName     string
		ClientID     string
		Verification *webhookgatewayv1.Verification
		Typed        bool
		DecodeError  string
		RawBody      string
	}
	var want []stored
	for _, sender := range all.Senders() {
		verification := &webhookgatewayv1.Verification{
			Mode:          webhookgatewayv1.VerificationMode_VERIFICATION_MODE_ENFORCE,
			Verdict:       webhookgatewayv1.VerificationVerdict_VERIFICATION_VERDICT_VERIFIED,
			Method:        webhookgatewayv1.VerificationMethod_VERIFICATION_METHOD_SOURCE_ADDRESS,
			SourceAddress: vezgoSource,
		}
		if sender.ID() == webhookgatewayv1.Provider_PROVIDER_FINICITY {
			verification.Method = webhookgatewayv1.VerificationMethod_VERIFICATION_METHOD_HMAC_SHA256
			verification.KeyId = "key-1"
		}
		for _, sample := range sender.Samples() {
			body := string(sender.Fresh(sample.Body))
			if got := g.deliver(t, sender, body); got.Code != http.StatusOK {
				t.Errorf("%s %s: answer = %+v", sender.Name(), sample.TypeName, got)
			}
			want = append(want, stored{sample.Type, sample.TypeName, testClient, verification, true, "", body})
		}
	}
	var got []stored
	for _, event := range g.events(t) {
		got = append(got, stored{
			event.GetType(), event.GetTypeName(), event.GetClientId(), event.GetVerification(),
			event.GetPayload() != nil, event.GetDecodeError(), string(event.GetRawBody()),
		})
	}
	if len(got) != 18 {
		t.Errorf("%d events are stored, want 18", len(got))
	}
	if diff := cmp.Diff(want, got, protocmp.Transform()); diff != "" {
		t.Errorf("events (-want +got):\n%s", diff)
	}
}

// What is authentic is stored, whatever it looks like.
func TestDriftIsStored(t *testing.T) {
	t.Parallel()
	g := newGateway(t)
	var want []string
	for _, sender := range all.Senders() {
		for _, body := range []string{
			`{}`,
			" {\r\n\t\"hook\" : \"Sync\\u0041ccount\", \"eventType\":\"ad\\u0064ed\", \"payload\":{\"x\":123456789012345678901234567890} }\n",
			`{"hook":"Next","eventType":"next","user":7,"payload":["a"]}`,
			`{"hook":{},"eventType":[],"customerId":1e400}`,
			`{"a":1,"a":2}`,
		} {
			if got := g.deliver(t, sender, body); got.Code != http.StatusOK {
				t.Errorf("%s: answer to %s = %+v", sender.Name(), body, got)
			}
			want = append(want, body)
		}
	}
	var got []string
	for _, event := range g.events(t) {
		got = append(got, string(event.GetRawBody()))
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("bodies (-want +got):\n%s", diff)
	}
}

func TestRefusalsOfTheRealProviders(t *testing.T) {
	t.Parallel()
	g := newGateway(t)
	const body = `{"hook":"SyncAccount","eventType":"started","payload":{}}`
	header := func(pairs ...string) http.Header {
		h := http.Header{"Content-Type": {"application/json"}}
		for i := 0; i < len(pairs); i += 2 {
			h.Add(pairs[i], pairs[i+1])
		}
		return h
	}
	signed := func(b string) []string { return []string{"X-Finicity-Signature", finicity.Sign(g.secret, []byte(b))} }
	fromVezgo := []string{"X-Forwarded-For", vezgoSource, "X-Client-Id", testClient}
	tests := []struct {
		name   string
		target string
		header http.Header
		body   string
		want   answer
	}{
		{"unsigned", "/v1/webhooks/finicity/client-1", header(), body, answer{401, "SIGNATURE_MISSING"}},
		{"signature of another body", "/v1/webhooks/finicity/client-1", header(signed("{}")...), body, answer{401, "SIGNATURE_MISMATCH"}},
		{"unknown client", "/v1/webhooks/finicity/nobody", header(signed(body)...), body, answer{404, "CLIENT_UNKNOWN"}},
		{"signed, not JSON", "/v1/webhooks/finicity/client-1", header(signed("x")...), "x", answer{400, "BODY_NOT_JSON_OBJECT"}},
		{"signed array", "/v1/webhooks/finicity/client-1", header(signed("[]")...), "[]", answer{400, "BODY_NOT_JSON_OBJECT"}},
		{"signed and empty", "/v1/webhooks/finicity/client-1", header(signed("")...), "", answer{400, "BODY_NOT_JSON_OBJECT"}},
		{"two objects", "/v1/webhooks/finicity/client-1", header(signed("{}{}")...), "{}{}", answer{400, "BODY_NOT_JSON_OBJECT"}},
		{"from this machine", "/v1/webhooks/vezgo", header("X-Client-Id", testClient), body, answer{403, "SOURCE_NOT_ALLOWED"}},
		{
			"spoofed source", "/v1/webhooks/vezgo",
			header("X-Client-Id", testClient, "X-Forwarded-For", vezgoSource+", 203.0.113.9"), body,
			answer{403, "SOURCE_NOT_ALLOWED"},
		},
		{
			"spoofed source in a header of its own", "/v1/webhooks/vezgo",
			header("X-Client-Id", testClient, "X-Forwarded-For", vezgoSource, "X-Forwarded-For", "203.0.113.9"), body,
			answer{403, "SOURCE_NOT_ALLOWED"},
		},
		{"no client header", "/v1/webhooks/vezgo", header("X-Forwarded-For", vezgoSource), body, answer{403, "CLIENT_ID_MISSING"}},
		{"path and header differ", "/v1/webhooks/vezgo/client-2", header(fromVezgo...), body, answer{403, "CLIENT_ID_MISMATCH"}},
		{
			"client that is not configured", "/v1/webhooks/vezgo",
			header("X-Forwarded-For", vezgoSource, "X-Client-Id", "nobody"), body,
			answer{403, "CLIENT_NOT_ALLOWED"},
		},
		{"not JSON", "/v1/webhooks/vezgo", header(fromVezgo...), `{"a":`, answer{400, "BODY_NOT_JSON_OBJECT"}},
	}
	for _, test := range tests {
		if got := g.post(t, test.target, test.body, test.header); got != test.want {
			t.Errorf("%s: answer = %+v, want %+v", test.name, got, test.want)
		}
	}
	if events := g.events(t); len(events) != 0 {
		t.Errorf("%d refused deliveries are stored", len(events))
	}
}

func TestRetryIsStoredOnceAndConflictIsMarked(t *testing.T) {
	t.Parallel()
	g := newGateway(t)
	sender := finicity.Sender{}
	const body = `{"customerId":"7000000001","eventType":"started","eventId":"1700000000000-0123456789abcdef01234567","payload":{}}`
	changed := strings.Replace(body, "7000000001", "7000000002", 1)
	for _, delivered := range []string{body, body, changed, changed} {
		if got := g.deliver(t, sender, delivered); got.Code != http.StatusOK {
			t.Errorf("answer = %+v", got)
		}
	}
	events := g.events(t)
	if len(events) != 2 {
		t.Fatalf("%d events are stored, want 2", len(events))
	}
	for i, want := range []string{body, changed} {
		if string(events[i].GetRawBody()) != want || events[i].GetEventIdConflict() != (i == 1) {
			t.Errorf("event %d = %v", i, events[i])
		}
	}
}

func TestPingWhileTheRealLogFails(t *testing.T) {
	t.Parallel()
	g := newGateway(t)
	if err := g.log.Close(); err != nil && !errors.Is(err, eventlog.ErrClosed) {
		t.Fatal(err)
	}
	if got := g.deliver(t, finicity.Sender{}, `{"eventType":"ping","payload":{}}`); got.Code != http.StatusOK {
		t.Errorf("answer to a ping = %+v", got)
	}
	if got := g.deliver(t, finicity.Sender{}, `{"eventType":"started","payload":{}}`); got != (answer{503, "LOG_UNAVAILABLE"}) {
		t.Errorf("answer to an event = %+v", got)
	}
}
