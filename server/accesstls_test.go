package server_test

import (
	"crypto/tls"
	"io"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	webhookgatewayv1 "github.com/webhook-gateway/webhook-gateway/gen/webhookgateway/v1"
	"github.com/webhook-gateway/webhook-gateway/server"
	"github.com/webhook-gateway/webhook-gateway/server/access"
	"github.com/webhook-gateway/webhook-gateway/server/tlsfiles/tlstest"
)

// TestRemovedRoots: when a root of client certificates is removed, the streams and the
// connections of who is known by it are nobody's, though they were opened before.
func TestRemovedRoots(t *testing.T) {
	stays, removed := tlstest.NewCA(t), tlstest.NewCA(t)
	year := time.Now().AddDate(1, 0, 0)
	roots := t.TempDir() + "/roots.pem"
	write := func(files ...string) {
		t.Helper()
		var all []byte
		for _, file := range files {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, text...)
		}
		if err := os.WriteFile(roots, all, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(stays.File, removed.File)
	var config server.Config
	g := secured(t, stays, stays.Issue(t, year, ""), func(c *server.Config) {
		c.TLS.GRPC.ClientCA, c.TLS.InternalHTTP.ClientCA = roots, roots
		c.Access.Certificates = []access.Certificate{{SPIFFEID: "spiffe://example.com/orders", Grants: []string{"read"}}}
		c.Access.Grants = map[string]access.GrantConfig{"read": {Filters: []access.FilterConfig{{}}}}
		c.Log.Level = 12 // refusals are expected
		config = *c
	})
	of := func(ca *tlstest.CA) *tls.Config {
		return stays.Client(ca.Issue(t, year, "spiffe://example.com/orders").Loaded)
	}
	old, kept := grpcClient(t, g, of(removed)), grpcClient(t, g, of(stays))
	stream, err := old.Subscribe(t.Context(), &webhookgatewayv1.SubscribeRequest{})
	recv := opened(t, stream, err)
	keptStream, err := kept.Subscribe(t.Context(), &webhookgatewayv1.SubscribeRequest{})
	opened(t, keptStream, err)
	oldHTTP := httpClient(t, of(removed))
	get := func() (int, string) {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, https(g.InternalURL())+"/v1/log", nil)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := oldHTTP.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = resp.Body.Close() }()
		body, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		return resp.StatusCode, string(body)
	}
	if code, body := get(); code != http.StatusOK {
		t.Fatalf("%d %s", code, body)
	}

	write(stays.File)
	if err := reload(g, config); err != nil {
		t.Fatal(err)
	}
	endsWith(t, 0, "the stream of a removed root", recv, webhookgatewayv1.ErrorReason_ERROR_REASON_ACCESS_CHANGED)
	if _, err := old.GetLogInfo(t.Context(), &webhookgatewayv1.GetLogInfoRequest{}); status.Code(err) != codes.Unauthenticated {
		t.Errorf("a call on the open connection: %v", err)
	}
	if code, body := get(); code != http.StatusUnauthorized || !strings.Contains(body, "CREDENTIALS_INVALID") {
		t.Errorf("a request on the open connection: %d %s", code, body)
	}
	if _, err := kept.GetLogInfo(t.Context(), &webhookgatewayv1.GetLogInfoRequest{}); err != nil {
		t.Errorf("a root that stays: %v", err)
	}
	if err := reload(g, config); err != nil { // those who would end have been told by now
		t.Fatal(err)
	}
	select {
	case <-keptStream.Context().Done():
		t.Error("the stream of a root that stays has ended")
	default:
	}
}
