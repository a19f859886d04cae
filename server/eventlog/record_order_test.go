package eventlog_test

import (
	"testing"
	"time"

	webhookgatewayv1 "github.com/webhook-gateway/webhook-gateway/gen/webhookgateway/v1"
	"github.com/webhook-gateway/webhook-gateway/server/eventlog"
)

func orderingGroup(t *testing.T, provider webhookgatewayv1.Provider, clientID, subject string) uint64 {
	t.Helper()
	entry, err := eventlog.NewEntry(&webhookgatewayv1.Event{Provider: provider, ClientId: clientID, Subject: subject})
	if err != nil {
		t.Fatal(err)
	}
	record, err := eventlog.ParseRecord(1, entry.Complete(time.Now(), eventlog.Totals{Bytes: 1}, false, 7), true)
	if err != nil {
		t.Fatal(err)
	}
	return record.OrderingGroup()
}

func TestOrderingGroup(t *testing.T) {
	const finicity, vezgo = webhookgatewayv1.Provider_PROVIDER_FINICITY, webhookgatewayv1.Provider_PROVIDER_VEZGO
	if got := orderingGroup(t, finicity, "client", ""); got != 0 {
		t.Errorf("group without a subject = %d, want 0", got)
	}
	group := orderingGroup(t, finicity, "client", "customer")
	// Stored in every log: a change of the hash would mix up groups.
	if want := uint64(0xd92505dd99ab9af1); group != want {
		t.Errorf("group = %#x, want %#x", group, want)
	}
	for name, other := range map[string]uint64{
		"another provider":          orderingGroup(t, vezgo, "client", "customer"),
		"another client":            orderingGroup(t, finicity, "clien", "customer"),
		"another subject":           orderingGroup(t, finicity, "client", "customer2"),
		"the same, divided another": orderingGroup(t, finicity, "clientc", "ustomer"),
	} {
		if other == group {
			t.Errorf("%s has the same group", name)
		}
	}
}
