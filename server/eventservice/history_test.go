package eventservice_test

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/timestamppb"

	webhookgatewayv1 "github.com/webhook-gateway/webhook-gateway/gen/webhookgateway/v1"
	"github.com/webhook-gateway/webhook-gateway/server/eventlog"
)

type listRequest = webhookgatewayv1.ListEventsRequest

// listAll follows the page tokens and returns the positions listed.
func listAll(tb testing.TB, g *gateway, req *listRequest) []eventlog.Position {
	tb.Helper()
	var positions []eventlog.Position
	for {
		resp, err := g.client.ListEvents(tb.Context(), req)
		if err != nil {
			tb.Fatal(err)
		}
		if limit := int(req.GetPageSize()); limit > 0 && len(resp.GetEvents()) > limit {
			tb.Errorf("a page of %d events, asked for %d", len(resp.GetEvents()), limit)
		}
		for _, e := range resp.GetEvents() {
			p, err := g.log.History().ParseCursor(e.GetCursor())
			if err != nil {
				tb.Fatal(err)
			}
			positions = append(positions, p)
		}
		if req.PageToken = resp.GetNextPageToken(); req.GetPageToken() == "" {
			return positions
		}
	}
}

func TestListFilters(t *testing.T) {
	t.Parallel()
	g := newGateway(t, testConfig())
	addMix(t, g)
	for _, tc := range filterCases {
		for _, size := range []int32{0, 1, 2} {
			t.Run(fmt.Sprintf("%s by %d", tc.name, size), func(t *testing.T) {
				t.Parallel()
				if diff := cmp.Diff(tc.want, listAll(t, g, &listRequest{Filters: tc.filters, PageSize: size})); diff != "" {
					t.Errorf("oldest first (-want +got):\n%s", diff)
				}
				want := slices.Clone(tc.want)
				slices.Reverse(want)
				if diff := cmp.Diff(want, listAll(t, g, &listRequest{Filters: tc.filters, PageSize: size, NewestFirst: true})); diff != "" {
					t.Errorf("newest first (-want +got):\n%s", diff)
				}
			})
		}
	}
}

func TestListRange(t *testing.T) {
	t.Parallel()
	g := newGateway(t, testConfig())
	epoch := time.Now().Add(-time.Hour)
	at := func(seconds int) *timestamppb.Timestamp {
		return timestamppb.New(epoch.Add(time.Duration(seconds) * time.Second))
	}
	for i := 1; i <= 5; i++ {
		g.now.Store(at(10 * i).AsTime().UnixNano())
		g.add(t, vezgo, syncAccount, "a")
	}
	for _, tc := range []struct {
		start, end *timestamppb.Timestamp
		want       []eventlog.Position
	}{
		{nil, nil, []eventlog.Position{1, 2, 3, 4, 5}},
		{at(20), nil, []eventlog.Position{2, 3, 4, 5}},
		{nil, at(20), []eventlog.Position{1}},
		{at(20), at(40), []eventlog.Position{2, 3}},
		{at(20), at(20), nil},
		{at(0), at(60), []eventlog.Position{1, 2, 3, 4, 5}},
		{at(51), nil, nil},
		{at(60), at(70), nil},
		{nil, at(0), nil},
	} {
		for _, size := range []int32{0, 1} {
			got := listAll(t, g, &listRequest{StartTime: tc.start, EndTime: tc.end, PageSize: size})
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("%v to %v (-want +got):\n%s", tc.start, tc.end, diff)
			}
			got = listAll(t, g, &listRequest{StartTime: tc.start, EndTime: tc.end, PageSize: size, NewestFirst: true})
			slices.Reverse(got)
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("%v to %v, newest first (-want +got):\n%s", tc.start, tc.end, diff)
			}
		}
	}
}

