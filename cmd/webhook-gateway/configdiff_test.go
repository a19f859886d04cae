package main

import (
	"bytes"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestConfigDiff(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	write := func(name, extra string) string {
		path := filepath.Join(dir, name)
		text := `
store: {pebble: {path: ` + filepath.Join(dir, "store") + `}}
listen: {webhooks: '127.0.0.1:0', grpc: '127.0.0.1:0', internal_http: '127.0.0.1:0'}
shutdown: {delay: 0s}
` + extra
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	current := write("gateway.yaml", "providers: {finicity: {enabled: true, clients: {acme: {secrets: {k: env:TEST_SECRET}}}}}\n")
	gateway := begin(t, testEnviron, "serve", "--config", current)
	internal := serving.FindStringSubmatch(gateway.err.waitFor(t, serving.MatchString))[3]

	if out := mustExecute(t, "config", "diff", "--config", current, "--http-addr", internal); !strings.HasPrefix(out, "no difference") {
		t.Errorf("the configuration in force differs from itself:\n%s", out)
	}
	if out := mustExecute(t, "config", "diff", "--config", current, "--http-addr", internal, "-o", "json"); out != "" {
		t.Errorf("as JSON no difference is:\n%s", out)
	}
	next := write("new.yaml", "providers: {finicity: {enabled: true, clients: {acme: {secrets: {k: env:TEST_SECRET, new: env:TEST_SECRET}}}}}\n"+
		"webhooks: {idle_timeout: 1m}\n")
	out := mustExecute(t, "config", "diff", "--config", next, "--http-addr", internal)
	want := "restart  webhooks.idle_timeout: 2m0s -> 1m0s\n" +
		"reload   providers.finicity.clients.acme.secrets.new: (none) -> env:TEST_SECRET\n"
	if out != want {
		t.Errorf("got\n%swant\n%s", out, want)
	}
	// It asks where the new one listens, unless it is told another address.
	moved := write("moved.yaml", "providers: {vezgo: {enabled: true, any_client: true}}\n")
	if text, err := os.ReadFile(moved); err != nil {
		t.Fatal(err)
	} else if err := os.WriteFile(moved, bytes.Replace(text, []byte("internal_http: '127.0.0.1:0'"), []byte("internal_http: '"+internal+"'"), 1), 0o600); err != nil {
		t.Fatal(err)
	}
	if out := mustExecute(t, "config", "diff", "--config", moved); !strings.Contains(out, "restart  listen.internal_http: 127.0.0.1:0 -> "+internal) {
		t.Errorf("by the address in the configuration:\n%s", out)
	}
	out = mustExecute(t, "config", "diff", "--config", next, "--http-addr", internal, "-o", "json")
	if !strings.HasPrefix(out, `{"key":"webhooks.idle_timeout","from":"2m0s","to":"1m0s","needs":"restart"}`+"\n") || strings.Count(out, "\n") != 2 {
		t.Errorf("as JSON:\n%s", out)
	}

	other := httptest.NewServer(http.NotFoundHandler())
	defer other.Close()
	for name, test := range map[string]struct {
		args []string
		code int
		want string
	}{
		"a configuration that is wrong": {[]string{"--config", write("bad.yaml", "nope: 1\n")}, exitUsage, "nope: unknown key"},
		"no gateway":                    {[]string{"--config", current, "--http-addr", "127.0.0.1:1"}, exitFailure, "127.0.0.1:1: no answer: connection refused: is the gateway running?"},
		"any port":                      {[]string{"--config", current}, exitUsage, "listen.internal_http names no port: give --http-addr"},
		"no address":                    {[]string{"--config", current, "--http-addr", "a b"}, exitUsage, `--http-addr "a b:8081" is no address: give host:port`},
		"something else":                {[]string{"--config", current, "--http-addr", other.Listener.Addr().String()}, exitFailure, "404 Not Found: is that the internal HTTP port"},
		"no format":                     {[]string{"--config", current, "-o", "yaml"}, exitUsage, `"yaml" is no format`},
	} {
		code, _, errOut := execute(t, append([]string{"config", "diff"}, test.args...)...)
		if code != test.code || !strings.Contains(errOut, test.want) {
			t.Errorf("%s: ended with %d: %s", name, code, errOut)
		}
	}
	gateway.stop()
	if code := gateway.wait(); code != exitOK {
		t.Errorf("serve ended with %d:\n%s", code, gateway.err)
	}
}
