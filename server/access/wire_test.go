package access

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/tap"
	"google.golang.org/grpc/test/bufconn"

	webhookgatewayv1 "github.com/webhook-gateway/webhook-gateway/gen/webhookgateway/v1"
	"github.com/webhook-gateway/webhook-gateway/server/rpcerr"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// echo is an EventService that tells who calls it. Its streams never say goodbye.
type echo struct {
	webhookgatewayv1.UnimplementedEventServiceServer
}

func (echo) GetLogInfo(ctx context.Context, _ *webhookgatewayv1.GetLogInfoRequest) (*webhookgatewayv1.GetLogInfoResponse, error) {
	caller := From(ctx)
	return &webhookgatewayv1.GetLogInfoResponse{LogId: string(caller.Method) + " " + caller.Name}, nil
}

func (echo) Subscribe(_ *webhookgatewayv1.SubscribeRequest, stream grpc.ServerStreamingServer[webhookgatewayv1.SubscribeResponse]) error {
	for {
		frame := &webhookgatewayv1.SubscribeResponse{Frame: &webhookgatewayv1.SubscribeResponse_Subscribed{Subscribed: &webhookgatewayv1.Subscribed{
			Filters: []*webhookgatewayv1.EventFilter{{ClientIds: []string{"acme"}}},
		}}}
		if err := stream.Send(frame); err != nil {
			return err
		}
	}
}

// lockedBuffer is a log that several goroutines write.
type lockedBuffer struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}

