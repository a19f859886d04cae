package server_test

import (
	"bytes"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/webhook-gateway/webhook-gateway/server"
	"github.com/webhook-gateway/webhook-gateway/server/access"
	"github.com/webhook-gateway/webhook-gateway/server/servertest"
	"github.com/webhook-gateway/webhook-gateway/server/tlsfiles/tlstest"
)

// TestExposureIsToldOf: a gateway whose internal listeners are open to other machines says
// so, in its log at every start and in /readyz, and so does one that takes credentials
// there without TLS. On loopback, or with access control and TLS, it does not.
func TestExposureIsToldOf(t *testing.T) {
	token, sum := access.NewToken()
	withToken := access.Config{
		Tokens: map[string]access.Token{"a": {SHA256: sum, Grants: []string{"a"}}}, Grants: map[string]access.GrantConfig{"a": {Operator: true}},
	}
	const (
		insecure = "listen.grpc (:0) is insecure: whoever reaches it reads every event"
		plain    = "listen.grpc (:0) speaks plain text: whoever is on the way reads tokens and events. Give it a certificate (tls.grpc)"
	)
	pair := tlstest.NewCA(t).IssueFor(t, time.Now().AddDate(1, 0, 0), "gateway.example.com")
	for _, tc := range []struct {
		name, address string
		access        access.Config
		refused       bool
		warned        string // what of the listener
	}{
		{"loopback", "127.0.0.1:0", access.Config{}, false, ""},
		{"loopback of IPv6", "[::1]:0", access.Config{}, false, ""},
		{"localhost", "localhost:0", access.Config{}, false, ""},
		{"every address", ":0", access.Config{}, true, ""},
		{"every address of IPv4", "0.0.0.0:0", access.Config{}, true, ""},
		{"every address, on purpose", ":0", access.Config{Insecure: true}, false, insecure},
		{"loopback, insecure", "127.0.0.1:0", access.Config{Insecure: true}, false, ""},
		{"every address, with tokens", ":0", withToken, false, plain},
		{"loopback, with tokens", "127.0.0.1:0", withToken, false, ""},
		{"every address, with tokens and TLS", ":0", withToken, false, ""},
	} {
		config := servertest.Config(t)
		config.Listen.GRPC, config.Access = tc.address, tc.access
		if strings.HasSuffix(tc.name, "TLS") {
			pair.Secure(&config.TLS.GRPC)
		}
		if err := config.Validate(); (err != nil) != tc.refused {
			t.Errorf("%s: %v", tc.name, err)
		}
		if tc.refused || tc.name == "loopback of IPv6" { // this machine may have none
			continue
		}
		var logged bytes.Buffer
		s, err := server.New(t.Context(), config, slog.New(slog.NewTextHandler(&logged, nil)))
		if err != nil {
			t.Fatal(err)
		}
		w := httptest.NewRecorder()
		r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "http://127.0.0.1/readyz", nil)
		r.Header.Set("Authorization", "Bearer "+token) // nobody minds it without access control
		s.Internal().ServeHTTP(w, r)
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		for where, text := range map[string]string{"the log": logged.String(), "/readyz": w.Body.String()} {
			for _, warning := range []string{insecure, plain} {
				if got := strings.Contains(text, warning); got != (warning == tc.warned) {
					t.Errorf("%s: %s has %q: %v\n%s", tc.name, where, warning, got, text)
				}
			}
		}
	}
	// Nor can a running gateway be left open.
	config := servertest.Config(t)
	config.Listen.GRPC, config.Access = "0.0.0.0:0", withToken
	g := servertest.Start(t, func(c *server.Config) {
		*c = config
		c.Log.Level = 12 // the refusal is expected
	})
	config.Access = access.Config{}
	if err := reload(g, config); err == nil || !strings.Contains(err.Error(), "listen.grpc") {
		t.Errorf("without access control: %v", err)
	}
}
