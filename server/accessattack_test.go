package server_test

import (
	"bufio"
	"io"
	"maps"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	webhookgatewayv1 "github.com/webhook-gateway/webhook-gateway/gen/webhookgateway/v1"
	"github.com/webhook-gateway/webhook-gateway/server"
	"github.com/webhook-gateway/webhook-gateway/server/access"
	"github.com/webhook-gateway/webhook-gateway/server/rpcerr"
	"github.com/webhook-gateway/webhook-gateway/server/servertest"
)

// TestReloadDoesNotSwitchAccessOff: half of a file that is being written has no callers in
// it. Everybody would be let in.
func TestReloadDoesNotSwitchAccessOff(t *testing.T) {
	g, callers, whole := controlled(t)
	without := whole
	without.Access = access.DefaultConfig()
	if err := reload(g, without); err != nil {
		t.Fatal(err)
	}
	ask := func(token string) codes.Code {
		return status.Code(callEmpty(as(t, token), g.Conn(), webhookgatewayv1.EventService_GetLogInfo_FullMethodName, false))
	}
	if code := ask(""); code != codes.Unauthenticated {
		t.Errorf("without credentials: %v", code)
	}
	if code := ask(callers.reader); code != codes.OK {
		t.Errorf("with a token: %v", code)
	}
	if changes := server.Changes(whole, without); len(changes) == 0 || slices.ContainsFunc(changes, func(c server.Change) bool { return !c.Restart }) {
		t.Errorf("%v do not take a restart", changes)
	}
}

// TestSmuggledCredentials: no header, spelling of a path or method of a request gets
// anybody what its credentials do not.
func TestSmuggledCredentials(t *testing.T) {
	g, callers, _ := controlled(t)
	g.Deliver(t, syncAccount)
	send := func(method, target, token string, headers ...string) (int, string) {
		t.Helper()
		conn, err := new(net.Dialer).DialContext(t.Context(), "tcp", strings.TrimPrefix(g.InternalURL(), "http://"))
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = conn.Close() }()
		request := method + " " + target + " HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n"
		if token != "" {
			request += "Authorization: Bearer " + token + "\r\n"
		}
		for _, header := range headers {
			request += header + "\r\n"
		}
		if _, err := io.WriteString(conn, request+"\r\n"); err != nil {
			t.Fatal(err)
		}
		resp, err := http.ReadResponse(bufio.NewReader(conn), &http.Request{Method: method})
		if err != nil {
			t.Fatalf("%s %s: %v", method, target, err)
		}
		defer func() { _ = resp.Body.Close() }()
		return resp.StatusCode, readAll(t, resp.Body)
	}
	good := "Bearer " + callers.reader
	for _, headers := range [][]string{
		{"Grpc-Metadata-Authorization: " + good},
		{"Grpc-Metadata-Webhook-Gateway-Ticket: x", "Webhook-Gateway-Ticket: x"},
		{"Grpcgateway-Authorization: " + good},
		{"Proxy-Authorization: " + good},
		{"X-Authorization: " + good, "Cookie: authorization=" + callers.reader},
		{"Authorization: " + good, "Authorization: " + good},
		{"Authorization: " + good, "Authorization: Bearer " + callers.stranger},
		{"Authorization: " + good + ", " + good},
		{"Authorization: Basic " + callers.reader},
		{"Authorization: " + callers.reader},
		{"Authorization:"},
	} {
		if code, body := send(http.MethodGet, "/v1/events", "", headers...); code != http.StatusUnauthorized {
			t.Errorf("%q: %d %s", headers, code, body)
		}
	}
	// The caller of a token is the one that counts, whatever else is said.
	for _, headers := range [][]string{
		{"Grpc-Metadata-Authorization: " + good}, {"Grpc-Metadata-Webhook-Gateway-Ticket: x"}, {"X-Forwarded-For: 127.0.0.1"}, {"Grpc-Timeout: 1S"},
	} {
		if code, body := send(http.MethodGet, "/v1/events", callers.operator, headers...); code != http.StatusForbidden {
			t.Errorf("an operator with %q: %d %s", headers, code, body)
		}
	}
	const other = "/metrics"
	for _, target := range []string{
		other, other + "/", "/" + other, "/." + other, "/x/.." + other, "/%6detrics", "/x/%2e%2e/metrics", "/healthz/.." + other, "/healthz/%2e%2e" + other,
		"http://127.0.0.1" + other, "http://other" + other, other + "?x=/healthz", "/healthz" + other, server.ConfigPath, server.ConfigPath + "/", "/debug/pprof", "/debug/pprof/heap",
		"/healthz/../v1/events", "/v1/events/", "//v1/events", "/v1%2fevents",
	} {
		for _, method := range []string{http.MethodGet, http.MethodHead, http.MethodPost, http.MethodOptions, http.MethodConnect, "get", "TRACE"} {
			for _, token := range []string{"", callers.stranger, callers.expired} {
				if code, body := send(method, target, token, "X-HTTP-Method-Override: GET", "Content-Length: 0"); code < 300 || strings.Contains(body, "webhook_gateway_") {
					t.Errorf("%s %s of a stranger: %d %.200s", method, target, code, body)
				}
			}
			code, body := send(method, target, callers.reader, "X-HTTP-Method-Override: GET", "Content-Length: 0")
			if code < 300 && !strings.Contains(target, "events") || strings.Contains(body, "webhook_gateway_") {
				t.Errorf("%s %s of a reader: %d %.200s", method, target, code, body)
			}
		}
	}
}

// TestStreamsEndWithTheirCredentials: a stream does not outlive its credentials.
func TestStreamsEndWithTheirCredentials(t *testing.T) {
	g, _, whole := controlled(t)
	config := &whole.Access
	const expired = webhookgatewayv1.ErrorReason_ERROR_REASON_CREDENTIALS_EXPIRED
	for life := time.Second; ; life *= 2 {
		config.Tokens = maps.Clone(config.Tokens)
		token, sum := access.NewToken()
		config.Tokens["brief"] = access.Token{SHA256: sum, Grants: []string{"read"}, Expires: access.Time{Time: time.Now().Add(life)}}
		if err := reload(g, whole); err != nil {
			t.Fatal(err)
		}
		stream, err := webhookgatewayv1.NewEventServiceClient(g.Conn()).Subscribe(as(t, token), &webhookgatewayv1.SubscribeRequest{})
		if err == nil {
			_, err = stream.Recv()
		}
		if rpcerr.Reason(err) == expired && life < time.Minute {
			continue // before it could be used, on a busy machine
		}
		if err != nil {
			t.Fatal(err)
		}
		endsWith(t, life, "Subscribe", func() (frame, error) { return stream.Recv() }, expired)
		return
	}
}

// TestHeadsOfCallsAreBounded: a client is told how large the head of a call may be, far
// less than the 16 MiB that gRPC would take of anybody.
func TestHeadsOfCallsAreBounded(t *testing.T) {
	g := servertest.Start(t)
	ctx := metadata.AppendToOutgoingContext(t.Context(), "padding", strings.Repeat("x", 64<<10))
	_, err := webhookgatewayv1.NewEventServiceClient(g.Conn()).GetLogInfo(ctx, &webhookgatewayv1.GetLogInfoRequest{})
	if !strings.Contains(status.Convert(err).Message(), "maximum size") {
		t.Errorf("a head of more than 64 KiB: %v", err)
	}
}
