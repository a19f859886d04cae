package main

import (
	"bytes"
	"fmt"
	"net"
	"regexp"
	"strconv"
	"strings"
	"testing"

	webhookgatewayv1 "github.com/webhook-gateway/webhook-gateway/gen/webhookgateway/v1"
	"github.com/webhook-gateway/webhook-gateway/server/provider/all"
	"github.com/webhook-gateway/webhook-gateway/server/secret"
)

var privateFields = regexp.MustCompile(`"(?:number|loginName|realAccountNumberLast4|accountNumberDisplay)":"([^"]+)"`)

// A tail goes on over a restart of the gateway: every event once, in order.
func TestTailReconnects(t *testing.T) {
	t.Chdir(t.TempDir())
	gateway := serve(t)
	_, port, err := net.SplitHostPort(gateway.grpc)
	if err != nil {
		t.Fatal(err)
	}
	const each, restarts = 5, 2
	tail := begin(t, nil, "tail", "--addr", gateway.grpc, "--json", "--client", "dev", "--max", strconv.Itoa(each*(restarts+1)))
	tail.err.waitFor(t, has("caught up"))
	for i := range restarts + 1 {
		if i > 0 {
			gateway.stop()
			if code := gateway.wait(); code != exitOK {
				t.Fatalf("serve ended with %d:\n%s", code, gateway.err)
			}
			gateway = serve(t, "WEBHOOK_GATEWAY_LISTEN_GRPC=127.0.0.1:"+port)
		}
		// The tail may not be connected again: what is sent meanwhile must reach it.
		mustExecute(t, "trigger", "added", "--count", strconv.Itoa(each), "--url", "http://"+gateway.webhooks)
		tail.out.waitFor(t, lines(each*(i+1)))
	}
	if code := tail.wait(); code != exitOK {
		t.Errorf("tail ended with %d:\n%s", code, tail.err)
	}
	if want := mustExecute(t, "tail", "--addr", gateway.grpc, "--from", "earliest", "--until", "head", "--json"); tail.out.String() != want {
		t.Errorf("over the restarts came\n%s\nand the log has\n%s", tail.out, want)
	}
	for _, want := range []string{"ended the stream", "connected again"} {
		if !strings.Contains(tail.err.String(), want) {
			t.Errorf("the notes lack %q:\n%s", want, tail.err)
		}
	}
}

func TestTailStarts(t *testing.T) {
	t.Chdir(t.TempDir())
	gateway := serve(t)
	mustExecute(t, "trigger", "--all", "--url", "http://"+gateway.webhooks)
	events := gateway.events(t)
	middle, _ := events[8]["cursor"].(string)
	at, _ := events[9]["receiveTime"].(string)

	for name, test := range map[string]struct {
		args []string
		want int
	}{
		"latest":   {nil, 0},
		"earliest": {[]string{"--from", "earliest"}, 18},
		"ago":      {[]string{"--ago", "1h"}, 18},
		"cursor":   {[]string{"--from", middle}, 9},
		"time":     {[]string{"--from", at}, 9},
		"type":     {[]string{"--from", "earliest", "-t", "finicity.added,SyncError", "-t", "EVENT_TYPE_FINICITY_PING"}, 3},
		"provider": {[]string{"--from", "earliest", "-p", "vezgo"}, 2},
		"max":      {[]string{"--from", "earliest", "-n", "4"}, 4},
	} {
		out := mustExecute(t, append([]string{"tail", "--addr", gateway.grpc, "--until", "head"}, test.args...)...)
		if n := strings.Count(out, "\n"); n != test.want {
			t.Errorf("%s: %d events, want %d:\n%s", name, n, test.want, out)
		}
	}
	if out := mustExecute(t, "tail", "--addr", gateway.grpc, "--from", "earliest", "--until", middle); strings.Count(out, "\n") != 9 {
		t.Errorf("until a cursor came:\n%s", out)
	}
	if out := mustExecute(t, "tail", "--addr", gateway.grpc, "--from", "earliest", "--until", at); strings.Count(out, "\n") != 9 {
		t.Errorf("until a time came:\n%s", out)
	}

	code, _, errOut := execute(t, "tail", "--addr", gateway.grpc, "--from", "yesterday")
	if code != exitUsage || !strings.Contains(errOut, "cursor") {
		t.Errorf("a malformed cursor: %d %s", code, errOut)
	}
	stopped := begin(t, nil, "tail", "--addr", gateway.grpc)
	stopped.err.waitFor(t, has("caught up"))
	stopped.stop()
	if code := stopped.wait(); code != exitOK {
		t.Errorf("an interrupted tail ended with %d", code)
	}
	if code := run(t.Context(), []string{"tail", "--addr", gateway.grpc, "--from", "earliest"}, streams{out: failingWriter{}, err: newOutput()}); code != exitFailure {
		t.Errorf("a tail that cannot print ended with %d", code)
	}
}

// Lines for people hold no account number and no login name, and nothing from
// outside reaches the terminal as a command.
func TestHumanLines(t *testing.T) {
	for _, et := range eventTypes() {
		decoded, err := decode(t, et)
		if err != nil {
			t.Fatal(err)
		}
		decoded.TypeName = et.sample.TypeName
		decoded.Provider = et.sender.ID()
		var line bytes.Buffer
		if err := (humanPrinter{}).write(&line, decoded); err != nil {
			t.Fatal(err)
		}
		for _, private := range privateFields.FindAllSubmatch(et.sample.Body, -1) {
			if bytes.Contains(line.Bytes(), private[1]) {
				t.Errorf("%s: the line has %q: %s", et.name(), private[1], &line)
			}
		}
	}

	var line bytes.Buffer
	hostile := &webhookgatewayv1.Event{
		TypeName: "\x1b[2Jgone", ClientId: "a b", DecodeError: "drift\x07", EventIdConflict: true,
		Verification: &webhookgatewayv1.Verification{
			Verdict: webhookgatewayv1.VerificationVerdict_VERIFICATION_VERDICT_FAILED, Failure: "why: what to do",
		},
		RawBody: []byte("{\"a\":\"\x1b[31m\"}"),
	}
	if err := (humanPrinter{raw: true}).write(&line, hostile); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`"\x1b[2Jgone"`, `"a b"`, "[DRIFT: drift·]", "[CONFLICT", "[UNVERIFIED: why]", `{"a":"·[31m"}`} {
		if !strings.Contains(line.String(), want) {
			t.Errorf("the line lacks %s: %s", want, &line)
		}
	}
	if strings.ContainsAny(line.String(), "\x1b\x07") {
		t.Errorf("a control character reaches the terminal: %q", &line)
	}
}

// decode returns the typed event of a sample, as its provider decodes it.
func decode(t *testing.T, et eventType) (*webhookgatewayv1.Event, error) {
	t.Helper()
	config := localConfig()
	acceptDevelopment(&config, secret.New("test"))
	providers, err := all.New(config.Providers)
	if err != nil {
		return nil, err
	}
	for _, p := range providers {
		if p.ID() == et.sender.ID() {
			decoded, err := p.Decode(et.sample.Body)
			return decoded.Event, err
		}
	}
	return nil, fmt.Errorf("no provider %s", et.sender.Name())
}
