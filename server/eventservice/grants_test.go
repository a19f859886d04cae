package eventservice_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/testing/protocmp"

	webhookgatewayv1 "github.com/webhook-gateway/webhook-gateway/gen/webhookgateway/v1"
	"github.com/webhook-gateway/webhook-gateway/server/access"
	"github.com/webhook-gateway/webhook-gateway/server/eventlog"
	"github.com/webhook-gateway/webhook-gateway/server/stream/streamtest"
)

const (
	full     = webhookgatewayv1.EventView_EVENT_VIEW_FULL
	raw      = webhookgatewayv1.EventView_EVENT_VIEW_RAW
	metadata = webhookgatewayv1.EventView_EVENT_VIEW_METADATA
)

type views = []webhookgatewayv1.EventView

// as returns the context of the calls of a caller with grants.
func as(t *testing.T, grants ...*access.Grant) context.Context {
	t.Helper()
	for _, g := range grants {
		if err := g.Check(); err != nil {
			t.Fatal(err)
		}
	}
	return streamtest.As(t.Context(), &access.Caller{Name: "test", Grants: grants})
}

// reads is a grant to read the events of filters, in the views FULL and METADATA.
func reads(granted ...*webhookgatewayv1.EventFilter) *access.Grant {
	return &access.Grant{Filters: granted, Views: views{full, metadata}}
}

func ofClients(ids ...string) *webhookgatewayv1.EventFilter {
	return &webhookgatewayv1.EventFilter{ClientIds: ids}
}

// listed returns the positions that all pages of a list have.
func (g *gateway) listed(ctx context.Context, t *testing.T, req *listRequest) (positions []eventlog.Position, leftOut int64) {
	t.Helper()
	for more := true; more; more = req.GetPageToken() != "" {
		page, err := g.client.ListEvents(ctx, req)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range page.GetEvents() {
			p, err := g.log.History().ParseCursor(e.GetCursor())
			if err != nil {
				t.Fatal(err)
			}
			positions = append(positions, p)
		}
		leftOut += page.GetLeftOutEvents()
		req.PageToken = page.GetNextPageToken()
	}
	return positions, leftOut
}

