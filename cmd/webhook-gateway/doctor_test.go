package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/webhook-gateway/webhook-gateway/server"
	"github.com/webhook-gateway/webhook-gateway/server/access"
	"github.com/webhook-gateway/webhook-gateway/server/servertest"
	"github.com/webhook-gateway/webhook-gateway/server/tlsfiles/tlstest"
)

func TestDoctor(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	config := filepath.Join(dir, "gateway.yaml")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(`
store: {pebble: {path: ` + filepath.Join(dir, "store") + `}}
listen: {webhooks: '127.0.0.1:0', grpc: '127.0.0.1:0', internal_http: '127.0.0.1:0'}
providers: {finicity: {enabled: true, clients: {acme: {secrets: {k: env:TEST_SECRET}}}}}
`)
	out := mustExecute(t, "doctor", "--config", config)
	for _, want := range []string{"OK    config    it is valid", "WARN  secrets   providers.finicity.clients.acme.secrets.k has less than 16 bytes\n                choose a longer one", "SKIP  outside "} {
		if !strings.Contains(out, want) {
			t.Errorf("it does not say %q:\n%s", want, out)
		}
	}
	if strings.Contains(out, "partner secret") {
		t.Errorf("the secret is printed:\n%s", out)
	}

	out = mustExecute(t, "doctor", "--config", config, "-o", "json")
	for line := range strings.Lines(out) {
		var f struct{ Check, Status, Text, Do string }
		if err := json.Unmarshal([]byte(line), &f); err != nil || f.Check == "" || f.Status == "" || f.Text == "" || (f.Do == "") != (f.Status == "OK" || f.Status == "SKIP") {
			t.Errorf("%v: %s", err, line)
		}
	}

	code, out, errOut := execute(t, "doctor", "--config", config, "--url", "http://127.0.0.1:1")
	if code != exitFailure || !strings.Contains(out, "FAIL  outside   no answer from http://127.0.0.1:1: ") || !strings.Contains(errOut, "1 failed") {
		t.Errorf("ended with %d:\n%s%s", code, out, errOut)
	}
	write("listen: {gprc: ':1'}\n")
	code, out, _ = execute(t, "doctor", "--config", config)
	if code != exitFailure || !strings.Contains(out, "FAIL  config    "+config+":1: listen.gprc: unknown key: did you mean listen.grpc?\n") {
		t.Errorf("ended with %d:\n%s", code, out)
	}
	for name, args := range map[string][]string{
		"--url: a URL begins with http:// or https://": {"--url", "hooks.example.com"},
		`"yaml" is no format`:                          {"-o", "yaml"},
	} {
		if code, _, errOut := execute(t, append([]string{"doctor"}, args...)...); code != exitUsage || !strings.Contains(errOut, name) {
			t.Errorf("%v ended with %d: %s", args, code, errOut)
		}
	}
}

// Without a configuration it looks at the gateway for development, and makes no secret.
func TestDoctorForDevelopment(t *testing.T) {
	t.Chdir(t.TempDir())
	code, out, errOut := execute(t, "doctor")
	if !strings.Contains(errOut, "about a gateway for development") || !strings.Contains(out, "data does not exist yet") {
		t.Errorf("ended with %d:\n%s%s", code, out, errOut)
	}
	if left, err := os.ReadDir("."); err != nil || len(left) > 0 {
		t.Errorf("it leaves %v behind, %v", left, err)
	}
	if err := os.MkdirAll(filepath.Join("data", devSecretFile), 0o700); err != nil { // cannot be read
		t.Fatal(err)
	}
	if code, out, _ := execute(t, "doctor"); code != exitFailure || !strings.Contains(out, "FAIL  config    keep a Finicity secret") {
		t.Errorf("ended with %d:\n%s", code, out)
	}
}

// Where access is configured the doctor shows the credentials of the command line, and no
// token where others could read it.
func TestDoctorShowsCredentials(t *testing.T) {
	file, sum := createToken(t)
	g := servertest.Start(t, func(c *server.Config) {
		c.Access.Tokens = map[string]access.Token{"billing": {SHA256: sum, Grants: []string{"read"}}}
		c.Access.Grants = map[string]access.GrantConfig{"read": {Filters: []access.FilterConfig{{}}}}
		c.Log.Level = 12 // refusals are expected
	})
	addrs := g.Server().Addrs()
	config := write(t, `
listen: {webhooks: "`+addrs.Webhooks.String()+`", grpc: "`+addrs.GRPC.String()+`", internal_http: "`+addrs.InternalHTTP.String()+`"}
store: {pebble: {path: `+t.TempDir()+`}}
providers: {finicity: {enabled: true, clients: {`+servertest.Client+`: {secrets: {k: "env:SECRET"}}}}}
access: {tokens: {billing: {sha256: `+sum+`, grants: [read]}}, grants: {read: {filters: [{}]}}}
`)
	environ := []string{"SECRET=" + servertest.FinicitySecret}
	const source = "the gateway sees the address of this machine"
	ask := []string{"doctor", "--config", config, "--url", g.WebhookURL()}
	if code, out, _ := executeIn(t, environ, ask...); code != exitOK || !strings.Contains(out, "it asks who calls: give --token-file") || strings.Contains(out, source) {
		t.Errorf("without: %d\n%s", code, out)
	}
	if code, out, _ := executeIn(t, environ, append(ask, "--token-file", file)...); code != exitOK || !strings.Contains(out, source) {
		t.Errorf("with a token: %d\n%s", code, out)
	}
	if code, out, _ := executeIn(t, append(environ, "WHG_TOKEN_FILE="+file), ask...); code != exitOK || !strings.Contains(out, source) {
		t.Errorf("by the environment: %d\n%s", code, out)
	}
	if code, _, errOut := executeIn(t, environ, append(ask, "--token-file", file+"x")...); code != exitUsage || !strings.Contains(errOut, "--token-file: ") {
		t.Errorf("without the file: %d %s", code, errOut)
	}
}

// A token goes where it can be read by nobody else.
func TestCredentialsForListeners(t *testing.T) {
	file, _ := createToken(t)
	ca := tlstest.NewCA(t)
	for _, test := range []struct {
		addr    string
		secured bool
		ca      string
		want    string
	}{
		{"127.0.0.1:8081", false, "", ""},
		{"127.0.0.1:8081", true, "", ""},
		{"10.0.0.1:8081", true, ca.File, ""},
		{"10.0.0.1:8081", true, "", "the token is not sent to 10.0.0.1:8081 without --tls-ca"},
		{"10.0.0.1:8081", false, ca.File, "the token is not sent to 10.0.0.1:8081, which speaks plain text"},
		{"10.0.0.1:8081", false, "", "the token is not sent to 10.0.0.1:8081, which speaks plain text"},
		{"127.0.0.1:8081", true, file, "has no certificate in PEM"},
	} {
		credentials := clientCredentials{tokenFile: file, ca: test.ca}
		_, token, err := credentials.forListener(test.addr, test.secured)
		if (token != "") != (test.want == "") || test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)) {
			t.Errorf("%+v: a token of %d bytes, %v", test, len(token), err)
		}
	}
}
