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
		"argument":         {[]string{"serve", "now"}, exitUsage, "webhook-gateway: `webhook-gateway serve` takes flags only, and \"now\" is none"},
		"no argument":      {[]string{"events", "get"}, exitUsage, "it takes other arguments: `webhook-gateway events get ID`"},
		"one of two":       {[]string{"subscriptions", "seek", "billing"}, exitUsage, "`webhook-gateway subscriptions seek NAME WHERE`"},
		"empty flag":       {[]string{"serve", "--config", ""}, exitUsage, "--config is empty: give it a value, or leave it out"},
		"empty name":       {[]string{"tail", "-s", ""}, exitUsage, "--subscription is empty"},
		"empty filter":     {[]string{"events", "list", "--client", ""}, exitUsage, "--client is empty"},
		"no parked":        {[]string{"parked", "replay", "billing"}, exitUsage, "as `parked list billing` shows them, or give --all"},
		"both parked":      {[]string{"parked", "replay", "billing", "x", "--all"}, exitUsage, "not both"},
		"no gRPC":          {[]string{"backup", "--to", "x", "--http-addr", "http://localhost:8081"}, exitUsage, "give --http-addr localhost:8081"},
		"no backup":        {[]string{"backup", "--to", "x", "--http-addr", "127.0.0.1:1"}, exitFailure, "127.0.0.1:1: no answer: connection refused: is the gateway running?"},
		"no log":           {[]string{"log", "repair", filepath.Dir(bad)}, exitFailure, "the folder has no event log: " + filepath.Dir(bad)},
		"unknown key":      {[]string{"serve", "--config", bad}, exitUsage, bad + ":3: listen.gprc: unknown key: did you mean listen.grpc?"},
		"config check":     {[]string{"config", "check", "--config", bad}, exitUsage, ":3: listen.gprc: unknown key"},
		"no config":        {[]string{"config", "check"}, exitUsage, "there is no configuration: name one by --config or $WEBHOOK_GATEWAY_CONFIG"},
		"missing config":   {[]string{"serve", "--config", bad + "x"}, exitUsage, "no such file"},
		"no type":          {[]string{"trigger"}, exitUsage, "what should be sent?"},
		"two choices":      {[]string{"trigger", "added", "--all"}, exitUsage, "one of them, not several"},
		"negative rate":    {[]string{"trigger", "added", "--rate", "-1"}, exitUsage, "--rate must be more than 0 and at most 1000, or 0 for no limit; not -1"},
		"no scheme":        {[]string{"trigger", "added", "--url", "localhost:8080"}, exitUsage, "--url: a URL begins with http:// or https://: give http://localhost:8080"},
		"address, scheme":  {[]string{"trigger", "added", "--url", "10.0.0.1:8080/x"}, exitUsage, "give http://10.0.0.1:8080/x"},
		"no URL":           {[]string{"trigger", "added", "--url", "http://"}, exitUsage, "--url: a URL is such as http://localhost:8080"},
		"set nothing":      {[]string{"trigger", "added", "--set", "payload.x"}, exitUsage, `--set "payload.x": give a field and its value`},
		"no subcommand":    {[]string{"subscriptions", "lst"}, exitUsage, `unknown command "lst" for "webhook-gateway subscriptions": did you mean get or list?`},
		"no such event":    {[]string{"events", "frobnicate"}, exitUsage, `unknown command "frobnicate" for "webhook-gateway events"`},
		"help for none":    {[]string{"help", "sevre"}, exitUsage, `unknown command "sevre"`},
		"help for no sub":  {[]string{"help", "subscriptions", "lst"}, exitUsage, `unknown command "lst" for "webhook-gateway subscriptions"`},
		"help for one":     {[]string{"help", "subscriptions", "list"}, exitOK, ""},
		"no such shell":    {[]string{"completion", "tcsh"}, exitUsage, `unknown command "tcsh"`},
		"group":            {[]string{"subscriptions"}, exitOK, ""},
		"--version":        {[]string{"--version"}, exitOK, ""},
		"no number":        {[]string{"tail", "-n", "five"}, exitUsage, `invalid argument "five" for "-n, --last" flag: give a whole number`},
		"no duration":      {[]string{"tail", "--ago", "long"}, exitUsage, `invalid argument "long" for "--ago" flag: give a duration such as 90s, 15m, 1h30m or 2d`},
		"no format":        {[]string{"events", "list", "-o", "yaml"}, exitUsage, `"yaml" is no format: choose text or json`},
		"no place":         {[]string{"tail", "--from", "tomorow"}, exitUsage, `--from: "tomorow" is no place in the log: give earliest, latest`},
		"no time":          {[]string{"events", "list", "--until", "latest"}, exitUsage, `--until "latest" is no time`},
		"nowhere":          {[]string{"events", "resend", "x"}, exitUsage, "Give --to"},
		"--to, no scheme":  {[]string{"events", "resend", "x", "--to", "localhost:3000"}, exitUsage, "--to: a URL begins with http:// or https://: give http://localhost:3000"},
		"addr with scheme": {[]string{"tail", "--addr", "http://localhost:9090/"}, exitUsage, "an address is host:port, without http://: give --addr localhost:9090"},
		"addr, no port":    {[]string{"log", "info", "--addr", "localhost:grpc"}, exitUsage, `--addr "localhost:grpc" is no address: give host:port`},
		"tail no host":     {[]string{"tail", "--addr", "nobody.invalid:9090"}, exitFailure, "no such host"},
		"unknown type":     {[]string{"trigger", "addded"}, exitUsage, `"addded" is no event type: choose from finicity.`},
		"unknown provider": {[]string{"trigger", "--session", "--provider", "x"}, exitUsage, `"x" is no provider: choose from finicity, vezgo`},
		"unbounded count":  {[]string{"trigger", "added", "--count", "0"}, exitUsage, "--count"},
		"unbounded rate":   {[]string{"trigger", "added", "--rate", "1e9"}, exitUsage, "--rate"},
		"secret as value":  {[]string{"trigger", "added", "--secret", "hunter2"}, exitUsage, "--secret: a secret is given as env:NAME or file:PATH"},
		"no data file":     {[]string{"trigger", "--data", bad + "x"}, exitUsage, "--data: "},
		"no gateway":       {[]string{"trigger", "ping", "--url", "http://127.0.0.1:1"}, exitFailure, "is the gateway running?"},
		"tail type":        {[]string{"tail", "--type", "x"}, exitUsage, `"x" is no event type`},
		"tail provider":    {[]string{"tail", "--provider", "x"}, exitUsage, `"x" is no provider`},
		"tail two starts":  {[]string{"tail", "--ago", "1h", "--from", "earliest"}, exitUsage, "--ago and --from exclude each other: give one of them"},
		"tail negative":    {[]string{"tail", "--ago", "-1h"}, exitUsage, "give a duration"},
		"tail no gateway":  {[]string{"tail", "--addr", "127.0.0.1:1", "--until", "head"}, exitFailure, "is the gateway running?"},
		"tail at head":     {[]string{"tail", "--addr", "127.0.0.1:1", "--stop-at-head"}, exitFailure, "is the gateway running?"},
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
	// Not the configuration is asked for, so none is needed.
	if out := mustExecute(t, "config", "print", "--env"); !strings.Contains(out, "WEBHOOK_GATEWAY_STORE_PEBBLE_PATH\n") {
		t.Errorf("printed:\n%s", out)
	}
	mustExecute(t, "config", "check", "--config", path)
}
