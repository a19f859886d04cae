package webhook_test

import (
	"testing"
	"time"

	webhookgatewayv1 "github.com/webhook-gateway/webhook-gateway/gen/webhookgateway/v1"
	"github.com/webhook-gateway/webhook-gateway/server/eventlog"
)

// decodeEntry returns the event of an entry as a subscriber would see it.
func decodeEntry(t *testing.T, entry eventlog.Entry, position eventlog.Position) *webhookgatewayv1.Event {
	t.Helper()
	record, err := eventlog.ParseRecord(position, entry.Complete(time.Unix(1, 0), eventlog.Totals{Bytes: 1}, false, 7), true)
	if err != nil {
		t.Fatal(err)
	}
	event, err := record.Event(&eventlog.History{}, webhookgatewayv1.EventView_EVENT_VIEW_RAW)
	if err != nil {
		t.Fatal(err)
	}
	return event
}
