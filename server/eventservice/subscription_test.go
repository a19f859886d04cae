package eventservice_test

import (
	"errors"
	"fmt"
	"io"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	webhookgatewayv1 "github.com/webhook-gateway/webhook-gateway/gen/webhookgateway/v1"
)

const (
	tokenOK      = webhookgatewayv1.TokenResult_TOKEN_RESULT_OK
	tokenFenced  = webhookgatewayv1.TokenResult_TOKEN_RESULT_FENCED
	tokenUnknown = webhookgatewayv1.TokenResult_TOKEN_RESULT_UNKNOWN
)

// create creates a subscription to everything from the beginning.
func (g *gateway) create(t *testing.T, name string, settings *webhookgatewayv1.SubscriptionSettings) {
	t.Helper()
	_, err := g.client.CreateSubscription(t.Context(), &webhookgatewayv1.CreateSubscriptionRequest{
		Subscription: &webhookgatewayv1.Subscription{Name: name, Settings: settings},
		Start:        startAt(webhookgatewayv1.StartPosition_START_POSITION_EARLIEST),
	})
	if err != nil {
		t.Fatal(err)
	}
}

func startAt(p webhookgatewayv1.StartPosition) *webhookgatewayv1.SubscriptionStart {
	return &webhookgatewayv1.SubscriptionStart{Start: &webhookgatewayv1.SubscriptionStart_Position{Position: p}}
}

func (g *gateway) work(t *testing.T, name string) *subscriber {
	t.Helper()
	s := g.subscribe(t, &webhookgatewayv1.SubscribeRequest{Subscription: name})
	if s.next().GetSubscribed() == nil {
		t.Fatal("the first frame is not subscribed")
	}
	return s
}

// take returns the next n events of a worker.
func (s *subscriber) take(n int) []*webhookgatewayv1.Event {
	s.tb.Helper()
	var events []*webhookgatewayv1.Event
	for len(events) < n {
		events = append(events, s.next().GetEvents().GetEvents()...)
	}
	if len(events) != n {
		s.tb.Fatalf("%d events came, want %d", len(events), n)
	}
	return events
}

func tokens(events ...*webhookgatewayv1.Event) []string {
	list := make([]string, len(events))
	for i, e := range events {
		list[i] = e.GetAckToken()
	}
	return list
}

func (g *gateway) acknowledge(t *testing.T, want webhookgatewayv1.TokenResult, events ...*webhookgatewayv1.Event) {
	t.Helper()
	resp, err := g.client.Acknowledge(t.Context(), &webhookgatewayv1.AcknowledgeRequest{AckTokens: tokens(events...)})
	if err != nil {
		t.Fatal(err)
	}
	for i, got := range resp.GetResults() {
		if got != want {
			t.Errorf("token %d: %v, want %v", i, got, want)
		}
	}
}

func (g *gateway) status(t *testing.T, name string) *webhookgatewayv1.SubscriptionStatus {
	t.Helper()
	resp, err := g.client.GetSubscription(t.Context(), &webhookgatewayv1.GetSubscriptionRequest{Name: name})
	if err != nil {
		t.Fatal(err)
	}
	return resp.GetSubscription().GetStatus()
}

