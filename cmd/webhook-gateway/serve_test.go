package main

import (
	"encoding/json"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/webhook-gateway/webhook-gateway/server/filemode"
	"github.com/webhook-gateway/webhook-gateway/server/provider/all"
	"github.com/webhook-gateway/webhook-gateway/server/secret"
)

// A served gateway: the command and where it listens.
type served struct {
	*command
	webhooks, grpc, internal string
}

var serving = regexp.MustCompile(`msg="the gateway is serving" webhooks=(\S+) grpc=(\S+) internal_http=(\S+)`)

// serve runs `serve` on free ports unless the environment says otherwise.
func serve(t *testing.T, environ ...string) served {
	t.Helper()
	environ = append([]string{
		"WEBHOOK_GATEWAY_LISTEN_WEBHOOKS=127.0.0.1:0",
		"WEBHOOK_GATEWAY_LISTEN_GRPC=127.0.0.1:0",
		"WEBHOOK_GATEWAY_LISTEN_INTERNAL_HTTP=127.0.0.1:0",
	}, environ...)
	c := begin(t, environ, "serve")
	m := serving.FindStringSubmatch(c.err.waitFor(t, serving.MatchString))
	return served{command: c, webhooks: m[1], grpc: m[2], internal: m[3]}
}

func (s served) events(t *testing.T, flags ...string) []map[string]any {
	t.Helper()
	return storedEvents(t, s.grpc, flags...)
}

// storedEvents returns what the gateway at an address has stored, by tail.
func storedEvents(t *testing.T, addr string, flags ...string) []map[string]any {
	t.Helper()
	out := mustExecute(t, append([]string{"tail", "--addr", addr, "--from", "earliest", "--stop-at-head", "--json"}, flags...)...)
	var list []map[string]any
	for line := range strings.Lines(out) {
		var event map[string]any
		if err := json.Unmarshal([]byte(line), &event); err != nil {
			t.Fatalf("%v: %s", err, line)
		}
		list = append(list, event)
	}
	return list
}

func typesOf(events []map[string]any) []string {
	var names []string
	for _, event := range events {
		name, _ := event["typeName"].(string)
		names = append(names, name)
	}
	return names
}

func TestServeForDevelopment(t *testing.T) {
	t.Chdir(t.TempDir())
	gateway := serve(t)
	gateway.err.waitFor(t, has("THIS GATEWAY RUNS FOR DEVELOPMENT"))

	info, err := os.Stat("data/dev-finicity-secret")
	if err != nil {
		t.Fatal(err)
	}
	if info.Mode().Perm() != 0o600 {
		t.Errorf("the secret has the mode %v", info.Mode())
	}
	if problems, err := filemode.CheckFolder("data"); err != nil || len(problems) > 0 {
		t.Errorf("the folder is not private: %v, %v", problems, err)
	}
	kept, err := os.ReadFile("data/dev-finicity-secret")
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(gateway.err.String(), strings.TrimSpace(string(kept))) {
		t.Error("the secret is printed")
	}

	// The secret is found in ./data, in the folder of the gateway.
	out := mustExecute(t, "trigger", "--all", "--url", "http://"+gateway.webhooks)
	if n := strings.Count(out, "  200  "); n != 18 {
		t.Errorf("%d deliveries were answered 200, want 18:\n%s", n, out)
	}
	if n := strings.Count(gateway.err.String(), `level=INFO msg="delivery accepted" provider=`); n != 18 {
		t.Errorf("%d deliveries are logged:\n%s", n, gateway.err)
	}
	var want []string
	for _, et := range all.EventTypes() {
		want = append(want, et.Sample.TypeName)
	}
	if diff := cmp.Diff(want, typesOf(gateway.events(t))); diff != "" {
		t.Errorf("what arrived differs (-want +got):\n%s", diff)
	}
	for _, event := range gateway.events(t, "--verdict", "verified", "--provider", "vezgo") {
		if got, _ := event["verification"].(map[string]any); got["mode"] != "VERIFICATION_MODE_ENFORCE" {
			t.Errorf("a delivery of Vezgo's was verified by %v", got)
		}
	}
	if got := gateway.events(t, "--verdict", "failed", "--verdict", "not-checked"); len(got) != 0 {
		t.Errorf("not verified: %v", got)
	}
	gateway.stop()
	if code := gateway.wait(); code != exitOK {
		t.Errorf("serve ended with %d:\n%s", code, gateway.err)
	}

	again := serve(t)
	if now, err := os.ReadFile("data/dev-finicity-secret"); err != nil || string(now) != string(kept) {
		t.Errorf("a restart changed the secret: %v", err)
	}
	mustExecute(t, "trigger", "--session", "--url", "http://"+again.webhooks)
	got := typesOf(again.events(t))[18:]
	if diff := cmp.Diff([]string{"started", "institutionSupported", "adding", "processing", "added", "done"}, got); diff != "" {
		t.Errorf("the session differs (-want +got):\n%s", diff)
	}
}

