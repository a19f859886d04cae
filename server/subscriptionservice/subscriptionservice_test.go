package subscriptionservice_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/fieldmaskpb"

	webhookgatewayv1 "github.com/webhook-gateway/webhook-gateway/gen/webhookgateway/v1"
)

// The life of some deliveries, from the first frame to a settled subscription.
func TestDeliveriesAreSettled(t *testing.T) {
	t.Parallel()
	g := newGateway(t)
	g.add(t, 6)
	g.create(t, "team", &webhookgatewayv1.SubscriptionSettings{MinBackoff: durationpb.New(0)})
	w := g.consume(t, &webhookgatewayv1.ConsumeRequest{Subscription: "team", View: webhookgatewayv1.EventView_EVENT_VIEW_RAW})
	d := w.take(6)
	for i, one := range d {
		if one.GetEvent().GetSubject() != fmt.Sprint(i) || one.GetAttempt() != 1 || len(one.GetEvent().GetRawBody()) == 0 {
			t.Errorf("delivery %d: %v", i, one)
		}
		if left := time.Until(one.GetDeadline().AsTime()); left <= 0 || left > 30*time.Second {
			t.Errorf("delivery %d: %v are left", i, left)
		}
	}
	if got := g.status(t, "team").GetInFlightEvents(); got != 6 {
		t.Errorf("%d events are in flight, want 6", got)
	}
	if w.next().GetCaughtUp() == nil {
		t.Error("the worker is not told that it has caught up")
	}
	g.acknowledge(t, "team", ok, d[0])
	g.acknowledge(t, "team", settled, d[0]) // as after UNAVAILABLE
	g.reject(t, skip, d[1])
	g.reject(t, park, d[2])
	g.acknowledge(t, "team", settled, d[1], d[2])
	if resp, err := g.ExtendDeadline(t.Context(), &webhookgatewayv1.ExtendDeadlineRequest{
		Subscription: "team", AckTokens: tokens(d[3]), Deadline: durationpb.New(time.Minute),
	}); err != nil || resp.GetResults()[0] != ok {
		t.Errorf("ExtendDeadline() = %v, %v", resp, err)
	}
	g.reject(t, retry, d[4])
	again := w.take(1)[0]
	if again.GetEvent().GetId() != d[4].GetEvent().GetId() || again.GetAttempt() != 2 {
		t.Errorf("after a retry came %v", again)
	}
	g.acknowledge(t, "team", fenced, d[4])
	g.acknowledge(t, "team", ok, d[3], again, d[5])
	at := g.status(t, "team")
	if at.GetCursor() != at.GetHeadCursor() || at.GetParkedEvents() != 1 || at.GetInFlightEvents()+at.GetWaitingEvents()+at.GetUnreadEvents() != 0 {
		t.Errorf("in the end: %v", at)
	}
	g.create(t, "other", nil)
	g.acknowledge(t, "other", unknown, d[0])
}

// What a worker gives back unused goes to another at once, and no attempt counts.
func TestReleaseAndDrain(t *testing.T) {
	t.Parallel()
	g := newGateway(t)
	g.add(t, 2)
	g.create(t, "team", &webhookgatewayv1.SubscriptionSettings{MaxAttempts: 1})
	first := g.consume(t, &webhookgatewayv1.ConsumeRequest{Subscription: "team"})
	held := first.take(2)
	second := g.consume(t, &webhookgatewayv1.ConsumeRequest{Subscription: "team"})
	g.reject(t, release, held...)
	first.leave()
	for _, d := range second.take(2) {
		if d.GetAttempt() != 1 {
			t.Errorf("attempt %d", d.GetAttempt())
		}
	}
	drained := make(chan error, 1)
	go func() { drained <- g.streams.Drain(t.Context()) }()
	for {
		frame, err := second.stream.Recv()
		if err != nil {
			checkError(t, err, "Unavailable DRAINING")
			break
		}
		if goodbye := frame.GetGoodbye(); goodbye != nil && goodbye.GetCursor() == "" {
			t.Errorf("goodbye = %v", goodbye)
		}
	}
	if err := <-drained; err != nil {
		t.Error(err)
	}
	if at := g.status(t, "team"); at.GetParkedEvents() != 0 || at.GetInFlightEvents() != 0 {
		t.Errorf("after a drain: %v", at)
	}
	late, err := g.Consume(t.Context(), &webhookgatewayv1.ConsumeRequest{Subscription: "team"})
	if err == nil {
		_, err = late.Recv()
	}
	checkError(t, err, "Unavailable DRAINING")
}

