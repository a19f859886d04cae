package doctor

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"syscall"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"

	"github.com/webhook-gateway/webhook-gateway/server"
	"github.com/webhook-gateway/webhook-gateway/server/tlsfiles"
)

// giveCredentials says how the doctor gets credentials.
const giveCredentials = "give --token-file, or --tls-cert and --tls-key" //nolint:gosec // it is text

const (
	// askTimeout bounds one question to a gateway.
	askTimeout = 5 * time.Second
	// maxAnswerBytes is far more than an answer has that is understood.
	maxAnswerBytes = 4 << 20
)

// Credentials returns what a listener of a gateway is shown: how TLS is spoken with it, nil
// if nothing is known of that, and a bearer token, empty for none. secured is that the
// listener speaks TLS. An error says why nothing may be sent there.
type Credentials func(address string, secured bool) (config *tls.Config, token string, err error)

// A listener of the gateway, as this machine reaches it.
type listener struct {
	address     string // empty if it is not known
	tls         tlsfiles.Config
	credentials Credentials // nil: none
}

func newListener(listen string, config tlsfiles.Config, credentials Credentials) listener {
	return listener{address: server.LocalAddr(listen), tls: config, credentials: credentials}
}

// A gateway is the listeners of the one on this machine.
type gateway struct{ webhooks, grpc, internal listener }

// newGateway returns the gateway that runs with a configuration. Credentials are for its
// internal listeners.
func newGateway(config server.Config, credentials Credentials) gateway {
	return gateway{
		webhooks: newListener(config.Listen.Webhooks, config.TLS.Webhooks, nil),
		grpc:     newListener(config.Listen.GRPC, config.TLS.GRPC, credentials),
		internal: newListener(config.Listen.InternalHTTP, config.TLS.InternalHTTP, credentials),
	}
}

// A listenerAccess is how a listener is spoken to.
type listenerAccess struct {
	tls   *tls.Config // nil: plain text
	token string
}

// prepare returns how the listener is spoken to.
func (l listener) prepare() (a listenerAccess, err error) {
	if l.address == "" {
		return a, errors.New("its port (0) is picked at each start")
	}
	if l.credentials != nil {
		if a.tls, a.token, err = l.credentials(l.address, l.tls.Enabled()); err != nil {
			return a, err
		}
	}
	switch {
	case !l.tls.Enabled():
		a.tls = nil
	case a.tls == nil: // by the address, whatever its certificate says, as over plain text
		a.tls = &tls.Config{MinVersion: tls.VersionTLS12, InsecureSkipVerify: true} //nolint:gosec // see above
	default:
		a.tls = a.tls.Clone()
		a.tls.ServerName = l.name()
	}
	return a, nil
}

// An unknownError says why it is not known whether the gateway is there, though somebody
// may be.
type unknownError struct{ why string }

func (e unknownError) Error() string { return e.why }

// explain returns what an error means that came before any answer.
func (l listener) explain(a listenerAccess, err error) error {
	text := plain(err)
	shown := a.tls != nil && len(a.tls.Certificates) > 0
	// What a listener says of a certificate that it lacks may be lost with the connection.
	mayLack := l.tls.RequireClientCertificate && !shown && !errors.Is(err, syscall.ECONNREFUSED) && !errors.Is(err, context.DeadlineExceeded)
	switch {
	case strings.Contains(text, "certificate required"), mayLack:
		return unknownError{"it asks for a client certificate: give --tls-cert and --tls-key"}
	case strings.Contains(text, "failed to verify certificate"):
		return unknownError{"its certificate is not trusted by --tls-ca, or does not have the names of the file: " + text}
	case shown && strings.Contains(text, "remote error: tls: "):
		return unknownError{"it does not take the client certificate (--tls-cert): " + text}
	case strings.Contains(text, "error reading server preface"): // of gRPC, followed by a chain of Go errors
		return errors.New("what answers does not speak gRPC")
	}
	return err
}

// name returns a name in the certificate of the listener: the address need not be one.
func (l listener) name() string {
	loaded, err := l.tls.Load()
	if err != nil {
		return "" // the address is taken; another check says what is wrong
	}
	leaf := loaded.Certificates[0].Leaf
	switch {
	case len(leaf.DNSNames) > 0:
		return leaf.DNSNames[0]
	case len(leaf.IPAddresses) > 0:
		return leaf.IPAddresses[0].String()
	}
	return ""
}

