package subscriptionservice_test

import (
	"context"
	"fmt"
	"slices"
	"testing"

	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/fieldmaskpb"

	webhookgatewayv1 "github.com/webhook-gateway/webhook-gateway/gen/webhookgateway/v1"
	"github.com/webhook-gateway/webhook-gateway/server/access"
	"github.com/webhook-gateway/webhook-gateway/server/eventlog"
	"github.com/webhook-gateway/webhook-gateway/server/stream/streamtest"
)

const (
	full     = webhookgatewayv1.EventView_EVENT_VIEW_FULL
	metadata = webhookgatewayv1.EventView_EVENT_VIEW_METADATA
	raw      = webhookgatewayv1.EventView_EVENT_VIEW_RAW
)

// as returns the context of the calls of a caller that may read the events of some clients,
// and do something with subscriptions.
func as(t *testing.T, subscriptions access.SubscriptionGrant, clients ...string) context.Context {
	t.Helper()
	grants := []*access.Grant{{Subscriptions: []access.SubscriptionGrant{subscriptions}}}
	for _, id := range clients {
		grants = append(grants, &access.Grant{
			Filters: []*webhookgatewayv1.EventFilter{{ClientIds: []string{id}}},
			Views:   []webhookgatewayv1.EventView{full},
		})
	}
	return streamtest.As(t.Context(), &access.Caller{Name: "test", Grants: grants})
}

// addOf stores an event of each of some clients.
func (g *gateway) addOf(t *testing.T, verdict webhookgatewayv1.VerificationVerdict, clients ...string) {
	t.Helper()
	for _, id := range clients {
		entry, err := eventlog.NewEntry(&webhookgatewayv1.Event{
			Provider: webhookgatewayv1.Provider_PROVIDER_FINICITY, Type: webhookgatewayv1.EventType_EVENT_TYPE_FINICITY_DONE,
			ClientId: id, RawBody: []byte("{}"), Verification: &webhookgatewayv1.Verification{Verdict: verdict},
		})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := g.log.Append(t.Context(), entry); err != nil {
			t.Fatal(err)
		}
	}
}

const (
	verified = webhookgatewayv1.VerificationVerdict_VERIFICATION_VERDICT_VERIFIED
	failed   = webhookgatewayv1.VerificationVerdict_VERIFICATION_VERDICT_FAILED
)

func subscriptionTo(name string, clients ...string) *webhookgatewayv1.Subscription {
	s := &webhookgatewayv1.Subscription{Name: name, Start: earliest()}
	if len(clients) > 0 {
		s.Filters = []*webhookgatewayv1.EventFilter{{ClientIds: clients}}
	}
	return s
}

// opens opens a stream, and returns an error if there is no first frame.
func (g *gateway) opens(ctx context.Context, req *webhookgatewayv1.ConsumeRequest) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	s, err := g.Consume(ctx, req)
	if err == nil {
		_, err = s.Recv()
	}
	return err
}

