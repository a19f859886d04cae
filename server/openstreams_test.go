package server_test

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	webhookgatewayv1 "github.com/webhook-gateway/webhook-gateway/gen/webhookgateway/v1"
	"github.com/webhook-gateway/webhook-gateway/server/servertest"
)

// openStreams returns the streams that are open, by pages of a size.
func openStreams(ctx context.Context, t *testing.T, g *servertest.Gateway, size int32) []*webhookgatewayv1.OpenStream {
	t.Helper()
	client := webhookgatewayv1.NewOperatorServiceClient(g.Conn())
	var all []*webhookgatewayv1.OpenStream
	for token := ""; ; {
		page, err := client.ListStreams(ctx, &webhookgatewayv1.ListStreamsRequest{PageSize: size, PageToken: token})
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, page.GetStreams()...)
		if token = page.GetNextPageToken(); token == "" {
			return all
		}
	}
}

// An operator sees who reads, whichever way, and how far each is. What they ask for it sees
// only as far as it may read it.
func TestOpenStreams(t *testing.T) {
	g, callers, _ := controlled(t)
	operator := as(t, callers.operator)
	if open := openStreams(operator, t, g, 0); len(open) != 0 {
		t.Fatalf("before any was opened: %v", open)
	}
	conn := dialAs(t, g, callers.reader)
	reading, endReading := context.WithCancel(t.Context())
	defer endReading()
	subscribed, err := webhookgatewayv1.NewEventServiceClient(conn).Subscribe(reading, &webhookgatewayv1.SubscribeRequest{
		View:    webhookgatewayv1.EventView_EVENT_VIEW_METADATA,
		Filters: []*webhookgatewayv1.EventFilter{{ClientIds: []string{servertest.Client}, Subjects: []string{"7000000001", "7000000002"}}},
		Start:   &webhookgatewayv1.SubscribeRequest_StartPosition{StartPosition: webhookgatewayv1.StartPosition_START_POSITION_EARLIEST},
	})
	opened(t, subscribed, err)
	workers := webhookgatewayv1.NewSubscriptionServiceClient(conn)
	if _, err := workers.CreateSubscription(t.Context(), &webhookgatewayv1.CreateSubscriptionRequest{
		Subscription: &webhookgatewayv1.Subscription{Name: "team"},
	}); err != nil {
		t.Fatal(err)
	}
	working, err := workers.Consume(t.Context(), &webhookgatewayv1.ConsumeRequest{Subscription: "team"})
	opened(t, working, err)
	openREST(t, g, callers.reader)

	g.Trigger(t, "finicity.added", "customerId=7000000001")
	g.Trigger(t, "finicity.added", "customerId=7000000009")
	for seen := 0; seen < 2; {
		frame, err := working.Recv()
		if err != nil {
			t.Fatal(err)
		}
		seen += len(frame.GetDeliveries().GetDeliveries())
	}
	cursor := "" // of the newest event
	for event, err := range g.Server().Log().Read(t.Context(), 1) {
		if err != nil {
			t.Fatal(err)
		}
		cursor = g.Server().Log().History().FormatCursor(event.Position)
	}
	var open []*webhookgatewayv1.OpenStream
	eventually(t, "all are up to date", func() bool { // what was sent is counted when it has come
		open = openStreams(operator, t, g, 1)
		return len(open) == 3 && open[0].GetCursor() == cursor && open[0].GetCaughtUp() && open[0].GetSentEvents() == 1 &&
			open[1].GetSentEvents() == 2 && open[2].GetCursor() == cursor && open[2].GetSentEvents() == 2
	})
	for i, one := range open {
		if one.GetCaller() != "reader" || !strings.HasPrefix(one.GetRemoteAddress(), "127.0.0.1:") || one.GetLagEvents() != 0 ||
			one.GetBlockedSince() != nil || one.GetBlockedRatio() < 0 || one.GetBlockedRatio() > 1 {
			t.Errorf("stream %d: %v", i, one)
		}
		if since := time.Since(one.GetOpenTime().AsTime()); since < 0 || since > time.Minute {
			t.Errorf("stream %d was opened %v ago", i, since)
		}
		if i > 0 && one.GetId() <= open[i-1].GetId() {
			t.Errorf("stream %d has the id %d after %d", i, one.GetId(), open[i-1].GetId())
		}
	}
	first, worker, rest := open[0], open[1], open[2]
	if f := first.GetFilters()[0]; !slices.Equal(f.GetSubjects(), []string{"*"}) || !slices.Equal(f.GetClientIds(), []string{"*"}) {
		t.Errorf("the operator sees the filter %v", f)
	}
	if first.GetView() != webhookgatewayv1.EventView_EVENT_VIEW_METADATA || first.GetSentEvents() != 1 || first.GetSentBytes() < 100 ||
		first.GetEventsPerSecond() <= 0 || first.GetEventsPerSecond() > 1 || first.GetDelay() == nil || first.GetDelay().AsDuration() > time.Minute {
		t.Errorf("the subscriber is shown as %v", first)
	}
	if !strings.HasPrefix(first.GetUserAgent(), "grpc-go/") || !strings.HasPrefix(rest.GetUserAgent(), "Go-http-client/") {
		t.Errorf("the clients are %q and %q", first.GetUserAgent(), rest.GetUserAgent())
	}
	if worker.GetSubscription() != "team" || worker.GetInFlightEvents() != 2 || worker.GetSentEvents() != 2 || worker.GetCursor() != "" || first.GetInFlightEvents() != 0 {
		t.Errorf("the worker is shown as %v", worker)
	}
	endReading()
	eventually(t, "a stream that has ended is not listed", func() bool { return len(openStreams(operator, t, g, 0)) == 2 })

	client := webhookgatewayv1.NewOperatorServiceClient(g.Conn())
	for _, test := range []struct {
		token string
		req   *webhookgatewayv1.ListStreamsRequest
		want  codes.Code
	}{
		{callers.reader, &webhookgatewayv1.ListStreamsRequest{}, codes.PermissionDenied},
		{callers.operator, &webhookgatewayv1.ListStreamsRequest{PageSize: -1}, codes.InvalidArgument},
		{callers.operator, &webhookgatewayv1.ListStreamsRequest{PageToken: "AA"}, codes.InvalidArgument},
		{callers.operator, &webhookgatewayv1.ListStreamsRequest{PageToken: "?"}, codes.InvalidArgument},
	} {
		if _, err := client.ListStreams(as(t, test.token), test.req); status.Code(err) != test.want {
			t.Errorf("%v: %v, want %v", test.req, err, test.want)
		}
	}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, g.InternalURL()+"/v1/operator/streams?pageSize=1", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+callers.operator)
	if code, body := do(t, req); code != http.StatusOK || !strings.Contains(body, `"subscription":"team"`) {
		t.Errorf("over HTTP: %d %s", code, body)
	}
}

