package main

import (
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/webhook-gateway/webhook-gateway/server"
	"github.com/webhook-gateway/webhook-gateway/server/servertest"
	"github.com/webhook-gateway/webhook-gateway/server/tlsfiles/tlstest"
)

// health runs the command as a container would, with what the gateway was given.
func health(t *testing.T, environ []string, args ...string) (code int, out, errOut string) {
	t.Helper()
	o, e := newOutput(), newOutput()
	code = run(t.Context(), append([]string{"health"}, args...), streams{out: o, err: e, environ: environ})
	return code, o.String(), e.String()
}

// write makes a file for a test and returns its path.
func write(t *testing.T, text string) string {
	t.Helper()
	file, err := os.CreateTemp(t.TempDir(), "*.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := file.WriteString(text); err != nil {
		t.Fatal(err)
	}
	if err := file.Close(); err != nil {
		t.Fatal(err)
	}
	return file.Name()
}

func TestHealth(t *testing.T) {
	g := servertest.Start(t, func(config *server.Config) { config.Listen.InternalHTTP = "127.0.0.1:0" })
	addr := strings.TrimPrefix(g.InternalURL(), "http://")
	_, port, _ := strings.Cut(addr, ":")
	every := "WEBHOOK_GATEWAY_LISTEN_INTERNAL_HTTP=:" + port

	fine := write(t, `listen: {internal_http: "`+addr+`"}`)
	// As after an edit that the running gateway has not taken.
	wrong := write(t, `listen: {internal_http: "0.0.0.0:`+port+`"}`+"\nno_such_key: 1\n")
	for name, ask := range map[string]struct {
		environ []string
		args    []string
	}{
		"by the flag":                 {nil, []string{"--http-addr", addr}},
		"by the file":                 {nil, []string{"--config", fine}},
		"by the variable of the file": {[]string{"WEBHOOK_GATEWAY_CONFIG=" + fine}, nil},
		"by the variable of the key":  {[]string{every}, nil},
		"by a file that went wrong":   {nil, []string{"--config", wrong}},
		"with a log that takes":       {[]string{every}, []string{"--require-log"}},
	} {
		if code, out, errOut := health(t, ask.environ, ask.args...); code != exitOK || !strings.Contains(out, `"status":"ok"`) || errOut != "" {
			t.Errorf("%s: %d %s%s", name, code, out, errOut)
		}
	}

	if err := g.Stop(); err != nil {
		t.Fatal(err)
	}
	if code, out, errOut := health(t, []string{every}); code != exitFailure || out != "" || !strings.Contains(errOut, "connection refused") {
		t.Errorf("of no gateway: %d %s%s", code, out, errOut)
	}
	if code, _, errOut := health(t, nil, "--config", wrong); code != exitFailure || !strings.Contains(errOut, "no_such_key") {
		t.Errorf("of no gateway, with a wrong file: %d %s", code, errOut)
	}
}

// TestHealthOverTLS: the names in the certificate are those of others.
func TestHealthOverTLS(t *testing.T) {
	ca := tlstest.NewCA(t)
	pair, client := ca.IssueFor(t, time.Now().Add(time.Hour), "localhost"), ca.Issue(t, time.Now().Add(time.Hour), "spiffe://test/health")
	for _, required := range []bool{false, true} {
		g := servertest.Start(t, func(config *server.Config) {
			config.Log.Level = 12 // refusals are expected
			pair.Secure(&config.TLS.InternalHTTP)
			if required {
				config.TLS.InternalHTTP.ClientCA, config.TLS.InternalHTTP.RequireClientCertificate = ca.File, true
			}
		})
		addr := g.Server().Addrs().InternalHTTP.String()
		_, port, _ := net.SplitHostPort(addr)
		config := write(t, "listen: {internal_http: \"127.0.0.1:"+port+"\"}\ntls: {internal_http: {certificate: "+pair.Certificate+", key: "+pair.Key+"}}\n")
		shown := []string{"--tls-cert", client.Certificate, "--tls-key", client.Key}
		for name, c := range map[string]struct {
			environ []string
			args    []string
			want    string // of what is wrong
			lacking string // where certificates are required
		}{
			"by the configuration":  {nil, []string{"--config", config}, "", "certificate"},
			"with a certificate":    {nil, append([]string{"--config", config}, shown...), "", ""},
			"by its name":           {[]string{envTLSCA + "=" + ca.File}, []string{"--http-addr", "localhost:" + port}, "", "certificate"},
			"whatever it is not":    {[]string{envTLSCA + "=nowhere"}, []string{"--config", config}, "", "certificate"},
			"without TLS":           {nil, []string{"--http-addr", addr}, "speaks TLS: give --tls-ca", "speaks TLS: give --tls-ca"},
			"by another name":       {[]string{envTLSCA + "=" + ca.File}, append([]string{"--http-addr", addr}, shown...), "certificate", "certificate"},
			"without the authority": {nil, []string{"--http-addr", addr, "--tls-ca", "nowhere"}, "--tls-ca: ", "--tls-ca: "},
		} {
			want := c.want
			if required {
				want = c.lacking
			}
			code, out, errOut := health(t, c.environ, c.args...)
			if (code == exitOK) != (want == "") || strings.Contains(out, `"status":"ok"`) != (want == "") || !strings.Contains(errOut, want) {
				t.Errorf("%s, required %v: %d %s%s", name, required, code, out, errOut)
			}
		}
		if err := g.Stop(); err != nil {
			t.Fatal(err)
		}
	}
}

func TestHealthSaysNo(t *testing.T) {
	answer := func(status int, body string) string {
		t.Helper()
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path != "/readyz" {
				t.Errorf("asked for %s", r.URL)
			}
			w.WriteHeader(status)
			_, _ = w.Write([]byte(body))
		}))
		t.Cleanup(s.Close)
		return s.Listener.Addr().String()
	}
	for name, c := range map[string]struct {
		environ []string
		args    []string
		code    int
		want    string
	}{
		"shutting down": {nil, []string{"--http-addr", answer(503, `{"status":"not ready","reasons":["the gateway is shutting down"]}`)}, exitFailure, "not ready: the gateway is shutting down"},
		"another":       {nil, []string{"--http-addr", answer(200, "hello")}, exitFailure, "is that the internal HTTP port of a gateway?"},
		"no address":    {nil, []string{"--http-addr", "a b"}, exitUsage, "give host:port"},
		"any port":      {[]string{"WEBHOOK_GATEWAY_LISTEN_INTERNAL_HTTP=:0"}, nil, exitUsage, "give --http-addr"},
		"arguments":     {nil, []string{"localhost:8081"}, exitUsage, "--help"},
	} {
		if code, _, errOut := health(t, c.environ, c.args...); code != c.code || !strings.Contains(errOut, c.want) {
			t.Errorf("%s: %d %s", name, code, errOut)
		}
	}
}

// TestHealthDoesNotWait is of a gateway that takes the connection and says nothing.
func TestHealthDoesNotWait(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }))
	defer s.Close()
	if code, _, errOut := health(t, nil, "--timeout", "10ms", "--http-addr", s.Listener.Addr().String()); code != exitFailure || !strings.Contains(errOut, "it took too long") {
		t.Errorf("ended with %d: %s", code, errOut)
	}
}
