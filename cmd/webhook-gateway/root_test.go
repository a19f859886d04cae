package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestExitCodes(t *testing.T) {
	bad := filepath.Join(t.TempDir(), "bad.yaml")
	if err := os.WriteFile(bad, []byte("providers: {vezgo: {enabled: true}}\nlisten:\n  gprc: :1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		args []string
		code int
		want string // in what it prints to stderr
	}{
		"help":             {[]string{"--help"}, exitOK, ""},
		"version":          {[]string{"version"}, exitOK, ""},
		"completion":       {[]string{"completion", "bash"}, exitOK, ""},
		"unknown command":  {[]string{"sevre"}, exitUsage, `unknown command "sevre"`},
		"unknown flag":     {[]string{"tail", "--nope"}, exitUsage, "`webhook-gateway tail --help`"},
		"argument":         {[]string{"serve", "now"}, exitUsage, "webhook-gateway: "},
		"unknown key":      {[]string{"serve", "--config", bad}, exitUsage, bad + ":3: listen.gprc: unknown key: did you mean listen.grpc?"},
		"config check":     {[]string{"config", "check", "--config", bad}, exitUsage, ":3: listen.gprc: unknown key"},
		"missing config":   {[]string{"serve", "--config", bad + "x"}, exitUsage, "no such file"},
		"no type":          {[]string{"trigger"}, exitUsage, "what should be sent?"},
		"two choices":      {[]string{"trigger", "added", "--all"}, exitUsage, "what should be sent?"},
		"unknown type":     {[]string{"trigger", "addded"}, exitUsage, `"addded" is no event type: choose from finicity.`},
		"unknown provider": {[]string{"trigger", "--session", "--provider", "x"}, exitUsage, `"x" is no provider: choose from finicity, vezgo`},
		"unbounded count":  {[]string{"trigger", "added", "--count", "0"}, exitUsage, "--count"},
		"unbounded rate":   {[]string{"trigger", "added", "--rate", "1e9"}, exitUsage, "--rate"},
		"secret as value":  {[]string{"trigger", "added", "--secret", "hunter2"}, exitUsage, "--secret: a secret is given as env:NAME or file:PATH"},
		"no data file":     {[]string{"trigger", "--data", bad + "x"}, exitUsage, "--data: "},
		"no gateway":       {[]string{"trigger", "ping", "--url", "http://127.0.0.1:1"}, exitFailure, "is the gateway running?"},
		"tail type":        {[]string{"tail", "--type", "x"}, exitUsage, `"x" is no event type`},
		"tail provider":    {[]string{"tail", "--provider", "x"}, exitUsage, `"x" is no provider`},
		"tail two starts":  {[]string{"tail", "--ago", "1h", "--from", "earliest"}, exitUsage, "[ago from]"},
		"tail negative":    {[]string{"tail", "--ago", "-1h"}, exitUsage, "not negative"},
		"tail no gateway":  {[]string{"tail", "--addr", "127.0.0.1:1", "--until", "head"}, exitFailure, "is the gateway running?"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Chdir(t.TempDir())
			code, _, errOut := execute(t, test.args...)
			if code != test.code || !strings.Contains(errOut, test.want) {
				t.Errorf("%v ended with %d, want %d and %q in:\n%s", test.args, code, test.code, test.want, errOut)
			}
			if strings.Contains(errOut, "hunter2") {
				t.Errorf("the secret is printed: %s", errOut)
			}
			if code == exitOK && errOut != "" {
				t.Errorf("stderr has: %s", errOut)
			}
		})
	}
}

func TestCompletionOffersEventTypes(t *testing.T) {
	for _, args := range [][]string{{"tail", "--type", ""}, {"trigger", ""}} {
		out := mustExecute(t, append([]string{"__complete"}, args...)...)
		for _, want := range []string{"finicity.accountsDeleted\n", "vezgo.SyncError\n"} {
			if !strings.Contains(out, want) {
				t.Errorf("completion of %v lacks %q:\n%s", args, want, out)
			}
		}
	}
}

func TestConfigPrint(t *testing.T) {
	path := filepath.Join(t.TempDir(), "gateway.yaml")
	text := "providers: {finicity: {enabled: true, clients: {acme: {secrets: {k: env:TEST_SECRET}}}}}\n"
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	out := mustExecute(t, "config", "print", "--config", path)
	if !strings.Contains(out, "acme:") || !strings.Contains(out, "k: env:TEST_SECRET") || strings.Contains(out, "partner secret") {
		t.Errorf("printed:\n%s", out)
	}
	if out := mustExecute(t, "config", "print", "--env", "--config", path); !strings.Contains(out, "WEBHOOK_GATEWAY_STORE_PEBBLE_PATH\n") {
		t.Errorf("printed:\n%s", out)
	}
	mustExecute(t, "config", "check", "--config", path)
}
