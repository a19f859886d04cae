package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/webhook-gateway/webhook-gateway/server"
	"github.com/webhook-gateway/webhook-gateway/server/access"
	"github.com/webhook-gateway/webhook-gateway/server/servertest"
)

// createToken has `token create` make a token, and returns its file, and its SHA-256 as it is
// printed for the configuration.
func createToken(t *testing.T) (file, sum string) {
	t.Helper()
	code, out, errOut := execute(t, "token", "create", "--name", "billing")
	printed := regexp.MustCompile(`(?m)^    billing:\n      sha256: ([0-9a-f]{64})$`).FindStringSubmatch(errOut)
	if code != exitOK || !regexp.MustCompile(`^whg_[0-9a-f]{64}\n$`).MatchString(out) || printed == nil {
		t.Fatalf("token create: %d\n%s\n%s", code, out, errOut)
	}
	file = filepath.Join(t.TempDir(), "billing.token")
	if err := os.WriteFile(file, []byte(out), 0o600); err != nil {
		t.Fatal(err)
	}
	return file, printed[1]
}

// TestTokens: what `token create` prints is what a gateway and every command that calls
// one take.
func TestTokens(t *testing.T) {
	file, sum := createToken(t)
	g := servertest.Start(t, func(c *server.Config) {
		c.Access.Tokens = map[string]access.Token{"billing": {SHA256: sum, Grants: []string{"all"}}}
		c.Access.Grants = map[string]access.GrantConfig{"all": {
			Filters: []access.FilterConfig{{}}, Subscriptions: []access.SubscriptionConfig{{Manage: true}}, Operator: true,
		}}
		c.Log.Level = 12 // refusals are expected
	})
	internal := strings.TrimPrefix(g.InternalURL(), "http://")
	for _, args := range [][]string{
		{"log", "info", "--addr", g.GRPCAddr()},
		{"events", "list", "--addr", g.GRPCAddr()},
		{"tail", "--stop-at-head", "--addr", g.GRPCAddr()},
		{"subscriptions", "create", "team", "--addr", g.GRPCAddr()},
		{"parked", "list", "team", "--addr", g.GRPCAddr()},
		{"call", "EventService/GetLogInfo", "--addr", g.GRPCAddr()},
		{"backup", "--to", filepath.Join(t.TempDir(), "copy"), "--http-addr", internal},
	} {
		if code, _, errOut := execute(t, args...); code != exitFailure || !strings.Contains(errOut, "CREDENTIALS_MISSING") {
			t.Errorf("%v without a token: %d %s", args, code, errOut)
		}
		if code, out, errOut := execute(t, append(args, "--token-file", file)...); code != exitOK {
			t.Errorf("%v with a token: %d %s %s", args, code, out, errOut)
		}
	}
	if code, out, errOut := executeIn(t, []string{"WHG_TOKEN_FILE=" + file}, "log", "info", "--addr", g.GRPCAddr()); code != exitOK {
		t.Errorf("with WHG_TOKEN_FILE: %d %s %s", code, out, errOut)
	}
}

func TestCredentialsThatAreRefused(t *testing.T) {
	file := filepath.Join(t.TempDir(), "token")
	empty := filepath.Join(t.TempDir(), "empty")
	for path, text := range map[string]string{file: "whg_secret\n", empty: "\n"} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, tc := range []struct {
		args []string
		want string
	}{
		{[]string{"--token-file", file, "--addr", "gateway.internal:9090"}, "anybody on the way to gateway.internal:9090 could read the token"},
		{[]string{"--token-file", file, "--addr", "10.0.0.1"}, "anybody on the way to 10.0.0.1:9090 could read the token"},
		{[]string{"--token-file", empty}, "has no token"},
		{[]string{"--token-file", file + "x"}, "no such file"},
		{[]string{"--tls-ca", file}, "has no certificate in PEM"},
		{[]string{"--tls-ca", file + "x"}, "no such file"},
		{[]string{"--tls-cert", file}, "give both, or neither"},
		{[]string{"--tls-cert", file, "--tls-key", file}, "--tls-cert and --tls-key: "},
	} {
		code, _, errOut := execute(t, append([]string{"log", "info"}, tc.args...)...)
		if code != exitUsage || !strings.Contains(errOut, tc.want) || strings.Contains(errOut, "whg_secret") {
			t.Errorf("%v: %d %s", tc.args, code, errOut)
		}
	}
	code, _, errOut := execute(t, "backup", "--to", "-", "--http-addr", "10.0.0.1:8081", "--token-file", file)
	if code != exitUsage || !strings.Contains(errOut, "anybody on the way to 10.0.0.1:8081 could read the token") {
		t.Errorf("backup: %d %s", code, errOut)
	}
}