// What a request leaves out is filled in from the grants, and shown. Nothing else is
// delivered, listed or counted.
func TestStreamsAreNarrowed(t *testing.T) {
	t.Parallel()
	g := newGateway(t, testConfig())
	g.add(t, finicity, done, "a")      // 1
	g.add(t, finicity, ping, "a")      // 2
	g.add(t, vezgo, syncAccount, "a")  // 3
	g.add(t, finicity, done, "b")      // 4
	g.add(t, vezgo, syncError, "b")    // 5
	g.add(t, finicity, done, "secret") // 6
	addVerdicts(t, g)                  // 7 verified, 8 failed, 9 not checked, 10 failed: done, a
	type eventFilter = webhookgatewayv1.EventFilter
	type types = []webhookgatewayv1.EventType
	type verdicts = []webhookgatewayv1.VerificationVerdict
	for _, tc := range []struct {
		name    string
		grants  []*access.Grant
		asked   filters
		want    []eventlog.Position
		leftOut int64
		shown   filters
	}{
		{
			"no filter",
			[]*access.Grant{reads(ofClients("b"))},
			nil,
			[]eventlog.Position{4, 5},
			0,
			filters{{ClientIds: []string{"b"}, Verdicts: authentic()}},
		},
		{
			"some conditions",
			[]*access.Grant{reads(ofClients("a", "b"))},
			filters{{EventTypes: types{done}}, {ClientIds: []string{"b"}}},
			[]eventlog.Position{1, 4, 5, 7, 9},
			2,
			filters{{EventTypes: types{done}, ClientIds: []string{"a", "b"}, Verdicts: authentic()}, {ClientIds: []string{"b"}, Verdicts: authentic()}},
		},
		{
			"several grants",
			[]*access.Grant{reads(ofClients("b")), reads(&eventFilter{EventTypes: types{ping}, ClientIds: []string{"a"}})},
			nil,
			[]eventlog.Position{2, 4, 5},
			0,
			filters{{ClientIds: []string{"b"}, Verdicts: authentic()}, {EventTypes: types{ping}, ClientIds: []string{"a"}, Verdicts: authentic()}},
		},
		{
			"failed is granted, and not asked for",
			[]*access.Grant{reads(ofClients("a"))},
			nil,
			[]eventlog.Position{1, 2, 3, 7, 9},
			2,
			filters{{ClientIds: []string{"a"}, Verdicts: authentic()}},
		},
		{
			"failed is granted, and asked for",
			[]*access.Grant{reads(ofClients("a"))},
			filters{{Verdicts: verdicts{failed}}},
			[]eventlog.Position{8, 10},
			0,
			filters{{ClientIds: []string{"a"}, Verdicts: verdicts{failed}}},
		},
		{
			"what failed is not counted where it is not granted",
			[]*access.Grant{reads(&eventFilter{ClientIds: []string{"a"}, Verdicts: verdicts{verified}})},
			nil,
			[]eventlog.Position{1, 2, 3, 7},
			0,
			filters{{ClientIds: []string{"a"}, Verdicts: verdicts{verified}}},
		},
		{
			"a grant of another view",
			[]*access.Grant{reads(ofClients("b")), {Filters: filters{{}}, Views: views{raw}}},
			nil,
			[]eventlog.Position{4, 5},
			0,
			filters{{ClientIds: []string{"b"}, Verdicts: authentic()}},
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			ctx := as(t, tc.grants...)
			s := g.subscribeWith(t, ctx, &webhookgatewayv1.SubscribeRequest{Filters: tc.asked, Start: fromEarliest(), Stop: toHead()})
			first := s.next()
			s.describe(first)
			if diff := cmp.Diff(tc.shown, first.GetSubscribed().GetFilters(), protocmp.Transform()); diff != "" {
				t.Errorf("subscribed (-want +got):\n%s", diff)
			}
			var want []string
			for _, p := range tc.want {
				want = append(want, fmt.Sprint(p))
			}
			s.expect(want...)
			if got := s.next().GetCaughtUp(); got.GetLeftOutEvents() != tc.leftOut {
				t.Errorf("%v: %d left out, want %d", got, got.GetLeftOutEvents(), tc.leftOut)
			}
			for _, newestFirst := range []bool{false, true} {
				got, leftOut := g.listed(ctx, t, &listRequest{Filters: tc.asked, NewestFirst: newestFirst, PageSize: 1})
				slices.Sort(got)
				if diff := cmp.Diff(tc.want, got); diff != "" || leftOut != tc.leftOut {
					t.Errorf("newest first %v: %d left out; events (-want +got):\n%s", newestFirst, leftOut, diff)
				}
			}
		})
	}
}

