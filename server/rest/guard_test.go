package rest_test

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/webhook-gateway/webhook-gateway/server/rest"
)

func TestGuard(t *testing.T) {
	t.Parallel()
	guard := rest.Guard([]string{"gateway.example.com"}, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusNoContent)
	}))
	const ok = ""
	for _, tc := range []struct {
		name, method, host string
		header             map[string]string
		reason             string
	}{
		{"an address", http.MethodPost, "127.0.0.1:8081", nil, ok},
		{"an address without a port", http.MethodPost, "10.1.2.3", nil, ok},
		{"an address of IPv6", http.MethodPost, "[::1]:8081", nil, ok},
		{"an address of IPv6 without a port", http.MethodPost, "[fe80::1]", nil, ok},
		{"localhost", http.MethodPost, "localhost:8081", nil, ok},
		{"below localhost", http.MethodPost, "gateway.localhost:8081", nil, ok},
		{"a name without a dot", http.MethodPost, "gateway:8081", nil, ok},
		{"no host", http.MethodGet, "", nil, ok},
		{"a configured name", http.MethodPost, "Gateway.Example.com.:8081", nil, ok},
		{"another name", http.MethodPost, "rebound.example.net:8081", nil, "HOST_NOT_ALLOWED"},
		{"another name, to read", http.MethodGet, "rebound.example.net:8081", nil, "HOST_NOT_ALLOWED"},
		{"below a configured name", http.MethodGet, "x.gateway.example.com", nil, "HOST_NOT_ALLOWED"},
		{"a name that ends like an address", http.MethodGet, "127.0.0.1.example.net", nil, "HOST_NOT_ALLOWED"},
		{"a name that ends like localhost", http.MethodGet, "evillocalhost.example", nil, "HOST_NOT_ALLOWED"},

		{"another site", http.MethodPost, "localhost:8081", map[string]string{"Sec-Fetch-Site": "cross-site", "Origin": "https://example.net"}, "CROSS_ORIGIN"},
		{"another port", http.MethodPost, "localhost:8081", map[string]string{"Sec-Fetch-Site": "same-site", "Origin": "http://localhost:3000"}, "CROSS_ORIGIN"},
		{"another site, an old browser", http.MethodDelete, "localhost:8081", map[string]string{"Origin": "https://example.net"}, "CROSS_ORIGIN"},
		{"a file", http.MethodPatch, "localhost:8081", map[string]string{"Origin": "null"}, "CROSS_ORIGIN"},
		{"another site, to read", http.MethodGet, "localhost:8081", map[string]string{"Sec-Fetch-Site": "cross-site"}, ok},
		{"the same origin", http.MethodPost, "localhost:8081", map[string]string{"Sec-Fetch-Site": "same-origin", "Origin": "http://localhost:8081"}, ok},
		{"the same origin, an old browser", http.MethodPost, "localhost:8081", map[string]string{"Origin": "http://localhost:8081"}, ok},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			r := httptest.NewRequestWithContext(t.Context(), tc.method, "/v1/subscriptions", nil)
			r.Host = tc.host
			for name, value := range tc.header {
				r.Header.Set(name, value)
			}
			w := httptest.NewRecorder()
			guard.ServeHTTP(w, r)
			if tc.reason == ok {
				if w.Code != http.StatusNoContent {
					t.Errorf("status %d %s", w.Code, w.Body)
				}
				return
			}
			if w.Code != http.StatusForbidden {
				t.Errorf("status %d", w.Code)
			}
			checkError(t, w.Body.Bytes(), tc.reason)
		})
	}
}