// calls are the calls that name a subscription, by what they need. There is one for each
// method of the service but ListSubscriptions.
func calls(g *gateway, t *testing.T, name string) (use, manage map[string]func(context.Context) error) {
	t.Helper()
	cursor := g.log.History().FormatCursor(0)
	id := g.log.History().FormatEventID(1)
	use = map[string]func(context.Context) error{
		"GetSubscription": func(ctx context.Context) error {
			_, err := g.GetSubscription(ctx, &webhookgatewayv1.GetSubscriptionRequest{Name: name})
			return err
		},
		"Consume": func(ctx context.Context) error {
			return g.opens(ctx, &webhookgatewayv1.ConsumeRequest{Subscription: name})
		},
		"Acknowledge": func(ctx context.Context) error {
			_, err := g.Acknowledge(ctx, &webhookgatewayv1.AcknowledgeRequest{Subscription: name})
			return err
		},
		"Reject": func(ctx context.Context) error {
			_, err := g.Reject(ctx, &webhookgatewayv1.RejectRequest{Subscription: name, Action: skip})
			return err
		},
		"ExtendDeadline": func(ctx context.Context) error {
			_, err := g.ExtendDeadline(ctx, &webhookgatewayv1.ExtendDeadlineRequest{Subscription: name})
			return err
		},
		"CommitCursor": func(ctx context.Context) error {
			_, err := g.CommitCursor(ctx, &webhookgatewayv1.CommitCursorRequest{Subscription: name, Cursor: cursor})
			return err
		},
		"ListParkedEvents": func(ctx context.Context) error {
			_, err := g.ListParkedEvents(ctx, &webhookgatewayv1.ListParkedEventsRequest{Subscription: name})
			return err
		},
	}
	manage = map[string]func(context.Context) error{
		"CreateSubscription": func(ctx context.Context) error {
			_, err := g.CreateSubscription(ctx, &webhookgatewayv1.CreateSubscriptionRequest{Subscription: subscriptionTo(name, "a")})
			return err
		},
		"UpdateSubscription": func(ctx context.Context) error {
			_, err := g.UpdateSubscription(ctx, &webhookgatewayv1.UpdateSubscriptionRequest{Subscription: &webhookgatewayv1.Subscription{Name: name}})
			return err
		},
		"SeekSubscription": func(ctx context.Context) error {
			_, err := g.SeekSubscription(ctx, &webhookgatewayv1.SeekSubscriptionRequest{Name: name, Start: earliest()})
			return err
		},
		"ReplayParkedEvents": func(ctx context.Context) error {
			_, err := g.ReplayParkedEvents(ctx, &webhookgatewayv1.ReplayParkedEventsRequest{Subscription: name, EventIds: []string{id}})
			return err
		},
		"DiscardParkedEvents": func(ctx context.Context) error {
			_, err := g.DiscardParkedEvents(ctx, &webhookgatewayv1.DiscardParkedEventsRequest{Subscription: name, EventIds: []string{id}})
			return err
		},
		"DeleteSubscription": func(ctx context.Context) error {
			_, err := g.DeleteSubscription(ctx, &webhookgatewayv1.DeleteSubscriptionRequest{Name: name})
			return err
		},
	}
	return use, manage
}

// What was granted by name may be used or managed, and everything else answers the same,
// whether it exists or not.
func TestNamesAreGranted(t *testing.T) {
	t.Parallel()
	g := newGateway(t)
	g.addOf(t, verified, "a")
	user, manager := access.SubscriptionGrant{Prefix: "team-"}, access.SubscriptionGrant{Prefix: "team-", Manage: true}
	create := func(name string) {
		if _, err := g.CreateSubscription(t.Context(), &webhookgatewayv1.CreateSubscriptionRequest{Subscription: subscriptionTo(name, "a")}); err != nil {
			t.Fatal(err)
		}
	}
	create("team-a")
	create("other")
	use, manage := calls(g, t, "team-a")
	if named, all := len(use)+len(manage)+1, len(webhookgatewayv1.SubscriptionService_ServiceDesc.Methods)+len(webhookgatewayv1.SubscriptionService_ServiceDesc.Streams); named != all {
		t.Errorf("the service has %d methods, and %d are decided about", all, named)
	}
	for name, call := range use {
		err := call(as(t, user, "a"))
		if name == "CommitCursor" { // it is not strictly ordered
			checkError(t, err, "FailedPrecondition SUBSCRIPTION_NOT_STRICT")
		} else if err != nil {
			t.Errorf("%s of a user: %v", name, err)
		}
	}
	for name, call := range manage {
		checkDenied(t, name+" of a user", call(as(t, user, "a")))
		if err := call(as(t, manager, "a")); err != nil {
			t.Errorf("%s of a manager: %v", name, err)
		}
		create("team-a") // it may be deleted by now
	}
	for _, name := range []string{"other", "missing", "team", ""} {
		use, manage := calls(g, t, name)
		for method, call := range use {
			checkDenied(t, method+" of "+name, call(as(t, manager, "a")))
		}
		for method, call := range manage {
			checkDenied(t, method+" of "+name, call(as(t, manager, "a")))
		}
	}
}

