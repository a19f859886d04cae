package server_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	webhookgatewayv1 "github.com/webhook-gateway/webhook-gateway/gen/webhookgateway/v1"
	"github.com/webhook-gateway/webhook-gateway/server"
	"github.com/webhook-gateway/webhook-gateway/server/provider"
	"github.com/webhook-gateway/webhook-gateway/server/provider/finicity"
	"github.com/webhook-gateway/webhook-gateway/server/secret"
	"github.com/webhook-gateway/webhook-gateway/server/servertest"
	"github.com/webhook-gateway/webhook-gateway/server/tlsfiles"
	"github.com/webhook-gateway/webhook-gateway/server/tlsfiles/tlstest"
)

func withCanary(c *server.Config) { c.Canary.Interval = time.Second }

// metric returns the value of a metric as /metrics writes its name and labels, 0 if it is not
// served.
func metric(t *testing.T, g *servertest.Gateway, name string) float64 {
	t.Helper()
	_, text := get(t, g, "/metrics")
	for line := range strings.Lines(text) {
		if value, ok := strings.CutPrefix(line, name+" "); ok {
			number, err := strconv.ParseFloat(strings.TrimSpace(value), 64)
			if err != nil {
				t.Fatal(err)
			}
			return number
		}
	}
	return 0
}

const (
	canarySucceeded = "webhook_gateway_canary_round_trip_seconds_count"
	canaryLast      = "webhook_gateway_canary_last_success_timestamp_seconds"
)

func canaryFailures(stage string) string {
	return `webhook_gateway_canary_failures_total{stage="` + stage + `"}`
}

func ofCanary() []*webhookgatewayv1.EventFilter {
	return []*webhookgatewayv1.EventFilter{{ClientIds: []string{provider.CanaryClientID}}}
}

// nextEvent returns the next event of a stream, and where its frame begins.
func nextEvent(t *testing.T, stream interface {
	Recv() (*webhookgatewayv1.SubscribeResponse, error)
},
) (event *webhookgatewayv1.Event, after string) {
	t.Helper()
	for {
		frame, err := stream.Recv()
		if err != nil {
			t.Fatal(err)
		}
		if events := frame.GetEvents(); events != nil {
			return events.GetEvents()[0], events.GetAfterCursor()
		}
	}
}

// The canary sees its own event, which came in by the public port, and is stored as a
// verified event of a type that is known. Its deliveries are counted as its own: they do not
// hide that nothing of Finicity comes.
func TestCanary(t *testing.T) {
	begun := time.Now()
	g := servertest.Start(t, withCanary)
	stream := subscribe(t, g, &webhookgatewayv1.SubscribeRequest{
		Filters: ofCanary(), Start: &webhookgatewayv1.SubscribeRequest_StartPosition{StartPosition: webhookgatewayv1.StartPosition_START_POSITION_EARLIEST},
	})
	for range 2 {
		event, _ := nextEvent(t, stream)
		if event.GetVerification().GetVerdict() != webhookgatewayv1.VerificationVerdict_VERIFICATION_VERDICT_VERIFIED ||
			event.GetType() != webhookgatewayv1.EventType_EVENT_TYPE_FINICITY_STARTED || event.GetDecodeError() != "" {
			t.Errorf("the event is %v", event)
		}
	}
	eventually(t, "two round trips", func() bool { return metric(t, g, canarySucceeded) >= 2 })
	if last := metric(t, g, canaryLast); last < float64(begun.Unix()) || last > float64(time.Now().Unix()+1) {
		t.Errorf("the last success was at %v", last)
	}
	if n := metric(t, g, `webhook_gateway_deliveries_total{outcome="stored",provider="canary",verdict="verified"}`); n < 2 {
		t.Errorf("%v deliveries of the canary are counted", n)
	}
	if n := metric(t, g, `webhook_gateway_deliveries_total{outcome="stored",provider="finicity",verdict="verified"}`); n != 0 {
		t.Errorf("%v deliveries of Finicity are counted", n)
	}
	_, text := get(t, g, "/metrics")
	if strings.Contains(text, `client="webhook-gateway-canary"`) {
		t.Error("the canary's secret is among those that are rotated")
	}
	for _, stage := range []string{"subscribe", "send", "answer", "receive"} {
		if n := metric(t, g, canaryFailures(stage)); n != 0 {
			t.Errorf("%v failures at %s", n, stage)
		}
	}
}

