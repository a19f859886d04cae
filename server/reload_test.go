package server_test

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	webhookgatewayv1 "github.com/webhook-gateway/webhook-gateway/gen/webhookgateway/v1"
	"github.com/webhook-gateway/webhook-gateway/server"
	"github.com/webhook-gateway/webhook-gateway/server/provider/finicity"
	"github.com/webhook-gateway/webhook-gateway/server/secret"
	"github.com/webhook-gateway/webhook-gateway/server/servertest"
	"github.com/webhook-gateway/webhook-gateway/server/tlsfiles/tlstest"
)

// reloader changes the configuration of a gateway step by step.
type reloader struct {
	g      *servertest.Gateway
	config server.Config
}

func newReloader(t *testing.T, options ...func(*server.Config)) *reloader {
	r := &reloader{}
	r.g = servertest.Start(t, append(options, func(c *server.Config) { r.config = *c })...)
	return r
}

func (r *reloader) reload(change func(*server.Config)) error {
	return r.g.Server().Reload(func() (server.Config, error) {
		next := r.config
		change(&next)
		if err := next.Validate(); err != nil {
			return server.Config{}, err
		}
		r.config = next
		return next, nil
	})
}

func (r *reloader) mustReload(t *testing.T, change func(*server.Config)) {
	t.Helper()
	if err := r.reload(change); err != nil {
		t.Fatal(err)
	}
}

// signed sends a Finicity delivery signed with a secret.
func (r *reloader) signed(t *testing.T, client, key string) int {
	t.Helper()
	body := `{"eventType":"ping","payload":{}}`
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, r.g.WebhookURL()+"/v1/webhooks/finicity/"+client, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("X-Finicity-Signature", finicity.Sign(secret.New(key), []byte(body)))
	code, _ := do(t, req)
	return code
}

func withSecrets(values map[string]string) func(*server.Config) {
	return func(c *server.Config) {
		secrets := make(map[string]secret.Secret)
		for name, value := range values {
			secrets[name] = secret.New(value)
		}
		c.Providers.Finicity.Clients = map[string]finicity.ClientConfig{"rotating": {Secrets: secrets}}
	}
}

// A secret is rotated, a client added and removed, a limit changed while a stream is
// open, which sees every event and does not end.
func TestReload(t *testing.T) {
	r := newReloader(t)
	stream, err := webhookgatewayv1.NewEventServiceClient(r.g.Conn()).Subscribe(t.Context(), &webhookgatewayv1.SubscribeRequest{})
	if err != nil {
		t.Fatal(err)
	}
	next(t, stream, (*webhookgatewayv1.SubscribeResponse).GetSubscribed)
	if code := r.signed(t, "rotating", "the first secret"); code != http.StatusNotFound {
		t.Fatalf("a client that is not there yet: %d", code)
	}
	for i, step := range []struct {
		secrets map[string]string
		want    map[string]int
	}{
		{map[string]string{"1": "the first secret"}, map[string]int{"the first secret": 200, "the second secret": 401}},
		{map[string]string{"1": "the first secret", "2": "the second secret"}, map[string]int{"the first secret": 200, "the second secret": 200}},
		{map[string]string{"2": "the second secret"}, map[string]int{"the first secret": 401, "the second secret": 200}},
	} {
		r.mustReload(t, withSecrets(step.secrets))
		for key, want := range step.want {
			if code := r.signed(t, "rotating", key); code != want {
				t.Errorf("step %d, signed with %s: %d, want %d", i, key, code, want)
			}
		}
		r.g.Deliver(t, syncAccount)
		next(t, stream, (*webhookgatewayv1.SubscribeResponse).GetEvents)
	}
	r.mustReload(t, func(c *server.Config) { c.Webhooks.MaxBodyBytes = 50 })
	if code, answer := r.g.Send(t, vezgo, vezgoBody); code != http.StatusRequestEntityTooLarge {
		t.Errorf("a body over the new limit: %d %s", code, answer)
	}
	_, metrics := get(t, r.g, "/metrics")
	for _, want := range []string{
		`webhook_gateway_config_reloads_total{result="applied"} 4`, "webhook_gateway_config_refused 0",
		`webhook_gateway_config_info{fingerprint="`,
		`webhook_gateway_secret_last_verified_timestamp_seconds{client="rotating",key="2",provider="finicity"}`,
	} {
		if !strings.Contains(metrics, want) {
			t.Errorf("the metrics lack %s", want)
		}
	}
}