func TestParkedEvents(t *testing.T) {
	t.Parallel()
	g := newGateway(t)
	g.add(t, 5)
	g.create(t, "team", nil)
	w := g.consume(t, &webhookgatewayv1.ConsumeRequest{Subscription: "team"})
	d := w.take(5)
	g.reject(t, park, d...)
	if err := g.log.Trim(t.Context(), 3); err != nil { // what is parked stays
		t.Fatal(err)
	}
	var ids []string
	req := &webhookgatewayv1.ListParkedEventsRequest{Subscription: "team", PageSize: 2}
	for more := true; more; more = req.GetPageToken() != "" {
		page, err := g.ListParkedEvents(t.Context(), req)
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range page.GetParkedEvents() {
			ids = append(ids, p.GetEvent().GetId())
			if p.GetMessage() != "why" || p.GetReason() != webhookgatewayv1.ParkReason_PARK_REASON_REJECTED || p.GetEvent().GetClientId() != "client" {
				t.Errorf("parked: %v", p)
			}
		}
		req.PageToken = page.GetNextPageToken()
	}
	if len(ids) != 5 {
		t.Fatalf("%d events are parked", len(ids))
	}
	replayed, err := g.ReplayParkedEvents(t.Context(), &webhookgatewayv1.ReplayParkedEventsRequest{
		Subscription: "team", EventIds: []string{ids[0], g.log.History().FormatEventID(5)},
	})
	if err != nil || replayed.GetReplayedEvents() != 2 || len(replayed.GetUnknownEventIds()) != 0 {
		t.Errorf("ReplayParkedEvents() = %v, %v", replayed, err)
	}
	again := w.take(2)
	if again[0].GetEvent().GetId() != ids[0] || again[0].GetAttempt() != 1 { // from its copy
		t.Errorf("replayed: %v", again[0])
	}
	g.acknowledge(t, "team", ok, again...)
	discarded, err := g.DiscardParkedEvents(t.Context(), &webhookgatewayv1.DiscardParkedEventsRequest{
		Subscription: "team", EventIds: []string{ids[0], ids[1]},
	})
	if err != nil || discarded.GetDiscardedEvents() != 1 || len(discarded.GetUnknownEventIds()) != 1 || discarded.GetUnknownEventIds()[0] != ids[0] {
		t.Errorf("DiscardParkedEvents() = %v, %v", discarded, err)
	}
	discarded, err = g.DiscardParkedEvents(t.Context(), &webhookgatewayv1.DiscardParkedEventsRequest{Subscription: "team", All: true})
	if err != nil || discarded.GetDiscardedEvents() != 2 || g.status(t, "team").GetParkedEvents() != 0 {
		t.Errorf("DiscardParkedEvents() of all = %v, %v", discarded, err)
	}
}

// An id that is given twice is one event.
func TestParkedEventsNamedTwice(t *testing.T) {
	t.Parallel()
	g := newGateway(t)
	g.add(t, 2)
	g.create(t, "team", nil)
	w := g.consume(t, &webhookgatewayv1.ConsumeRequest{Subscription: "team"})
	d := w.take(2)
	g.reject(t, park, d...)
	w.leave()
	id, other := d[0].GetEvent().GetId(), d[1].GetEvent().GetId()
	replayed, err := g.ReplayParkedEvents(t.Context(), &webhookgatewayv1.ReplayParkedEventsRequest{Subscription: "team", EventIds: []string{id, id}})
	if err != nil || replayed.GetReplayedEvents() != 1 || len(replayed.GetUnknownEventIds()) != 0 {
		t.Errorf("ReplayParkedEvents() = %v, %v", replayed, err)
	}
	discarded, err := g.DiscardParkedEvents(t.Context(), &webhookgatewayv1.DiscardParkedEventsRequest{Subscription: "team", EventIds: []string{other, other}})
	if err != nil || discarded.GetDiscardedEvents() != 1 || len(discarded.GetUnknownEventIds()) != 0 {
		t.Errorf("DiscardParkedEvents() = %v, %v", discarded, err)
	}
	again := g.consume(t, &webhookgatewayv1.ConsumeRequest{Subscription: "team"}).take(1)
	g.acknowledge(t, "team", ok, again...)
	at := g.status(t, "team")
	if at.GetParkedEvents() != 0 || at.GetWaitingEvents() != 0 || at.GetInFlightEvents() != 0 || at.GetCursor() != at.GetHeadCursor() {
		t.Errorf("in the end: %v", at)
	}
}

