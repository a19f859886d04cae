package subscriptionservice_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/fieldmaskpb"

	webhookgatewayv1 "github.com/webhook-gateway/webhook-gateway/gen/webhookgateway/v1"
	"github.com/webhook-gateway/webhook-gateway/server/access"
	"github.com/webhook-gateway/webhook-gateway/server/rpcerr"
	"github.com/webhook-gateway/webhook-gateway/server/stream/streamtest"
)

// throughPeer returns a gateway that does not own the subscription team.
func throughPeer(t *testing.T, settings *webhookgatewayv1.SubscriptionSettings) *node {
	t.Helper()
	nodes := newCluster(t, 2)
	nodes[0].create(t, "team", settings)
	_, others := ownerOf(nodes, "team")
	return others[0]
}

// TestUnansweredThroughPeer: a call that may be made twice is, if its connection breaks; of
// another the caller is told that it may have been made.
func TestUnansweredThroughPeer(t *testing.T) {
	t.Parallel()
	nodes := newCluster(t, 2)
	nodes[0].create(t, "team", nil)
	owner, others := ownerOf(nodes, "team")
	n := others[0]
	n.add(t, 1)
	owner.breaks.Store(1)
	held := n.consume(t, &webhookgatewayv1.ConsumeRequest{Subscription: "team"}).take(1)
	owner.breaks.Store(1)
	if got := n.status(t, "team").GetInFlightEvents(); got != 1 {
		t.Errorf("%d are in flight, want 1", got)
	}
	owner.breaks.Store(1)
	if _, err := n.ListParkedEvents(t.Context(), &webhookgatewayv1.ListParkedEventsRequest{Subscription: "team"}); err != nil {
		t.Error(err)
	}
	owner.breaks.Store(1)
	_, err := n.Acknowledge(t.Context(), &webhookgatewayv1.AcknowledgeRequest{Subscription: "team", AckTokens: tokens(held...)})
	if checkError(t, err, "Unavailable SUBSCRIPTION_MOVING"); err != nil && !strings.Contains(err.Error(), "may have done what was asked") {
		t.Errorf("the error says %v", err)
	}
	if left := owner.breaks.Load(); left > 0 {
		t.Errorf("%d calls did not break", left)
	}
	n.acknowledge(t, "team", ok, held...)
}

// TestSeekAndDeleteThroughPeer: what workers of another gateway hold is fenced once Seek
// returns, and their streams end once it is deleted.
func TestSeekAndDeleteThroughPeer(t *testing.T) {
	t.Parallel()
	n := throughPeer(t, nil)
	n.add(t, 3)
	w := n.consume(t, &webhookgatewayv1.ConsumeRequest{Subscription: "team"})
	held := w.take(3)
	if _, err := n.SeekSubscription(t.Context(), &webhookgatewayv1.SeekSubscriptionRequest{Name: "team", Start: &webhookgatewayv1.SubscriptionStart{
		Start: &webhookgatewayv1.SubscriptionStart_Cursor{Cursor: held[0].GetEvent().GetCursor()},
	}}); err != nil {
		t.Fatal(err)
	}
	n.acknowledge(t, "team", fenced, held[1:]...)
	n.acknowledge(t, "team", ok, w.take(2)...)
	if _, err := n.DeleteSubscription(t.Context(), &webhookgatewayv1.DeleteSubscriptionRequest{Name: "team"}); err != nil {
		t.Fatal(err)
	}
	for {
		if _, err := w.stream.Recv(); err != nil {
			if rpcerr.Reason(err) != webhookgatewayv1.ErrorReason_ERROR_REASON_SUBSCRIPTION_NOT_FOUND {
				t.Errorf("the stream ended with %v", err)
			}
			break
		}
	}
}

// TestFiltersChangeThroughPeer: a worker of another gateway gets nothing of newer filters
// that it may not read.
func TestFiltersChangeThroughPeer(t *testing.T) {
	t.Parallel()
	n := throughPeer(t, nil)
	setFilters := func(client string) {
		t.Helper()
		if _, err := n.UpdateSubscription(t.Context(), &webhookgatewayv1.UpdateSubscriptionRequest{
			Subscription: &webhookgatewayv1.Subscription{Name: "team", Filters: []*webhookgatewayv1.EventFilter{{ClientIds: []string{client}}}},
			UpdateMask:   &fieldmaskpb.FieldMask{Paths: []string{"filters"}},
		}); err != nil {
			t.Fatal(err)
		}
	}
	setFilters("another")
	caller := &access.Caller{Name: "narrow", Grants: []*access.Grant{{
		Filters:       []*webhookgatewayv1.EventFilter{{ClientIds: []string{"another"}}},
		Views:         []webhookgatewayv1.EventView{webhookgatewayv1.EventView_EVENT_VIEW_FULL},
		Subscriptions: []access.SubscriptionGrant{{Prefix: "team"}},
	}}}
	w := n.consumeAs(streamtest.As(t.Context(), caller), t, &webhookgatewayv1.ConsumeRequest{Subscription: "team"})
	if w.next().GetCaughtUp() == nil {
		t.Error("it is not told that it caught up")
	}
	setFilters("client")
	n.add(t, 1)
	for {
		frame, err := w.stream.Recv()
		if err != nil {
			checkError(t, err, "PermissionDenied NOT_GRANTED subscription.filters[0].client_ids")
			break
		}
		if frame.GetDeliveries() != nil {
			t.Fatalf("it is handed out: %v", frame)
		}
	}
	next := n.consume(t, &webhookgatewayv1.ConsumeRequest{Subscription: "team"})
	if d := next.take(1)[0]; d.GetAttempt() != 1 {
		t.Errorf("the worker is to blame: attempt %d", d.GetAttempt())
	}
}