// Nobody sees the canary's events who does not ask for them, and each frame begins where the
// one before it ended all the same: in a stream, a list, and a durable subscription.
func TestCanaryIsNobodyElses(t *testing.T) {
	g := servertest.Start(t, withCanary)
	stream := subscribe(t, g, &webhookgatewayv1.SubscribeRequest{})
	subscribed := next(t, stream, (*webhookgatewayv1.SubscribeResponse).GetSubscribed)
	if got := subscribed.GetFilters()[0].GetExcludeClientIds(); !slices.Equal(got, []string{provider.CanaryClientID}) {
		t.Errorf("subscribed shows that %q are excluded", got)
	}
	told := next(t, stream, (*webhookgatewayv1.SubscribeResponse).GetCaughtUp).GetCursor()
	workers := webhookgatewayv1.NewSubscriptionServiceClient(g.Conn())
	created, err := workers.CreateSubscription(t.Context(), &webhookgatewayv1.CreateSubscriptionRequest{
		Subscription: &webhookgatewayv1.Subscription{Name: "team", Start: &webhookgatewayv1.SubscriptionStart{
			Start: &webhookgatewayv1.SubscriptionStart_Position{Position: webhookgatewayv1.StartPosition_START_POSITION_EARLIEST},
		}},
	})
	if err != nil || !slices.Equal(created.GetSubscription().GetFilters()[0].GetExcludeClientIds(), []string{provider.CanaryClientID}) {
		t.Errorf("a subscription: %v, %v", created, err)
	}
	canaries := subscribe(t, g, &webhookgatewayv1.SubscribeRequest{Filters: ofCanary()})
	for range 2 {
		nextEvent(t, canaries)
		g.Deliver(t, webhookgatewayv1.EventType_EVENT_TYPE_FINICITY_ADDED)
		event, after := nextEvent(t, stream)
		if event.GetClientId() != servertest.Client || after != told {
			t.Errorf("the event of %s begins at %s, and the stream was at %s", event.GetClientId(), after, told)
		}
		told = event.GetCursor()
	}
	list, err := webhookgatewayv1.NewEventServiceClient(g.Conn()).ListEvents(t.Context(), &webhookgatewayv1.ListEventsRequest{})
	if err != nil || len(list.GetEvents()) != 2 || list.GetLeftOutEvents() != 0 {
		t.Errorf("the list: %v, %v", list, err)
	}
	consume, err := workers.Consume(t.Context(), &webhookgatewayv1.ConsumeRequest{Subscription: "team"})
	if err != nil {
		t.Fatal(err)
	}
	for got := 0; got < 2; {
		frame, err := consume.Recv()
		if err != nil {
			t.Fatal(err)
		}
		for _, delivery := range frame.GetDeliveries().GetDeliveries() {
			if got++; delivery.GetEvent().GetClientId() != servertest.Client {
				t.Errorf("a worker was given %v", delivery.GetEvent())
			}
		}
	}
}

// Only the canary stores anything for its client, and only while it is on.
func TestNobodyForgesTheCanary(t *testing.T) {
	const path = "/v1/webhooks/finicity/" + provider.CanaryClientID
	body := `{"customerId":"1","eventType":"started","eventId":"1","payload":{}}`
	anyClient := func(c *server.Config) { c.Providers.Vezgo.Clients, c.Providers.Vezgo.AnyClient = nil, true }
	on, off := servertest.Start(t, withCanary, anyClient), servertest.Start(t, anyClient)
	for name, tc := range map[string]struct {
		g      *servertest.Gateway
		path   string
		header map[string]string
		code   int
		reason string
	}{
		"unsigned":                     {on, path, nil, 401, "SIGNATURE_MISSING"},
		"signed by another client":     {on, path, map[string]string{"X-Finicity-Signature": finicity.Sign(secret.New(servertest.FinicitySecret), []byte(body))}, 401, "SIGNATURE_MISMATCH"},
		"signed with nothing":          {on, path, map[string]string{"X-Finicity-Signature": finicity.Sign(secret.Secret{}, []byte(body))}, 401, "SIGNATURE_MISMATCH"},
		"of Vezgo":                     {on, "/v1/webhooks/vezgo", map[string]string{"X-Client-Id": provider.CanaryClientID}, 403, "CLIENT_NOT_ALLOWED"},
		"of Vezgo, while it is off":    {off, "/v1/webhooks/vezgo", map[string]string{"X-Client-Id": provider.CanaryClientID}, 403, "CLIENT_NOT_ALLOWED"},
		"unsigned, while it is off":    {off, path, nil, 404, "CLIENT_UNKNOWN"},
		"with no key, while it is off": {off, path, map[string]string{"X-Finicity-Signature": finicity.Sign(secret.Secret{}, []byte(body))}, 404, "CLIENT_UNKNOWN"},
	} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, tc.g.WebhookURL()+tc.path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", "application/json")
		for key, value := range tc.header {
			req.Header.Set(key, value)
		}
		if code, answer := do(t, req); code != tc.code || !strings.Contains(answer, `"`+tc.reason+`"`) {
			t.Errorf("%s: %d %s, want %d %s", name, code, answer, tc.code, tc.reason)
		}
	}
	list, err := webhookgatewayv1.NewEventServiceClient(off.Conn()).ListEvents(t.Context(), &webhookgatewayv1.ListEventsRequest{Filters: ofCanary()})
	if err != nil || len(list.GetEvents()) != 0 {
		t.Errorf("while it is off: %v, %v", list, err)
	}
	if n := metric(t, off, canaryLast) + metric(t, off, canarySucceeded) + metric(t, off, "webhook_gateway_canary_interval_seconds"); n != 0 {
		t.Error("a canary that is off works")
	}
}