func TestStrictOrderCommitsACursor(t *testing.T) {
	t.Parallel()
	g := newGateway(t)
	g.add(t, 4)
	g.create(t, "one", &webhookgatewayv1.SubscriptionSettings{Ordering: webhookgatewayv1.Ordering_ORDERING_STRICT})
	d := g.consume(t, &webhookgatewayv1.ConsumeRequest{Subscription: "one"}).take(4)
	commit := func(cursor, token string) (webhookgatewayv1.TokenResult, error) {
		resp, err := g.CommitCursor(t.Context(), &webhookgatewayv1.CommitCursorRequest{Subscription: "one", Cursor: cursor, AckToken: token})
		return resp.GetResult(), err
	}
	if _, err := commit(d[2].GetEvent().GetCursor(), d[0].GetAckToken()); err == nil {
		t.Error("a cursor past the event of the token is committed")
	} else {
		checkError(t, err, "InvalidArgument INVALID_FIELD cursor")
	}
	if result, err := commit(d[2].GetEvent().GetCursor(), d[2].GetAckToken()); result != ok || err != nil {
		t.Errorf("CommitCursor() = %v, %v", result, err)
	}
	if got := g.status(t, "one").GetCursor(); got != d[2].GetEvent().GetCursor() {
		t.Errorf("cursor = %s", got)
	}
	g.acknowledge(t, "one", settled, d[0], d[1], d[2])
	g.create(t, "loose", nil)
	_, err := g.CommitCursor(t.Context(), &webhookgatewayv1.CommitCursorRequest{Subscription: "loose", Cursor: d[0].GetEvent().GetCursor()})
	checkError(t, err, "FailedPrecondition SUBSCRIPTION_NOT_STRICT")
}

func TestResource(t *testing.T) {
	t.Parallel()
	g := newGateway(t)
	g.add(t, 3)
	g.create(t, "team", nil)
	g.create(t, "team", nil) // again: the same
	_, err := g.CreateSubscription(t.Context(), &webhookgatewayv1.CreateSubscriptionRequest{
		Subscription: &webhookgatewayv1.Subscription{Name: "team", Settings: &webhookgatewayv1.SubscriptionSettings{MaxAttempts: 3}},
	})
	checkError(t, err, "AlreadyExists SUBSCRIPTION_EXISTS")
	for _, field := range []string{"start", "settings.max_attempts"} {
		if !strings.Contains(status.Convert(err).Message(), field) {
			t.Errorf("%v does not name %s", err, field)
		}
	}
	updated, err := g.UpdateSubscription(t.Context(), &webhookgatewayv1.UpdateSubscriptionRequest{
		Subscription: &webhookgatewayv1.Subscription{Name: "team", Settings: &webhookgatewayv1.SubscriptionSettings{MaxAttempts: -1}},
		UpdateMask:   &fieldmaskpb.FieldMask{Paths: []string{"settings.max_attempts"}},
	})
	if s := updated.GetSubscription().GetSettings(); err != nil || s.GetMaxAttempts() != -1 || s.GetAckDeadline().AsDuration() != 30*time.Second {
		t.Errorf("UpdateSubscription() = %v, %v", updated, err)
	}
	w := g.consume(t, &webhookgatewayv1.ConsumeRequest{Subscription: "team"})
	g.acknowledge(t, "team", ok, w.take(3)...)
	moved, err := g.SeekSubscription(t.Context(), &webhookgatewayv1.SeekSubscriptionRequest{Name: "team", Start: earliest()})
	if err != nil || moved.GetSubscription().GetStatus().GetLagEvents() != 3 {
		t.Errorf("SeekSubscription() = %v, %v", moved, err)
	}
	if again := w.take(3); again[0].GetAttempt() != 1 {
		t.Errorf("after a seek: %v", again[0])
	}
	if err := g.log.Trim(t.Context(), 3); err != nil {
		t.Fatal(err)
	}
	g.create(t, "late", nil)
	page, err := g.ListSubscriptions(t.Context(), &webhookgatewayv1.ListSubscriptionsRequest{PageSize: 1})
	if err != nil || len(page.GetSubscriptions()) != 1 || page.GetSubscriptions()[0].GetName() != "late" {
		t.Fatalf("ListSubscriptions() = %v, %v", page, err)
	}
	page, err = g.ListSubscriptions(t.Context(), &webhookgatewayv1.ListSubscriptionsRequest{PageSize: 5000, PageToken: page.GetNextPageToken()})
	if err != nil || len(page.GetSubscriptions()) != 1 || page.GetNextPageToken() != "" {
		t.Errorf("the second page: %v, %v", page, err)
	}
	if _, err := g.DeleteSubscription(t.Context(), &webhookgatewayv1.DeleteSubscriptionRequest{Name: "team"}); err != nil {
		t.Fatal(err)
	}
	for err = nil; err == nil; {
		_, err = w.stream.Recv()
	}
	checkError(t, err, "NotFound SUBSCRIPTION_NOT_FOUND")
}

