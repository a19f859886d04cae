package main

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	webhookgatewayv1 "github.com/webhook-gateway/webhook-gateway/gen/webhookgateway/v1"
	"github.com/webhook-gateway/webhook-gateway/server"
	"github.com/webhook-gateway/webhook-gateway/server/provider"
	"github.com/webhook-gateway/webhook-gateway/server/servertest"
)

func TestEventsList(t *testing.T) {
	g := startWithAll(t, func(config *server.Config) { config.Providers.Finicity.Verification = provider.ModeReport })
	t.Chdir(t.TempDir()) // no secret to sign with
	mustExecute(t, "trigger", "added", "--client", servertest.Client, "--url", g.WebhookURL())
	for name, test := range map[string]struct {
		args []string
		want int
		note string
	}{
		"default":      {nil, 18, "# 1 events were left out because they failed verification: --verdict failed shows them\n"},
		"limit":        {[]string{"--limit", "3"}, 3, "# there may be more: --limit 0 lists all\n"},
		"all":          {[]string{"--limit", "0"}, 18, "left out"},
		"oldest first": {[]string{"--oldest-first", "--limit", "1"}, 1, "there may be more"},
		"filter":       {[]string{"-t", "SyncError", "-p", "vezgo"}, 1, ""},
		"excluded":     {[]string{"--exclude-client", servertest.Client}, 0, "# no stored event matches\n"},
		"not excluded": {[]string{"--exclude-client", "other", "--limit", "0"}, 18, "left out"},
		"failed":       {[]string{"--verdict", "failed"}, 1, ""},
		"from":         {[]string{"--from", "yesterday", "-c", servertest.Client}, 18, "left out"},
		"until":        {[]string{"--until", "yesterday"}, 0, "# no stored event matches\n"},
	} {
		for _, format := range []string{"text", "json"} {
			code, out, errOut := execute(t, append([]string{"events", "list", "--addr", g.GRPCAddr(), "-o", format}, test.args...)...)
			if code != exitOK || strings.Count(out, "\n") != test.want || !strings.Contains(errOut, test.note) || test.note == "" && errOut != "" {
				t.Errorf("%s as %s ended with %d:\n%s%s", name, format, code, out, errOut)
			}
		}
	}

	var newest, oldest struct{ ID, TypeName string }
	for _, list := range []struct {
		to   any
		args []string
	}{{&newest, nil}, {&oldest, []string{"--oldest-first"}}} {
		out := mustExecute(t, append([]string{"events", "list", "--addr", g.GRPCAddr(), "-o", "json", "--limit", "1"}, list.args...)...)
		if err := json.Unmarshal([]byte(out), list.to); err != nil {
			t.Fatal(err)
		}
	}
	if newest.TypeName != "SyncError" || oldest.TypeName != "accountsDeleted" {
		t.Errorf("the newest event is %v, the oldest %v", newest, oldest)
	}
	if out := mustExecute(t, "events", "list", "--addr", g.GRPCAddr(), "--limit", "1"); !strings.HasPrefix(out, newest.ID+"  20") {
		t.Errorf("a line for people begins without the id %s: %s", newest.ID, out)
	}

	if out := mustExecute(t, "events", "get", newest.ID, "--addr", g.GRPCAddr()); !strings.Contains(out, `"id":"`+newest.ID+`"`) || strings.Contains(out, "rawBody") {
		t.Errorf("get printed %s", out)
	}
	if out := mustExecute(t, "events", "get", newest.ID, "--raw", "--addr", g.GRPCAddr()); !strings.Contains(out, "rawBody") {
		t.Errorf("get --raw printed %s", out)
	}
	if code, _, errOut := execute(t, "events", "get", "x", "--addr", g.GRPCAddr()); code != exitUsage || !strings.Contains(errOut, "INVALID_FIELD") {
		t.Errorf("get of no id ended with %d: %s", code, errOut)
	}
}

func TestLogInfo(t *testing.T) {
	g := servertest.Start(t)
	if out := mustExecute(t, "log", "info", "--addr", g.GRPCAddr()); !strings.Contains(out, "0, 0 bytes\n") || !strings.Contains(out, "newest           -\n") {
		t.Errorf("of an empty log info printed\n%s", out)
	}
	g.Deliver(t, webhookgatewayv1.EventType_EVENT_TYPE_VEZGO_SYNC_ERROR)
	if out := mustExecute(t, "log", "info", "--addr", g.GRPCAddr()); !strings.Contains(out, "1, ") || strings.Contains(out, " -\n") { // a cursor may end with one
		t.Errorf("info printed\n%s", out)
	}
	var info struct{ HeadCursor, EventCount string }
	if err := json.Unmarshal([]byte(mustExecute(t, "log", "info", "-o", "json", "--addr", g.GRPCAddr())), &info); err != nil || info.EventCount != "1" || info.HeadCursor == "" {
		t.Errorf("info as JSON is %v (%v)", info, err)
	}
}

// receiver is a service that webhooks are sent to. It refuses some.
type receiver struct {
	*httptest.Server

	mu   sync.Mutex
	got  []*http.Request
	body []string
}