func checkDenied(t *testing.T, what string, err error) {
	t.Helper()
	if got := fmt.Sprint(status.Code(err)); got != "PermissionDenied" {
		t.Errorf("%s: %v", what, err)
	}
}

func TestListShowsWhatMayBeUsed(t *testing.T) {
	t.Parallel()
	g := newGateway(t)
	for _, name := range []string{"a", "team-a", "team-b", "team-c", "z"} {
		g.create(t, name, nil)
	}
	ctx := as(t, access.SubscriptionGrant{Prefix: "team-"})
	var names []string
	req := &webhookgatewayv1.ListSubscriptionsRequest{PageSize: 2}
	for more := true; more; more = req.GetPageToken() != "" {
		page, err := g.ListSubscriptions(ctx, req)
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range page.GetSubscriptions() {
			names = append(names, s.GetName())
		}
		req.PageToken = page.GetNextPageToken()
	}
	if want := []string{"team-a", "team-b", "team-c"}; !slices.Equal(names, want) {
		t.Errorf("listed: %v, want %v", names, want)
	}
	_, err := g.ListSubscriptions(streamtest.As(t.Context(), &access.Caller{}), &webhookgatewayv1.ListSubscriptionsRequest{})
	checkError(t, err, "PermissionDenied NOT_GRANTED")
}

// A subscription is no way around a grant: who makes, changes or consumes it may read
// all that it selects.
func TestSubscriptionsAreCovered(t *testing.T) {
	t.Parallel()
	g := newGateway(t)
	everyName := access.SubscriptionGrant{Manage: true}
	a, ab := as(t, everyName, "a"), as(t, everyName, "a", "b")
	create := func(ctx context.Context, s *webhookgatewayv1.Subscription) error {
		_, err := g.CreateSubscription(ctx, &webhookgatewayv1.CreateSubscriptionRequest{Subscription: s})
		return err
	}
	checkError(t, create(a, subscriptionTo("all")), "PermissionDenied NOT_GRANTED subscription.filters[0]")
	checkError(t, create(a, subscriptionTo("both", "a", "b")), "PermissionDenied NOT_GRANTED subscription.filters[0].client_ids")
	checkError(t, create(a, subscriptionTo("empty", "")), "InvalidArgument INVALID_FIELD subscription.filters[0].client_ids[0]")
	checkError(t, create(as(t, everyName), subscriptionTo("a", "a")), "PermissionDenied NOT_GRANTED")
	if err := create(ab, subscriptionTo("both", "a", "b")); err != nil { // by two grants together
		t.Fatal(err)
	}
	update := func(ctx context.Context, s *webhookgatewayv1.Subscription, paths ...string) error {
		_, err := g.UpdateSubscription(ctx, &webhookgatewayv1.UpdateSubscriptionRequest{Subscription: s, UpdateMask: &fieldmaskpb.FieldMask{Paths: paths}})
		return err
	}
	checkError(t, update(a, subscriptionTo("both", "a"), "filters"), "PermissionDenied NOT_GRANTED subscription.filters[0].client_ids") // as it is
	checkError(t, update(ab, subscriptionTo("both"), "filters"), "PermissionDenied NOT_GRANTED subscription.filters[0]")                // as it would be
	consume := func(ctx context.Context, view webhookgatewayv1.EventView) error {
		return g.opens(ctx, &webhookgatewayv1.ConsumeRequest{Subscription: "both", View: view})
	}
	checkError(t, consume(a, full), "PermissionDenied NOT_GRANTED subscription.filters[0].client_ids")
	checkError(t, consume(ab, raw), "PermissionDenied NOT_GRANTED view")
	if err := consume(ab, full); err != nil {
		t.Error(err)
	}
	_, err := g.ListParkedEvents(a, &webhookgatewayv1.ListParkedEventsRequest{Subscription: "both"})
	checkError(t, err, "PermissionDenied NOT_GRANTED subscription.filters[0].client_ids")
	_, err = g.ListParkedEvents(ab, &webhookgatewayv1.ListParkedEventsRequest{Subscription: "both", View: metadata})
	checkError(t, err, "PermissionDenied NOT_GRANTED view")
	if err := update(ab, subscriptionTo("both", "a"), "filters"); err != nil {
		t.Error(err)
	}
	if err := consume(a, full); err != nil {
		t.Error(err)
	}
}

