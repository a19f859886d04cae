package eventservice_test

import (
	"log/slog"
	"os"
	"testing"

	"google.golang.org/grpc/status"

	webhookgatewayv1 "github.com/webhook-gateway/webhook-gateway/gen/webhookgateway/v1"
	"github.com/webhook-gateway/webhook-gateway/server/eventlog"
	"github.com/webhook-gateway/webhook-gateway/server/eventlog/pebblelog"
)

func openLog(t *testing.T, path string) *pebblelog.Log {
	t.Helper()
	config := pebblelog.DefaultConfig()
	config.Path = path
	log, err := pebblelog.Open(config, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	return log
}

func appendTo(t *testing.T, log eventlog.Log, clientIDs ...string) {
	t.Helper()
	for _, clientID := range clientIDs {
		entry, err := newEntry(vezgo, syncAccount, clientID, []byte("{}"))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := log.Append(t.Context(), entry); err != nil {
			t.Fatal(err)
		}
	}
}

// After an older copy was put back, no cursor and no id names another event than
// before.
func TestAnOlderCopyPutBack(t *testing.T) {
	t.Parallel()
	path := t.TempDir()
	log := openLog(t, path)
	appendTo(t, log, "1", "2", "3")
	kept, keptID := log.History().FormatCursor(3), log.History().FormatEventID(3)
	if err := log.Close(); err != nil {
		t.Fatal(err)
	}
	older := t.TempDir()
	if err := os.CopyFS(older, os.DirFS(path)); err != nil {
		t.Fatal(err)
	}
	log = openLog(t, path)
	appendTo(t, log, "4", "5")
	lost, lostID := log.History().FormatCursor(4), log.History().FormatEventID(4)
	if err := log.Close(); err != nil {
		t.Fatal(err)
	}

	log = openLog(t, older)
	appendTo(t, log, "other 4", "other 5", "other 6")
	g := serve(t, log, testConfig())
	t.Cleanup(func() {
		if err := log.Close(); err != nil {
			t.Error(err)
		}
	})
	start := func(cursor string) *webhookgatewayv1.SubscribeRequest {
		return &webhookgatewayv1.SubscribeRequest{Start: &webhookgatewayv1.SubscribeRequest_StartCursor{StartCursor: cursor}, Stop: toHead()}
	}
	const want = "FailedPrecondition HISTORY_LOST"
	_, err := g.subscribe(t, start(lost)).rest()
	checkError(t, err, want+" start_cursor")
	if status.Convert(err).Message() == "" {
		t.Error("the error says nothing")
	}
	_, err = g.client.GetEvent(t.Context(), &webhookgatewayv1.GetEventRequest{Id: lostID})
	checkError(t, err, want+" id")

	g.subscribe(t, start(kept)).expect("subscribed 3", "4", "5", "6", "caught_up 6")
	got, err := g.client.GetEvent(t.Context(), &webhookgatewayv1.GetEventRequest{Id: keptID})
	if err != nil || got.GetEvent().GetClientId() != "3" {
		t.Errorf("the event that was kept: %v, %v", got, err)
	}
}
