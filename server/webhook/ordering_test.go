package webhook_test

import (
	"net/http"
	"slices"
	"testing"

	"github.com/webhook-gateway/webhook-gateway/server/provider/all"
)

// Events of the same customer or user share an ordering group, whatever their
// type, and those that name none have none.
func TestOrderingGroups(t *testing.T) {
	t.Parallel()
	g := newGateway(t)
	for _, sender := range all.Senders() {
		for _, body := range []string{
			`{"eventType":"started","customerId":"1","hook":"SyncAccount","user":{"id":"1"}}`,
			`{"eventType":"next","customerId":"1","hook":"Next","user":{"id":"1"}}`,
			`{"eventType":"started","customerId":"2","hook":"SyncAccount","user":{"id":"2"}}`,
			`{}`,
		} {
			if got := g.deliver(t, sender, body); got.Code != http.StatusOK {
				t.Errorf("%s: answer to %s = %+v", sender.Name(), body, got)
			}
		}
	}
	var groups []uint64
	for record, err := range g.log.Read(t.Context(), 0) {
		if err != nil {
			t.Fatal(err)
		}
		groups = append(groups, record.OrderingGroup())
	}
	if len(groups) != 8 {
		t.Fatalf("%d events are stored, want 8", len(groups))
	}
	for i := 0; i < len(groups); i += 4 {
		if g := groups[i : i+4]; g[0] != g[1] || g[0] == g[2] || slices.Contains(g[:3], 0) || g[3] != 0 {
			t.Errorf("groups %x, want two equal, another one, and 0", g)
		}
	}
	if groups[0] == groups[4] {
		t.Error("the same key of two providers has one group")
	}
}