// TestWorkersShare proves that each event goes to one worker, is settled by an
// acknowledgement, and that what a worker held comes again at once when it leaves.
func TestWorkersShare(t *testing.T) {
	g := newGateway(t, testConfig())
	g.create(t, "team", &webhookgatewayv1.SubscriptionSettings{MaxInFlightPerStream: 2})
	first, second := g.work(t, "team"), g.work(t, "team")
	addMix(t, g)
	seen := make(map[string]bool)
	held := first.take(2)
	for _, e := range append(held, second.take(2)...) {
		if seen[e.GetCursor()] || e.GetAttempt() != 1 || e.GetAckToken() == "" || e.GetRawBody() != nil {
			t.Errorf("event %s came twice, or is incomplete: %v", e.GetCursor(), e)
		}
		seen[e.GetCursor()] = true
	}
	if got := g.status(t, "team").GetInFlightEvents(); got != 4 {
		t.Errorf("%d events are in flight, want 4", got)
	}
	// Nothing more comes without credit; an acknowledgement gives some back.
	g.acknowledge(t, tokenOK, held[0])
	more := first.take(1)[0]
	first.cancel()
	// The second worker has no credit: what the first held goes to another, beside
	// the one event that nobody has had.
	left := map[string]*webhookgatewayv1.Event{held[1].GetCursor(): held[1], more.GetCursor(): more}
	third := g.work(t, "team")
	for len(left) > 0 {
		for _, e := range third.next().GetEvents().GetEvents() {
			old := left[e.GetCursor()]
			switch {
			case old != nil && e.GetAttempt() == 2:
				g.acknowledge(t, tokenFenced, old)
				delete(left, e.GetCursor())
			case e.GetAttempt() != 1 || seen[e.GetCursor()]:
				t.Errorf("event %s came at attempt %d", e.GetCursor(), e.GetAttempt())
			}
			seen[e.GetCursor()] = true
			g.acknowledge(t, tokenOK, e)
		}
	}
	g.acknowledge(t, tokenUnknown, held[0])
}

// TestRejectParkReplayDiscard takes events through all that can become of them.
func TestRejectParkReplayDiscard(t *testing.T) {
	g := newGateway(t, testConfig())
	g.create(t, "team", &webhookgatewayv1.SubscriptionSettings{MaxAttempts: 2})
	w := g.work(t, "team")
	for range 3 {
		g.add(t, vezgo, syncAccount, "a")
	}
	events := w.take(1)
	for len(events) < 3 {
		events = append(events, w.next().GetEvents().GetEvents()...)
	}
	reject := func(action webhookgatewayv1.RejectAction, events ...*webhookgatewayv1.Event) {
		t.Helper()
		req := &webhookgatewayv1.RejectRequest{AckTokens: tokens(events...), Action: action, Reason: "bad account"}
		if action == webhookgatewayv1.RejectAction_REJECT_ACTION_RETRY {
			req.RetryAfter = durationpb.New(0)
		}
		resp, err := g.client.Reject(t.Context(), req)
		if err != nil {
			t.Fatal(err)
		}
		for _, result := range resp.GetResults() {
			if result != tokenOK {
				t.Errorf("rejecting: %v", result)
			}
		}
	}
	reject(webhookgatewayv1.RejectAction_REJECT_ACTION_SKIP, events[0])
	reject(webhookgatewayv1.RejectAction_REJECT_ACTION_PARK, events[1])
	reject(webhookgatewayv1.RejectAction_REJECT_ACTION_RETRY, events[2])
	again := w.take(1)[0]
	if again.GetId() != events[2].GetId() || again.GetAttempt() != 2 {
		t.Errorf("after a retry came %v", again)
	}
	reject(webhookgatewayv1.RejectAction_REJECT_ACTION_RETRY, again) // the last attempt: parked

	list, err := g.client.ListParkedEvents(t.Context(), &webhookgatewayv1.ListParkedEventsRequest{Name: "team", View: webhookgatewayv1.EventView_EVENT_VIEW_RAW})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, p := range list.GetParkedEvents() {
		got = append(got, fmt.Sprintf("%v %v %s %d %s", p.GetEvent().GetId() == events[1].GetId(), p.GetReason(), p.GetMessage(), p.GetAttempts(), p.GetEvent().GetRawBody()))
	}
	want := []string{
		`true PARK_REASON_REJECTED bad account 1 {"raw":"body"}`,
		`false PARK_REASON_MAX_ATTEMPTS bad account 2 {"raw":"body"}`,
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("parked: %q, want %q", got, want)
	}
	if status := g.status(t, "team"); status.GetParkedEvents() != 2 || status.GetOldestParkedAge() == nil || status.GetCursor() != status.GetHeadCursor() {
		t.Errorf("the status is %v", status)
	}

	replayed, err := g.client.ReplayParkedEvents(t.Context(), &webhookgatewayv1.ReplayParkedEventsRequest{Name: "team", EventIds: []string{events[1].GetId(), events[0].GetId()}})
	if err != nil || replayed.GetReplayedEvents() != 1 || len(replayed.GetUnknownEventIds()) != 1 {
		t.Errorf("replay: %v, %v", replayed, err)
	}
	back := w.take(1)[0]
	if back.GetId() != events[1].GetId() || back.GetAttempt() != 1 {
		t.Errorf("after a replay came %v", back)
	}
	g.acknowledge(t, tokenOK, back)
	discarded, err := g.client.DiscardParkedEvents(t.Context(), &webhookgatewayv1.DiscardParkedEventsRequest{Name: "team", All: true})
	if err != nil || discarded.GetDiscardedEvents() != 1 {
		t.Errorf("discard: %v, %v", discarded, err)
	}
	if n := g.status(t, "team").GetParkedEvents(); n != 0 {
		t.Errorf("%d events are parked at the end", n)
	}
}

