package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/types/known/durationpb"

	webhookgatewayv1 "github.com/webhook-gateway/webhook-gateway/gen/webhookgateway/v1"
	"github.com/webhook-gateway/webhook-gateway/server"
	"github.com/webhook-gateway/webhook-gateway/server/provider"
)

// TestWorker runs the example against a gateway: what it handles is settled, what
// fails comes again, what is bad is parked.
func TestWorker(t *testing.T) {
	config := server.DefaultConfig()
	config.Listen = server.Listen{Webhooks: "127.0.0.1:0", GRPC: "127.0.0.1:0", InternalHTTP: "127.0.0.1:0"}
	config.Store.Pebble.Path = t.TempDir()
	config.Providers.Vezgo.Enabled = true
	config.Providers.Vezgo.Verification = provider.ModeOff
	gateway, err := server.New(t.Context(), config, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- gateway.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	conn, err := grpc.NewClient(gateway.Addrs().GRPC.String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	client := webhookgatewayv1.NewEventServiceClient(conn)
	if _, err := client.CreateSubscription(t.Context(), &webhookgatewayv1.CreateSubscriptionRequest{
		Subscription: &webhookgatewayv1.Subscription{Name: "team", Settings: &webhookgatewayv1.SubscriptionSettings{MinBackoff: durationpb.New(0)}},
	}); err != nil {
		t.Fatal(err)
	}
	for _, account := range []string{"good", "fails once", "bad"} {
		deliver(t, gateway, account)
	}

	handled := make(chan string, 4)
	w := &worker{client: client, subscription: "team", handle: func(_ context.Context, event *webhookgatewayv1.Event) error {
		account := event.GetVezgo().GetAccount().GetId()
		handled <- fmt.Sprintf("%s %d", account, event.GetAttempt())
		switch {
		case account == "bad":
			return errBad
		case account == "fails once" && event.GetAttempt() == 1:
			return errors.New("try again")
		}
		return nil
	}}
	working, done := context.WithCancel(t.Context())
	worked := make(chan error, 1)
	go func() { worked <- w.run(working) }()
	seen := make(map[string]bool)
	for range 4 {
		seen[<-handled] = true
	}
	for _, want := range []string{"good 1", "fails once 1", "fails once 2", "bad 1"} {
		if !seen[want] {
			t.Errorf("%q was not handled: %v", want, seen)
		}
	}
	// The bad event is parked after it was handled.
	for parked := 0; parked == 0; {
		page, err := client.ListParkedEvents(t.Context(), &webhookgatewayv1.ListParkedEventsRequest{Name: "team"})
		if err != nil {
			t.Fatal(err)
		}
		parked = len(page.GetParkedEvents())
	}
	done()
	if err := <-worked; err != nil {
		t.Error(err)
	}
}

func deliver(t *testing.T, gateway *server.Server, account string) {
	t.Helper()
	body := fmt.Sprintf(`{"hook":"SyncAccount","user":{"id":"u1"},"account":{"id":%q,"provider":"coinbase"}}`, account)
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost,
		"http://"+gateway.Addrs().Webhooks.String()+"/v1/webhooks/vezgo", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("X-Client-Id", "acme")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		t.Fatalf("the delivery was answered %s", resp.Status)
	}
}
