package server

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"go.yaml.in/yaml/v4"

	"github.com/webhook-gateway/webhook-gateway/server/provider"
	"github.com/webhook-gateway/webhook-gateway/server/provider/finicity"
	"github.com/webhook-gateway/webhook-gateway/server/secret"
)

func writeConfig(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "gateway.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

const valid = `
providers:
  finicity:
    enabled: true
    clients:
      acme: {secrets: {"2026": env:TEST_SECRET}}
`

func TestLoad(t *testing.T) {
	path := writeConfig(t, valid+`
listen: {webhooks: "127.0.0.1:1"}
log: {level: debug, format: json}
store: {pebble: {path: /from/file}, retention: {max_age: 48h}}
shutdown: {timeout: 5s}
`)
	got, err := Load(path, []string{
		"TEST_SECRET=partner secret",
		"WEBHOOK_GATEWAY_STORE_PEBBLE_PATH=/from/env",
		"WEBHOOK_GATEWAY_LISTEN_GRPC=[::1]:2",
		"WEBHOOK_GATEWAY_WEBHOOKS_TRUSTED_PROXIES=[10.0.0.0/8, fd00::/8]",
		"WEBHOOK_GATEWAY_DEBUG_PPROF=true",
		"WEBHOOK_GATEWAY_PROVIDERS_VEZGO_ENABLED=true",
		"WEBHOOK_GATEWAY_PROVIDERS_VEZGO_VERIFICATION=report",
		"WEBHOOK_GATEWAY_CONFIG=ignored, the path is given",
		"UNRELATED=1",
		// What Kubernetes and Docker set for a service named webhook-gateway.
		"WEBHOOK_GATEWAY_SERVICE_HOST=10.1.2.3",
		"WEBHOOK_GATEWAY_SERVICE_PORT=8080",
		"WEBHOOK_GATEWAY_SERVICE_PORT_WEBHOOKS=8080",
		"WEBHOOK_GATEWAY_PORT=tcp://10.1.2.3:8080",
		"WEBHOOK_GATEWAY_PORT_8080_TCP=tcp://10.1.2.3:8080",
		"WEBHOOK_GATEWAY_PORT_8080_TCP_ADDR=10.1.2.3",
		"WEBHOOK_GATEWAY_INTERNAL_SERVICE_HOST=10.1.2.4",
	})
	if err != nil {
		t.Fatal(err)
	}
	want := DefaultConfig()
	want.Listen.Webhooks, want.Listen.GRPC = "127.0.0.1:1", "[::1]:2"
	want.Log.Level, want.Log.Format = -4, "json"
	want.Store.Pebble.Path, want.Store.Retention.MaxAge = "/from/env", 48*time.Hour
	want.Webhooks.TrustedProxies = []string{"10.0.0.0/8", "fd00::/8"}
	want.Shutdown.Timeout = 5 * time.Second
	want.Debug.Pprof = true
	want.Providers.Finicity.Enabled = true
	want.Providers.Finicity.Clients = map[string]finicity.ClientConfig{
		"acme": {Secrets: map[string]secret.Secret{"2026": read(t, "env:TEST_SECRET", "partner secret")}},
	}
	want.Providers.Vezgo.Enabled = true
	want.Providers.Vezgo.Verification = provider.ModeReport
	if diff := cmp.Diff(want, got, sameSecret); diff != "" {
		t.Errorf("the configuration differs (-want +got):\n%s", diff)
	}
}

var sameSecret = cmp.Comparer(func(a, b secret.Secret) bool { return a == b })

// read returns a secret as it is when it was read.
func read(t *testing.T, reference, value string) secret.Secret {
	t.Helper()
	_, name, _ := strings.Cut(reference, ":")
	s, err := secret.Resolve(reference, []string{name + "=" + value})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestLoadWithoutFile(t *testing.T) {
	if _, err := Load(filepath.Join(t.TempDir(), "none.yaml"), nil); err == nil || !strings.Contains(err.Error(), "none.yaml") {
		t.Errorf("a missing file: %v", err)
	}
	for _, path := range []string{"", writeConfig(t, ""), writeConfig(t, "# nothing\n")} {
		if _, err := Load(path, []string{"WEBHOOK_GATEWAY_PROVIDERS_VEZGO_ENABLED=true", "WEBHOOK_GATEWAY_PROVIDERS_VEZGO_CLIENTS=[app]"}); err != nil {
			t.Errorf("configured by the environment alone: %v", err)
		}
	}
}

// What is printed has the references of secrets, and is the same configuration.
func TestPrintedConfigurationLoadsAgain(t *testing.T) {
	file := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(file, []byte("hunter2 hunter2\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	environ := []string{"TEST_SECRET=hunter2 hunter2"}
	path := writeConfig(t, valid+`
      strict:
        verification: report
        secrets: {a.b: file:`+file+`}
        required_header: {name: X-Key, secret: env:TEST_SECRET}
`)
	config, err := Load(path, environ)
	if err != nil {
		t.Fatal(err)
	}
	if !config.Providers.Finicity.Clients["strict"].RequiredHeader.Secret.Equal("hunter2 hunter2") {
		t.Error("the secret of the header was not read")
	}
	text, err := yaml.Dump(config)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"env:TEST_SECRET", "file:" + file} {
		if !strings.Contains(string(text), want) {
			t.Errorf("printed without %s:\n%s", want, text)
		}
	}
	if strings.Contains(string(text), "hunter2") {
		t.Errorf("a secret is printed:\n%s", text)
	}
	again, err := Load(writeConfig(t, string(text)), environ)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(config, again, sameSecret, cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("what is printed is another configuration (-want +got):\n%s", diff)
	}
}