// TestSubscriptionLife creates, lists, updates, seeks and deletes.
func TestSubscriptionLife(t *testing.T) {
	g := newGateway(t, testConfig())
	addMix(t, g)
	for _, name := range []string{"b", "a", "c"} {
		g.create(t, name, nil)
	}
	g.create(t, "a", nil) // the same again is no error
	_, err := g.client.CreateSubscription(t.Context(), &webhookgatewayv1.CreateSubscriptionRequest{
		Subscription: &webhookgatewayv1.Subscription{Name: "a", Settings: &webhookgatewayv1.SubscriptionSettings{MaxAttempts: 3}},
	})
	checkError(t, err, "AlreadyExists SUBSCRIPTION_EXISTS")

	var names []string
	req := &webhookgatewayv1.ListSubscriptionsRequest{PageSize: 2}
	for {
		page, err := g.client.ListSubscriptions(t.Context(), req)
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range page.GetSubscriptions() {
			names = append(names, s.GetName())
		}
		if req.PageToken = page.GetNextPageToken(); req.GetPageToken() == "" {
			break
		}
	}
	if fmt.Sprint(names) != "[a b c]" {
		t.Errorf("the subscriptions are %v", names)
	}

	w := g.work(t, "a")
	g.acknowledge(t, tokenOK, w.take(6)...)
	if _, err := g.client.UpdateSubscription(t.Context(), &webhookgatewayv1.UpdateSubscriptionRequest{
		Subscription: &webhookgatewayv1.Subscription{Name: "a", Filters: filters{{Providers: []webhookgatewayv1.Provider{vezgo}}}},
	}); err != nil {
		t.Fatal(err)
	}
	g.add(t, finicity, ping, "a")
	g.add(t, vezgo, syncError, "a")
	for {
		frame := w.next()
		if events := frame.GetEvents().GetEvents(); len(events) > 0 {
			if events[0].GetProvider() != vezgo || len(events) != 1 {
				t.Errorf("after the update came %v", events)
			}
			g.acknowledge(t, tokenOK, events...)
			break
		}
	}
	if _, err := g.client.SeekSubscription(t.Context(), &webhookgatewayv1.SeekSubscriptionRequest{
		Name: "a", Start: startAt(webhookgatewayv1.StartPosition_START_POSITION_EARLIEST),
	}); err != nil {
		t.Fatal(err)
	}
	if again := w.take(4); again[0].GetAttempt() != 1 {
		t.Errorf("after the seek came %v", again)
	}
	if _, err := g.client.DeleteSubscription(t.Context(), &webhookgatewayv1.DeleteSubscriptionRequest{Name: "a"}); err != nil {
		t.Fatal(err)
	}
	_, err = w.rest()
	checkError(t, err, "NotFound SUBSCRIPTION_NOT_FOUND")
	_, err = g.client.GetSubscription(t.Context(), &webhookgatewayv1.GetSubscriptionRequest{Name: "a"})
	checkError(t, err, "NotFound SUBSCRIPTION_NOT_FOUND")
}

