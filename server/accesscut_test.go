package server_test

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	webhookgatewayv1 "github.com/webhook-gateway/webhook-gateway/gen/webhookgateway/v1"
	"github.com/webhook-gateway/webhook-gateway/server"
	"github.com/webhook-gateway/webhook-gateway/server/access"
	"github.com/webhook-gateway/webhook-gateway/server/eventlog"
	"github.com/webhook-gateway/webhook-gateway/server/servertest"
)

// largeEvents are more than fits into what is between a gateway and a client that does not
// read.
const largeEvents = 32

// storeLarge stores largeEvents of 1 MiB.
func storeLarge(t *testing.T, g *servertest.Gateway) {
	t.Helper()
	for range largeEvents {
		if _, err := g.Server().Log().Append(t.Context(), eventOf(t, bytes.Repeat([]byte("x"), 1<<20))); err != nil {
			t.Fatal(err)
		}
	}
}

// eventOf returns an event with a body, to be stored.
func eventOf(t *testing.T, body []byte) eventlog.Entry {
	t.Helper()
	entry, err := eventlog.NewEntry(&webhookgatewayv1.Event{
		Provider: vezgo, Type: syncAccount, ClientId: servertest.Client, RawBody: body,
		Verification: &webhookgatewayv1.Verification{Verdict: webhookgatewayv1.VerificationVerdict_VERIFICATION_VERDICT_VERIFIED},
	})
	if err != nil {
		t.Fatal(err)
	}
	return entry
}

