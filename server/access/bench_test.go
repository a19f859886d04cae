package access

import (
	"context"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/go-jose/go-jose/v4"
	"github.com/prometheus/client_golang/prometheus"
)

// BenchmarkIdentify is what it costs to find out who makes a call.
func BenchmarkIdentify(b *testing.B) {
	config, token := reading()
	s := &signer{Server: httptest.NewUnstartedServer(http.NotFoundHandler())}
	s.URL = "https://login.example.com"
	s.rotate(b, "key")
	issuing := s.config()
	config.OIDC, config.Grants["operate"] = issuing.OIDC, issuing.Grants["operate"]
	c, err := New(config, Roots{}, slog.New(slog.DiscardHandler), prometheus.NewRegistry())
	if err != nil {
		b.Fatal(err)
	}
	c.current.issuer.keys.load = func(context.Context) ([]jose.JSONWebKey, error) { return parseKeys(s.set()) }
	for name, credentials := range map[string]string{"token": token, "jwt": s.sign(b, nil)} {
		b.Run(name, func(b *testing.B) {
			given := presented{authorization: []string{"Bearer " + credentials}}
			for b.Loop() {
				if _, err := c.identify(b.Context(), given, "", ""); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