// When the filters become wider than what a worker may read, its stream ends before it
// gets anything of that, and what it held goes to others, unharmed.
func TestWiderFiltersEndStreams(t *testing.T) {
	t.Parallel()
	g := newGateway(t)
	everyName := access.SubscriptionGrant{Manage: true}
	if _, err := g.CreateSubscription(t.Context(), &webhookgatewayv1.CreateSubscriptionRequest{Subscription: subscriptionTo("team", "a")}); err != nil {
		t.Fatal(err)
	}
	g.addOf(t, verified, "a", "b")
	w := g.consumeAs(as(t, everyName, "a"), t, &webhookgatewayv1.ConsumeRequest{Subscription: "team"})
	w.take(1)
	if _, err := g.UpdateSubscription(t.Context(), &webhookgatewayv1.UpdateSubscriptionRequest{Subscription: subscriptionTo("team", "a", "b")}); err != nil {
		t.Fatal(err)
	}
	for {
		frame, err := w.stream.Recv()
		if err != nil {
			checkError(t, err, "PermissionDenied NOT_GRANTED subscription.filters[0].client_ids")
			break
		}
		if frame.GetDeliveries() != nil {
			t.Fatalf("the worker got %v", frame)
		}
	}
	for i, d := range g.consumeAs(as(t, everyName, "a", "b"), t, &webhookgatewayv1.ConsumeRequest{Subscription: "team"}).take(2) {
		if d.GetAttempt() != 1 {
			t.Errorf("delivery %d: attempt %d", i, d.GetAttempt())
		}
	}
}

// Events may wait from before the filters changed. One that a worker may not read is
// parked, its neighbours are delivered, and of the parked event it sees no more than that
// it exists.
func TestEventsOfEarlierFilters(t *testing.T) {
	t.Parallel()
	g := newGateway(t)
	if _, err := g.CreateSubscription(t.Context(), &webhookgatewayv1.CreateSubscriptionRequest{Subscription: subscriptionTo("team", "a", "b")}); err != nil {
		t.Fatal(err)
	}
	g.addOf(t, verified, "b", "a", "b", "a")
	w := g.consume(t, &webhookgatewayv1.ConsumeRequest{Subscription: "team"})
	d := w.take(4)
	g.reject(t, park, d[0])
	g.reject(t, release, d[1:]...)
	w.leave()
	g.deserted(t, "team")
	if _, err := g.UpdateSubscription(t.Context(), &webhookgatewayv1.UpdateSubscriptionRequest{Subscription: subscriptionTo("team", "a")}); err != nil {
		t.Fatal(err)
	}
	ctx := as(t, access.SubscriptionGrant{}, "a")
	for i, got := range g.consumeAs(ctx, t, &webhookgatewayv1.ConsumeRequest{Subscription: "team"}).take(2) {
		if want := d[1+2*i].GetEvent().GetId(); got.GetEvent().GetId() != want || got.GetEvent().GetClientId() != "a" {
			t.Errorf("delivery %d: %v, want %s", i, got, want)
		}
	}
	for _, tc := range []struct {
		ctx     context.Context //nolint:containedctx // who asks
		details bool
	}{{ctx, false}, {t.Context(), true}} {
		list, err := g.ListParkedEvents(tc.ctx, &webhookgatewayv1.ListParkedEventsRequest{Subscription: "team"})
		if err != nil || len(list.GetParkedEvents()) != 2 {
			t.Fatalf("parked: %v, %v", list, err)
		}
		for i, p := range list.GetParkedEvents() {
			if p.GetEvent().GetId() != d[2*i].GetEvent().GetId() || (p.GetEvent().GetClientId() != "") != tc.details || (p.GetMessage() != "") != tc.details {
				t.Errorf("parked %d, with details %v: %v", i, tc.details, p)
			}
		}
	}
}