// A reader that does not read is seen as such; who may read everything sees what it asks for.
func TestOpenStreamThatIsNotRead(t *testing.T) {
	g := servertest.Start(t)
	storeLarge(t, g)
	subjects := []string{"7000000001"}
	reading, err := webhookgatewayv1.NewEventServiceClient(g.Conn()).Subscribe(t.Context(), &webhookgatewayv1.SubscribeRequest{
		View:    webhookgatewayv1.EventView_EVENT_VIEW_RAW,
		Filters: []*webhookgatewayv1.EventFilter{{Subjects: subjects}, {}},
		Start:   &webhookgatewayv1.SubscribeRequest_StartPosition{StartPosition: webhookgatewayv1.StartPosition_START_POSITION_EARLIEST},
	})
	recv := opened(t, reading, err)
	only := func() *webhookgatewayv1.OpenStream { return openStreams(t.Context(), t, g, 0)[0] }
	eventually(t, "the stream is blocked", func() bool { return only().GetBlockedSince() != nil })
	blocked := only()
	if blocked.GetCaller() != "" || blocked.GetLagEvents() == 0 || blocked.GetCaughtUp() || blocked.GetDelay() != nil || blocked.GetBlockedRatio() <= 0 {
		t.Errorf("a stream that is not read is shown as %v", blocked)
	}
	if !slices.ContainsFunc(blocked.GetFilters(), func(f *webhookgatewayv1.EventFilter) bool { return slices.Equal(f.GetSubjects(), subjects) }) {
		t.Errorf("who may read everything sees the filters %v", blocked.GetFilters())
	}
	for seen := 0; seen < largeEvents; {
		frame, err := recv()
		if err != nil {
			t.Fatal(err)
		}
		seen += len(frame.(*webhookgatewayv1.SubscribeResponse).GetEvents().GetEvents()) //nolint:forcetypeassert // it is of Subscribe
	}
	eventually(t, "it is read to the end", func() bool {
		one := only()
		return one.GetBlockedSince() == nil && one.GetLagEvents() == 0 && one.GetCaughtUp() && one.GetSentEvents() == largeEvents
	})
}