// Each stage fails as it is called.
func TestCanaryFailsByStage(t *testing.T) {
	answers := func(code int) string {
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(code) }))
		t.Cleanup(s.Close)
		return s.URL
	}
	for stage, change := range map[string]func(*server.Config){
		"send":    func(c *server.Config) { c.Canary.URL = fmt.Sprint("http://", nobodyAt(t)) },
		"answer":  func(c *server.Config) { c.Canary.URL = answers(http.StatusFound) },
		"receive": func(c *server.Config) { c.Canary.URL, c.Canary.Timeout = answers(http.StatusOK), 100*time.Millisecond },
	} {
		t.Run(stage, func(t *testing.T) {
			g := servertest.Start(t, withCanary, change, func(c *server.Config) { c.Log.Level = 12 })
			eventually(t, "a failure at "+stage, func() bool { return metric(t, g, canaryFailures(stage)) > 0 })
			if n := metric(t, g, canarySucceeded) + metric(t, g, canaryLast); n != 0 {
				t.Error("it works")
			}
			if code, text := get(t, g, "/readyz"); code != http.StatusOK || strings.Contains(text, "canary") {
				t.Errorf("/readyz: %d %s", code, text)
			}
		})
	}
}

// A gateway that has as many streams as it may have has no place for a reader.
func TestCanaryCannotSubscribe(t *testing.T) {
	r := newReloader(t, func(c *server.Config) { c.Streams.MaxStreams, c.Log.Level = 1, 12 })
	ctx, cancel := context.WithCancel(t.Context())
	stream, err := webhookgatewayv1.NewEventServiceClient(r.g.Conn()).Subscribe(ctx, &webhookgatewayv1.SubscribeRequest{})
	if err != nil {
		t.Fatal(err)
	}
	next(t, stream, (*webhookgatewayv1.SubscribeResponse).GetSubscribed)
	r.mustReload(t, withCanary)
	eventually(t, "a failure", func() bool { return metric(t, r.g, canaryFailures("subscribe")) > 0 })
	cancel()
	eventually(t, "it works again", func() bool { return metric(t, r.g, canarySucceeded) > 0 })
}

// A reload switches the canary on, changes and ends it, and counts no failure.
func TestReloadOfTheCanary(t *testing.T) {
	var proxied atomic.Int64
	r := newReloader(t)
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, in *http.Request) {
		proxied.Add(1)
		out := in.Clone(in.Context())
		out.RequestURI, out.URL.Scheme, out.URL.Host = "", "http", strings.TrimPrefix(r.g.WebhookURL(), "http://")
		resp, err := http.DefaultTransport.RoundTrip(out)
		if err != nil {
			w.WriteHeader(http.StatusBadGateway)
			return
		}
		defer func() { _ = resp.Body.Close() }()
		w.WriteHeader(resp.StatusCode)
		_, _ = io.Copy(w, resp.Body)
	}))
	t.Cleanup(proxy.Close)
	r.mustReload(t, withCanary)
	eventually(t, "a round trip", func() bool { return metric(t, r.g, canarySucceeded) > 0 })
	r.mustReload(t, func(c *server.Config) { c.Canary.URL = proxy.URL })
	before := metric(t, r.g, canarySucceeded)
	eventually(t, "a round trip by the URL", func() bool { return metric(t, r.g, canarySucceeded) > before && proxied.Load() > 0 })
	r.mustReload(t, func(c *server.Config) { c.Canary.Interval = 0 })
	for _, stage := range []string{"subscribe", "send", "answer", "receive"} {
		if n := metric(t, r.g, canaryFailures(stage)); n != 0 {
			t.Errorf("%v failures at %s", n, stage)
		}
	}
	if n := metric(t, r.g, "webhook_gateway_canary_interval_seconds"); n != 0 {
		t.Errorf("the interval is %v", n)
	}
}

