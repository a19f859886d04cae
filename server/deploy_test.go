package server_test

import (
	"encoding/json"
	"regexp"
	"strings"
	"testing"
)

var (
	queriedName = regexp.MustCompile(`webhook_gateway_\w+`)
	alertName   = regexp.MustCompile(`(?m)^ *- alert: (\w+)$`)
)

// A query for a metric that is not there shows nothing, and an alert on it never fires.
// Every alert says where docs/operations.md says what to do.
func TestDashboardAndAlerts(t *testing.T) {
	served := servedMetrics(t)
	dashboard := readDocument(t, "../deploy/helm/webhook-gateway/monitoring/dashboard.json")
	if !json.Valid([]byte(dashboard)) {
		t.Error("the dashboard is no JSON")
	}
	alerts := readDocument(t, "../deploy/helm/webhook-gateway/monitoring/alerts.yaml")
	for what, text := range map[string]string{"the dashboard": dashboard, "an alert": alerts} {
		names := queriedName.FindAllString(text, -1)
		if len(names) < 20 {
			t.Errorf("%s asks for %d metrics", what, len(names))
		}
		for _, name := range names {
			if !served[strings.TrimSuffix(name, "_bucket")] {
				t.Errorf("%s asks for %s, which is not served", what, name)
			}
		}
	}
	guide := readDocument(t, "../docs/operations.md")
	for _, match := range alertName.FindAllStringSubmatch(alerts, -1) {
		if name := match[1]; !strings.Contains(guide, "\n### "+name+"\n") || !strings.Contains(alerts, "runbook: docs/operations.md#"+strings.ToLower(name)+"\n") {
			t.Errorf("docs/operations.md has no section for the alert %s, or the alert does not lead to it", name)
		}
	}
	for line := range strings.Lines(guide) {
		if name, ok := strings.CutPrefix(strings.TrimSpace(line), "### WebhookGateway"); ok && !strings.Contains(alerts, "- alert: WebhookGateway"+name+"\n") {
			t.Errorf("docs/operations.md has a section for the alert WebhookGateway%s, which is not there", name)
		}
	}
}
