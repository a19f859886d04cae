package main

import (
	"bytes"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/webhook-gateway/webhook-gateway/server/servertest"
	"github.com/webhook-gateway/webhook-gateway/server/webhook"
)

// triggerOn returns the arguments that send to a gateway, with its secret.
func triggerOn(g *servertest.Gateway, args ...string) []string {
	return append([]string{"trigger", "--url", g.WebhookURL(), "--client", servertest.Client, "--secret", "env:FINICITY_SECRET"}, args...)
}

func trigger(t *testing.T, stdin string, args ...string) (code int, out, errOut string) {
	t.Helper()
	var o, e bytes.Buffer
	code = run(t.Context(), args, streams{
		in: strings.NewReader(stdin), out: &o, err: &e, environ: []string{"FINICITY_SECRET=" + servertest.FinicitySecret},
	})
	return code, o.String(), e.String()
}

func TestTriggerSetsAndDuplicates(t *testing.T) {
	g := servertest.Start(t)
	code, out, errOut := trigger(t, "", triggerOn(g, "added", "--duplicate", "--count", "2", "--set", "payload.institutionId=4711", "--set", "payload.oauth=false")...)
	if code != exitOK || strings.Count(out, "\n") != 4 || strings.Count(out, "duplicate: it was stored before\n") != 2 {
		t.Errorf("ended with %d:\n%s%s", code, out, errOut)
	}
	out = mustExecute(t, "events", "list", "-o", "json", "--addr", g.GRPCAddr())
	if strings.Count(out, `"institutionId":"4711"`) != 2 || strings.Count(out, "\n") != 2 || strings.Contains(out, "decodeError") {
		t.Errorf("stored is\n%s", out)
	}

	// The same event id with another body.
	body := `{"eventType":"done","eventId":"1","payload":{}}`
	for _, want := range []string{"s\n", "conflict: another body"} { // a line without a note ends with how long it took
		code, out, errOut := trigger(t, body, triggerOn(g, "--data", "-")...)
		if code != exitOK || !strings.Contains(out, "standard input") || !strings.Contains(out, want) {
			t.Errorf("ended with %d, want %q:\n%s%s", code, want, out, errOut)
		}
		body = strings.Replace(body, "{}", `{"a":1}`, 1)
	}
	if code, _, errOut := trigger(t, "not JSON", triggerOn(g, "--data", "-", "--set", "a=1")...); code != exitUsage || !strings.Contains(errOut, "--set a: the body is no JSON") {
		t.Errorf("of a text ended with %d: %s", code, errOut)
	}
}

// A connection that breaks does not end a run: the delivery is sent again, as a
// provider does, and is stored once.
func TestTriggerSurvivesReset(t *testing.T) {
	var requests, broken atomic.Int64
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if n := requests.Add(1); n == 2 || n == 3 || n >= 6 {
			broken.Add(1)
			panic(http.ErrAbortHandler)
		}
		w.Header().Set(webhook.OutcomeHeader, webhook.OutcomeStored)
	}))
	t.Cleanup(s.Close)
	code, out, errOut := trigger(t, "", "trigger", "added", "--url", s.URL, "--count", "3")
	if code != exitOK || strings.Count(out, "  200  ") != 3 || strings.Count(out, "[sent 3 times: the connection was closed]") != 1 {
		t.Errorf("ended with %d:\n%s%s", code, out, errOut)
	}
	code, out, errOut = trigger(t, "", "trigger", "added", "ping", "--url", s.URL)
	if code != exitFailure || strings.Count(out, "no answer: the connection was closed") != 2 || !strings.Contains(errOut, "2 of 2 deliveries were not answered 200") {
		t.Errorf("against one that always breaks, ended with %d:\n%s%s", code, out, errOut)
	}
	if n := broken.Load(); n != 2+2*maxAttempts {
		t.Errorf("%d connections were broken", n)
	}
	s.Close()
	if code, _, errOut := trigger(t, "", "trigger", "added", "--url", s.URL); code != exitFailure || !strings.Contains(errOut, "is the gateway running?") {
		t.Errorf("with nobody there, ended with %d: %s", code, errOut)
	}
}

func TestTriggerKnowsWhatIsNoGateway(t *testing.T) {
	s := httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(s.Close)
	code, out, _ := trigger(t, "", "trigger", "added", "--url", s.URL)
	if code != exitFailure || !strings.Contains(out, "NOT_A_GATEWAY: what answers is not the webhook listener of a gateway: see --url") {
		t.Errorf("ended with %d: %s", code, out)
	}
}

// A wrong --url is answered in words, whatever listens there.
func TestTriggerAtTheWrongPlace(t *testing.T) {
	g := servertest.Start(t)
	for url, want := range map[string]string{
		"http://" + g.GRPCAddr():                                  "no answer: what is there does not speak HTTP: is the gateway running?",
		strings.Replace(g.WebhookURL(), "http://", "https://", 1): "no answer: it speaks http, not https: is the gateway running?",
		g.InternalURL():                                           "--url names the webhook listener of the gateway",
		g.WebhookURL() + "/v1/webhooks":                           "--url names the webhook listener of the gateway",
	} {
		code, out, errOut := trigger(t, "", triggerOn(g, "ping", "--url", url)...)
		if code != exitFailure || !strings.Contains(out+errOut, want) || strings.Contains(out+errOut, "net/http") {
			t.Errorf("%s: ended with %d: %s%s", url, code, out, errOut)
		}
	}
}
