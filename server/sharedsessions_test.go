package server_test

import (
	"fmt"
	"strings"
	"testing"

	webhookgatewayv1 "github.com/webhook-gateway/webhook-gateway/gen/webhookgateway/v1"
	"github.com/webhook-gateway/webhook-gateway/server/servertest"
)

// listedSessions returns the sessions of a gateway, by pages of two.
func listedSessions(t *testing.T, g *servertest.Gateway) string {
	t.Helper()
	client := webhookgatewayv1.NewOperatorServiceClient(g.Conn())
	var all []string
	for token := ""; ; {
		page, err := client.ListSessions(t.Context(), &webhookgatewayv1.ListSessionsRequest{PageSize: 2, PageToken: token})
		if err != nil {
			return err.Error() // it is starting
		}
		for _, s := range page.GetSessions() {
			all = append(all, fmt.Sprint(s.GetId(), " ", s.GetSubject(), " ", s.GetState(), " ", s.GetEventCount(), " ", s.GetStartTime().AsTime(), s.GetMissingEventTypes()))
		}
		if token = page.GetNextPageToken(); token == "" {
			return strings.Join(all, "\n")
		}
	}
}

// Gateways that share a log have the same sessions, whichever took the events; so does one that
// comes later, and one that is started again.
func TestGatewaysShareSessions(t *testing.T) {
	option := shares(t)
	all := []*servertest.Gateway{servertest.Start(t, option), servertest.Start(t, option), servertest.Start(t, option)}
	together(t, all...)
	n := 0
	send := func(subject string, types ...string) {
		for _, name := range types {
			all[n%len(all)].Trigger(t, "finicity."+name, "customerId="+subject)
			n++
		}
	}
	send("7000000001", "started", "adding", "done")
	send("7000000002", "started")
	send("7000000003", "adding", "added")
	send("7000000002", "unableToConnect", "started")
	want := ""
	eventually(t, "the first has all", func() bool {
		want = listedSessions(t, all[0])
		return strings.Count(want, "\n") == 3
	})
	if !strings.Contains(want, "7000000002 SESSION_STATE_FAILED 2") || !strings.Contains(want, "7000000001 SESSION_STATE_DONE 3") {
		t.Errorf("the sessions are\n%s", want)
	}
	all = append(all, servertest.Start(t, option))
	all[1].Restart(t)
	for i, g := range all {
		got := ""
		eventually(t, fmt.Sprint("gateway ", i, " has all"), func() bool {
			got = listedSessions(t, g)
			return strings.Count(got, "\n") == 3
		})
		if got != want {
			t.Errorf("gateway %d has\n%s\nwant\n%s", i, got, want)
		}
	}
}