// Over TLS it does whatever name the certificate has.
func TestCanaryWithTLS(t *testing.T) {
	pair := tlstest.NewCA(t).Issue(t, time.Now().Add(365*24*time.Hour), "spiffe://example.com/hooks")
	g := servertest.Start(t, withCanary, func(c *server.Config) { c.TLS.Webhooks.Certificate, c.TLS.Webhooks.Key = pair.Certificate, pair.Key })
	eventually(t, "a round trip", func() bool { return metric(t, g, canarySucceeded) > 0 })
}

// With access control it needs nobody's token, and a reader of every client gets its events
// by their client only.
func TestCanaryWithAccess(t *testing.T) {
	g, callers, config := controlled(t)
	withCanary(&config)
	if err := reload(g, config); err != nil {
		t.Fatal(err)
	}
	req := &webhookgatewayv1.SubscribeRequest{Filters: ofCanary()}
	if _, err := webhookgatewayv1.NewEventServiceClient(g.Conn()).ListEvents(t.Context(), &webhookgatewayv1.ListEventsRequest{}); err == nil {
		t.Error("a stranger was answered")
	}
	stream, err := webhookgatewayv1.NewEventServiceClient(g.Conn()).Subscribe(as(t, callers.reader), req)
	if err != nil {
		t.Fatal(err)
	}
	nextEvent(t, stream)
	operator := func(path string) string {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, g.InternalURL()+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Authorization", "Bearer "+callers.operator)
		_, text := do(t, r)
		return text
	}
	eventually(t, "a round trip", func() bool {
		text := operator("/metrics")
		return strings.Contains(text, canarySucceeded) && !strings.Contains(text, canarySucceeded+" 0")
	})
}

// What no canary can work with is refused, with what to do.
func TestCanaryConfig(t *testing.T) {
	for want, change := range map[string]func(*server.Config){
		"canary.interval: must be 1s or more, or 0s for no canary; not 500ms":                        func(c *server.Config) { c.Canary.Interval = 500 * time.Millisecond },
		"canary.interval: must be 1s or more, or 0s for no canary; not -1s":                          func(c *server.Config) { c.Canary.Interval = -time.Second },
		"canary.timeout: must be a positive duration such as 10s, and at most 1m; not 0s":            func(c *server.Config) { c.Canary.Timeout = 0 },
		"canary.timeout: must be a positive duration such as 10s, and at most 1m; not 1m0.001s":      func(c *server.Config) { c.Canary.Timeout = time.Minute + time.Millisecond },
		`canary.url: "hooks.example.com" is no base URL: give one such as https://hooks.example.com`: func(c *server.Config) { c.Canary.URL = "hooks.example.com" },
		`canary.url: "https://a@b/" is no base URL`:                                                  func(c *server.Config) { c.Canary.URL = "https://a@b/" },
		`canary.url: "https://b/?x" is no base URL`:                                                  func(c *server.Config) { c.Canary.URL = "https://b/?x" },
		`canary.url: "https://b/#" is no base URL`:                                                   func(c *server.Config) { c.Canary.URL = "https://b/#" },
		`canary.url: "https://:443" is no base URL`:                                                  func(c *server.Config) { c.Canary.URL = "https://:443" },
		"canary.interval: the canary signs as Finicity does: set providers.finicity.enabled to true, or this to 0s": func(c *server.Config) {
			c.Canary.Interval, c.Providers.Finicity.Enabled = time.Second, false
		},
		"canary.url: tls.webhooks.require_client_certificate is true, and the canary has no certificate": func(c *server.Config) {
			c.Canary.Interval = time.Second
			c.TLS.Webhooks = tlsfiles.Config{Certificate: "c", Key: "k", ClientCA: "ca", RequireClientCertificate: true, MinVersion: "1.2"}
		},
		"providers.finicity.clients.webhook-gateway-canary: the client id webhook-gateway-canary is reserved": func(c *server.Config) {
			c.Providers.Finicity.Clients = map[string]finicity.ClientConfig{provider.CanaryClientID: c.Providers.Finicity.Clients[servertest.Client]}
		},
		"providers.vezgo.clients[0]: the client id webhook-gateway-canary is reserved": func(c *server.Config) { c.Providers.Vezgo.Clients = []string{provider.CanaryClientID} },
	} {
		config := servertest.Config(t)
		change(&config)
		if err := config.Validate(); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("the error is %v, want %s", err, want)
		}
	}
	config := servertest.Config(t)
	withCanary(&config)
	config.Canary.URL = "https://hooks.example.com/gateway/"
	if err := config.Validate(); err != nil {
		t.Error(err)
	}
}
