package server_test

import (
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/webhook-gateway/webhook-gateway/server"
	"github.com/webhook-gateway/webhook-gateway/server/provider"
	"github.com/webhook-gateway/webhook-gateway/server/servertest"
)

// TestWebPages: a web page cannot make a browser create a subscription, nor read
// anything after it made its own name lead here.
func TestWebPages(t *testing.T) {
	g := servertest.Start(t, func(c *server.Config) {
		c.Listen.InternalHosts = []string{"gateway.example.com"}
		c.Providers.Vezgo.Verification = provider.ModeOff
	})
	ask := func(method, path, host, origin string) (int, string) {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), method, g.InternalURL()+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Host = host
		if method == http.MethodPost {
			req.Body = io.NopCloser(strings.NewReader(`{"name": "team"}`))
			req.Header.Set("Content-Type", "application/json")
		}
		if origin != "" {
			req.Header.Set("Origin", origin)
			req.Header.Set("Sec-Fetch-Site", "cross-site")
		}
		return do(t, req)
	}
	const own, rebound = "gateway.example.com:8081", "page.example.net:8081"
	for _, tc := range []struct {
		method, path, host, origin string
		status                     int
		want                       string
	}{
		{http.MethodPost, "/v1/subscriptions", own, "https://page.example.net", http.StatusForbidden, "CROSS_ORIGIN"},
		{http.MethodPost, "/v1/subscriptions", rebound, "", http.StatusForbidden, "HOST_NOT_ALLOWED"},
		{http.MethodGet, "/v1/events", rebound, "", http.StatusForbidden, "HOST_NOT_ALLOWED"},
		{http.MethodGet, "/metrics", rebound, "", http.StatusForbidden, "HOST_NOT_ALLOWED"},
		{http.MethodGet, "/healthz", rebound, "", http.StatusOK, "ok"},
		{http.MethodGet, "/readyz", own, "", http.StatusOK, "vezgo: verification is off"},
		{http.MethodGet, "/readyz", rebound, "", http.StatusOK, `{"status":"ok","note":"for details ask by the address`},
		{http.MethodGet, "/v1/subscriptions", own, "", http.StatusOK, "{}"},
		{http.MethodPost, "/v1/subscriptions", own, "", http.StatusOK, "team"},
	} {
		if code, body := ask(tc.method, tc.path, tc.host, tc.origin); code != tc.status || !strings.Contains(body, tc.want) {
			t.Errorf("%s %s on %s from %q: %d %.200s, want %d with %q", tc.method, tc.path, tc.host, tc.origin, code, body, tc.status, tc.want)
		}
	}
}
