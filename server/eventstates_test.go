package server_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	webhookgatewayv1 "github.com/webhook-gateway/webhook-gateway/gen/webhookgateway/v1"
	"github.com/webhook-gateway/webhook-gateway/server"
	"github.com/webhook-gateway/webhook-gateway/server/access"
	"github.com/webhook-gateway/webhook-gateway/server/eventlog"
	"github.com/webhook-gateway/webhook-gateway/server/rpcerr"
	"github.com/webhook-gateway/webhook-gateway/server/servertest"
)

// states returns where subscriptions stand with an event, as a gateway says.
func states(ctx context.Context, t *testing.T, g *servertest.Gateway, id string) string {
	t.Helper()
	resp, err := webhookgatewayv1.NewOperatorServiceClient(g.Conn()).ListEventStates(ctx, &webhookgatewayv1.ListEventStatesRequest{Id: id})
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, s := range resp.GetStates() {
		text := s.GetSubscription() + " " + strings.TrimPrefix(s.GetState().String(), "DELIVERY_STATE_")
		if s.GetAttempts() > 0 {
			text += fmt.Sprint(" ", s.GetAttempts())
		}
		all = append(all, text)
	}
	return strings.Join(all, ", ")
}

// deliverOne delivers an event, and returns its id.
func deliverOne(t *testing.T, g *servertest.Gateway) string {
	t.Helper()
	g.Deliver(t, webhookgatewayv1.EventType_EVENT_TYPE_FINICITY_ADDED)
	page, err := webhookgatewayv1.NewEventServiceClient(g.Conn()).ListEvents(t.Context(), &webhookgatewayv1.ListEventsRequest{NewestFirst: true, PageSize: 1})
	if err != nil {
		t.Fatal(err)
	}
	return page.GetEvents()[0].GetId()
}

// Every gateway says where each subscription stands with an event, whichever runs it.
func TestEventStates(t *testing.T) {
	for name, gateways := range map[string]int{"alone": 1, "sharing": 2} {
		t.Run(name, func(t *testing.T) {
			var options []func(*server.Config)
			if gateways > 1 {
				options = append(options, shares(t))
			}
			var all []*servertest.Gateway
			for range gateways {
				all = append(all, servertest.Start(t, options...))
			}
			if gateways > 1 {
				together(t, all...)
			}
			g := all[0]
			client := webhookgatewayv1.NewSubscriptionServiceClient(g.Conn())
			create := func(name string, position webhookgatewayv1.StartPosition, filters ...*webhookgatewayv1.EventFilter) {
				t.Helper()
				if _, err := client.CreateSubscription(t.Context(), &webhookgatewayv1.CreateSubscriptionRequest{Subscription: &webhookgatewayv1.Subscription{
					Name: name, Filters: filters, Start: &webhookgatewayv1.SubscriptionStart{Start: &webhookgatewayv1.SubscriptionStart_Position{Position: position}},
				}}); err != nil {
					t.Fatal(err)
				}
			}
			id := deliverOne(t, g)
			for _, name := range []string{"acknowledged", "held", "parked", "pending", "waits"} {
				create(name, webhookgatewayv1.StartPosition_START_POSITION_EARLIEST)
			}
			create("late", webhookgatewayv1.StartPosition_START_POSITION_LATEST)
			create("others", webhookgatewayv1.StartPosition_START_POSITION_EARLIEST, &webhookgatewayv1.EventFilter{
				EventTypes: []webhookgatewayv1.EventType{webhookgatewayv1.EventType_EVENT_TYPE_FINICITY_DONE},
			})
			reject := func(name string, action webhookgatewayv1.RejectAction, after *durationpb.Duration) {
				t.Helper()
				token := takeOne(t, client, name)
				if _, err := client.Reject(t.Context(), &webhookgatewayv1.RejectRequest{
					Subscription: name, AckTokens: []string{token}, Action: action, RetryAfter: after,
				}); err != nil {
					t.Fatal(err)
				}
			}
			reject("acknowledged", webhookgatewayv1.RejectAction_REJECT_ACTION_SKIP, nil)
			reject("parked", webhookgatewayv1.RejectAction_REJECT_ACTION_PARK, nil)
			reject("waits", webhookgatewayv1.RejectAction_REJECT_ACTION_RETRY, durationpb.New(time.Hour))
			takeOne(t, client, "held")
			const want = "acknowledged PASSED, held IN_FLIGHT, late PASSED, others NOT_SELECTED, parked PARKED 1, pending PENDING, waits WAITING 1"
			for i, g := range all {
				got := ""
				eventually(t, "the states are known", func() bool { // the other gateway has a second to say so
					got = states(t.Context(), t, g, id)
					return !strings.Contains(got, "UNSPECIFIED")
				})
				if got != want {
					t.Errorf("gateway %d: %s\nwant %s", i, got, want)
				}
			}
		})
	}
}