// A configuration that is wrong is refused whole, says so, and leaves the old in force
// until one is right.
func TestReloadOfWhatIsWrong(t *testing.T) {
	r := newReloader(t)
	_, before := get(t, r.g, "/readyz")
	ca := tlstest.NewCA(t)
	pair := ca.Issue(t, time.Now().Add(-time.Hour), "")
	for name, test := range map[string]struct {
		load func() (server.Config, error)
		want string
	}{
		"cannot be loaded": {func() (server.Config, error) {
			return server.Config{}, errors.New("providers.finicity.clients.acme.secrets.1: the file is empty")
		}, "the file is empty"},
		"a key that is wrong": {func() (server.Config, error) {
			next := r.config
			next.Webhooks.MaxBodyBytes = -1
			return next, nil
		}, "webhooks.max_body_bytes"},
	} {
		if err := r.g.Server().Reload(test.load); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v", name, err)
		}
		if _, body := get(t, r.g, "/readyz"); !strings.Contains(body, "the newest configuration was refused") || !strings.Contains(body, test.want) {
			t.Errorf("%s: /readyz says %s", name, body)
		}
		if _, metrics := get(t, r.g, "/metrics"); !strings.Contains(metrics, "webhook_gateway_config_refused 1") {
			t.Errorf("%s: no metric says that it was refused", name)
		}
		r.g.Deliver(t, syncAccount)
	}
	// With the secrets of a change that is refused for its certificate, nothing changes.
	err := r.reload(func(c *server.Config) {
		withSecrets(map[string]string{"1": "the first secret"})(c)
		pair.Secure(&c.TLS.Webhooks)
	})
	if err != nil { // TLS is switched on by a restart only
		t.Fatal(err)
	}
	if _, body := get(t, r.g, "/readyz"); !strings.Contains(body, "restart the gateway to put in force what has changed in tls.webhooks.certificate, tls.webhooks.key") {
		t.Errorf("/readyz says %s", body)
	}
	if code := r.signed(t, "rotating", "the first secret"); code != http.StatusOK {
		t.Errorf("the part that needs no restart is not in force: %d", code)
	}
	_, after := get(t, r.g, "/readyz")
	if before == after {
		t.Error("/readyz does not tell that another configuration is in force")
	}
}