// A start that is not valid is refused, also if the subscription exists, or did a
// moment ago.
func TestCreateChecksItsStart(t *testing.T) {
	t.Parallel()
	g, other := newGateway(t), newGateway(t)
	other.add(t, 1)
	create := func(start *webhookgatewayv1.SubscriptionStart) error {
		_, err := g.CreateSubscription(t.Context(), &webhookgatewayv1.CreateSubscriptionRequest{
			Subscription: &webhookgatewayv1.Subscription{Name: "team", Start: start},
		})
		return err
	}
	if err := create(nil); err != nil {
		t.Fatal(err)
	}
	for _, p := range []webhookgatewayv1.StartPosition{0, -1, 7} {
		checkError(t, create(&webhookgatewayv1.SubscriptionStart{Start: &webhookgatewayv1.SubscriptionStart_Position{Position: p}}),
			"InvalidArgument INVALID_FIELD subscription.start.position")
	}
	foreign := &webhookgatewayv1.SubscriptionStart{Start: &webhookgatewayv1.SubscriptionStart_Cursor{Cursor: other.log.History().FormatCursor(1)}}
	var group sync.WaitGroup
	group.Go(func() {
		for range 200 {
			_ = create(nil)                                                                                     // it may exist
			_, _ = g.DeleteSubscription(t.Context(), &webhookgatewayv1.DeleteSubscriptionRequest{Name: "team"}) // or not
		}
	})
	for range 400 {
		if err := create(foreign); status.Code(err) != codes.AlreadyExists && status.Code(err) != codes.FailedPrecondition {
			t.Fatalf("a cursor of another log: %v", err)
		}
	}
	group.Wait()
}

// What retention removed before it was delivered is told.
func TestGap(t *testing.T) {
	t.Parallel()
	g := newGateway(t)
	g.create(t, "team", nil)
	g.add(t, 4)
	if err := g.log.Trim(t.Context(), 2); err != nil {
		t.Fatal(err)
	}
	w := g.consume(t, &webhookgatewayv1.ConsumeRequest{Subscription: "team"})
	gap := w.next().GetGap()
	if gap.GetReason() != webhookgatewayv1.GapReason_GAP_REASON_RETENTION || gap.GetToCursor() != g.log.History().FormatCursor(2) {
		t.Errorf("gap = %v", gap)
	}
	g.acknowledge(t, "team", ok, w.take(2)...)
}