// takeOne takes an event of a subscription, whose stream stays open, and returns its token.
func takeOne(t *testing.T, client webhookgatewayv1.SubscriptionServiceClient, name string) string {
	t.Helper()
	stream, err := client.Consume(t.Context(), &webhookgatewayv1.ConsumeRequest{Subscription: name})
	if err != nil {
		t.Fatal(err)
	}
	for {
		frame, err := stream.Recv()
		if err != nil {
			t.Fatal(err)
		}
		if deliveries := frame.GetDeliveries().GetDeliveries(); len(deliveries) > 0 {
			return deliveries[0].GetAckToken()
		}
	}
}

// Who may not read an event does not learn where it is, and who may is told of the
// subscriptions that it may use.
func TestEventStatesAreGranted(t *testing.T) {
	config := servertest.Config(t)
	config.Log.Level = 12 // refusals are expected
	config.Access.Tokens = make(map[string]access.Token)
	config.Access.Grants = make(map[string]access.GrantConfig)
	token := func(name string, grant access.GrantConfig) string {
		token, sum := access.NewToken()
		config.Access.Grants[name] = grant
		config.Access.Tokens[name] = access.Token{SHA256: sum, Grants: []string{name}}
		return token
	}
	manager := token("manager", access.GrantConfig{
		Filters: []access.FilterConfig{{}}, Views: []string{"metadata"}, Subscriptions: []access.SubscriptionConfig{{Manage: true}},
	})
	user := token("user", access.GrantConfig{
		Filters: []access.FilterConfig{{EventTypes: []string{"finicity.added"}}}, Views: []string{"full"}, Subscriptions: []access.SubscriptionConfig{{Prefix: "b"}},
	})
	other := token("other", access.GrantConfig{Filters: []access.FilterConfig{{EventTypes: []string{"finicity.done"}}}, Views: []string{"full"}})
	nothing := token("nothing", access.GrantConfig{Subscriptions: []access.SubscriptionConfig{{}}})
	g := servertest.Start(t, func(c *server.Config) { *c = config })
	for _, name := range []string{"a", "b1", "b2"} {
		if _, err := webhookgatewayv1.NewSubscriptionServiceClient(g.Conn()).CreateSubscription(as(t, manager),
			&webhookgatewayv1.CreateSubscriptionRequest{Subscription: &webhookgatewayv1.Subscription{Name: name}}); err != nil {
			t.Fatal(err)
		}
	}
	g.Deliver(t, webhookgatewayv1.EventType_EVENT_TYPE_FINICITY_ADDED)
	id := g.Server().Log().History().FormatEventID(1)
	if got, want := states(as(t, user), t, g, id), "b1 PENDING, b2 PENDING"; got != want {
		t.Errorf("a user is told %s, want %s", got, want)
	}
	foreign, err := eventlog.NewHistory(eventlog.NewID(), eventlog.EpochStart{Epoch: eventlog.NewEpoch(), First: 1})
	if err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		token, id string
		want      webhookgatewayv1.ErrorReason
	}{
		{other, id, webhookgatewayv1.ErrorReason_ERROR_REASON_NOT_GRANTED},
		{nothing, id, webhookgatewayv1.ErrorReason_ERROR_REASON_NOT_GRANTED},
		{user, "x", webhookgatewayv1.ErrorReason_ERROR_REASON_INVALID_FIELD},
		{user, foreign.FormatEventID(1), webhookgatewayv1.ErrorReason_ERROR_REASON_EVENT_NOT_FOUND},
		{user, g.Server().Log().History().FormatEventID(2), webhookgatewayv1.ErrorReason_ERROR_REASON_EVENT_NOT_FOUND},
	} {
		_, err := webhookgatewayv1.NewOperatorServiceClient(g.Conn()).ListEventStates(as(t, tc.token), &webhookgatewayv1.ListEventStatesRequest{Id: tc.id})
		if rpcerr.Reason(err) != tc.want {
			t.Errorf("%s: %v, want %v", tc.id, err, tc.want)
		}
	}
}