// A worker is listed where it is connected, whichever gateway runs its subscription, and nowhere
// else.
func TestOpenStreamOfAnotherOwner(t *testing.T) {
	option := shares(t)
	all := []*servertest.Gateway{servertest.Start(t, option), servertest.Start(t, option)}
	together(t, all...)
	const owned, elsewhere = 0, 1
	names := make([]string, 2) // of subscriptions, by who runs them as the first gateway sees it
	for i := 0; names[owned] == "" || names[elsewhere] == ""; i++ {
		name := fmt.Sprint("team-", i)
		if _, err := webhookgatewayv1.NewSubscriptionServiceClient(all[0].Conn()).CreateSubscription(t.Context(), &webhookgatewayv1.CreateSubscriptionRequest{
			Subscription: &webhookgatewayv1.Subscription{Name: name, Filters: []*webhookgatewayv1.EventFilter{{ClientIds: []string{servertest.Client}}}},
		}); err != nil {
			t.Fatal(err)
		}
		if ownerOf(t, all[0], name) == ownOf(t, all[0]) {
			names[owned] = name
		} else {
			names[elsewhere] = name
		}
	}
	for _, name := range names {
		stream, err := webhookgatewayv1.NewSubscriptionServiceClient(all[0].Conn()).Consume(t.Context(), &webhookgatewayv1.ConsumeRequest{Subscription: name})
		recv := opened(t, stream, err)
		go func() {
			for {
				if _, err := recv(); err != nil {
					return
				}
			}
		}()
	}
	all[1].Deliver(t, webhookgatewayv1.EventType_EVENT_TYPE_FINICITY_ADDED)
	var open []*webhookgatewayv1.OpenStream
	eventually(t, "both workers have the event", func() bool {
		open = openStreams(t.Context(), t, all[0], 0)
		return len(open) == 2 && open[owned].GetSentEvents() == 1 && open[elsewhere].GetSentEvents() == 1 &&
			open[owned].GetCaughtUp() && open[elsewhere].GetCaughtUp()
	})
	for i, inFlight := range []int64{owned: 1, elsewhere: -1} {
		one := open[i]
		if one.GetSubscription() != names[i] || one.GetInFlightEvents() != inFlight ||
			len(one.GetFilters()) != 1 || !slices.Equal(one.GetFilters()[0].GetClientIds(), []string{servertest.Client}) {
			t.Errorf("the worker of %s is shown as %v", names[i], one)
		}
	}
	if others := openStreams(t.Context(), t, all[1], 0); len(others) != 0 {
		t.Errorf("the other gateway lists %v", others)
	}
}

// ownOf returns the address of a gateway for the others.
func ownOf(t *testing.T, g *servertest.Gateway) string {
	t.Helper()
	overview, err := webhookgatewayv1.NewOperatorServiceClient(g.Conn()).GetOverview(t.Context(), &webhookgatewayv1.GetOverviewRequest{})
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range overview.GetMembers() {
		if m.GetSelf() {
			return m.GetAddress()
		}
	}
	t.Fatalf("the gateway is not among %v", overview.GetMembers())
	return ""
}