// TestParkedThroughPeer: parked events are listed in pages, replayed and discarded at any
// gateway.
func TestParkedThroughPeer(t *testing.T) {
	t.Parallel()
	n := throughPeer(t, nil)
	n.add(t, 4)
	w := n.consume(t, &webhookgatewayv1.ConsumeRequest{Subscription: "team"})
	held := w.take(4)
	n.reject(t, park, held...)
	var ids []string
	for req := (&webhookgatewayv1.ListParkedEventsRequest{Subscription: "team", PageSize: 3}); ; {
		resp, err := n.ListParkedEvents(t.Context(), req)
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range resp.GetParkedEvents() {
			ids = append(ids, p.GetEvent().GetId())
		}
		if req.PageToken = resp.GetNextPageToken(); req.GetPageToken() == "" {
			break
		}
	}
	if len(ids) != 4 || ids[3] != held[3].GetEvent().GetId() {
		t.Fatalf("parked: %v", ids)
	}
	discarded, err := n.DiscardParkedEvents(t.Context(), &webhookgatewayv1.DiscardParkedEventsRequest{Subscription: "team", EventIds: ids[:1]})
	if err != nil || discarded.GetDiscardedEvents() != 1 {
		t.Errorf("discarded: %v, %v", discarded, err)
	}
	replayed, err := n.ReplayParkedEvents(t.Context(), &webhookgatewayv1.ReplayParkedEventsRequest{Subscription: "team", All: true})
	if err != nil || replayed.GetReplayedEvents() != 3 {
		t.Errorf("replayed: %v, %v", replayed, err)
	}
	// They come from their copies, which are commits of the owner.
	n.acknowledge(t, "team", ok, w.take(3)...)
}

// TestStrictThroughPeer: a cursor is committed at any gateway.
func TestStrictThroughPeer(t *testing.T) {
	t.Parallel()
	n := throughPeer(t, &webhookgatewayv1.SubscriptionSettings{Ordering: webhookgatewayv1.Ordering_ORDERING_STRICT})
	n.add(t, 3)
	w := n.consume(t, &webhookgatewayv1.ConsumeRequest{Subscription: "team"})
	held := w.take(3)
	resp, err := n.CommitCursor(t.Context(), &webhookgatewayv1.CommitCursorRequest{
		Subscription: "team", Cursor: held[1].GetEvent().GetCursor(), AckToken: held[1].GetAckToken(),
	})
	if err != nil || resp.GetResult() != ok {
		t.Errorf("%v, %v", resp, err)
	}
	n.acknowledge(t, "team", settled, held[:2]...)
	n.acknowledge(t, "team", ok, held[2])
}

// TestEventThatBreaksWorkersOfPeer: an event that breaks its workers is found and parked, and
// its neighbours are not, as if the workers were connected to the owner.
func TestEventThatBreaksWorkersOfPeer(t *testing.T) {
	t.Parallel()
	n := throughPeer(t, &webhookgatewayv1.SubscriptionSettings{
		MaxAttempts: 2, MinBackoff: durationpb.New(100 * time.Millisecond), MaxBackoff: durationpb.New(100 * time.Millisecond),
	})
	n.add(t, 4)
	const killer = "2" // its subject
	acknowledged := make(map[string]bool)
	for n.status(t, "team").GetParkedEvents() == 0 {
		w := n.consume(t, &webhookgatewayv1.ConsumeRequest{Subscription: "team"})
		for broke := false; !broke && n.status(t, "team").GetParkedEvents() == 0; {
			frame, err := w.stream.Recv()
			if err != nil {
				t.Fatal(err)
			}
			for _, d := range frame.GetDeliveries().GetDeliveries() {
				if broke = broke || d.GetEvent().GetSubject() == killer; !broke {
					n.acknowledge(t, "team", ok, d)
					acknowledged[d.GetEvent().GetSubject()] = true
				}
			}
		}
		w.leave()
		n.deserted(t, "team")
	}
	resp, err := n.ListParkedEvents(t.Context(), &webhookgatewayv1.ListParkedEventsRequest{Subscription: "team"})
	if err != nil || len(resp.GetParkedEvents()) != 1 || resp.GetParkedEvents()[0].GetEvent().GetSubject() != killer || resp.GetParkedEvents()[0].GetAttempts() != 2 {
		t.Errorf("parked: %v, %v", resp, err)
	}
	if len(acknowledged) < 3 {
		w := n.consume(t, &webhookgatewayv1.ConsumeRequest{Subscription: "team"})
		for range 3 - len(acknowledged) {
			n.acknowledge(t, "team", ok, w.take(1)[0])
		}
	}
}

