package alerts

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// A rule is worth nothing if it does not fit to what a gateway serves. These tests run
// the real one, $GATEWAY, with what it really serves.

func needsGateway(t *testing.T) {
	t.Helper()
	if os.Getenv("GATEWAY") == "" {
		t.Skip("GATEWAY names no binary: make alerts-check does")
	}
}

const healthy = `
providers: {finicity: {enabled: true, clients: {acme: {secrets: {main: env:TEST_SECRET}}}}}
tls: {grpc: {certificate: %s, key: %s}}
`

// body is that of a new event.
func body(n int) string {
	return fmt.Sprintf(`{"customerId":"7000000001","eventType":"started","eventId":"%d","payload":{}}`, n)
}

// TestHealthyGateway: no alert fires while nothing is wrong, be it idle, in use, or
// started anew; and every query of the dashboard returns something.
func TestHealthyGateway(t *testing.T) {
	needsGateway(t)
	cert, key := certificate(t, 90)
	// The time of Prometheus passes much faster than that of the gateway, whose canary must not
	// look late by it.
	g, p := start(t, fmt.Sprintf(healthy, cert, key)+"canary: {interval: 24h}\n"), newPrometheus(t)
	canary := func() bool { return g.number("webhook_gateway_canary_last_success_timestamp_seconds") > 0 }
	g.until(canary)
	quiet := func(when string) {
		t.Helper()
		if fired := p.alerts(); len(fired) > 0 {
			t.Errorf("%s there fire %v", when, fired)
		}
	}
	p.pass(t, g, 45, nil)
	quiet("after the first start")

	g.answer(http.MethodPost, "/v1/subscriptions", `{"name":"billing","start":{"position":"START_POSITION_EARLIEST"}}`)
	g.answer(http.MethodPost, "/v1/subscriptions", `{"name":"quiet","filters":[{"clientIds":["nobody"]}]}`)
	end := g.consume("billing", "acknowledge", "")
	reader := g.call(t.Context(), http.MethodPost, "/v1/events:subscribe", "{}")
	defer func() { _ = reader.Body.Close() }()
	events := 0
	work := func() {
		for range 20 {
			events++
			g.deliver("acme", body(events), true, http.StatusOK)
		}
		g.deliver("acme", body(0), false, http.StatusUnauthorized)
	}
	p.pass(t, g, 45, work)
	quiet("in use")
	for title, queries := range dashboardQueries(t) {
		for _, query := range queries {
			if p.samples(t, query) == 0 {
				t.Errorf("%s shows nothing: %s", title, query)
			}
		}
	}

	g.until(func() bool { return g.number(`webhook_gateway_subscription_lag_events{subscription="billing"}`) == 0 })

	end()
	g.stop()
	g.run()
	g.until(canary)
	g.consume("billing", "acknowledge", "")
	p.pass(t, g, 45, work)
	quiet("after another start")
}

const sick = `
providers:
  finicity:
    enabled: true
    clients:
      acme: {secrets: {main: env:TEST_SECRET}}
      loose: {secrets: {main: env:TEST_SECRET}, verification: report}
store: {unverified_quota_bytes: 4096}
tls: {grpc: {certificate: %s, key: %s}}
telemetry: {endpoint: "127.0.0.1:1", insecure: true}
access:
  tokens: {prometheus: {sha256: %s, grants: [everything]}}
  grants: {everything: {operator: true, filters: [{}], subscriptions: [{prefix: "", manage: true}]}}
`

const spansLost = `webhook_gateway_trace_spans_total{result="lost"}`

// TestSickGateway: what can be brought about quickly, fires.
func TestSickGateway(t *testing.T) {
	needsGateway(t)
	cert, key := certificate(t, 5)
	config := fmt.Sprintf(sick, cert, key, tokenSum())
	g, p := start(t, config, "OTEL_EXPORTER_OTLP_TIMEOUT=20", "OTEL_BSP_SCHEDULE_DELAY=10"), newPrometheus(t)
	for _, name := range []string{"forsaken", "parking"} {
		g.answer(http.MethodPost, "/v1/subscriptions", fmt.Sprintf(`{"name":%q}`, name))
	}
	end := g.consume("parking", "reject", `,"action":"REJECT_ACTION_PARK"`)
	events := 0
	p.pass(t, g, 1, nil)
	for range 1000 {
		events++
		g.deliver("acme", body(events), true, http.StatusOK)
	}
	for n := 0; g.number("webhook_gateway_log_unverified_bytes") < 3300; n-- {
		g.deliver("loose", body(n), false, http.StatusOK)
	}
	g.until(func() bool {
		return g.number(`webhook_gateway_subscription_oldest_unacknowledged_age_seconds{subscription="forsaken"}`) > 0
	})
	g.configure(config + "nonsense: 1\n")
	if err := g.process.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	p.pass(t, g, 40, func() {
		for range 10 {
			events++
			g.deliver("acme", strings.Replace(body(events), `"payload"`, `"unheard":1,"payload"`, 1), true, http.StatusOK)
			g.deliver("acme", body(0), false, http.StatusUnauthorized)
		}
		anonymous := *g
		anonymous.token = ""
		for range 3 {
			if resp := anonymous.call(t.Context(), http.MethodGet, "/v1/log", ""); resp.Body.Close() != nil || resp.StatusCode != http.StatusUnauthorized {
				t.Fatalf("without a token: %s", resp.Status)
			}
		}
		lost := g.number(spansLost)
		g.until(func() bool { return g.number(spansLost) > lost })
	})
	want := []string{
		"WebhookGatewayCallsRefused", "WebhookGatewayCertificateExpires", "WebhookGatewayConfigRefused", "WebhookGatewayDrift",
		"WebhookGatewayNotEnforced", "WebhookGatewayRefusals", "WebhookGatewaySubscriptionIdle", "WebhookGatewaySubscriptionLagging",
		"WebhookGatewaySubscriptionParked", "WebhookGatewayTracesLost", "WebhookGatewayUnverifiedQuota",
	}
	if fired := p.alerts(); !slices.Equal(fired, want) {
		t.Errorf("there fire %v, want %v", fired, want)
	}
	end()
	g.stop()
	p.pass(t, nil, 10, nil)
	if fired := p.alerts(); !slices.Contains(fired, "WebhookGatewayAbsent") {
		t.Errorf("without a gateway there fire %v", fired)
	}
}