// Outside of its grants a caller gets PERMISSION_DENIED, which names what it asked for.
func TestOutsideOfGrants(t *testing.T) {
	t.Parallel()
	g := newGateway(t, testConfig())
	g.add(t, finicity, done, "a")
	g.add(t, finicity, done, "b")
	noView := &access.Grant{Filters: filters{ofClients("a")}, Views: views{metadata}}
	masked := &access.Grant{Filters: filters{ofClients("a")}, Views: views{full}, Mask: []string{"subject"}}
	for _, tc := range []struct {
		name    string
		grants  []*access.Grant
		asked   filters
		view    webhookgatewayv1.EventView
		field   string
		message string
	}{
		{"nothing is granted", nil, nil, 0, "", "no events are granted to this caller"},
		{"only subscriptions", []*access.Grant{{Subscriptions: []access.SubscriptionGrant{{Manage: true}}}}, nil, 0, "", "no events are granted to this caller"},
		{
			"another client",
			[]*access.Grant{reads(ofClients("a"))},
			filters{{}, {ClientIds: []string{"a", "b"}}},
			0,
			"filters[1].client_ids", `filters[1].client_ids: not granted: "b" (EVENT_VIEW_FULL)`,
		},
		{
			"a client of another view",
			[]*access.Grant{reads(ofClients("a")), {Filters: filters{ofClients("b")}, Views: views{metadata}}},
			filters{ofClients("b")},
			full, "filters[0].client_ids", `filters[0].client_ids: not granted: "b" (EVENT_VIEW_FULL)`,
		},
		{
			"not together",
			[]*access.Grant{reads(&webhookgatewayv1.EventFilter{Providers: []webhookgatewayv1.Provider{vezgo}, ClientIds: []string{"a"}}, ofClients("b"))},
			filters{{Providers: []webhookgatewayv1.Provider{finicity}, ClientIds: []string{"a"}}},
			0, "filters[0]",
			"filters[0]: these conditions are not granted together (EVENT_VIEW_FULL)",
		},
		{"raw", []*access.Grant{reads(ofClients("a"))}, nil, raw, "view", "view: EVENT_VIEW_RAW is not granted: ask for EVENT_VIEW_METADATA or EVENT_VIEW_FULL"},
		{
			"no view is not less than full",
			[]*access.Grant{noView},
			nil, 0, "view",
			"view: EVENT_VIEW_FULL, which is meant if none is named, is not granted: ask for EVENT_VIEW_METADATA",
		},
		{"raw where something is masked", []*access.Grant{masked}, nil, raw, "view", "view: EVENT_VIEW_RAW is not granted: ask for EVENT_VIEW_FULL"},
		{
			"a masked subject",
			[]*access.Grant{masked},
			filters{{Subjects: []string{"s"}}},
			0, "filters[0].subjects",
			`filters[0].subjects: not granted: "s" (EVENT_VIEW_FULL)`,
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			ctx := as(t, tc.grants...)
			_, subscribed := g.subscribeWith(t, ctx, &webhookgatewayv1.SubscribeRequest{Filters: tc.asked, View: tc.view}).rest()
			_, listed := g.client.ListEvents(ctx, &listRequest{Filters: tc.asked, View: tc.view})
			for _, err := range []error{subscribed, listed} {
				checkError(t, err, strings.TrimSpace("PermissionDenied NOT_GRANTED "+tc.field))
				if got := status.Convert(err).Message(); got != tc.message {
					t.Errorf("message = %q, want %q", got, tc.message)
				}
			}
		})
	}
}

// A call of nobody is refused, whatever it asks: services behind a server that recognises
// nobody are closed.
func TestNobodyMayNothing(t *testing.T) {
	t.Parallel()
	g := newGateway(t, testConfig())
	ctx := streamtest.As(t.Context(), access.From(context.Background()))
	_, subscribed := g.subscribeWith(t, ctx, &webhookgatewayv1.SubscribeRequest{}).rest()
	_, listed := g.client.ListEvents(ctx, &listRequest{})
	_, got := g.client.GetEvent(ctx, &webhookgatewayv1.GetEventRequest{Id: "any"})
	_, info := g.client.GetLogInfo(ctx, &webhookgatewayv1.GetLogInfoRequest{})
	for _, err := range []error{subscribed, listed, got, info} {
		checkError(t, err, "PermissionDenied NOT_GRANTED")
	}
}

