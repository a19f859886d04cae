package main

import (
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// Connections that are opened and say nothing take no file descriptors from other
// listeners, from the store, nor from senders who do say something.
func TestIdleConnectionsTakeNothingFromOthers(t *testing.T) {
	if testing.Short() {
		t.Skip("builds and runs the binary")
	}
	dir := t.TempDir()
	limited := filepath.Join(dir, "limited")
	script := fmt.Sprintf("#!/bin/sh\nulimit -n 200\nexec %s \"$@\"\n", buildBinary(t))
	if err := os.WriteFile(limited, []byte(script), 0o700); err != nil {
		t.Fatal(err)
	}
	p := startProcess(t, limited, []string{
		"WEBHOOK_GATEWAY_LISTEN_WEBHOOKS=127.0.0.1:0",
		"WEBHOOK_GATEWAY_LISTEN_GRPC=127.0.0.1:0",
		"WEBHOOK_GATEWAY_LISTEN_INTERNAL_HTTP=127.0.0.1:0",
		"WEBHOOK_GATEWAY_SHUTDOWN_DELAY=0s",
		"WEBHOOK_GATEWAY_STORE_PEBBLE_PATH=" + filepath.Join(dir, "store"),
		"WEBHOOK_GATEWAY_PROVIDERS_VEZGO_ENABLED=true",
		"WEBHOOK_GATEWAY_PROVIDERS_VEZGO_CLIENTS=[client]",
		"WEBHOOK_GATEWAY_PROVIDERS_VEZGO_SOURCE_ADDRESSES=[127.0.0.1]",
	})
	for _, address := range []string{p.webhooks, p.grpc, p.internal} {
		for range 260 {
			c, err := net.Dial("tcp", address)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = c.Close() })
		}
	}
	client := &http.Client{Timeout: 30 * time.Second}
	t.Cleanup(client.CloseIdleConnections)
	for range 20 {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+p.webhooks+"/v1/webhooks/vezgo",
			strings.NewReader(`{"hook":"SyncAccount"}`))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("X-Client-Id", "client")
		wantOK(t, client, req)
		if req, err = http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+p.internal+"/readyz", nil); err != nil {
			t.Fatal(err)
		}
		wantOK(t, client, req)
	}
	p.terminate(t)
}

func wantOK(t *testing.T, client *http.Client, req *http.Request) {
	t.Helper()
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		t.Errorf("%s answered %s", req.URL.Path, resp.Status)
	}
}