// Pages are bounded in bytes, and a page that is searched through many events is
// complete all the same.
func TestListLarge(t *testing.T) {
	t.Parallel()
	g := newGateway(t, testConfig())
	for i := range 12 {
		g.addBody(t, vezgo, syncError, "a", make([]byte, (i%4)*700<<10))
		g.addMany(t, 500, []byte("{}"))
	}
	request := &listRequest{
		Filters: filters{{EventTypes: []webhookgatewayv1.EventType{syncError}}},
		View:    webhookgatewayv1.EventView_EVENT_VIEW_RAW,
	}
	var want []eventlog.Position
	for i := range eventlog.Position(12) {
		want = append(want, 1+501*i)
	}
	if diff := cmp.Diff(want, listAll(t, g, request)); diff != "" {
		t.Errorf("oldest first (-want +got):\n%s", diff)
	}
	request.NewestFirst = true
	slices.Reverse(want)
	if diff := cmp.Diff(want, listAll(t, g, request)); diff != "" {
		t.Errorf("newest first (-want +got):\n%s", diff)
	}
	for _, newestFirst := range []bool{false, true} {
		first, err := g.client.ListEvents(t.Context(), &listRequest{
			Filters: request.GetFilters(), View: request.GetView(), NewestFirst: newestFirst,
		}, grpc.MaxCallRecvMsgSize(3<<20))
		if err != nil || len(first.GetEvents()) == 0 || len(first.GetEvents()) == 12 {
			t.Errorf("newest first %t: %d events, %v", newestFirst, len(first.GetEvents()), err)
		}
	}
}

func TestListRefusals(t *testing.T) {
	t.Parallel()
	g := newGateway(t, testConfig())
	other := newGateway(t, testConfig())
	addMix(t, g)
	addMix(t, other)
	tokenOf := func(g *gateway, req *listRequest) string {
		resp, err := g.client.ListEvents(t.Context(), req)
		if err != nil || resp.GetNextPageToken() == "" {
			t.Fatalf("token %q, %v", resp.GetNextPageToken(), err)
		}
		return resp.GetNextPageToken()
	}
	token := tokenOf(g, &listRequest{PageSize: 1})
	if _, err := g.client.ListEvents(t.Context(), &listRequest{PageSize: 2, PageToken: token}); err != nil {
		t.Errorf("another page size: %v", err)
	}
	badTime := &timestamppb.Timestamp{Seconds: math.MaxInt64}
	const badToken = "InvalidArgument PAGE_TOKEN_INVALID"
	for _, tc := range []struct {
		name string
		req  *listRequest
		want string
	}{
		{"page size negative", &listRequest{PageSize: -1}, "InvalidArgument INVALID_FIELD page_size"},
		{"view unknown", &listRequest{View: 9}, "InvalidArgument INVALID_FIELD view"},
		{"start invalid", &listRequest{StartTime: badTime}, "InvalidArgument INVALID_FIELD start_time"},
		{"end invalid", &listRequest{EndTime: badTime}, "InvalidArgument INVALID_FIELD end_time"},
		{
			"end before start",
			&listRequest{StartTime: &timestamppb.Timestamp{Seconds: 2}, EndTime: &timestamppb.Timestamp{Seconds: 1}},
			"InvalidArgument INVALID_FIELD end_time",
		},
		{"token garbled", &listRequest{PageToken: "?"}, badToken},
		{"token cut", &listRequest{PageToken: token[:20]}, badToken},
		{"token changed", &listRequest{PageToken: "B" + token[1:]}, badToken},
		{"token is a cursor", &listRequest{PageToken: g.cursor(1)}, badToken},
		{"token of another order", &listRequest{PageToken: token, NewestFirst: true}, badToken},
		{"token of another filter", &listRequest{PageToken: token, Filters: filters{{}}}, badToken},
		{"token of another view", &listRequest{PageToken: token, View: webhookgatewayv1.EventView_EVENT_VIEW_RAW}, badToken},
		{"token of another time", &listRequest{PageToken: token, StartTime: timestamppb.Now()}, badToken},
		{"token of another log", &listRequest{PageToken: tokenOf(other, &listRequest{PageSize: 1})}, badToken},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			_, err := g.client.ListEvents(t.Context(), tc.req)
			checkError(t, err, tc.want)
		})
	}
}

