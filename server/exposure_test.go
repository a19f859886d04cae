package server_test

import (
	"bytes"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/webhook-gateway/webhook-gateway/server"
	"github.com/webhook-gateway/webhook-gateway/server/access"
	"github.com/webhook-gateway/webhook-gateway/server/servertest"
)

// TestExposureIsToldOf: a gateway whose internal listeners are open to other machines says
// so, in its log at every start and in /readyz. On loopback, or with access control, it
// does not.
func TestExposureIsToldOf(t *testing.T) {
	_, sum := access.NewToken()
	withToken := access.Config{
		Tokens: map[string]access.Token{"a": {SHA256: sum, Grants: []string{"a"}}}, Grants: map[string]access.GrantConfig{"a": {Operator: true}},
	}
	for _, tc := range []struct {
		name, address string
		access        access.Config
		refused       bool
		warned        bool
	}{
		{"loopback", "127.0.0.1:0", access.Config{}, false, false},
		{"loopback of IPv6", "[::1]:0", access.Config{}, false, false},
		{"localhost", "localhost:0", access.Config{}, false, false},
		{"every address", ":0", access.Config{}, true, false},
		{"every address of IPv4", "0.0.0.0:0", access.Config{}, true, false},
		{"every address, on purpose", ":0", access.Config{Insecure: true}, false, true},
		{"loopback, insecure", "127.0.0.1:0", access.Config{Insecure: true}, false, false},
		{"every address, with tokens", ":0", withToken, false, false},
	} {
		config := servertest.Config(t)
		config.Listen.GRPC, config.Access = tc.address, tc.access
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
		s.Internal().ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "http://127.0.0.1/readyz", nil))
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		const warning = "listen.grpc (:0) is insecure: whoever reaches it reads every event"
		if got := strings.Contains(logged.String(), warning); got != tc.warned {
			t.Errorf("%s: warned %v in the log:\n%s", tc.name, got, logged.String())
		}
		if got := strings.Contains(w.Body.String(), warning); got != tc.warned {
			t.Errorf("%s: warned %v in /readyz: %s", tc.name, got, w.Body)
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
