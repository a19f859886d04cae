package main

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"
)

func TestRefusalsAndStreamsCommands(t *testing.T) {
	t.Chdir(t.TempDir())
	gateway := serve(t)
	on := func(args ...string) []string { return append(args, "--addr", gateway.grpc) }
	for range 2 {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+gateway.webhooks+"/v1/webhooks/nobody", strings.NewReader("{}"))
		if err != nil {
			t.Fatal(err)
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.Copy(io.Discard, resp.Body)
		_ = resp.Body.Close()
	}
	if out := mustExecute(t, on("refusals")...); !strings.Contains(out, "REASON") || !strings.Contains(out, "PROVIDER_UNKNOWN") || !strings.Contains(out, "127.0.0.1") {
		t.Errorf("refusals printed\n%s", out)
	}
	var refusal struct{ Reason, Count string }
	out := mustExecute(t, on("refusals", "--reason", "provider_unknown", "--provider", "unspecified", "--limit", "1", "-o", "json")...)
	if err := json.Unmarshal([]byte(out), &refusal); err != nil || refusal.Reason != "ERROR_REASON_PROVIDER_UNKNOWN" || refusal.Count != "2" {
		t.Errorf("as JSON it printed %s (%v)", out, err)
	}
	if out := mustExecute(t, on("refusals", "--client", "acme", "-o", "json")...); out != "" {
		t.Errorf("those of another client: %s", out)
	}

	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+gateway.internal+"/v1/events:subscribe?view=EVENT_VIEW_METADATA", nil)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	resp, err := http.DefaultClient.Do(req.WithContext(ctx))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }() // the stream was only opened
	if out := mustExecute(t, on("streams")...); !strings.Contains(out, "EVENTS/S") || !strings.Contains(out, "metadata") || !strings.Contains(out, "Go-http-client") {
		t.Errorf("streams printed\n%s", out)
	}
	if out := mustExecute(t, on("streams", "-o", "json")...); !strings.Contains(out, `"view":"EVENT_VIEW_METADATA"`) {
		t.Errorf("as JSON it printed %s", out)
	}
	for _, test := range []struct {
		args []string
		want string
	}{
		{on("refusals", "--reason", "bad_luck"), "choose "},
		{on("refusals", "--provider", "stripe"), "choose finicity"},
		{on("refusals", "--reason", "unspecified"), "reasons[0]"},
		{on("refusals", "--limit", "-1"), "--limit must be"},
	} {
		if code, _, errOut := execute(t, test.args...); code != exitUsage || !strings.Contains(errOut, test.want) {
			t.Errorf("%v ended with %d and %q, want %q", test.args, code, errOut, test.want)
		}
	}
}