// do sends a request to a listener that speaks HTTP, and returns the status and the body of
// the answer.
func (l listener) do(ctx context.Context, method, path string, header http.Header, body []byte) (int, []byte, error) {
	a, err := l.prepare()
	if err != nil {
		return 0, nil, unknownError{err.Error()}
	}
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	scheme := "http"
	if a.tls != nil {
		scheme = "https"
	}
	req, err := http.NewRequestWithContext(ctx, method, scheme+"://"+l.address+path, bytes.NewReader(body))
	if err != nil {
		return 0, nil, err
	}
	for name, values := range header {
		req.Header[name] = values
	}
	if a.token != "" {
		req.Header.Set("Authorization", "Bearer "+a.token)
	}
	client := http.Client{
		Transport:     &http.Transport{DisableKeepAlives: true, TLSClientConfig: a.tls},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	resp, err := client.Do(req)
	if err != nil {
		return 0, nil, l.explain(a, err)
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswerBytes))
	return resp.StatusCode, answer, err
}

// ask gets an answer of the internal HTTP port, as JSON. With a question that is JSON it
// is a POST.
func (l listener) ask(ctx context.Context, path string, question []byte, answer any) error {
	text, err := l.answer(ctx, path, question, "a caller that may read events")
	if err != nil {
		return err
	}
	if json.Unmarshal(text, answer) != nil {
		return errors.New("what it answers is not that of a gateway")
	}
	return nil
}

// answer is ask without a form of the answer. who is the caller that it needs.
func (l listener) answer(ctx context.Context, path string, question []byte, who string) ([]byte, error) {
	method, header := http.MethodGet, http.Header{}
	if question != nil {
		method = http.MethodPost
		header.Set("Content-Type", "application/json")
	}
	code, text, err := l.do(ctx, method, path, header, question)
	switch {
	case err != nil:
		return nil, err
	case code == http.StatusUnauthorized && reasonOf(text) == "CREDENTIALS_MISSING":
		return nil, fmt.Errorf("it asks who calls: %s, of %s", giveCredentials, who)
	case code == http.StatusUnauthorized, code == http.StatusForbidden:
		return nil, fmt.Errorf("it refuses these credentials (%d %s): give those of %s", code, reasonOf(text), who)
	case code != http.StatusOK:
		return nil, fmt.Errorf("it answers %d", code)
	}
	return text, nil
}

// isInternal returns an error unless the internal HTTP listener of a gateway answers.
func (l listener) isInternal(ctx context.Context) error {
	var health struct{ Status string }
	if err := l.ask(ctx, "/healthz", nil, &health); err != nil {
		return err
	}
	if health.Status == "" {
		return errors.New("it has no status")
	}
	return nil
}

// isWebhooks returns an error unless the webhook listener of a gateway answers.
func (l listener) isWebhooks(ctx context.Context) error {
	code, text, err := l.do(ctx, http.MethodGet, "/v1/webhooks/", nil, nil)
	if err != nil {
		return err
	}
	if reasonOf(text) == "" {
		return fmt.Errorf("it answers %d", code)
	}
	return nil
}

// reasonOf returns the reason in a refusal of a gateway, if it is one.
func reasonOf(answer []byte) string {
	var refusal struct{ Error struct{ Reason string } }
	_ = json.Unmarshal(answer, &refusal) // it may be anything
	return refusal.Error.Reason
}

// isGRPC returns an error unless the gRPC listener of a gateway answers.
func (l listener) isGRPC(ctx context.Context) error {
	a, err := l.prepare()
	if err != nil {
		return unknownError{err.Error()}
	}
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	transport := insecure.NewCredentials()
	if a.tls != nil {
		transport = credentials.NewTLS(a.tls)
	}
	conn, err := grpc.NewClient(l.address, grpc.WithTransportCredentials(transport), grpc.WithNoProxy())
	if err != nil {
		return err
	}
	defer conn.Close()
	_, err = healthpb.NewHealthClient(conn).Check(ctx, &healthpb.HealthCheckRequest{})
	switch status.Code(err) {
	case codes.OK, codes.Unauthenticated, codes.PermissionDenied:
		return nil
	default:
		return l.explain(a, err)
	}
}

// headTime returns when the newest event was received; zero if there is none.
func (l listener) headTime(ctx context.Context) (time.Time, error) {
	var log struct{ HeadTime time.Time }
	err := l.ask(ctx, "/v1/log", nil, &log)
	return log.HeadTime, err
}

// plain returns why there was no answer, without the URL.
func plain(err error) string {
	var request *url.Error
	if errors.As(err, &request) {
		err = request.Err
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return "it took too long"
	}
	return err.Error()
}
