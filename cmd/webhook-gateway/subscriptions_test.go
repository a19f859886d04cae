package main

import (
	"encoding/json"
	"strings"
	"testing"

	webhookgatewayv1 "github.com/webhook-gateway/webhook-gateway/gen/webhookgateway/v1"
)

func TestSubscriptionCommands(t *testing.T) {
	t.Chdir(t.TempDir())
	gateway := serve(t)
	on := func(args ...string) []string { return append(args, "--addr", gateway.grpc) }
	mustExecute(t, "trigger", "--all", "--url", "http://"+gateway.webhooks)

	var created struct {
		Name     string
		Settings map[string]any
	}
	out := mustExecute(t, on("subscriptions", "create", "team", "--from", "earliest", "--type", "added", "--type", "SyncError", "--ordering", "subject", "--max-attempts", "3")...)
	if err := json.Unmarshal([]byte(out), &created); err != nil || created.Name != "team" ||
		created.Settings["ordering"] != "ORDERING_BY_SUBJECT" || created.Settings["maxAttempts"] != 3.0 {
		t.Errorf("create printed %s (%v)", out, err)
	}
	if out := mustExecute(t, on("subscriptions", "list")...); !strings.Contains(out, "team  18") ||
		strings.Contains(out, "OWNER") || strings.Contains(out, "UNUSABLE") { // a gateway alone has no owners, and this one nothing that is unusable
		t.Errorf("list printed\n%s", out)
	}
	printed := mustExecute(t, on("tail", "--subscription", "team", "--max", "2", "--json")...)
	if strings.Count(printed, "\n") != 2 || !strings.Contains(printed, `"typeName":"added"`) {
		t.Errorf("tail printed\n%s", printed)
	}
	for _, state := range []string{"lagEvents", "inFlightEvents"} {
		if out := mustExecute(t, on("subscriptions", "get", "team")...); strings.Contains(out, state) {
			t.Errorf("after everything was acknowledged, get prints %s", out)
		}
	}
	// An update changes what its flags name, and nothing else.
	var updated struct {
		Filters  []struct{ EventTypes []string }
		Settings map[string]any
	}
	out = mustExecute(t, on("subscriptions", "update", "team", "--ack-deadline", "1m")...)
	if err := json.Unmarshal([]byte(out), &updated); err != nil || len(updated.Filters) != 1 || len(updated.Filters[0].EventTypes) != 2 ||
		updated.Settings["ackDeadline"] != "60s" || updated.Settings["ordering"] != "ORDERING_BY_SUBJECT" || updated.Settings["maxAttempts"] != 3.0 {
		t.Errorf("update of the deadline printed %s (%v)", out, err)
	}
	out = mustExecute(t, on("subscriptions", "update", "team", "--type", "added", "--never-park")...)
	if err := json.Unmarshal([]byte(out), &updated); err != nil || len(updated.Filters[0].EventTypes) != 1 ||
		updated.Settings["ackDeadline"] != "60s" || updated.Settings["maxAttempts"] != -1.0 {
		t.Errorf("update of the filter printed %s (%v)", out, err)
	}
	mustExecute(t, on("subscriptions", "seek", "team", "earliest")...)
	if printed := mustExecute(t, on("tail", "--subscription", "team", "--max", "1")...); !strings.Contains(printed, "added") {
		t.Errorf("after the seek, tail printed\n%s", printed)
	}
	if out := mustExecute(t, on("parked", "list", "team")...); out != "" {
		t.Errorf("parked list printed %q", out)
	}
	if out := mustExecute(t, on("parked", "replay", "team", "--all")...); out != "replayed 0\n" {
		t.Errorf("parked replay printed %q", out)
	}
	if out := mustExecute(t, on("parked", "discard", "team", "--all")...); out != "discarded 0\n" {
		t.Errorf("parked discard printed %q", out)
	}
	mustExecute(t, on("subscriptions", "delete", "team")...)

	for _, test := range []struct {
		args []string
		code int
		want string
	}{
		{on("subscriptions", "get", "team"), exitFailure, "there is no subscription with this name"},
		{on("subscriptions", "create", "No Good"), exitUsage, "subscription.name"},
		{on("subscriptions", "create", "team", "--ordering", "wild"), exitUsage, "choose none, subject or strict"},
		{on("subscriptions", "create"), exitUsage, "webhook-gateway subscriptions create NAME"},
		{on("subscriptions", "create", "team", "-p", "vezgo", "-t", "finicity.added"), exitUsage, "is a type of PROVIDER_FINICITY"},
		{on("subscriptions", "update", "team"), exitUsage, "Give a flag for each"},
		{on("parked", "replay", "team"), exitUsage, "give --all"},
		{on("parked", "discard", "team", "x", "--all"), exitUsage, "give --all"},
		{on("parked", "list", "team"), exitFailure, "there is no subscription with this name"},
		{on("tail", "--subscription", "team"), exitFailure, "there is no subscription with this name"},
		{on("tail", "--subscription", "team", "--from", "earliest"), exitUsage, "--from and --subscription exclude each other"},
	} {
		code, _, errOut := execute(t, test.args...)
		if code != test.code || !strings.Contains(errOut, test.want) {
			t.Errorf("%v ended with %d and %q, want %d and %q", test.args, code, errOut, test.code, test.want)
		}
	}
}

// TestSubscriptionsTable: columns that say something of few subscriptions are there if they do.
func TestSubscriptionsTable(t *testing.T) {
	list := []*webhookgatewayv1.Subscription{
		{Name: "team", Status: &webhookgatewayv1.SubscriptionStatus{UnreadEvents: 18}},
		{Name: "billing", Status: &webhookgatewayv1.SubscriptionStatus{Owner: "gateway-1:9091", Unusable: "a newer gateway wrote it"}},
	}
	for n, want := range map[int]string{
		1: "NAME  UNREAD  READY  IN FLIGHT  WAITING  PARKED  STREAMS\n" +
			"team  18      0      0          0        0       0\n",
		2: "NAME     UNREAD  READY  IN FLIGHT  WAITING  PARKED  STREAMS  OWNER           UNUSABLE\n" +
			"team     18      0      0          0        0       0        -               -\n" +
			"billing  0       0      0          0        0       0        gateway-1:9091  a newer gateway wrote it\n",
	} {
		var out strings.Builder
		if err := printSubscriptions(&out, list[:n]); err != nil || out.String() != want {
			t.Errorf("of %d is printed\n%swant\n%s(%v)", n, out.String(), want, err)
		}
	}
}