// Between two pages the events that come next are removed.
func TestListExpires(t *testing.T) {
	t.Parallel()
	g := newGateway(t, testConfig())
	addMix(t, g)
	oldest, err := g.client.ListEvents(t.Context(), &listRequest{PageSize: 2})
	if err != nil {
		t.Fatal(err)
	}
	newest, err := g.client.ListEvents(t.Context(), &listRequest{PageSize: 2, NewestFirst: true})
	if err != nil {
		t.Fatal(err)
	}
	if err := g.log.Trim(t.Context(), 3); err != nil {
		t.Fatal(err)
	}
	_, err = g.client.ListEvents(t.Context(), &listRequest{PageToken: oldest.GetNextPageToken()})
	if metadata := checkError(t, err, "OutOfRange CURSOR_EXPIRED"); metadata["earliest_cursor"] != g.cursor(3) {
		t.Errorf("metadata = %v", metadata)
	}
	got := listAll(t, g, &listRequest{PageToken: newest.GetNextPageToken(), NewestFirst: true})
	if diff := cmp.Diff([]eventlog.Position{4}, got); diff != "" {
		t.Errorf("newest first (-want +got):\n%s", diff)
	}
}

func TestGetEvent(t *testing.T) {
	t.Parallel()
	g := newGateway(t, testConfig())
	addMix(t, g)
	if err := g.log.Trim(t.Context(), 2); err != nil {
		t.Fatal(err)
	}
	get := func(id string) (*webhookgatewayv1.GetEventResponse, error) {
		return g.client.GetEvent(t.Context(), &webhookgatewayv1.GetEventRequest{Id: id})
	}
	for p := eventlog.Position(3); p <= 6; p++ {
		id := g.log.History().FormatEventID(p)
		resp, err := get(id)
		if err != nil || resp.GetEvent().GetId() != id || resp.GetEvent().GetCursor() != g.cursor(p) {
			t.Errorf("event %d: %v, %v", p, resp, err)
		}
	}
	const notFound = "NotFound EVENT_NOT_FOUND"
	for _, tc := range []struct{ name, id, want string }{
		{"empty", "", "InvalidArgument INVALID_FIELD id"},
		{"garbled", strings.Repeat("e", 28), "InvalidArgument INVALID_FIELD id"},
		{"a cursor", g.cursor(4), "InvalidArgument INVALID_FIELD id"},
		{"before the first", g.log.History().FormatEventID(0), notFound},
		{"trimmed", g.log.History().FormatEventID(2), notFound},
		{"ahead", g.log.History().FormatEventID(7), notFound},
		{"far ahead", g.log.History().FormatEventID(math.MaxUint64), notFound},
		{"of another log", newGateway(t, testConfig()).log.History().FormatEventID(4), notFound},
	} {
		_, err := get(tc.id)
		t.Log(tc.name)
		checkError(t, err, tc.want)
	}
	_, err := g.client.GetEvent(t.Context(), &webhookgatewayv1.GetEventRequest{Id: g.log.History().FormatEventID(4), View: 9})
	checkError(t, err, "InvalidArgument INVALID_FIELD view")
}

func TestGetLogInfo(t *testing.T) {
	t.Parallel()
	g := newGateway(t, testConfig())
	check := func(want *webhookgatewayv1.GetLogInfoResponse) {
		t.Helper()
		got, err := g.client.GetLogInfo(t.Context(), &webhookgatewayv1.GetLogInfoRequest{})
		if err != nil {
			t.Fatal(err)
		}
		if age := time.Since(got.GetServerTime().AsTime()); age < 0 || age > time.Minute {
			t.Errorf("server time %v ago", age)
		}
		if (got.GetEventBytes() > 0) != (got.GetEventCount() > 0) {
			t.Errorf("%d events of %d bytes", got.GetEventCount(), got.GetEventBytes())
		}
		if diff := cmp.Diff(want, got, protocmp.Transform(),
			protocmp.IgnoreFields(want, "server_time", "event_bytes")); diff != "" {
			t.Errorf("log info (-want +got):\n%s", diff)
		}
	}
	id := g.log.ID().String()
	check(&webhookgatewayv1.GetLogInfoResponse{LogId: id, EarliestCursor: g.cursor(0), HeadCursor: g.cursor(0)})
	epoch := time.Now().Add(-time.Minute).Truncate(time.Second)
	for i := range 3 {
		g.now.Store(epoch.Add(time.Duration(i) * time.Second).UnixNano())
		g.add(t, vezgo, syncAccount, "a")
	}
	if err := g.log.Trim(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	check(&webhookgatewayv1.GetLogInfoResponse{
		LogId: id, EarliestCursor: g.cursor(1), HeadCursor: g.cursor(3), EventCount: 2,
		EarliestTime: timestamppb.New(epoch.Add(time.Second)), HeadTime: timestamppb.New(epoch.Add(2 * time.Second)),
	})
}
