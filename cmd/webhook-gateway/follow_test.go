package main

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/webhook-gateway/webhook-gateway/server/tlsfiles/tlstest"
)

// A secret is rotated by its file: SIGHUP puts the new one in force, an empty file is
// refused and leaves the old one, and a file that changes needs no signal.
func TestServeFollowsItsFiles(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	secret := write("secret", "the first secret")
	withSecret := func(path string) string {
		return write("gateway.yaml", `
store: {pebble: {path: `+filepath.Join(dir, "store")+`}}
shutdown: {delay: 0s}
providers:
  finicity: {enabled: true, clients: {acme: {secrets: {k: file:`+path+`}}}}
`)
	}
	config := withSecret(secret)
	gateway := serve(t, "WEBHOOK_GATEWAY_CONFIG="+config)
	deliver := func(key string, want int) {
		t.Helper()
		code, out, errOut := execute(t, "trigger", "added", "--url", "http://"+gateway.webhooks, "--client", "acme", "--secret", "file:"+write("key", key))
		if code != want {
			t.Errorf("a delivery signed with %s ended with %d:\n%s%s", key, code, out, errOut)
		}
	}
	deliver("the first secret", exitOK)
	deliver("the second secret", exitFailure)

	write("secret", "the second secret")
	if err := syscall.Kill(os.Getpid(), syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	gateway.err.waitFor(t, has("the configuration was loaded again"))
	deliver("the second secret", exitOK)
	deliver("the first secret", exitFailure)

	write("secret", "")
	text := gateway.err.waitFor(t, has("the new configuration was refused"))
	if !strings.Contains(text, "secret is empty, and a secret is to be read from it") {
		t.Errorf("the refusal does not say why:\n%s", text)
	}
	deliver("the second secret", exitOK)

	// The file that names a secret may be there before the secret is.
	withSecret(filepath.Join(dir, "later"))
	if err := syscall.Kill(os.Getpid(), syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	const loaded = "the configuration was loaded again"
	before := strings.Count(gateway.err.waitFor(t, has("later: no such file")), loaded)
	write("later", "the third secret")
	gateway.err.waitFor(t, func(text string) bool { return strings.Count(text, loaded) > before })
	deliver("the third secret", exitOK)
}

// A change is seen whenever it comes after the first look, whether it was loaded or not:
// while the gateway starts, while it loads, and in a file that is named before it is there.
func TestChangesAreSeen(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	naming := func(names ...string) string {
		text := "providers: {finicity: {enabled: true, clients: {"
		for _, name := range names {
			text += name + ": {secrets: {k: file:" + filepath.Join(dir, name) + "}}, "
		}
		return text + "}}}"
	}
	write("gateway.yaml", naming("a", "b", "c", "d"))
	f := newConfigFiles(filepath.Join(dir, "gateway.yaml"), nil)
	for _, step := range []struct{ name, text string }{
		{"a", "a secret"},
		{"d", "a secret"},
		{"a", "another secret"},
		{"gateway.yaml", naming("a", "e")},
		{"e", "a secret that comes later"},
		{"gateway.yaml", "providers: {fini"},
		{"gateway.yaml", naming("a", "e")},
	} {
		for range 10 {
			if f.changed() {
				t.Fatalf("before %s is written: a change of nothing", step.name)
			}
		}
		for _, half := range []string{"", "pro", step.text} {
			write(step.name, half)
			if f.changed() {
				t.Errorf("%s is loaded while it is written", step.name)
			}
		}
		if !f.changed() {
			t.Errorf("%s is now %q, and nobody sees it", step.name, step.text)
		}
	}
	if err := os.Remove(filepath.Join(dir, "e")); err != nil || f.changed() || !f.changed() {
		t.Errorf("a file is gone (%v), and nobody sees it", err)
	}
}

// Certificates of Kubernetes are links into a folder that is replaced as a whole.
func TestReplacedLinksAreSeen(t *testing.T) {
	dir := t.TempDir()
	put := func(folder, text string) {
		path := filepath.Join(dir, folder)
		if err := os.Mkdir(path, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(path, "tls.crt"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		err := errors.Join(os.Symlink(folder, filepath.Join(dir, "new")), os.Rename(filepath.Join(dir, "new"), filepath.Join(dir, "..data")))
		if err != nil {
			t.Fatal(err)
		}
	}
	put("first", "one")
	if err := os.Symlink("..data/tls.crt", filepath.Join(dir, "tls.crt")); err != nil {
		t.Fatal(err)
	}
	f := newConfigFiles("", []string{"WEBHOOK_GATEWAY_TLS_WEBHOOKS_CERTIFICATE=" + filepath.Join(dir, "tls.crt")})
	put("second", "two")
	if f.changed() || !f.changed() {
		t.Error("another certificate is not seen")
	}
}

// Keys of an issuer that come later than the file that names them are seen: that file was
// refused, and nobody would load it again.
func TestLateKeysOfAnIssuerAreSeen(t *testing.T) {
	file := filepath.Join(t.TempDir(), "keys.json")
	f := newConfigFiles("", []string{"WEBHOOK_GATEWAY_ACCESS_OIDC_JWKS_FILE=" + file})
	if f.changed() {
		t.Error("a change is seen where there is none")
	}
	if err := os.WriteFile(file, []byte(`{"keys": []}`), 0o600); err != nil {
		t.Fatal(err)
	}
	if f.changed() || !f.changed() || f.changed() {
		t.Error("the keys are not loaded once, when they were the same twice")
	}
}

// Of a configuration that is refused for a certificate, its level is not in force either.
func TestRefusedLevel(t *testing.T) {
	ca := tlstest.NewCA(t)
	pair := ca.Issue(t, time.Now().Add(time.Hour), "")
	dir := t.TempDir()
	config := filepath.Join(dir, "gateway.yaml")
	configure := func(level string) {
		t.Helper()
		text := `
store: {pebble: {path: ` + filepath.Join(dir, "store") + `}}
shutdown: {delay: 0s}
log: {level: ` + level + `}
tls: {grpc: {certificate: ` + pair.Certificate + `, key: ` + pair.Key + `}}
providers: {vezgo: {enabled: true, any_client: true, source_addresses: [127.0.0.0/8]}}
`
		if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	configure("info")
	gateway := serve(t, "WEBHOOK_GATEWAY_CONFIG="+config)
	reload := func(says string, times int) {
		t.Helper()
		if err := syscall.Kill(os.Getpid(), syscall.SIGHUP); err != nil {
			t.Fatal(err)
		}
		gateway.err.waitFor(t, func(text string) bool { return strings.Count(text, says) >= times })
	}
	deliver := func() {
		t.Helper()
		mustExecute(t, "trigger", "SyncAccount", "--url", "http://"+gateway.webhooks)
	}
	if err := os.WriteFile(pair.Key, []byte("half a fi"), 0o600); err != nil {
		t.Fatal(err)
	}
	configure("debug")
	reload("the new configuration was refused", 1)
	deliver()
	if text := gateway.err.String(); strings.Contains(text, "level=DEBUG") {
		t.Errorf("the level of a refused configuration is in force:\n%s", text)
	}
	ca.Renew(t, &pair, time.Now().Add(time.Hour), "")
	reload("the configuration was loaded again", 1)
	reload("the configuration was loaded again", 2) // the first has ended
	deliver()
	if text := gateway.err.String(); !strings.Contains(text, "level=DEBUG") {
		t.Errorf("the level is not in force:\n%s", text)
	}
}