func TestDevelopmentListensOnLocalhostOnly(t *testing.T) {
	listen := localConfig().Listen
	for _, address := range []string{listen.Webhooks, listen.GRPC, listen.InternalHTTP} {
		if host, _, err := net.SplitHostPort(address); err != nil || host != "localhost" {
			t.Errorf("a gateway for development listens on %s", address)
		}
	}
}

func TestServeEnforcesWhatIsConfigured(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	path := filepath.Join(dir, "gateway.yaml")
	config := `
store: {pebble: {path: ` + filepath.Join(dir, "store") + `}}
providers:
  finicity: {enabled: true, clients: {acme: {secrets: {k: env:TEST_SECRET}}}}
  vezgo: {enabled: true, clients: [dev]}
`
	if err := os.WriteFile(path, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	gateway := serve(t, append(testEnviron, "WEBHOOK_GATEWAY_CONFIG="+path)...)
	if strings.Contains(gateway.err.String(), "DEVELOPMENT") {
		t.Error("a configured gateway runs for development")
	}
	url := "http://" + gateway.webhooks
	mustExecute(t, "trigger", "added", "--url", url, "--client", "acme", "--secret", "env:TEST_SECRET", "--count", "3", "--rate", "1000")

	other := filepath.Join(dir, "other")
	if err := os.WriteFile(other, []byte("another secret\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		args []string
		want string
	}{
		"source":    {[]string{"SyncError"}, "providers.vezgo.source_addresses"},
		"no secret": {[]string{"added", "--client", "acme"}, "give --secret"},
		"secret":    {[]string{"added", "--client", "acme", "--secret", "file:" + other}, "another secret for the client acme"},
		"client":    {[]string{"added", "--secret", "env:TEST_SECRET"}, "CLIENT_UNKNOWN"},
		"body":      {[]string{"--data", other, "--client", "acme", "--secret", "env:TEST_SECRET"}, "BODY_NOT_JSON_OBJECT"},
	} {
		code, out, errOut := execute(t, append([]string{"trigger", "--url", url}, test.args...)...)
		if code != exitFailure || !strings.Contains(out, test.want) || !strings.Contains(errOut, "1 of 1 deliveries were not answered 200") {
			t.Errorf("%s: ended with %d:\n%s%s", name, code, out, errOut)
		}
	}

	body := filepath.Join(dir, "body.json")
	if err := os.WriteFile(body, []byte(`{"eventType":"brandNew","eventId":"1","payload":{}}`), 0o600); err != nil {
		t.Fatal(err)
	}
	mustExecute(t, "trigger", "--data", body, "--url", url, "--client", "acme", "--secret", "env:TEST_SECRET", "--count", "2")
	if diff := cmp.Diff([]string{"added", "added", "added", "brandNew"}, typesOf(gateway.events(t))); diff != "" {
		t.Errorf("what was stored differs (-want +got):\n%s", diff)
	}
	if got := gateway.events(t, "--type", "unrecognized", "--raw"); len(got) != 1 || got[0]["rawBody"] == nil {
		t.Errorf("the events of unknown types are %v", got)
	}
	if got := gateway.events(t, "--client", "nobody"); len(got) != 0 {
		t.Errorf("the events of another client are %v", got)
	}
}

func TestServeWithoutFileButConfigured(t *testing.T) {
	t.Chdir(t.TempDir())
	gateway := serve(t, "WEBHOOK_GATEWAY_PROVIDERS_VEZGO_ENABLED=true", "WEBHOOK_GATEWAY_PROVIDERS_VEZGO_ANY_CLIENT=true")
	if strings.Contains(gateway.err.String(), "DEVELOPMENT") {
		t.Error("a gateway configured by the environment runs for development")
	}
	if code, out, _ := execute(t, "trigger", "SyncAccount", "--url", "http://"+gateway.webhooks); code != exitFailure {
		t.Errorf("Vezgo's source was not checked:\n%s", out)
	}
}

func TestDemo(t *testing.T) {
	if delay := demoConfig("", secret.Secret{}).Shutdown.Delay; delay != 0 {
		t.Errorf("the demo waits %v for a load balancer that it does not have", delay)
	}
	out := mustExecute(t, "demo")
	for _, et := range all.EventTypes() {
		if !strings.Contains(out, et.Sample.TypeName) {
			t.Errorf("the demo does not show %s", et.Name())
		}
	}
	for _, want := range []string{"refused: 401", "stored once", "goodbye"} {
		if !strings.Contains(out, want) {
			t.Errorf("the demo does not say %q:\n%s", want, out)
		}
	}
}