// A certificate is replaced in its files: new connections see it, and one with a file
// that is wrong is refused.
func TestReloadOfCertificates(t *testing.T) {
	ca := tlstest.NewCA(t)
	year := time.Now().AddDate(1, 0, 0)
	pair := ca.Issue(t, year, "")
	r := newReloader(t, func(c *server.Config) {
		pair.Secure(&c.TLS.Webhooks)
	})
	shown := func() *x509.Certificate {
		conn, err := tls.Dial("tcp", strings.TrimPrefix(r.g.WebhookURL(), "http://"), &tls.Config{RootCAs: ca.Pool(), MinVersion: tls.VersionTLS12})
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = conn.Close() }()
		return conn.ConnectionState().PeerCertificates[0]
	}
	first := shown()
	ca.Renew(t, &pair, year, "")
	if err := os.WriteFile(pair.Key, []byte("half a fi"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := r.reload(func(*server.Config) {}); err == nil || !strings.Contains(err.Error(), "tls.webhooks.certificate") {
		t.Errorf("a key that is cut off: %v", err)
	}
	if !shown().Equal(first) {
		t.Error("the old certificate is not in force any more")
	}
	ca.Renew(t, &pair, year, "")
	r.mustReload(t, func(*server.Config) {})
	if shown().Equal(first) {
		t.Error("the new certificate is not in force")
	}
}

// What only a restart can change is named, and the old stays in force.
func TestChanges(t *testing.T) {
	from := server.DefaultConfig()
	to := from
	to.Store.Pebble.Path = "elsewhere"
	to.Streams.MaxStreams = 5
	to.TLS.GRPC.MinVersion = "1.2"
	to.TLS.Webhooks.Certificate, to.TLS.Webhooks.Key = "c", "k"
	withSecrets(map[string]string{"1": "the first secret"})(&to)
	want := []server.Change{
		{Key: "tls.webhooks.certificate", Restart: true},
		{Key: "tls.webhooks.key", Restart: true},
		{Key: "tls.grpc.min_version"},
		{Key: "providers.finicity.clients"},
		{Key: "store.pebble.path", Restart: true},
		{Key: "streams.max_streams"},
	}
	got := server.Changes(from, to)
	if len(got) != len(want) {
		t.Fatalf("changes %v, want %v", got, want)
	}
	for i := range want {
		if got[i] != want[i] {
			t.Errorf("change %d is %v, want %v", i, got[i], want[i])
		}
	}
	other := to
	withSecrets(map[string]string{"1": "another secret"})(&other)
	if got := server.Changes(to, other); len(got) != 1 || got[0].Key != "providers.finicity.clients" {
		t.Errorf("another value of a secret: %v", got)
	}
	folder := t.TempDir()
	file := filepath.Join(folder, "secret")
	if err := os.WriteFile(file, []byte("a secret in a file"), 0o600); err != nil {
		t.Fatal(err)
	}
	kept, err := secret.Resolve("file:"+file, nil)
	if err != nil {
		t.Fatal(err)
	}
	to.Providers.Finicity.Clients["acme"] = finicity.ClientConfig{Secrets: map[string]secret.Secret{"1": kept}}
	if files := strings.Join(to.Files(), " "); files != "c k "+file {
		t.Errorf("the files are %s", files)
	}
}

// A client whose root was removed is not let in again by the session that it kept, and
// neither is one without a certificate once one is required.
func TestSessionsOfRemovedRoots(t *testing.T) {
	ca, removed := tlstest.NewCA(t), tlstest.NewCA(t)
	year := time.Now().AddDate(1, 0, 0)
	pair, member := ca.Issue(t, year, ""), removed.Issue(t, year, "")
	r := newReloader(t, func(c *server.Config) {
		pair.Secure(&c.TLS.InternalHTTP)
		c.TLS.InternalHTTP.ClientCA, c.TLS.InternalHTTP.MinVersion = removed.File, "1.2"
	})
	type client struct {
		config  *tls.Config
		resumed bool
	}
	call := func(c *client) error {
		transport := &http.Transport{TLSClientConfig: c.config}
		defer transport.CloseIdleConnections()
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, https(r.g.InternalURL())+"/healthz", nil)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := (&http.Client{Transport: transport, Timeout: time.Minute}).Do(req)
		if err != nil {
			return err
		}
		c.resumed = resp.TLS.DidResume
		return resp.Body.Close()
	}
	var clients []*client
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		for _, certificates := range [][]tls.Certificate{nil, {member.Loaded}} {
			clients = append(clients, &client{config: &tls.Config{
				RootCAs: ca.Pool(), Certificates: certificates, MinVersion: version, MaxVersion: version,
				ClientSessionCache: tls.NewLRUClientSessionCache(0),
			}})
		}
	}
	for i, c := range clients {
		for range 2 {
			if err := call(c); err != nil {
				t.Fatal(err)
			}
		}
		if !c.resumed {
			t.Errorf("client %d does not resume its session", i)
		}
	}
	r.mustReload(t, func(c *server.Config) {
		c.TLS.InternalHTTP.ClientCA, c.TLS.InternalHTTP.RequireClientCertificate = ca.File, true
	})
	for i, c := range clients {
		if err := call(c); err == nil {
			t.Errorf("client %d was let in, resumed: %t", i, c.resumed)
		}
	}
}

// TestReloadOfHalves: a configuration of which a half waits for a restart is refused if the
// other half would be wrong without it.
func TestReloadOfHalves(t *testing.T) {
	r := newReloader(t, func(c *server.Config) {
		c.Listen.GRPC, c.Access.Insecure = "0.0.0.0:0", true
	})
	err := r.reload(func(c *server.Config) { c.Listen.GRPC, c.Access.Insecure = "127.0.0.1:0", false })
	if err == nil || !strings.Contains(err.Error(), "can be reached by other machines") {
		t.Errorf("the port is still open to all, and the reload ended with %v", err)
	}
	r.g.Deliver(t, syncAccount)
}