// How many events failed verification is known to who may read them.
func TestLeftOutIsCountedForThoseWhoMayRead(t *testing.T) {
	t.Parallel()
	g := newGateway(t)
	g.addOf(t, failed, "a")
	g.addOf(t, verified, "a")
	if _, err := g.CreateSubscription(t.Context(), &webhookgatewayv1.CreateSubscriptionRequest{Subscription: subscriptionTo("team", "a")}); err != nil {
		t.Fatal(err)
	}
	may := as(t, access.SubscriptionGrant{}, "a")
	mayNot := streamtest.As(t.Context(), &access.Caller{Grants: []*access.Grant{{
		Filters: []*webhookgatewayv1.EventFilter{{Verdicts: []webhookgatewayv1.VerificationVerdict{
			verified, webhookgatewayv1.VerificationVerdict_VERIFICATION_VERDICT_NOT_CHECKED,
		}}},
		Views:         []webhookgatewayv1.EventView{full},
		Subscriptions: []access.SubscriptionGrant{{}},
	}}})
	for ctx, want := range map[context.Context]int64{may: 1, mayNot: 0} {
		w := g.consumeAs(ctx, t, &webhookgatewayv1.ConsumeRequest{Subscription: "team"})
		g.acknowledge(t, "team", ok, w.take(1)...)
		if frame := w.next(); frame.GetCaughtUp() == nil || frame.GetCaughtUp().GetLeftOutEvents() != want {
			t.Errorf("%v: want %d left out", frame, want)
		}
		list, err := g.ListSubscriptions(ctx, &webhookgatewayv1.ListSubscriptionsRequest{})
		if err != nil {
			t.Fatal(err)
		}
		if got := list.GetSubscriptions()[0].GetStatus().GetLeftOutEvents(); got != want {
			t.Errorf("listed: %d left out, want %d", got, want)
		}
		w.leave()
		g.deserted(t, "team")
		if _, err := g.SeekSubscription(t.Context(), &webhookgatewayv1.SeekSubscriptionRequest{Name: "team", Start: &webhookgatewayv1.SubscriptionStart{
			Start: &webhookgatewayv1.SubscriptionStart_Cursor{Cursor: g.log.History().FormatCursor(1)},
		}}); err != nil {
			t.Fatal(err)
		}
	}
}

// What a grant masks is masked in deliveries and in parked events.
func TestDeliveriesAreMasked(t *testing.T) {
	t.Parallel()
	g := newGateway(t)
	g.create(t, "team", nil)
	g.add(t, 1)
	ctx := streamtest.As(t.Context(), &access.Caller{Grants: []*access.Grant{{
		Filters: []*webhookgatewayv1.EventFilter{{}}, Views: []webhookgatewayv1.EventView{full},
		Mask: []string{"subject"}, Subscriptions: []access.SubscriptionGrant{{}},
	}}})
	w := g.consumeAs(ctx, t, &webhookgatewayv1.ConsumeRequest{Subscription: "team"})
	d := w.take(1)[0]
	g.reject(t, park, d)
	for ctx, masked := range map[context.Context]bool{ctx: true, t.Context(): false} {
		list, err := g.ListParkedEvents(ctx, &webhookgatewayv1.ListParkedEventsRequest{Subscription: "team"})
		if err != nil {
			t.Fatal(err)
		}
		if message := list.GetParkedEvents()[0].GetMessage(); (message == "") != masked {
			t.Errorf("parked with the message %q, masked %v", message, masked)
		}
		if parked := list.GetParkedEvents()[0].GetEvent(); (parked.GetSubject() == "") != masked || (len(parked.GetMasked()) > 0) != masked {
			t.Errorf("parked: %v", parked)
		}
	}
	if d.GetEvent().GetSubject() != "" || len(d.GetEvent().GetMasked()) == 0 || d.GetEvent().GetClientId() != "client" {
		t.Errorf("delivered: %v", d)
	}
}
