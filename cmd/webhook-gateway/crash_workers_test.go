package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	webhookgatewayv1 "github.com/webhook-gateway/webhook-gateway/gen/webhookgateway/v1"
)

// Workers share a subscription while the real binary is killed again and again.
// What was answered OK never comes again; everything else does, until there is
// nothing that was not acknowledged.
func TestCrashWithWorkers(t *testing.T) {
	if testing.Short() {
		t.Skip("kills a real process for some seconds")
	}
	const events, rounds = 600, 4
	binary := buildBinary(t)
	environ := []string{
		"WEBHOOK_GATEWAY_LISTEN_WEBHOOKS=127.0.0.1:0",
		"WEBHOOK_GATEWAY_LISTEN_GRPC=127.0.0.1:0",
		"WEBHOOK_GATEWAY_LISTEN_INTERNAL_HTTP=127.0.0.1:0",
		"WEBHOOK_GATEWAY_STORE_PEBBLE_PATH=" + filepath.Join(t.TempDir(), "store"),
		"WEBHOOK_GATEWAY_PROVIDERS_VEZGO_ENABLED=true",
		"WEBHOOK_GATEWAY_PROVIDERS_VEZGO_ANY_CLIENT=true",
		"WEBHOOK_GATEWAY_PROVIDERS_VEZGO_SOURCE_ADDRESSES=[127.0.0.1]",
	}
	p := startProcess(t, binary, environ)
	mustExecute(t, "subscriptions", "create", "team", "--addr", p.grpc, "--from", "earliest", "--max-in-flight-per-stream", "50")
	for n := range events {
		deliverVezgo(t, p.webhooks, n)
	}
	team := &team{acked: make(map[string]bool), tried: make(map[string]bool), delivered: make(chan struct{}, events*rounds)}
	for round := range rounds {
		stop := team.work(t, p.grpc)
		for range 1 + rand.IntN(events/rounds) {
			<-team.delivered
		}
		p.kill(t)
		stop()
		t.Logf("round %d: killed with %d of %d events acknowledged", round+1, team.count(), events)
		p = startProcess(t, binary, environ)
	}
	stop := team.work(t, p.grpc)
	for !settled(t, p.grpc) { // what was lost would keep the cursor from the head forever
		<-team.delivered
	}
	stop()
	if n := team.count(); n != events {
		t.Errorf("%d of %d events were delivered and acknowledged", n, events)
	}
	p.terminate(t)
}

// settled reports whether every event is settled.
func settled(t *testing.T, address string) bool {
	t.Helper()
	conn, err := (&remote{addr: address}).dial()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }() // nothing is left to lose
	resp, err := webhookgatewayv1.NewSubscriptionServiceClient(conn).GetSubscription(t.Context(), &webhookgatewayv1.GetSubscriptionRequest{Name: "team"})
	if err != nil {
		t.Fatal(err)
	}
	status := resp.GetSubscription().GetStatus()
	return status.GetCursor() == status.GetHeadCursor() && status.GetWaitingEvents() == 0 && status.GetParkedEvents() == 0
}

func deliverVezgo(t *testing.T, address string, n int) {
	t.Helper()
	body := fmt.Sprintf(`{"hook":"SyncAccount","user":{"id":"%d"},"account":{"id":"%d","provider":"coinbase"}}`, n%7, n)
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+address+"/v1/webhooks/vezgo", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("X-Client-Id", "team")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close() // nothing is read from it
	if resp.StatusCode != http.StatusOK {
		t.Fatalf("delivery %d was answered %s", n, resp.Status)
	}
}

// team is some workers, over restarts of the gateway.
type team struct {
	mu    sync.Mutex
	acked map[string]bool // by event id; the gateway said OK
	// tried are those acknowledged with whatever answer, or none: the gateway may
	// have been killed between settling the event and saying so.
	tried map[string]bool
	// delivered gets every acknowledgement that was answered, OK or not.
	delivered chan struct{}
}

func (m *team) count() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.tried)
}

// work starts workers, and returns what ends them.
func (m *team) work(t *testing.T, address string) (stop func()) {
	t.Helper()
	conn, err := (&remote{addr: address}).dial()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var group sync.WaitGroup
	for range 3 {
		group.Go(func() { m.follow(ctx, t, webhookgatewayv1.NewSubscriptionServiceClient(conn)) })
	}
	return func() {
		cancel()
		group.Wait()
		_ = conn.Close() // nothing is left to lose
	}
}

// follow acknowledges events one by one until the gateway is gone.
func (m *team) follow(ctx context.Context, t *testing.T, client webhookgatewayv1.SubscriptionServiceClient) {
	stream, err := client.Consume(ctx, &webhookgatewayv1.ConsumeRequest{Subscription: "team", MaxBatchSize: 10})
	if err != nil {
		return
	}
	for {
		frame, err := stream.Recv()
		if err != nil {
			return // killed, or told to stop
		}
		for _, delivery := range frame.GetDeliveries().GetDeliveries() {
			event := delivery.GetEvent()
			m.mu.Lock()
			if m.acked[event.GetId()] {
				t.Errorf("event %s came again after it was acknowledged", event.GetId())
			}
			m.tried[event.GetId()] = true
			m.mu.Unlock()
			resp, err := client.Acknowledge(ctx, &webhookgatewayv1.AcknowledgeRequest{
				Subscription: "team", AckTokens: []string{delivery.GetAckToken()},
			})
			if err != nil {
				return
			}
			if resp.GetResults()[0] == webhookgatewayv1.TokenResult_TOKEN_RESULT_OK {
				m.mu.Lock()
				m.acked[event.GetId()] = true
				m.mu.Unlock()
			}
			m.delivered <- struct{}{}
		}
	}
}