// TestStrictReader commits cumulatively.
func TestStrictReader(t *testing.T) {
	g := newGateway(t, testConfig())
	addMix(t, g)
	g.create(t, "reader", &webhookgatewayv1.SubscriptionSettings{Ordering: webhookgatewayv1.Ordering_ORDERING_STRICT})
	g.create(t, "team", nil)
	w := g.work(t, "reader")
	events := w.take(6)
	commit := func(name string, e *webhookgatewayv1.Event) (webhookgatewayv1.TokenResult, error) {
		resp, err := g.client.CommitCursor(t.Context(), &webhookgatewayv1.CommitCursorRequest{Name: name, Cursor: e.GetCursor(), AckToken: e.GetAckToken()})
		return resp.GetResult(), err
	}
	if result, err := commit("reader", events[3]); err != nil || result != tokenOK {
		t.Errorf("commit: %v, %v", result, err)
	}
	if got := g.status(t, "reader").GetCursor(); got != events[3].GetCursor() {
		t.Errorf("the cursor is %s, want %s", got, events[3].GetCursor())
	}
	_, err := commit("team", events[3])
	checkError(t, err, "FailedPrecondition SUBSCRIPTION_NOT_STRICT")
	w.cancel()
	rest := g.work(t, "reader").take(2)
	if rest[0].GetId() != events[4].GetId() || rest[1].GetId() != events[5].GetId() {
		t.Errorf("after the commit came %v", rest)
	}
}

// TestSubscriptionGap names what retention removed before it was delivered.
func TestSubscriptionGap(t *testing.T) {
	g := newGateway(t, testConfig())
	g.create(t, "team", nil)
	addMix(t, g)
	if err := g.log.Trim(t.Context(), 4); err != nil {
		t.Fatal(err)
	}
	w := g.work(t, "team")
	gap := w.next().GetGap()
	if gap.GetFromCursor() != g.cursor(0) || gap.GetToCursor() != g.cursor(4) {
		t.Errorf("the gap is %v", gap)
	}
	if events := w.take(2); events[0].GetCursor() != g.cursor(5) {
		t.Errorf("after the gap came %v", events)
	}
}

// TestSharedStreamSays that a shared stream beats, catches up and says goodbye.
func TestSharedStreamSays(t *testing.T) {
	config := testConfig()
	config.DefaultHeartbeat = time.Second
	g := newGateway(t, config)
	g.create(t, "team", nil)
	w := g.work(t, "team")
	if frame := w.next(); frame.GetCaughtUp() == nil {
		t.Errorf("the frame is %v, want caught_up", frame)
	}
	frame, err := w.stream.Recv()
	if err != nil || frame.GetHeartbeat().GetCursor() != g.cursor(0) {
		t.Errorf("the frame is %v, %v, want a heartbeat", frame, err)
	}
	drained := make(chan error, 1)
	go func() { drained <- g.service.Drain(t.Context()) }()
	if frame := w.next(); frame.GetGoodbye() == nil {
		t.Errorf("the frame is %v, want goodbye", frame)
	}
	_, err = w.stream.Recv()
	checkError(t, err, "Unavailable DRAINING")
	if err := <-drained; err != nil {
		t.Error(err)
	}
}

