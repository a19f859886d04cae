package main

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
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
	config := write("gateway.yaml", `
store: {pebble: {path: `+filepath.Join(dir, "store")+`}}
shutdown: {delay: 0s}
providers:
  finicity: {enabled: true, clients: {acme: {secrets: {k: file:`+secret+`}}}}
`)
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

	write("secret", "the third secret")
	gateway.err.waitFor(t, func(text string) bool { return strings.Count(text, "the configuration was loaded again") == 2 })
	deliver("the third secret", exitOK)
}
