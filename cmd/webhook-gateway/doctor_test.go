package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
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