// TestSubscriptionRefusals has a row for every refusal.
func TestSubscriptionRefusals(t *testing.T) {
	g := newGateway(t, testConfig())
	g.create(t, "team", nil)
	stream := func(req *webhookgatewayv1.SubscribeRequest) error {
		_, err := g.subscribe(t, req).stream.Recv()
		if errors.Is(err, io.EOF) {
			return nil
		}
		return err
	}
	many := make([]string, 10_001)
	for name, test := range map[string]struct {
		call func() error
		want string
	}{
		"no such subscription": {func() error { return stream(&webhookgatewayv1.SubscribeRequest{Subscription: "none"}) }, "NotFound SUBSCRIPTION_NOT_FOUND"},
		"filters": {func() error {
			return stream(&webhookgatewayv1.SubscribeRequest{Subscription: "team", Filters: filters{{}}})
		}, "InvalidArgument INVALID_FIELD filters"},
		"start": {func() error {
			return stream(&webhookgatewayv1.SubscribeRequest{Subscription: "team", Start: &webhookgatewayv1.SubscribeRequest_StartAgo{StartAgo: durationpb.New(0)}})
		}, "InvalidArgument INVALID_FIELD start"},
		"stop": {func() error {
			return stream(&webhookgatewayv1.SubscribeRequest{Subscription: "team", Stop: &webhookgatewayv1.SubscribeRequest_StopAtHead{StopAtHead: true}})
		}, "InvalidArgument INVALID_FIELD stop"},
		"on_expired": {func() error {
			return stream(&webhookgatewayv1.SubscribeRequest{Subscription: "team", OnExpired: webhookgatewayv1.ExpiredPolicy_EXPIRED_POLICY_FAIL})
		}, "InvalidArgument INVALID_FIELD on_expired"},
		"name": {func() error {
			_, err := g.client.CreateSubscription(t.Context(), &webhookgatewayv1.CreateSubscriptionRequest{Subscription: &webhookgatewayv1.Subscription{Name: "No Good"}})
			return err
		}, "InvalidArgument INVALID_FIELD subscription.name"},
		"no place": {func() error {
			_, err := g.client.SeekSubscription(t.Context(), &webhookgatewayv1.SeekSubscriptionRequest{Name: "team"})
			return err
		}, "InvalidArgument INVALID_FIELD start"},
		"malformed cursor": {func() error {
			_, err := g.client.SeekSubscription(t.Context(), &webhookgatewayv1.SeekSubscriptionRequest{
				Name: "team", Start: &webhookgatewayv1.SubscriptionStart{Start: &webhookgatewayv1.SubscriptionStart_Cursor{Cursor: "x"}},
			})
			return err
		}, "InvalidArgument CURSOR_MALFORMED start.cursor"},
		"page token": {func() error {
			_, err := g.client.ListParkedEvents(t.Context(), &webhookgatewayv1.ListParkedEventsRequest{Name: "team", PageToken: "x"})
			return err
		}, "InvalidArgument PAGE_TOKEN_INVALID"},
		"too many tokens": {func() error {
			_, err := g.client.Acknowledge(t.Context(), &webhookgatewayv1.AcknowledgeRequest{AckTokens: many})
			return err
		}, "InvalidArgument INVALID_FIELD ack_tokens"},
		"no action": {func() error {
			_, err := g.client.Reject(t.Context(), &webhookgatewayv1.RejectRequest{})
			return err
		}, "InvalidArgument INVALID_FIELD action"},
		"retry_after of a skip": {func() error {
			_, err := g.client.Reject(t.Context(), &webhookgatewayv1.RejectRequest{
				Action: webhookgatewayv1.RejectAction_REJECT_ACTION_SKIP, RetryAfter: durationpb.New(time.Second),
			})
			return err
		}, "InvalidArgument INVALID_FIELD retry_after"},
		"long reason": {func() error {
			_, err := g.client.Reject(t.Context(), &webhookgatewayv1.RejectRequest{
				Action: webhookgatewayv1.RejectAction_REJECT_ACTION_PARK, Reason: string(make([]byte, 1025)),
			})
			return err
		}, "InvalidArgument INVALID_FIELD reason"},
		"deadline": {func() error {
			_, err := g.client.ExtendDeadline(t.Context(), &webhookgatewayv1.ExtendDeadlineRequest{Deadline: durationpb.New(time.Millisecond)})
			return err
		}, "InvalidArgument INVALID_FIELD deadline"},
		"nothing to replay": {func() error {
			_, err := g.client.ReplayParkedEvents(t.Context(), &webhookgatewayv1.ReplayParkedEventsRequest{Name: "team"})
			return err
		}, "InvalidArgument INVALID_FIELD event_ids"},
		"malformed id": {func() error {
			_, err := g.client.DiscardParkedEvents(t.Context(), &webhookgatewayv1.DiscardParkedEventsRequest{Name: "team", EventIds: []string{"x"}})
			return err
		}, "InvalidArgument INVALID_FIELD event_ids[0]"},
		"all and some": {func() error {
			_, err := g.client.DiscardParkedEvents(t.Context(), &webhookgatewayv1.DiscardParkedEventsRequest{Name: "team", EventIds: []string{"x"}, All: true})
			return err
		}, "InvalidArgument INVALID_FIELD event_ids"},
	} {
		t.Run(name, func(t *testing.T) { checkError(t, test.call(), test.want) })
	}
}