// newControl returns a control whose audit is in a buffer.
func newControl(t *testing.T, config Config) (*Control, *lockedBuffer) {
	t.Helper()
	log := &lockedBuffer{}
	c, err := New(config, Roots{}, slog.New(slog.NewTextHandler(log, nil)), prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	return c, log
}

// serveGRPC serves echo behind a control, on a listener, and returns its address.
func serveGRPC(t *testing.T, c *Control, listener net.Listener, transport credentials.TransportCredentials) {
	t.Helper()
	server := grpc.NewServer(grpc.Creds(transport), grpc.WaitForHandlers(true),
		grpc.InTapHandle(func(ctx context.Context, _ *tap.Info) (context.Context, error) {
			ctx, cut := context.WithCancelCause(ctx)
			return context.WithValue(ctx, CutKey{}, cut), nil
		}),
		grpc.UnaryInterceptor(c.UnaryInterceptor()), grpc.StreamInterceptor(c.StreamInterceptor()))
	webhookgatewayv1.RegisterEventServiceServer(server, echo{})
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	t.Cleanup(func() {
		server.Stop()
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
}

func listenTCP(t *testing.T) net.Listener {
	t.Helper()
	listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return listener
}

func client(t *testing.T, target string, options ...grpc.DialOption) webhookgatewayv1.EventServiceClient {
	t.Helper()
	conn, err := grpc.NewClient(target, options...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return webhookgatewayv1.NewEventServiceClient(conn)
}

// replace puts another configuration in force.
func replace(t *testing.T, c *Control, config Config) {
	t.Helper()
	put, err := c.Prepare(config)
	if err != nil {
		t.Fatal(err)
	}
	put()
}

func whoAmI(ctx context.Context, client webhookgatewayv1.EventServiceClient) (string, error) {
	info, err := client.GetLogInfo(ctx, &webhookgatewayv1.GetLogInfoRequest{})
	return info.GetLogId(), err
}

func withToken(ctx context.Context, token string) context.Context {
	return metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+token)
}

// reading is a configuration with a grant and a token that has it.
func reading() (Config, string) {
	token, sum := NewToken()
	config := DefaultConfig()
	config.Tokens = map[string]Token{"billing": {SHA256: sum, Grants: []string{"read"}}}
	config.Grants = map[string]GrantConfig{"read": {Filters: []FilterConfig{{}}}}
	return config, token
}

// TestOwnCaller: a part of the gateway itself is known within the process, whatever the
// configuration is, and its streams outlive another one without a line in the audit. Others
// cannot pass for it.
func TestOwnCaller(t *testing.T) {
	config, _ := reading()
	for name, config := range map[string]Config{"access": config, "no access": DefaultConfig()} {
		t.Run(name, func(t *testing.T) {
			c, log := newControl(t, config)
			public, inside := listenTCP(t), bufconn.Listen(1<<10)
			serveGRPC(t, c, public, insecure.NewCredentials())
			serveGRPC(t, c, inside, insecure.NewCredentials())
			plain := grpc.WithTransportCredentials(insecure.NewCredentials())
			own := client(t, "passthrough:///inside", append(c.DialOptions(), plain,
				grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return inside.DialContext(ctx) }))...)
			ctx, cancel := context.WithCancel(AsOwn(t.Context(), &Caller{Name: "canary", Method: MethodOwn}))
			if who, err := whoAmI(ctx, own); err != nil || who != "own canary" {
				t.Errorf("the caller is %q: %v", who, err)
			}
			outside := client(t, public.Addr().String(), append(c.DialOptions(), plain)...)
			if who, _ := whoAmI(ctx, outside); who == "own canary" {
				t.Error("the same from outside")
			}
			before := log.String()
			stream, err := own.Subscribe(ctx, &webhookgatewayv1.SubscribeRequest{})
			if err != nil {
				t.Fatal(err)
			}
			replace(t, c, config)
			for range 100 {
				if _, err := stream.Recv(); err != nil {
					t.Fatal(err)
				}
			}
			cancel()
			for err == nil {
				_, err = stream.Recv()
			}
			if after := log.String(); after != before {
				t.Errorf("the audit has %s", after)
			}
		})
	}
}

// TestTicketsAreForTheProcess: what the HTTP listener found out arrives within the
// process, and can be used by nobody else, nor twice.
func TestTicketsAreForTheProcess(t *testing.T) {
	config, token := reading()
	c, _ := newControl(t, config)
	public, inside := listenTCP(t), bufconn.Listen(1<<10)
	serveGRPC(t, c, public, insecure.NewCredentials())
	serveGRPC(t, c, inside, insecure.NewCredentials())
	dialInside := grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return inside.DialContext(ctx) })
	plain := grpc.WithTransportCredentials(insecure.NewCredentials())
	mirror := client(t, "passthrough:///inside", append(c.DialOptions(), plain, dialInside)...)
	stranger := client(t, public.Addr().String(), plain)
	bare := client(t, "passthrough:///inside", plain, dialInside)

	web := httptest.NewServer(c.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "" {
			t.Error("the token goes on")
		}
		who, err := whoAmI(r.Context(), mirror)
		if err != nil || who != "token billing" || From(r.Context()).Name != "billing" {
			t.Errorf("the caller is %q: %v", who, err)
		}
		stream, err := mirror.Subscribe(r.Context(), &webhookgatewayv1.SubscribeRequest{})
		if err == nil {
			_, err = stream.Recv()
		}
		if err != nil {
			t.Errorf("a stream of the caller: %v", err)
		}
		// A ticket that leaked is worth nothing elsewhere, and where it is worth something
		// it is so once.
		ctx, takeBack := c.tickets.attach(r.Context())
		defer takeBack()
		for range 2 {
			if who, err := whoAmI(ctx, stranger); rpcerr.Reason(err) != webhookgatewayv1.ErrorReason_ERROR_REASON_CREDENTIALS_MISSING {
				t.Errorf("with a ticket a stranger is %q: %v", who, err)
			}
		}
		if who, err := whoAmI(ctx, bare); err != nil || who != "token billing" {
			t.Errorf("within the process: %q %v", who, err)
		}
		if who, err := whoAmI(ctx, bare); rpcerr.Reason(err) != webhookgatewayv1.ErrorReason_ERROR_REASON_CREDENTIALS_MISSING {
			t.Errorf("with a used ticket: %q %v", who, err)
		}
		w.WriteHeader(http.StatusNoContent)
	}), func(w http.ResponseWriter, err error) { http.Error(w, err.Error(), http.StatusUnauthorized) }))
	defer web.Close()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, web.URL, nil)
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Authorization", "bearer "+token)
	response, err := web.Client().Do(request)
	if err != nil || response.StatusCode != http.StatusNoContent {
		t.Fatalf("%v %v", response, err)
	}
	_ = response.Body.Close()
	// Nor does a token count within the process: only tickets do.
	if who, err := whoAmI(withToken(t.Context(), token), bare); err == nil {
		t.Errorf("without a ticket within the process: %q", who)
	}
	c.tickets.mu.Lock()
	defer c.tickets.mu.Unlock()
	if n := len(c.tickets.waiting); n > 0 {
		t.Errorf("%d tickets are left", n)
	}
}

// authority makes certificates.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(t *testing.T) authority {
	t.Helper()
	return authority{}.sign(t, &x509.Certificate{IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign})
}

func (a authority) sign(t *testing.T, template *x509.Certificate) authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template.SerialNumber, template.Subject = big.NewInt(time.Now().UnixNano()), pkix.Name{CommonName: "test"}
	template.NotBefore = time.Now().Add(-time.Hour)
	if template.NotAfter.IsZero() {
		template.NotAfter = time.Now().Add(time.Hour)
	}
	parent, signer := a.cert, a.key
	if parent == nil {
		parent, signer = template, key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, signer)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return authority{cert, key}
}

func (a authority) pair() tls.Certificate {
	return tls.Certificate{Certificate: [][]byte{a.cert.Raw}, PrivateKey: a.key}
}

