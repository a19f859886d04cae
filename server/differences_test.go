package server_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.yaml.in/yaml/v4"

	"github.com/webhook-gateway/webhook-gateway/server"
)

func loadText(t *testing.T, text string) server.Config {
	t.Helper()
	path := filepath.Join(t.TempDir(), "gateway.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	config, err := server.Load(path, []string{"OLD=the old secret", "NEW=the new secret"})
	if err != nil {
		t.Fatal(err)
	}
	return config
}

func TestDifferences(t *testing.T) {
	const old = `
providers:
  finicity: {enabled: true, clients: {acme: {secrets: {a: env:OLD}}, gone: {secrets: {a: env:OLD}}}}
webhooks: {trusted_proxies: [10.0.0.0/8]}
`
	printed, err := yaml.Dump(loadText(t, old))
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(printed), "the old secret") {
		t.Fatal("the value of a secret is printed")
	}
	for name, test := range map[string]struct {
		config string
		want   []server.Difference
	}{
		"nothing": {old, nil},
		"parts of a key": {`
providers:
  finicity: {enabled: true, clients: {acme: {verification: report, secrets: {a: env:OLD, b: env:NEW}}}}
webhooks: {trusted_proxies: [10.0.0.0/8, 192.168.0.0/16]}
`, []server.Difference{
			{Path: "webhooks.trusted_proxies", From: "[10.0.0.0/8]", To: "[10.0.0.0/8, 192.168.0.0/16]"},
			{Path: "providers.finicity.clients.acme.secrets.b", To: "env:NEW"},
			{Path: "providers.finicity.clients.acme.verification", To: "report"},
			{Path: "providers.finicity.clients.gone.secrets.a", From: "env:OLD"},
		}},
		"restart": {old + "store: {pebble: {path: /elsewhere}, commit_log: {engine: jetstream, jetstream: {urls: [tls://a], password: env:NEW}}}\ncluster: {advertise: a:9091, secret: env:NEW}\nstreams: {max_streams: 5}\ntls: {grpc: {certificate: c, key: k}}\n", []server.Difference{
			{Path: "tls.grpc.certificate", To: "c", Restart: true},
			{Path: "tls.grpc.key", To: "k", Restart: true},
			{Path: "store.pebble.path", From: "data", To: "/elsewhere", Restart: true},
			{Path: "store.commit_log.engine", From: "none", To: "jetstream", Restart: true},
			{Path: "store.commit_log.jetstream.urls", To: "[tls://a]", Restart: true},
			{Path: "store.commit_log.jetstream.password", To: "env:NEW", Restart: true},
			{Path: "cluster.advertise", To: "a:9091", Restart: true},
			{Path: "cluster.secret", To: "env:NEW", Restart: true},
			{Path: "streams.max_streams", From: "10000", To: "5"},
		}},
	} {
		got, err := server.Differences(printed, loadText(t, test.config))
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if diff := cmp.Diff(test.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
	_, err = server.Differences([]byte("listen: {grcp: ':1'}\n"), loadText(t, old))
	if err == nil || !strings.Contains(err.Error(), "of another version: line 1: listen.grcp: unknown key") {
		t.Errorf("a key that this version does not know: %v", err)
	}
}