// TestAnswerLostThroughPeer: the owner does what it is asked for, and its answer does not
// come. The caller is told that it may have been done, and what it gets when it tries again
// is true: nothing is done twice.
func TestAnswerLostThroughPeer(t *testing.T) {
	t.Parallel()
	nodes := newCluster(t, 2)
	nodes[0].create(t, "team", &webhookgatewayv1.SubscriptionSettings{Ordering: webhookgatewayv1.Ordering_ORDERING_STRICT})
	owner, others := ownerOf(nodes, "team")
	n := others[0]
	n.add(t, 6)
	w := n.consume(t, &webhookgatewayv1.ConsumeRequest{Subscription: "team"})
	held := w.take(6)
	fresh := ""
	for i := 0; fresh == ""; i++ {
		if name := fmt.Sprint("fresh-", i); owner.cluster.Owns(name) {
			fresh = name
		}
	}
	result := func(r webhookgatewayv1.TokenResult, err error) (string, error) { return r.String(), err }
	settle := func(results []webhookgatewayv1.TokenResult, err error) (string, error) {
		return fmt.Sprint(results), err
	}
	for _, call := range []struct {
		name  string
		make  func() (string, error)
		again string // what is answered when it is made again
	}{
		{"ExtendDeadline", func() (string, error) {
			resp, err := n.ExtendDeadline(t.Context(), &webhookgatewayv1.ExtendDeadlineRequest{
				Subscription: "team", AckTokens: tokens(held[0]), Deadline: durationpb.New(time.Minute),
			})
			return settle(resp.GetResults(), err)
		}, "[TOKEN_RESULT_OK]"},
		{"Acknowledge", func() (string, error) {
			resp, err := n.Acknowledge(t.Context(), &webhookgatewayv1.AcknowledgeRequest{Subscription: "team", AckTokens: tokens(held[0])})
			return settle(resp.GetResults(), err)
		}, "[TOKEN_RESULT_SETTLED]"},
		{"Reject", func() (string, error) {
			resp, err := n.Reject(t.Context(), &webhookgatewayv1.RejectRequest{Subscription: "team", AckTokens: tokens(held[1:3]...), Action: park})
			return settle(resp.GetResults(), err)
		}, "[TOKEN_RESULT_SETTLED TOKEN_RESULT_SETTLED]"},
		{"CommitCursor", func() (string, error) {
			resp, err := n.CommitCursor(t.Context(), &webhookgatewayv1.CommitCursorRequest{
				Subscription: "team", Cursor: held[3].GetEvent().GetCursor(), AckToken: held[3].GetAckToken(),
			})
			return result(resp.GetResult(), err)
		}, "TOKEN_RESULT_SETTLED"},
		{"DiscardParkedEvents", func() (string, error) {
			resp, err := n.DiscardParkedEvents(t.Context(), &webhookgatewayv1.DiscardParkedEventsRequest{Subscription: "team", EventIds: []string{held[1].GetEvent().GetId()}})
			return fmt.Sprint(resp.GetDiscardedEvents()), err
		}, "0"},
		{"ReplayParkedEvents", func() (string, error) {
			resp, err := n.ReplayParkedEvents(t.Context(), &webhookgatewayv1.ReplayParkedEventsRequest{Subscription: "team", All: true})
			return fmt.Sprint(resp.GetReplayedEvents()), err
		}, "0"},
		{"SeekSubscription", func() (string, error) {
			resp, err := n.SeekSubscription(t.Context(), &webhookgatewayv1.SeekSubscriptionRequest{Name: "team", Start: &webhookgatewayv1.SubscriptionStart{
				Start: &webhookgatewayv1.SubscriptionStart_Cursor{Cursor: held[4].GetEvent().GetCursor()},
			}})
			return fmt.Sprint(resp.GetSubscription().GetName()), err
		}, "team"},
		{"CreateSubscription", func() (string, error) {
			resp, err := n.CreateSubscription(t.Context(), &webhookgatewayv1.CreateSubscriptionRequest{Subscription: &webhookgatewayv1.Subscription{Name: fresh}})
			return resp.GetSubscription().GetName(), err
		}, fresh},
		{"DeleteSubscription", func() (string, error) {
			_, err := n.DeleteSubscription(t.Context(), &webhookgatewayv1.DeleteSubscriptionRequest{Name: fresh})
			return rpcerr.Name(rpcerr.Reason(err)), nil
		}, "SUBSCRIPTION_NOT_FOUND"},
	} {
		owner.loses.Store(1)
		first, err := call.make()
		if err == nil && first != "SUBSCRIPTION_MOVING" || err != nil && !strings.Contains(err.Error(), "may have done what was asked") {
			t.Errorf("%s whose answer is lost: %s, %v", call.name, first, err)
		}
		if again, err := call.make(); err != nil || again != call.again {
			t.Errorf("%s is made again: %s, %v, want %s", call.name, again, err, call.again)
		}
	}
	if status := n.status(t, "team"); status.GetParkedEvents() != 0 {
		t.Errorf("the status is %v", status)
	}
}