// TestCertificates: a client is known by a name in its verified certificate, over gRPC
// and over HTTP.
func TestCertificates(t *testing.T) {
	config := DefaultConfig()
	config.Grants = map[string]GrantConfig{"read": {Filters: []FilterConfig{{}}}, "operate": {Operator: true}}
	config.Certificates = []Certificate{
		{SPIFFEID: "spiffe://example.com/ledger", Grants: []string{"read"}},
		{DNS: "ledger.example.com", Grants: []string{"read"}},
		{Email: "ops@example.com", Grants: []string{"operate", "read"}},
	}
	token, sum := NewToken()
	config.Tokens = map[string]Token{"billing": {SHA256: sum, Grants: []string{"read"}}}
	c, _ := newControl(t, config)
	root := newAuthority(t)
	roots := x509.NewCertPool()
	roots.AddCert(root.cert)
	c.roots = Roots{GRPC: func() *x509.CertPool { return roots }, HTTP: func() *x509.CertPool { return roots }}
	server := root.sign(t, &x509.Certificate{IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}})
	serverTLS := &tls.Config{Certificates: []tls.Certificate{server.pair()}, ClientCAs: roots, ClientAuth: tls.VerifyClientCertIfGiven, NextProtos: []string{"h2", "http/1.1"}}
	listener := listenTCP(t)
	serveGRPC(t, c, listener, credentials.NewTLS(serverTLS))
	web := httptest.NewUnstartedServer(c.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, string(From(r.Context()).Method)+" "+From(r.Context()).Name)
	}), func(w http.ResponseWriter, err error) {
		http.Error(w, rpcerr.Name(rpcerr.Reason(err)), http.StatusUnauthorized)
	}))
	web.TLS = serverTLS.Clone()
	web.StartTLS()
	defer web.Close()

	spiffe := func(ids ...string) *x509.Certificate {
		cert := &x509.Certificate{ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}
		for _, id := range ids {
			parsed, err := url.Parse(id)
			if err != nil {
				t.Fatal(err)
			}
			cert.URIs = append(cert.URIs, parsed)
		}
		return cert
	}
	for _, tc := range []struct {
		name  string
		cert  *x509.Certificate
		token string
		want  string
	}{
		{"a SPIFFE ID", spiffe("spiffe://example.com/ledger"), "", "certificate spiffe://example.com/ledger"},
		{"another SPIFFE ID", spiffe("spiffe://example.com/ledger2"), "", "CREDENTIALS_INVALID"},
		{"two SPIFFE IDs", spiffe("spiffe://example.com/ledger", "spiffe://example.com/other"), "", "CREDENTIALS_INVALID"},
		{"a DNS name", &x509.Certificate{DNSNames: []string{"a.example.com", "ledger.example.com"}}, "", "certificate ledger.example.com"},
		{"a DNS name below", &x509.Certificate{DNSNames: []string{"x.ledger.example.com"}}, "", "CREDENTIALS_INVALID"},
		{"an email address", &x509.Certificate{EmailAddresses: []string{"ops@example.com"}}, "", "certificate ops@example.com"},
		{"no name", &x509.Certificate{}, "", "CREDENTIALS_INVALID"},
		{"a token wins", &x509.Certificate{EmailAddresses: []string{"ops@example.com"}}, token, "token billing"},
		{"a wrong token is not made good", &x509.Certificate{EmailAddresses: []string{"ops@example.com"}}, token + "0", "CREDENTIALS_INVALID"},
		{"no certificate", nil, "", "CREDENTIALS_MISSING"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			clientTLS := &tls.Config{RootCAs: roots}
			if tc.cert != nil {
				clientTLS.Certificates = []tls.Certificate{root.sign(t, tc.cert).pair()}
			}
			ctx := t.Context()
			if tc.token != "" {
				ctx = withToken(ctx, tc.token)
			}
			who, err := whoAmI(ctx, client(t, listener.Addr().String(), grpc.WithTransportCredentials(credentials.NewTLS(clientTLS.Clone()))))
			if err != nil {
				who = rpcerr.Name(rpcerr.Reason(err))
			}
			if who != tc.want {
				t.Errorf("over gRPC: %s (%v), want %s", who, err, tc.want)
			}
			transport := &http.Transport{TLSClientConfig: clientTLS}
			defer transport.CloseIdleConnections()
			request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, web.URL, nil)
			if err != nil {
				t.Fatal(err)
			}
			if tc.token != "" {
				request.Header.Set("Authorization", "Bearer "+tc.token)
			}
			response, err := transport.RoundTrip(request)
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = response.Body.Close() }()
			if text, err := io.ReadAll(response.Body); err != nil || strings.TrimSpace(string(text)) != tc.want {
				t.Errorf("over HTTP: %s %v, want %s", text, err, tc.want)
			}
		})
	}
}
