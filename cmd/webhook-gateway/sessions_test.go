package main

import (
	"encoding/json"
	"strings"
	"testing"
)

func TestSessionsCommand(t *testing.T) {
	t.Chdir(t.TempDir())
	gateway := serve(t)
	on := func(args ...string) []string { return append(args, "--addr", gateway.grpc) }
	mustExecute(t, "trigger", "started", "adding", "--url", "http://"+gateway.webhooks)
	out := mustExecute(t, on("sessions")...)
	if !strings.Contains(out, "STATE") || !strings.Contains(out, "open") || !strings.Contains(out, "institutionSupported,processing,added,done") {
		t.Errorf("sessions printed\n%s", out)
	}
	var session struct{ State, ID, Subject string }
	out = mustExecute(t, on("sessions", "--state", "open", "--state", "done", "--limit", "1", "-o", "json")...)
	if err := json.Unmarshal([]byte(out), &session); err != nil || session.State != "SESSION_STATE_OPEN" {
		t.Errorf("as JSON it printed %s (%v)", out, err)
	}
	if out := mustExecute(t, on("sessions", "--stalled", "--subject", session.Subject, "-o", "json")...); out != "" {
		t.Errorf("stalled sessions: %s", out)
	}

	mustExecute(t, on("subscriptions", "create", "team")...)
	if out := mustExecute(t, on("subscriptions", "seek", "team", "earliest", "--dry-run")...); !strings.Contains(out, `"matchingEvents"`) || !strings.Contains(out, `"exact"`) {
		t.Errorf("seek --dry-run printed %s", out)
	}
	if out := mustExecute(t, on("subscriptions", "get", "team")...); strings.Contains(out, "lagEvents") {
		t.Errorf("seek --dry-run has moved the subscription: %s", out)
	}
	if out := mustExecute(t, on("events", "get", session.ID, "--states")...); !strings.Contains(out, "DELIVERY_STATE_PASSED") {
		t.Errorf("events get --states printed %s", out)
	}

	for _, test := range []struct {
		args []string
		code int
		want string
	}{
		{on("sessions", "--state", "lost"), exitUsage, "choose open, done, failed, stalled"},
		{on("sessions", "--limit", "-1"), exitUsage, "--limit must be"},
		{on("sessions", "--client", ""), exitUsage, "client"},
		{on("events", "get", "x", "--states"), exitUsage, "not the id of an event"},
	} {
		code, _, errOut := execute(t, test.args...)
		if code != test.code || !strings.Contains(errOut, test.want) {
			t.Errorf("%v ended with %d and %q, want %d and %q", test.args, code, errOut, test.code, test.want)
		}
	}
}