func TestRefusals(t *testing.T) {
	t.Parallel()
	g := newGateway(t)
	g.add(t, 1)
	g.create(t, "team", nil)
	ctx := t.Context()
	many := make([]string, 10_001)
	consume := func(req *webhookgatewayv1.ConsumeRequest) error {
		ctx, cancel := context.WithTimeout(ctx, time.Minute)
		defer cancel()
		s, err := g.Consume(ctx, req)
		if err == nil {
			_, err = s.Recv()
		}
		return err
	}
	last := func(_ any, err error) error { return err }
	for name, tc := range map[string]struct {
		err  error
		want string
	}{
		"consume what is not": {consume(&webhookgatewayv1.ConsumeRequest{Subscription: "none"}), "NotFound SUBSCRIPTION_NOT_FOUND"},
		"batch":               {consume(&webhookgatewayv1.ConsumeRequest{Subscription: "team", MaxBatchSize: 1001}), "InvalidArgument INVALID_FIELD max_batch_size"},
		"view":                {consume(&webhookgatewayv1.ConsumeRequest{Subscription: "team", View: 9}), "InvalidArgument INVALID_FIELD view"},
		"heartbeat":           {consume(&webhookgatewayv1.ConsumeRequest{Subscription: "team", HeartbeatInterval: durationpb.New(1)}), "InvalidArgument INVALID_FIELD heartbeat_interval"},
		"in flight":           {consume(&webhookgatewayv1.ConsumeRequest{Subscription: "team", MaxInFlight: -1}), "InvalidArgument INVALID_FIELD max_in_flight"},
		"ack of none":         {last(g.Acknowledge(ctx, &webhookgatewayv1.AcknowledgeRequest{Subscription: "none"})), "NotFound SUBSCRIPTION_NOT_FOUND"},
		"ack of many":         {last(g.Acknowledge(ctx, &webhookgatewayv1.AcknowledgeRequest{Subscription: "team", AckTokens: many})), "InvalidArgument INVALID_FIELD ack_tokens"},
		"no action":           {last(g.Reject(ctx, &webhookgatewayv1.RejectRequest{Subscription: "team"})), "InvalidArgument INVALID_FIELD action"},
		"unknown action":      {last(g.Reject(ctx, &webhookgatewayv1.RejectRequest{Subscription: "team", Action: 9})), "InvalidArgument INVALID_FIELD action"},
		"long reason":         {last(g.Reject(ctx, &webhookgatewayv1.RejectRequest{Subscription: "team", Action: park, Reason: strings.Repeat("r", 1025)})), "InvalidArgument INVALID_FIELD reason"},
		"delay of a park":     {last(g.Reject(ctx, &webhookgatewayv1.RejectRequest{Subscription: "team", Action: park, RetryAfter: durationpb.New(1)})), "InvalidArgument INVALID_FIELD retry_after"},
		"long delay":          {last(g.Reject(ctx, &webhookgatewayv1.RejectRequest{Subscription: "team", Action: retry, RetryAfter: durationpb.New(25 * time.Hour)})), "InvalidArgument INVALID_FIELD retry_after"},
		"short deadline":      {last(g.ExtendDeadline(ctx, &webhookgatewayv1.ExtendDeadlineRequest{Subscription: "team", Deadline: durationpb.New(1)})), "InvalidArgument INVALID_FIELD deadline"},
		"extend none":         {last(g.ExtendDeadline(ctx, &webhookgatewayv1.ExtendDeadlineRequest{Subscription: "none"})), "NotFound SUBSCRIPTION_NOT_FOUND"},
		"bad cursor":          {last(g.CommitCursor(ctx, &webhookgatewayv1.CommitCursorRequest{Subscription: "team", Cursor: "c"})), "InvalidArgument CURSOR_MALFORMED cursor"},
		"parked of none":      {last(g.ListParkedEvents(ctx, &webhookgatewayv1.ListParkedEventsRequest{Subscription: "none"})), "NotFound SUBSCRIPTION_NOT_FOUND"},
		"parked page":         {last(g.ListParkedEvents(ctx, &webhookgatewayv1.ListParkedEventsRequest{Subscription: "team", PageSize: -1})), "InvalidArgument INVALID_FIELD page_size"},
		"parked token":        {last(g.ListParkedEvents(ctx, &webhookgatewayv1.ListParkedEventsRequest{Subscription: "team", PageToken: "p"})), "InvalidArgument PAGE_TOKEN_INVALID"},
		"replay nothing":      {last(g.ReplayParkedEvents(ctx, &webhookgatewayv1.ReplayParkedEventsRequest{Subscription: "team"})), "InvalidArgument INVALID_FIELD event_ids"},
		"replay both":         {last(g.ReplayParkedEvents(ctx, &webhookgatewayv1.ReplayParkedEventsRequest{Subscription: "team", All: true, EventIds: []string{"e"}})), "InvalidArgument INVALID_FIELD event_ids"},
		"replay no id":        {last(g.ReplayParkedEvents(ctx, &webhookgatewayv1.ReplayParkedEventsRequest{Subscription: "team", EventIds: []string{"e"}})), "InvalidArgument INVALID_FIELD event_ids[0]"},
		"name":                {last(g.CreateSubscription(ctx, &webhookgatewayv1.CreateSubscriptionRequest{Subscription: &webhookgatewayv1.Subscription{Name: "No"}})), "InvalidArgument INVALID_FIELD subscription.name"},
		"start": {last(g.CreateSubscription(ctx, &webhookgatewayv1.CreateSubscriptionRequest{Subscription: &webhookgatewayv1.Subscription{
			Name: "new", Start: &webhookgatewayv1.SubscriptionStart{},
		}})), "InvalidArgument INVALID_FIELD subscription.start"},
		"get none":    {last(g.GetSubscription(ctx, &webhookgatewayv1.GetSubscriptionRequest{Name: "none"})), "NotFound SUBSCRIPTION_NOT_FOUND"},
		"delete none": {last(g.DeleteSubscription(ctx, &webhookgatewayv1.DeleteSubscriptionRequest{Name: "none"})), "NotFound SUBSCRIPTION_NOT_FOUND"},
		"update none": {last(g.UpdateSubscription(ctx, &webhookgatewayv1.UpdateSubscriptionRequest{Subscription: &webhookgatewayv1.Subscription{Name: "none"}})), "NotFound SUBSCRIPTION_NOT_FOUND"},
		"mask": {last(g.UpdateSubscription(ctx, &webhookgatewayv1.UpdateSubscriptionRequest{
			Subscription: &webhookgatewayv1.Subscription{Name: "team"}, UpdateMask: &fieldmaskpb.FieldMask{Paths: []string{"colour"}},
		})), "InvalidArgument INVALID_FIELD update_mask.paths[0]"},
		"seek nowhere":          {last(g.SeekSubscription(ctx, &webhookgatewayv1.SeekSubscriptionRequest{Name: "team"})), "InvalidArgument INVALID_FIELD start"},
		"list token of no name": {last(g.ListSubscriptions(ctx, &webhookgatewayv1.ListSubscriptionsRequest{PageToken: strings.Repeat("A", 5000)})), "InvalidArgument PAGE_TOKEN_INVALID"},
		"list token":            {last(g.ListSubscriptions(ctx, &webhookgatewayv1.ListSubscriptionsRequest{PageToken: "!"})), "InvalidArgument PAGE_TOKEN_INVALID"},
	} {
		t.Run(name, func(t *testing.T) { checkError(t, tc.err, tc.want) })
	}
	forged, err := g.Acknowledge(ctx, &webhookgatewayv1.AcknowledgeRequest{Subscription: "team", AckTokens: []string{"", "a", strings.Repeat("A", 44)}})
	if err != nil {
		t.Fatal(err)
	}
	for i, result := range forged.GetResults() {
		if result != unknown {
			t.Errorf("forged token %d: %v", i, result)
		}
	}
}

func TestTooManyStreams(t *testing.T) {
	t.Parallel()
	g := newGateway(t)
	g.create(t, "team", nil)
	for range maxStreams {
		g.consume(t, &webhookgatewayv1.ConsumeRequest{Subscription: "team"})
	}
	s, err := g.Consume(t.Context(), &webhookgatewayv1.ConsumeRequest{Subscription: "team"})
	if err == nil {
		_, err = s.Recv()
	}
	if errors.Is(err, io.EOF) || status.Code(err) != codes.ResourceExhausted {
		t.Errorf("one stream too many: %v", err)
	}
}
