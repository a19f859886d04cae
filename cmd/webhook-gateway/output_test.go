package main

import (
	"bytes"
	"strings"
	"testing"

	webhookgatewayv1 "github.com/webhook-gateway/webhook-gateway/gen/webhookgateway/v1"
	"github.com/webhook-gateway/webhook-gateway/server/servertest"
)

// Colors are for terminals, and for those who want them.
func TestColors(t *testing.T) {
	g := servertest.Start(t)
	g.Deliver(t, webhookgatewayv1.EventType_EVENT_TYPE_FINICITY_ADDED)
	for name, test := range map[string]struct {
		terminal bool
		environ  []string
		want     bool
	}{
		"terminal":     {true, nil, true},
		"NO_COLOR":     {true, []string{"NO_COLOR=1"}, false},
		"NO_COLOR not": {true, []string{"NO_COLOR="}, true},
		"dumb":         {true, []string{"TERM=dumb"}, false},
		"pipe":         {false, nil, false},
	} {
		for _, args := range [][]string{{"events", "list"}, {"tail", "-n", "1", "--stop-at-head"}} {
			var out, errOut bytes.Buffer
			code := run(t.Context(), append(args, "--addr", g.GRPCAddr()), streams{out: &out, err: &errOut, environ: test.environ, terminal: test.terminal})
			if got := strings.Contains(out.String(), "\x1b["); code != exitOK || got != test.want {
				t.Errorf("%s: %v ended with %d, printed %q", name, args, code, out.String())
			}
		}
	}
}

func TestVersionFlag(t *testing.T) {
	if flag, command := mustExecute(t, "--version"), mustExecute(t, "version"); flag != command || !strings.HasPrefix(flag, "webhook-gateway ") {
		t.Errorf("--version prints %q and version %q", flag, command)
	}
}

func TestProgramIsNamedAsItWasStarted(t *testing.T) {
	for program, want := range map[string]string{
		"": "webhook-gateway", "webhook-gateway": "webhook-gateway", "bin/webhook-gateway": "bin/webhook-gateway", "./wg": "./wg",
		"/tmp/go-build1/exe/webhook-gateway": "webhook-gateway",
	} {
		if got := (streams{program: program}).command(); got != want {
			t.Errorf("started as %q it is called %q, want %q", program, got, want)
		}
	}
}
