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

// copied returns a log of five events, and the path of a copy that was made when it
// had three.
func copied(t *testing.T) (log *pebblelog.Log, older string) {
	t.Helper()
	path := t.TempDir()
	log = openLog(t, path)
	appendTo(t, log, "1", "2", "3")
	if err := log.Close(); err != nil {
		t.Fatal(err)
	}
	older = t.TempDir()
	if err := os.CopyFS(older, os.DirFS(path)); err != nil {
		t.Fatal(err)
	}
	log = openLog(t, path)
	appendTo(t, log, "4", "5")
	return log, older
}

// After an older copy was put back, no cursor and no id names another event than
// before.
func TestAnOlderCopyPutBack(t *testing.T) {
	t.Parallel()
	log, older := copied(t)
	kept, keptID := log.History().FormatCursor(3), log.History().FormatEventID(3)
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

// A page token of a part of the history that was lost is refused: it would skip
// what took its place.
func TestAPageTokenOfALostPart(t *testing.T) {
	t.Parallel()
	log, older := copied(t)
	t.Cleanup(func() {
		if err := log.Close(); err != nil {
			t.Error(err)
		}
	})
	g := serve(t, log, testConfig())
	tokens := make(map[int32]string)
	for _, size := range []int32{3, 4} { // up to what both have, and past it
		page, err := g.client.ListEvents(t.Context(), &listRequest{PageSize: size})
		if err != nil || page.GetNextPageToken() == "" {
			t.Fatalf("a page of %d: %v, %v", size, page, err)
		}
		tokens[size] = page.GetNextPageToken()
	}

	restored := openLog(t, older)
	appendTo(t, restored, "other 4", "other 5")
	t.Cleanup(func() {
		if err := restored.Close(); err != nil {
			t.Error(err)
		}
	})
	h := serve(t, restored, testConfig())
	_, err := h.client.ListEvents(t.Context(), &listRequest{PageToken: tokens[4]})
	checkError(t, err, "InvalidArgument PAGE_TOKEN_INVALID")
	page, err := h.client.ListEvents(t.Context(), &listRequest{PageToken: tokens[3]})
	if err != nil || len(page.GetEvents()) != 2 || page.GetEvents()[0].GetClientId() != "other 4" {
		t.Errorf("from where both agree: %v, %v", page, err)
	}
}