func TestGetEventOutsideOfGrants(t *testing.T) {
	t.Parallel()
	g := newGateway(t, testConfig())
	g.add(t, finicity, done, "a")
	g.add(t, finicity, done, "b")
	addVerdicts(t, g) // 4: failed, a
	get := func(ctx context.Context, p eventlog.Position, view webhookgatewayv1.EventView) error {
		_, err := g.client.GetEvent(ctx, &webhookgatewayv1.GetEventRequest{Id: g.log.History().FormatEventID(p), View: view})
		return err
	}
	ctx := as(t, reads(ofClients("a")), &access.Grant{Filters: filters{ofClients("b")}, Views: views{metadata}})
	for _, p := range []eventlog.Position{1, 4} {
		if err := get(ctx, p, 0); err != nil {
			t.Errorf("%d: %v", p, err)
		}
	}
	if err := get(ctx, 2, metadata); err != nil {
		t.Error(err)
	}
	checkError(t, get(ctx, 2, 0), "PermissionDenied NOT_GRANTED id")
	checkError(t, get(ctx, 1, raw), "PermissionDenied NOT_GRANTED view")
	checkError(t, get(ctx, 99, 0), "NotFound EVENT_NOT_FOUND")
	authenticOnly := as(t, reads(&webhookgatewayv1.EventFilter{Verdicts: authentic()}))
	checkError(t, get(authenticOnly, 4, 0), "PermissionDenied NOT_GRANTED id")
}

// Where the log begins and ends may be known to those who read any of it, or operate it.
func TestLogInfoIsForReadersAndOperators(t *testing.T) {
	t.Parallel()
	g := newGateway(t, testConfig())
	for _, grant := range []*access.Grant{reads(ofClients("a")), {Operator: true}} {
		if _, err := g.client.GetLogInfo(as(t, grant), &webhookgatewayv1.GetLogInfoRequest{}); err != nil {
			t.Error(err)
		}
	}
	_, err := g.client.GetLogInfo(as(t, &access.Grant{Subscriptions: []access.SubscriptionGrant{{}}}), &webhookgatewayv1.GetLogInfoRequest{})
	checkError(t, err, "PermissionDenied NOT_GRANTED")
}

// A page token belongs to a list of the same events: with other grants it is refused, so
// that a list has no holes that nobody is told of.
func TestPageTokenOfOtherGrants(t *testing.T) {
	t.Parallel()
	g := newGateway(t, testConfig())
	for range 3 {
		g.add(t, finicity, done, "a")
		g.add(t, finicity, done, "b")
	}
	a, ab := as(t, reads(ofClients("a"))), as(t, reads(ofClients("a", "b")))
	page, err := g.client.ListEvents(ab, &listRequest{PageSize: 1})
	if err != nil {
		t.Fatal(err)
	}
	token := page.GetNextPageToken()
	_, err = g.client.ListEvents(a, &listRequest{PageSize: 1, PageToken: token})
	checkError(t, err, "InvalidArgument PAGE_TOKEN_INVALID")
	if _, err = g.client.ListEvents(as(t, reads(ofClients("b", "a"))), &listRequest{PageSize: 1, PageToken: token}); err != nil {
		t.Errorf("with the same grants: %v", err)
	}
}

// A stream of a caller that sees little resumes at any cursor: positions are no secret,
// and each frame goes on from the one before.
func TestNarrowStreamResumes(t *testing.T) {
	t.Parallel()
	g := newGateway(t, testConfig())
	for range 3 {
		g.add(t, finicity, done, "a")
		g.add(t, finicity, done, "b")
	}
	s := g.subscribeWith(t, as(t, reads(ofClients("b"))), &webhookgatewayv1.SubscribeRequest{
		Start: &webhookgatewayv1.SubscribeRequest_StartCursor{StartCursor: g.cursor(3)}, Stop: toHead(),
	})
	s.expect("subscribed 3", "4", "6", "caught_up 6")
}

// Many grants make many filters; beyond the most that there may be, the caller has to
// name more.
func TestTooManyFiltersOfGrants(t *testing.T) {
	t.Parallel()
	g := newGateway(t, testConfig())
	var grants []*access.Grant
	for i := range 65 {
		one := ofClients(fmt.Sprint(i))
		one.Subjects = []string{fmt.Sprint(i)}
		grants = append(grants, reads(one))
	}
	_, err := g.client.ListEvents(as(t, grants...), &listRequest{})
	checkError(t, err, "InvalidArgument INVALID_FIELD filters")
	if _, err := g.client.ListEvents(as(t, grants...), &listRequest{Filters: filters{ofClients("1", "64")}}); err != nil {
		t.Error(err)
	}
}
