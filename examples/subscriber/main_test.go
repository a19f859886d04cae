package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"path/filepath"
	"strings"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	webhookgatewayv1 "github.com/webhook-gateway/webhook-gateway/gen/webhookgateway/v1"
	"github.com/webhook-gateway/webhook-gateway/server"
	"github.com/webhook-gateway/webhook-gateway/server/provider"
)

// TestSubscriber runs the example twice against a gateway: the second run goes on
// where the first one stopped.
func TestSubscriber(t *testing.T) {
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

	cursorFile := filepath.Join(t.TempDir(), "cursor")
	deliver(t, gateway, "SyncError", "first")
	if got := nextLine(t, gateway, cursorFile); !strings.Contains(got, "account first failed to sync: LoginFailedError") {
		t.Errorf("the first run printed %q", got)
	}
	deliver(t, gateway, "SyncAccount", "skipped by the filter")
	deliver(t, gateway, "SyncError", "second")
	if got := nextLine(t, gateway, cursorFile); !strings.Contains(got, "account second failed to sync") {
		t.Errorf("the second run printed %q", got)
	}
}

func deliver(t *testing.T, gateway *server.Server, hook, account string) {
	t.Helper()
	body := fmt.Sprintf(`{"hook":%q,"user":{"id":"u1"},"account":{"id":%q,"provider":"coinbase"},"error":"LoginFailedError"}`, hook, account)
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

// nextLine runs the subscriber until it has printed a line and kept its cursor.
func nextLine(t *testing.T, gateway *server.Server, cursorFile string) string {
	t.Helper()
	conn, err := grpc.NewClient(gateway.Addrs().GRPC.String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	in, out := io.Pipe()
	s := &subscriber{client: webhookgatewayv1.NewEventServiceClient(conn), cursorFile: cursorFile, out: out}
	ended := make(chan error, 1)
	go func() {
		ended <- s.run(ctx)
		_ = out.Close() // never fails
	}()
	line, err := bufio.NewReader(in).ReadString('\n')
	if err != nil {
		t.Fatalf("the subscriber ended: %v", err)
	}
	// The line is printed before the cursor is kept, and the end of a run waits for
	// the frame under way.
	stop()
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	return line
}
