package doctor

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
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

const (
	// askTimeout bounds one question to a gateway.
	askTimeout = 10 * time.Second
	// maxAnswerBytes is far more than an answer has that is understood.
	maxAnswerBytes = 4 << 20
)

// A listener of the gateway, as this machine reaches it.
type listener struct {
	address string
	tls     bool
}

func newListener(address string, config tlsfiles.Config) listener {
	host, port, err := net.SplitHostPort(address)
	if ip := net.ParseIP(host); err == nil && (host == "" || ip != nil && ip.IsUnspecified()) {
		address = net.JoinHostPort("localhost", port)
	}
	return listener{address: address, tls: config.Enabled()}
}

// atHome is TLS with a gateway on this machine: by the address, whatever its certificate
// says. No secret is sent there but a signature.
func atHome() *tls.Config {
	return &tls.Config{MinVersion: tls.VersionTLS12, InsecureSkipVerify: true} //nolint:gosec // see above
}

// do sends a request to a listener that speaks HTTP, and returns the status and the body of
// the answer.
func (l listener) do(ctx context.Context, method, path string, header http.Header, body []byte) (int, []byte, error) {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	scheme := "http"
	if l.tls {
		scheme = "https"
	}
	req, err := http.NewRequestWithContext(ctx, method, scheme+"://"+l.address+path, bytes.NewReader(body))
	if err != nil {
		return 0, nil, err
	}
	for name, values := range header {
		req.Header[name] = values
	}
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true, TLSClientConfig: atHome()}}
	resp, err := client.Do(req)
	if err != nil {
		return 0, nil, err
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswerBytes))
	return resp.StatusCode, answer, err
}

// ask gets an answer of the internal HTTP port, as JSON.
func (l listener) ask(ctx context.Context, path string, answer any) error {
	code, text, err := l.do(ctx, http.MethodGet, path, nil, nil)
	switch {
	case err != nil:
		return err
	case code != http.StatusOK:
		return fmt.Errorf("it answers %d", code)
	}
	return json.Unmarshal(text, answer)
}

// isInternal returns an error unless the internal HTTP listener of a gateway answers.
func (l listener) isInternal(ctx context.Context) error {
	var health struct{ Status string }
	if err := l.ask(ctx, "/healthz", &health); err != nil {
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

// reasonOf returns the reason in a refusal of a delivery, if it is one.
func reasonOf(answer []byte) string {
	var refusal struct{ Error struct{ Reason string } }
	_ = json.Unmarshal(answer, &refusal) // it may be anything
	return refusal.Error.Reason
}

// isGRPC returns an error unless the gRPC listener of a gateway answers.
func (l listener) isGRPC(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	transport := insecure.NewCredentials()
	if l.tls {
		transport = credentials.NewTLS(atHome())
	}
	conn, err := grpc.NewClient(l.address, grpc.WithTransportCredentials(transport))
	if err != nil {
		return err
	}
	defer conn.Close()
	_, err = healthpb.NewHealthClient(conn).Check(ctx, &healthpb.HealthCheckRequest{})
	switch status.Code(err) {
	case codes.OK, codes.Unauthenticated, codes.PermissionDenied:
		return nil
	default:
		return err
	}
}

// headTime returns when the newest event was received; zero if there is none.
func headTime(ctx context.Context, config server.Config) (time.Time, error) {
	var log struct{ HeadTime time.Time }
	err := newListener(config.Listen.InternalHTTP, config.TLS.InternalHTTP).ask(ctx, "/v1/log", &log)
	return log.HeadTime, err
}
