package server_test

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	webhookgatewayv1 "github.com/webhook-gateway/webhook-gateway/gen/webhookgateway/v1"
	"github.com/webhook-gateway/webhook-gateway/server"
	"github.com/webhook-gateway/webhook-gateway/server/servertest"
)

// TestLossIsTold cuts the write-ahead log of a stopped gateway. It starts, and tells
// what is lost: readers, workers, probes, metrics.
func TestLossIsTold(t *testing.T) {
	path := filepath.Join(t.TempDir(), "store")
	g := servertest.Start(t, func(config *server.Config) { config.Store.Pebble.Path = path })
	subscriptions := webhookgatewayv1.NewSubscriptionServiceClient(g.Conn())
	if _, err := subscriptions.CreateSubscription(t.Context(), &webhookgatewayv1.CreateSubscriptionRequest{
		Subscription: &webhookgatewayv1.Subscription{Name: "workers"},
	}); err != nil {
		t.Fatal(err)
	}
	const events = 30
	for range events {
		g.DeliverBody(t, vezgo, vezgoBody)
	}
	stream := subscribe(t, g, &webhookgatewayv1.SubscribeRequest{
		Start: &webhookgatewayv1.SubscribeRequest_StartPosition{StartPosition: webhookgatewayv1.StartPosition_START_POSITION_EARLIEST},
	})
	var cursors []string
	for len(cursors) < events {
		for _, event := range next(t, stream, (*webhookgatewayv1.SubscribeResponse).GetEvents).GetEvents() {
			cursors = append(cursors, event.GetCursor())
		}
	}
	if err := g.Stop(); err != nil {
		t.Fatal(err)
	}
	cutNewestLog(t, path)
	g.Restart(t)

	code, body := get(t, g, "/readyz")
	if code != http.StatusOK || !strings.Contains(body, "are lost, as was found at") {
		t.Errorf("/readyz: %d %s", code, body)
	}
	if _, metrics := get(t, g, "/metrics"); strings.Contains(metrics, "webhook_gateway_log_lost_events 0\n") || !strings.Contains(metrics, "webhook_gateway_log_lost_events ") {
		t.Error("no loss in the metrics")
	}

	// Every cursor that was given out still names its place.
	newest := subscribe(t, g, &webhookgatewayv1.SubscribeRequest{Start: &webhookgatewayv1.SubscribeRequest_StartCursor{StartCursor: cursors[events-1]}})
	g.DeliverBody(t, vezgo, vezgoBody)
	if got := next(t, newest, (*webhookgatewayv1.SubscribeResponse).GetEvents); len(got.GetEvents()) != 1 {
		t.Errorf("after the newest event came %v", got)
	}
	failing := subscribe(t, g, &webhookgatewayv1.SubscribeRequest{Start: &webhookgatewayv1.SubscribeRequest_StartCursor{StartCursor: cursors[events-2]}})
	for {
		_, err := failing.Recv()
		if err == nil {
			continue
		}
		if status.Code(err) != codes.DataLoss {
			t.Errorf("a stream without on_expired ended with %v", err)
		}
		break
	}
	going := subscribe(t, g, &webhookgatewayv1.SubscribeRequest{
		Start:     &webhookgatewayv1.SubscribeRequest_StartCursor{StartCursor: cursors[events-2]},
		OnExpired: webhookgatewayv1.ExpiredPolicy_EXPIRED_POLICY_EARLIEST,
	})
	gap := next(t, going, (*webhookgatewayv1.SubscribeResponse).GetGap)
	if gap.GetReason() != webhookgatewayv1.GapReason_GAP_REASON_DAMAGED || gap.GetToCursor() != cursors[events-1] {
		t.Errorf("gap %v, want one up to %s", gap, cursors[events-1])
	}
	if got := next(t, going, (*webhookgatewayv1.SubscribeResponse).GetEvents); len(got.GetEvents()) != 1 {
		t.Errorf("after the gap came %v", got)
	}
	consumeGap(t, g, cursors[events-1])
}

// consumeGap checks that a worker is told of a gap.
func consumeGap(t *testing.T, g *servertest.Gateway, to string) {
	t.Helper()
	client := webhookgatewayv1.NewSubscriptionServiceClient(g.Conn())
	consume, err := client.Consume(t.Context(), &webhookgatewayv1.ConsumeRequest{Subscription: "workers"})
	if err != nil {
		t.Fatal(err)
	}
	for {
		frame, err := consume.Recv()
		if err != nil {
			t.Fatalf("the stream ended: %v", err)
		}
		if gap := frame.GetGap(); gap != nil {
			if gap.GetReason() != webhookgatewayv1.GapReason_GAP_REASON_DAMAGED || gap.GetToCursor() != to {
				t.Errorf("gap %v of the worker, want one up to %s", gap, to)
			}
			return
		}
		var tokens []string
		for _, delivery := range frame.GetDeliveries().GetDeliveries() {
			tokens = append(tokens, delivery.GetAckToken())
		}
		if len(tokens) > 0 {
			if _, err := client.Acknowledge(t.Context(), &webhookgatewayv1.AcknowledgeRequest{Subscription: "workers", AckTokens: tokens}); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// cutNewestLog cuts the newest write-ahead log in the middle.
func cutNewestLog(t *testing.T, path string) {
	t.Helper()
	logs, err := filepath.Glob(filepath.Join(path, "*.log"))
	if err != nil || len(logs) == 0 {
		t.Fatal(logs, err)
	}
	for i := len(logs) - 1; i >= 0; i-- {
		info, err := os.Stat(logs[i])
		if err != nil {
			t.Fatal(err)
		}
		if info.Size() > 1000 {
			if err := os.Truncate(logs[i], info.Size()/2); err != nil {
				t.Fatal(err)
			}
			return
		}
	}
}

// TestBackupOverHTTP takes a backup of a running gateway, and another meanwhile.
func TestBackupOverHTTP(t *testing.T) {
	g := servertest.Start(t)
	for range 20 {
		g.DeliverBody(t, vezgo, vezgoBody)
	}
	post := func() *http.Response {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, g.InternalURL()+server.BackupPath, nil)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		return resp
	}
	defer http.DefaultClient.CloseIdleConnections()
	resp := post()
	tar, err := io.ReadAll(resp.Body)
	if err := errors.Join(err, resp.Body.Close()); err != nil || resp.StatusCode != http.StatusOK {
		t.Fatal(resp.Status, err)
	}
	path := filepath.Join(t.TempDir(), "store")
	if _, err := server.Restore(t.Context(), bytes.NewReader(tar), path); err != nil {
		t.Fatal(err)
	}
	if report, err := server.VerifyStore(t.Context(), path, nil); err != nil || !report.OK() || report.Events != 20 {
		t.Errorf("VerifyStore() = %+v, %v", report, err)
	}
	restored := servertest.Start(t, func(config *server.Config) { config.Store.Pebble.Path = path })
	restored.DeliverBody(t, vezgo, vezgoBody)
	if code, _ := get(t, g, server.BackupPath); code == http.StatusOK {
		t.Error("GET makes a backup")
	}
	if _, document := get(t, g, "/openapi.json"); !strings.Contains(document, `"`+server.BackupPath+`": {`) {
		t.Error("the OpenAPI document lacks the backup")
	}
}
