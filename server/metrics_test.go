package server_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	webhookgatewayv1 "github.com/webhook-gateway/webhook-gateway/gen/webhookgateway/v1"
	"github.com/webhook-gateway/webhook-gateway/server/servertest"
)

// rareMetrics are not served before what they count has happened, or without TLS or a commit
// log.
var rareMetrics = []string{
	"webhook_gateway_tls_certificate_expiry_timestamp_seconds",
	"webhook_gateway_access_refused_total",
	"webhook_gateway_commitlog_applied_sequence",
	"webhook_gateway_commitlog_newest_sequence",
	"webhook_gateway_commitlog_copy_current",
	"webhook_gateway_commitlog_commits_total",
	"webhook_gateway_commitlog_commits_decided_again_total",
	"webhook_gateway_commitlog_copies_made_anew_total",
	"webhook_gateway_subscription_unusable",
	"webhook_gateway_subscription_parked_expired_total",
	"webhook_gateway_subscription_parked_without_event_total",
}

var (
	servedName     = regexp.MustCompile(`(?m)^# TYPE (webhook_gateway_\w+) `)
	documentedName = regexp.MustCompile("`(webhook_gateway_[a-z]+|…)(_[a-z0-9_]+)(?:\\{[a-z,]*\\})?`")
	mentionedName  = regexp.MustCompile(`webhook_gateway_[a-z0-9_]*[a-z0-9]\b[^_*]`)
)

// docs/operations.md has a row for every metric, and none for anything else. No document
// mentions one that is not served.
func TestEveryMetricIsDocumented(t *testing.T) {
	served := servedMetrics(t)
	documented := make(map[string]bool)
	for line := range strings.Lines(readDocument(t, "../docs/operations.md")) {
		cells := strings.Split(line, "|")
		if !strings.HasPrefix(line, "| `webhook_gateway_") || len(cells) < 4 {
			continue
		}
		area := ""
		for _, match := range documentedName.FindAllStringSubmatch(cells[1], -1) {
			if match[1] != "…" {
				area = match[1]
			}
			documented[area+match[2]] = true
		}
	}
	for name := range served {
		if !documented[name] {
			t.Errorf("the metric %s is not documented", name)
		}
	}
	for name := range documented {
		if !served[name] {
			t.Errorf("the documented metric %s is not served", name)
		}
	}
	paths, err := filepath.Glob("../docs/*.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range append(paths, "../README.md", "../CHANGELOG.md", "../SECURITY.md") {
		for _, name := range mentionedName.FindAllString(readDocument(t, path), -1) {
			if name = name[:len(name)-1]; !served[name] {
				t.Errorf("%s mentions %s, which is not served", path, name)
			}
		}
	}
}

// servedMetrics returns the names of the gateway's metrics.
func servedMetrics(t *testing.T) map[string]bool {
	t.Helper()
	g := servertest.Start(t)
	g.Deliver(t, syncAccount, webhookgatewayv1.EventType_EVENT_TYPE_FINICITY_ADDED)
	_, err := webhookgatewayv1.NewSubscriptionServiceClient(g.Conn()).CreateSubscription(t.Context(),
		&webhookgatewayv1.CreateSubscriptionRequest{Subscription: &webhookgatewayv1.Subscription{Name: "billing"}})
	if err != nil {
		t.Fatal(err)
	}
	stream, err := webhookgatewayv1.NewEventServiceClient(g.Conn()).Subscribe(t.Context(), &webhookgatewayv1.SubscribeRequest{})
	if err != nil {
		t.Fatal(err)
	}
	next(t, stream, (*webhookgatewayv1.SubscribeResponse).GetSubscribed)

	served := make(map[string]bool)
	for _, name := range rareMetrics {
		served[name] = true
	}
	_, metrics := get(t, g, "/metrics")
	_, ofCluster := get(t, servertest.Start(t, shares(t)), "/metrics")
	metrics += ofCluster
	for _, match := range servedName.FindAllStringSubmatch(metrics, -1) {
		served[match[1]] = true
	}
	return served
}

func readDocument(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
