package server_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/webhook-gateway/webhook-gateway/server"
	"github.com/webhook-gateway/webhook-gateway/server/access"
)

// The pages of the console are for everybody who asks by a name of the gateway, and hold
// nothing; what they ask for needs credentials. A reload switches them off, and offers
// actions.
func TestConsole(t *testing.T) {
	operator, sum := access.NewToken()
	r := newReloader(t, func(c *server.Config) {
		c.Access.Grants = map[string]access.GrantConfig{"operate": {Operator: true}}
		c.Access.Tokens = map[string]access.Token{"operator": {SHA256: sum, Grants: []string{"operate"}}}
		c.Log.Level = 12 // refusals are expected
	})
	ask := func(path, host, token string) (int, string) {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, r.g.InternalURL()+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Host = host
		req.Header.Set("Accept", "text/html")
		if token != "" {
			req.Header.Set("Authorization", "Bearer "+token)
		}
		return do(t, req)
	}
	expect := func(path, host, token string, code int, want string) {
		t.Helper()
		if got, body := ask(path, host, token); got != code || !strings.Contains(body, want) {
			t.Errorf("%s on %q: %d %.200s, want %d with %q", path, host, got, body, code, want)
		}
	}
	const own, rebound = "gateway:8081", "page.example.net:8081"
	expect("/console/", own, "", http.StatusOK, `<div id="app">`)
	expect("/", own, "", http.StatusOK, `<div id="app">`)                      // it leads there
	expect("/console/nothing", own, "", http.StatusNotFound, `<div id="app">`) // the page says so to a browser
	expect("/console/", rebound, "", http.StatusForbidden, "HOST_NOT_ALLOWED")
	expect("/", rebound, "", http.StatusForbidden, "HOST_NOT_ALLOWED")
	expect("/v1/caller", own, "", http.StatusUnauthorized, "CREDENTIALS_MISSING")

	if _, body := ask("/v1/caller", own, operator); strings.Contains(body, "consoleActions") {
		t.Errorf("actions are offered: %s", body)
	}
	r.mustReload(t, func(c *server.Config) { c.Console.Actions = true })
	expect("/v1/caller", own, operator, http.StatusOK, `"consoleActions":true`)

	r.mustReload(t, func(c *server.Config) { c.Console.Enabled = false })
	expect("/console/", own, "", http.StatusUnauthorized, "CREDENTIALS_MISSING")
	expect("/console/", own, operator, http.StatusNotFound, "PATH_UNKNOWN")
	expect("/", own, operator, http.StatusNotFound, "PATH_UNKNOWN")
}