// begin sends a request on a connection of its own, of which no more is read than the
// caller does.
func begin(t *testing.T, g *servertest.Gateway, head, token string) (net.Conn, *bufio.Reader) {
	t.Helper()
	conn, err := new(net.Dialer).DialContext(t.Context(), "tcp", strings.TrimPrefix(g.InternalURL(), "http://"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	if tcp, ok := conn.(*net.TCPConn); ok {
		if err := tcp.SetReadBuffer(4 << 10); err != nil {
			t.Fatal(err)
		}
	}
	if err := conn.SetDeadline(time.Now().Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(conn, head+"Host: 127.0.0.1\r\nAuthorization: Bearer "+token+"\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	return conn, bufio.NewReaderSize(conn, 16)
}

// metrics returns what an operator reads.
func metrics(t *testing.T, g *servertest.Gateway, token string) string {
	t.Helper()
	_, answer := begin(t, g, "GET /metrics HTTP/1.1\r\nConnection: close\r\n", token)
	return readAll(t, answer)
}

// revoke takes a token out of the configuration.
func revoke(t *testing.T, g *servertest.Gateway, config server.Config, token string) {
	t.Helper()
	config.Access.Tokens = maps.Clone(config.Access.Tokens)
	delete(config.Access.Tokens, token)
	if err := reload(g, config); err != nil {
		t.Fatal(err)
	}
}

// TestRevokedReadersWhoDoNotRead: who reads nothing cannot be told that its access has
// ended. Its streams end all the same: they take no place of others, what a worker held is
// delivered to others as if it had never been there, and no shutdown waits for them.
func TestRevokedReadersWhoDoNotRead(t *testing.T) {
	g, callers, whole := controlled(t)
	whole.Access.Tokens = maps.Clone(whole.Access.Tokens)
	successor, sum := access.NewToken()
	whole.Access.Tokens["successor"] = access.Token{SHA256: sum, Grants: []string{"read"}}
	if err := reload(g, whole); err != nil {
		t.Fatal(err)
	}
	storeLarge(t, g)
	conn := dialAs(t, g, callers.reader)
	events, workers := webhookgatewayv1.NewEventServiceClient(conn), webhookgatewayv1.NewSubscriptionServiceClient(conn)
	raw := webhookgatewayv1.EventView_EVENT_VIEW_RAW
	if _, err := workers.CreateSubscription(t.Context(), &webhookgatewayv1.CreateSubscriptionRequest{Subscription: &webhookgatewayv1.Subscription{
		Name: "team", Settings: &webhookgatewayv1.SubscriptionSettings{AckDeadline: durationpb.New(10 * time.Minute)},
		Start: &webhookgatewayv1.SubscriptionStart{Start: &webhookgatewayv1.SubscriptionStart_Position{
			Position: webhookgatewayv1.StartPosition_START_POSITION_EARLIEST,
		}},
	}}); err != nil {
		t.Fatal(err)
	}
	reading, err := events.Subscribe(t.Context(), &webhookgatewayv1.SubscribeRequest{
		View: raw, Start: &webhookgatewayv1.SubscribeRequest_StartPosition{StartPosition: webhookgatewayv1.StartPosition_START_POSITION_EARLIEST},
	})
	opened(t, reading, err)
	working, err := workers.Consume(t.Context(), &webhookgatewayv1.ConsumeRequest{Subscription: "team", View: raw})
	opened(t, working, err)
	if frame, err := working.Recv(); err != nil || frame.GetDeliveries() == nil {
		t.Fatalf("%v %v", frame, err)
	}
	_, lines := begin(t, g, "GET /v1/events:subscribe?view=EVENT_VIEW_RAW&startPosition=START_POSITION_EARLIEST HTTP/1.1\r\n", callers.reader)
	if _, err := lines.ReadByte(); err != nil {
		t.Fatal(err)
	}

	revoke(t, g, whole, "reader")
	settleFirstAttempts(t.Context(), t, webhookgatewayv1.NewSubscriptionServiceClient(dialAs(t, g, successor)), "team")
	eventually(t, "no place is taken", func() bool {
		return strings.Contains(metrics(t, g, callers.operator), "webhook_gateway_streams_open 1\n")
	})
	_ = conn.Close() // what was sent before waits for its client; a connection over HTTP does not
	if err := g.Stop(); err != nil {
		t.Error(err)
	}
}

// settleFirstAttempts has a worker take all large events, and settle them. None counts as an attempt of who had to go
// before. The stream stays open until the context ends.
func settleFirstAttempts(ctx context.Context, t *testing.T, worker webhookgatewayv1.SubscriptionServiceClient, subscription string) {
	t.Helper()
	stream, err := worker.Consume(ctx, &webhookgatewayv1.ConsumeRequest{Subscription: subscription, View: webhookgatewayv1.EventView_EVENT_VIEW_RAW})
	opened(t, stream, err)
	for seen := 0; seen < largeEvents; {
		frame, err := stream.Recv()
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range frame.GetDeliveries().GetDeliveries() {
			if d.GetAttempt() != 1 {
				t.Errorf("%s: attempt %d counts though the worker had to go", subscription, d.GetAttempt())
			}
			seen++
			if _, err := worker.Acknowledge(t.Context(), &webhookgatewayv1.AcknowledgeRequest{Subscription: subscription, AckTokens: []string{d.GetAckToken()}}); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// TestBackupOfARevokedOperator: nobody goes on copying the store after it was an operator.
func TestBackupOfARevokedOperator(t *testing.T) {
	g, callers, whole := controlled(t)
	whole.Access.Tokens = maps.Clone(whole.Access.Tokens)
	successor, sum := access.NewToken()
	whole.Access.Tokens["successor"] = access.Token{SHA256: sum, Grants: []string{"operate"}}
	if err := reload(g, whole); err != nil {
		t.Fatal(err)
	}
	storeLarge(t, g)
	const head = "POST " + server.BackupPath + " HTTP/1.1\r\nContent-Length: 0\r\n"
	_, old := begin(t, g, head, callers.operator)
	if line, err := old.ReadString('\n'); err != nil || !strings.Contains(line, "200") {
		t.Fatalf("%s %v", line, err)
	}
	revoke(t, g, whole, "operator")
	revoked := time.Now()
	eventually(t, "another backup can be made", func() bool { // there is one at a time
		_, answer := begin(t, g, head+"Connection: close\r\n", successor)
		line, err := answer.ReadString('\n')
		return err == nil && strings.Contains(line, "200")
	})
	// Who reads nothing is waited for much longer.
	if took := time.Since(revoked); took > 30*time.Second {
		t.Errorf("that of the old operator went on for %v", took)
	}
}

// TestSlowBodyOfARevokedCaller: the credentials of a request count when it does what it
// asks for, and not when its head came.
func TestSlowBodyOfARevokedCaller(t *testing.T) {
	g, callers, whole := controlled(t)
	body := `{"name":"late"}`
	conn, answer := begin(t, g, fmt.Sprintf("POST /v1/subscriptions HTTP/1.1\r\nContent-Type: application/json\r\nExpect: 100-continue\r\nContent-Length: %d\r\n", len(body)), callers.reader)
	if line, err := answer.ReadString('\n'); err != nil || !strings.Contains(line, "100 Continue") {
		t.Fatalf("%q, %v", line, err)
	}
	if _, err := answer.ReadString('\n'); err != nil {
		t.Fatal(err)
	}
	revoke(t, g, whole, "reader")
	if _, err := io.WriteString(conn, body); err != nil {
		t.Fatal(err)
	}
	resp, err := http.ReadResponse(answer, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	if text := readAll(t, resp.Body); resp.StatusCode != http.StatusUnauthorized || !strings.Contains(text, "CREDENTIALS_INVALID") || !strings.Contains(text, "check that they are whole, and that access") {
		t.Errorf("%s %s", resp.Status, text)
	}
}
