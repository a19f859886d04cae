package eventservice_test

import (
	"fmt"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	webhookgatewayv1 "github.com/webhook-gateway/webhook-gateway/gen/webhookgateway/v1"
	"github.com/webhook-gateway/webhook-gateway/server/access"
	"github.com/webhook-gateway/webhook-gateway/server/eventlog"
	"github.com/webhook-gateway/webhook-gateway/server/provider"
	"github.com/webhook-gateway/webhook-gateway/server/rpcerr"
)

const canary = provider.CanaryClientID

// The canary's events are for those who name its client and may: in streams, of which each
// frame begins where the one before it ended, and in lists. Nobody is told that they were
// left out. Who is granted every client may name the canary's.
func TestCanaryIsLeftOut(t *testing.T) {
	t.Parallel()
	g := newGateway(t, testConfig())
	g.add(t, finicity, done, canary)  // 1
	g.add(t, finicity, done, "a")     // 2
	g.add(t, finicity, done, canary)  // 3
	g.add(t, vezgo, syncAccount, "b") // 4
	g.add(t, finicity, done, canary)  // 5
	type eventFilter = webhookgatewayv1.EventFilter
	ofCanary := ofClients(canary)
	for _, tc := range []struct {
		name   string
		grants []*access.Grant
		asked  filters
		want   []eventlog.Position
	}{
		{"no filter", nil, nil, []eventlog.Position{2, 4}},
		{"a filter of something else", nil, filters{{EventTypes: []webhookgatewayv1.EventType{done}}}, []eventlog.Position{2}},
		{"others are excluded", nil, filters{{ExcludeClientIds: []string{"a"}}}, []eventlog.Position{4}},
		{"only the canary", nil, filters{ofCanary}, []eventlog.Position{1, 3, 5}},
		{"the canary and all others", nil, filters{ofCanary, {}}, []eventlog.Position{1, 2, 3, 4, 5}},
		{"a grant of everything", []*access.Grant{reads(&eventFilter{})}, nil, []eventlog.Position{2, 4}},
		{"a grant of every client", []*access.Grant{reads(&eventFilter{Providers: []webhookgatewayv1.Provider{finicity}})}, nil, []eventlog.Position{2}},
		{"a grant of every client, by name", []*access.Grant{reads(&eventFilter{Providers: []webhookgatewayv1.Provider{finicity}})}, filters{ofCanary}, []eventlog.Position{1, 3, 5}},
		{"a grant that excludes", []*access.Grant{reads(&eventFilter{ExcludeClientIds: []string{"a"}})}, nil, []eventlog.Position{4}},
		{"grants of both", []*access.Grant{reads(&eventFilter{ExcludeClientIds: []string{"a"}}), reads(ofCanary)}, filters{ofCanary, {}}, []eventlog.Position{1, 3, 4, 5}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			ctx := t.Context()
			if tc.grants != nil {
				ctx = as(t, tc.grants...)
			}
			s := g.subscribeWith(t, ctx, &webhookgatewayv1.SubscribeRequest{Filters: tc.asked, Start: fromEarliest(), Stop: toHead(), MaxBatchSize: 1})
			want := []string{"subscribed 0"}
			for _, p := range tc.want {
				want = append(want, fmt.Sprint(p))
			}
			s.expect(want...)
			if got := s.next().GetCaughtUp(); got.GetLeftOutEvents() != 0 || got.GetCursor() != g.cursor(5) {
				t.Errorf("caught up: %v", got)
			}
			for _, newestFirst := range []bool{false, true} {
				got, leftOut := g.listed(ctx, t, &listRequest{Filters: tc.asked, NewestFirst: newestFirst, PageSize: 1})
				slices.Sort(got)
				if diff := cmp.Diff(tc.want, got); diff != "" || leftOut != 0 {
					t.Errorf("newest first %v: %d left out; events (-want +got):\n%s", newestFirst, leftOut, diff)
				}
			}
		})
	}
}

// What a grant excludes nobody gets by its id either.
func TestExcludedEventIsNotGranted(t *testing.T) {
	t.Parallel()
	g := newGateway(t, testConfig())
	ctx := as(t, reads(&webhookgatewayv1.EventFilter{ExcludeClientIds: []string{"a"}}))
	for client, want := range map[string]webhookgatewayv1.ErrorReason{
		"a": webhookgatewayv1.ErrorReason_ERROR_REASON_NOT_GRANTED, "b": 0, canary: 0,
	} {
		at := g.add(t, finicity, done, client)
		_, err := g.client.GetEvent(ctx, &webhookgatewayv1.GetEventRequest{Id: g.log.History().FormatEventID(at)})
		if got := rpcerr.Reason(err); got != want {
			t.Errorf("client %s: %v", client, err)
		}
	}
}
