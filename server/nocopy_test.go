package server_test

import (
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"strings"
	"testing"

	webhookgatewayv1 "github.com/webhook-gateway/webhook-gateway/gen/webhookgateway/v1"
	"github.com/webhook-gateway/webhook-gateway/server/rpcerr"
	"github.com/webhook-gateway/webhook-gateway/server/servertest"
)

// nobodyAt returns an address of this machine that nobody listens on yet. Its port is below those that
// a system gives to whoever asks for any, so that no other test is given it before it is used.
func nobodyAt(t *testing.T) *net.TCPAddr {
	t.Helper()
	for range 100 {
		address := &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 10_000 + rand.IntN(20_000)}
		listener, err := net.ListenTCP("tcp", address)
		if err != nil {
			continue // it is taken
		}
		if err := listener.Close(); err != nil {
			t.Fatal(err)
		}
		return address
	}
	t.Fatal("no port is free")
	return nil
}

// A gateway with an empty folder starts while no server of the commit log answers: it says that it
// is not ready, and why, refuses deliveries so that they come again, and answers pings. When the
// servers are there it goes on by itself.
func TestGatewayStartsWithoutCopyAndCommitLog(t *testing.T) {
	address := nobodyAt(t)
	g := servertest.Start(t, sharesBy(fmt.Sprint("nats://", address)))

	if code, body := get(t, g, "/healthz"); code != http.StatusOK {
		t.Errorf("/healthz: %d %s", code, body)
	}
	if body := isReady(t, g, false); !strings.Contains(body, "catching up: ") || !strings.Contains(body, "the engine does not answer yet") {
		t.Errorf("/readyz says %s", body)
	}
	resp, err := http.DefaultClient.Do(g.Request(t, webhookgatewayv1.Provider_PROVIDER_FINICITY, finicityBody("1")))
	if err != nil {
		t.Fatal(err)
	}
	if err := resp.Body.Close(); err != nil {
		t.Error(err)
	}
	if resp.StatusCode != http.StatusServiceUnavailable || resp.Header.Get("Retry-After") == "" {
		t.Errorf("a delivery is answered %s, %v", resp.Status, resp.Header)
	}
	if code, answer := g.Send(t, webhookgatewayv1.Provider_PROVIDER_FINICITY, []byte(`{"eventType":"ping","payload":{}}`)); code != http.StatusOK {
		t.Errorf("a ping is answered %d: %s", code, answer)
	}
	_, err = webhookgatewayv1.NewEventServiceClient(g.Conn()).GetLogInfo(t.Context(), &webhookgatewayv1.GetLogInfoRequest{})
	if got := rpcerr.Reason(err); got != webhookgatewayv1.ErrorReason_ERROR_REASON_STARTING {
		t.Errorf("a reader is answered %v: %v", got, err)
	}

	startNATS(t, address.Port)
	isReady(t, g, true)
	g.DeliverBody(t, webhookgatewayv1.Provider_PROVIDER_FINICITY, finicityBody("1"))
	if events := read(t, g, 1); events[0].GetProviderEventId() != "1" {
		t.Errorf("it serves %v", events)
	}
	together(t, g)
	if _, err := webhookgatewayv1.NewSubscriptionServiceClient(g.Conn()).CreateSubscription(t.Context(), &webhookgatewayv1.CreateSubscriptionRequest{
		Subscription: &webhookgatewayv1.Subscription{Name: "team"},
	}); err != nil {
		t.Fatal(err)
	}
	g.DeliverBody(t, webhookgatewayv1.Provider_PROVIDER_FINICITY, finicityBody("2"))
	if got := fmt.Sprint(consume(t, g, "team", 1)); got != "[2]" {
		t.Errorf("a worker gets %s", got)
	}
}