// TestFullDisk: a disk with less room than is to be kept free.
func TestFullDisk(t *testing.T) {
	needsGateway(t)
	g, p := start(t, `
providers: {finicity: {enabled: true, clients: {acme: {secrets: {main: env:TEST_SECRET}}}}}
store: {pebble: {disk_reserve: 1000000000000000}}
`), newPrometheus(t)
	n := 0
	p.pass(t, g, 10, func() { n++; g.deliver("acme", body(n), true, http.StatusServiceUnavailable) })
	want := []string{"WebhookGatewayDiskFull", "WebhookGatewayDiskNearlyFull", "WebhookGatewayLogFailing", "WebhookGatewayNotStored"}
	if fired := p.alerts(); !slices.Equal(fired, want) {
		t.Errorf("there fire %v, want %v", fired, want)
	}
}

// TestDamagedGateway: acknowledged events that a crash and a disk have lost.
func TestDamagedGateway(t *testing.T) {
	needsGateway(t)
	cert, key := certificate(t, 90)
	g, p := start(t, fmt.Sprintf(healthy, cert, key)), newPrometheus(t)
	g.answer(http.MethodPost, "/v1/subscriptions", `{"name":"billing"}`)
	p.pass(t, g, 2, nil)
	var delivered time.Time
	for n := range 100 {
		delivered = time.Now().Add(-20 * time.Millisecond) // file systems know the time less exactly
		g.deliver("acme", body(n), true, http.StatusOK)
	}
	g.until(func() bool { // the gateway notes each second how far events were acknowledged
		mark, err := os.Stat(filepath.Join(g.folder, "store", "head.mark"))
		return err == nil && mark.ModTime().After(delivered)
	})
	if err := g.process.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = g.process.Wait() // it was killed
	logs, err := filepath.Glob(filepath.Join(g.folder, "store", "*.log"))
	if err != nil || len(logs) == 0 {
		t.Fatalf("there is no write-ahead log: %v", err)
	}
	newest := slices.Max(logs)
	content, err := os.ReadFile(newest)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(newest, content[:len(bytes.TrimRight(content, "\x00"))/2], 0o600); err != nil {
		t.Fatal(err)
	}
	g.run()
	p.pass(t, g, 2, nil)
	g.deliver("acme", body(100), true, http.StatusOK) // behind the gap
	g.consume("billing", "acknowledge", "")
	g.until(func() bool { return g.number(`webhook_gateway_stream_frames_total{frame="gap"}`) > 0 })
	p.pass(t, g, 2, nil)
	if fired, want := p.alerts(), []string{"WebhookGatewayDamage", "WebhookGatewayGap", "WebhookGatewaySetAside"}; !slices.Equal(fired, want) {
		t.Errorf("there fire %v, want %v", fired, want)
	}
}

// until waits until something is so.
func (g *gateway) until(so func() bool) {
	g.t.Helper()
	for deadline := time.Now().Add(time.Minute); !so(); {
		if time.Now().After(deadline) {
			g.t.Fatal("it has not come about in a minute")
		}
	}
}

// dashboardQueries returns the queries of the dashboard by the titles of its panels.
func dashboardQueries(t *testing.T) map[string][]string {
	t.Helper()
	text, err := os.ReadFile(dashboard)
	if err != nil {
		t.Fatal(err)
	}
	var board struct {
		Panels []struct {
			Title   string `json:"title"`
			Targets []struct {
				Expr string `json:"expr"`
			} `json:"targets"`
		} `json:"panels"`
	}
	if err := json.Unmarshal(text, &board); err != nil {
		t.Fatal(err)
	}
	queries := make(map[string][]string)
	for _, panel := range board.Panels {
		for _, target := range panel.Targets {
			queries[panel.Title] = append(queries[panel.Title], target.Expr)
		}
	}
	return queries
}