func newReceiver(t *testing.T, refuse func(body string) int) *receiver {
	t.Helper()
	r := &receiver{}
	r.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		body, err := io.ReadAll(req.Body)
		if err != nil {
			t.Error(err)
		}
		r.mu.Lock()
		r.got, r.body = append(r.got, req), append(r.body, string(body))
		r.mu.Unlock()
		w.Header().Set("Location", "/elsewhere")
		w.WriteHeader(refuse(string(body)))
	}))
	t.Cleanup(r.Close)
	return r
}

// What is sent on is what the provider sent, so that whoever has the secret can
// verify it: here another gateway.
func TestForwardIsWhatTheProviderSent(t *testing.T) {
	from, to := startWithAll(t), servertest.Start(t)
	finicity := to.WebhookURL() + "/v1/webhooks/finicity/" + servertest.Client
	out := mustExecute(t, "tail", "--addr", from.GRPCAddr(), "--from", "earliest", "--stop-at-head", "-p", "finicity", "--forward-to", finicity)
	if strings.Count(out, "  200  ") != 16 || strings.Count(out, "\n") != 16 {
		t.Errorf("printed:\n%s", out)
	}
	mustExecute(t, "tail", "--addr", from.GRPCAddr(), "-n", "2", "--stop-at-head", "--forward-to", to.WebhookURL()+"/v1/webhooks/vezgo")
	sent, arrived := storedEvents(t, from.GRPCAddr(), "--raw"), storedEvents(t, to.GRPCAddr(), "--raw")
	if len(sent) != len(arrived) {
		t.Fatalf("%d events were sent on and %d arrived", len(sent), len(arrived))
	}
	for i, event := range sent {
		if event["rawBody"] != arrived[i]["rawBody"] || event["clientId"] != arrived[i]["clientId"] {
			t.Errorf("sent %v and %v arrived", event, arrived[i])
		}
	}
}

// Who sends events on to the gateway that they come from is told that this does not end.
func TestForwardInACircle(t *testing.T) {
	g := startWithAll(t)
	code, out, errOut := execute(t, "tail", "--addr", g.GRPCAddr(), "-n", "1", "-p", "vezgo", "--max", "3", "--forward-to", g.WebhookURL()+"/v1/webhooks/vezgo")
	if code != 0 || strings.Count(out, "  200  ") != 3 {
		t.Errorf("ended with %d:\n%s%s", code, out, errOut)
	}
	if strings.Count(errOut, "is a webhook gateway: if it is the one that the events come from") != 1 {
		t.Errorf("stderr: %s", errOut)
	}
}

func TestForwardPrintsAnswers(t *testing.T) {
	g := startWithAll(t)
	r := newReceiver(t, func(body string) int {
		switch {
		case strings.Contains(body, "SyncError"):
			return http.StatusTeapot
		case strings.Contains(body, "SyncAccount"):
			return http.StatusFound
		}
		return http.StatusNoContent
	})
	args := []string{"tail", "--addr", g.GRPCAddr(), "--from", "earliest", "--stop-at-head", "--forward-to", r.URL + "/hook?x=1"}
	code, out, errOut := execute(t, args...)
	if code != exitFailure || strings.Count(out, "  204  ") != 16 || strings.Count(out, "  418  ") != 1 || strings.Count(out, "  302  ") != 1 ||
		!strings.Contains(errOut, "2 of 18 events were not answered 2xx") {
		t.Errorf("ended with %d:\n%s%s", code, out, errOut)
	}
	if len(r.got) != 18 || r.got[0].RequestURI != "/hook?x=1" || r.got[0].Header.Get("X-Finicity-Signature") == "" || r.got[0].Method != http.MethodPost {
		t.Errorf("the first of %d requests is %v", len(r.got), r.got[0])
	}

	// One that was refused is sent again.
	id, _ := storedEvents(t, g.GRPCAddr(), "-t", "SyncError")[0]["id"].(string)
	if code, out, errOut := execute(t, "events", "resend", id, "--to", r.URL, "--addr", g.GRPCAddr()); code != exitFailure || !strings.Contains(out, id+"  418  ") {
		t.Errorf("resend ended with %d:\n%s%s", code, out, errOut)
	}
	id, _ = storedEvents(t, g.GRPCAddr(), "-t", "ping")[0]["id"].(string)
	if out := mustExecute(t, "events", "resend", id, "--to", r.URL, "--addr", g.GRPCAddr()); !strings.Contains(out, id+"  204  ") {
		t.Errorf("resend printed %s", out)
	}
	if n := len(r.body); n != 20 || r.body[19] != `{"eventType":"ping","payload":{}}` {
		t.Errorf("%d requests came, the last with %s", n, r.body[n-1])
	}

	r.Close()
	code, out, errOut = execute(t, args...)
	if code != exitFailure || strings.Count(out, "no answer: connection refused\n") != 18 || !strings.Contains(errOut, "18 of 18 events") {
		t.Errorf("with nobody there, ended with %d:\n%s%s", code, out, errOut)
	}
}
