package server_test

import (
	"context"
	"io"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	webhookgatewayv1 "github.com/webhook-gateway/webhook-gateway/gen/webhookgateway/v1"
	"github.com/webhook-gateway/webhook-gateway/server/servertest"
)

// operatorCalls are all that an operator can ask, by the method.
func operatorCalls(client webhookgatewayv1.OperatorServiceClient, event string) map[string]func(context.Context) error {
	return map[string]func(context.Context) error{
		"GetCaller": func(ctx context.Context) error {
			_, err := client.GetCaller(ctx, &webhookgatewayv1.GetCallerRequest{})
			return err
		},
		"GetOverview": func(ctx context.Context) error {
			_, err := client.GetOverview(ctx, &webhookgatewayv1.GetOverviewRequest{})
			return err
		},
		"GetHistory": func(ctx context.Context) error {
			_, err := client.GetHistory(ctx, &webhookgatewayv1.GetHistoryRequest{})
			return err
		},
		"ListStreams": func(ctx context.Context) error {
			_, err := client.ListStreams(ctx, &webhookgatewayv1.ListStreamsRequest{})
			return err
		},
		"ListRefusals": func(ctx context.Context) error {
			_, err := client.ListRefusals(ctx, &webhookgatewayv1.ListRefusalsRequest{})
			return err
		},
		"ListSessions": func(ctx context.Context) error {
			_, err := client.ListSessions(ctx, &webhookgatewayv1.ListSessionsRequest{})
			return err
		},
		"ListEventStates": func(ctx context.Context) error {
			_, err := client.ListEventStates(ctx, &webhookgatewayv1.ListEventStatesRequest{Id: event})
			return err
		},
	}
}

// Operators ask everything while deliveries are taken and refused, and streams open and end.
// Every call is answered until the gateway drains, which nobody keeps from ending.
func TestOperatorsAskWhileEverythingMoves(t *testing.T) {
	const operators, rounds = 3, 5
	g := servertest.Start(t, servertest.InMemory)
	g.Deliver(t, webhookgatewayv1.EventType_EVENT_TYPE_FINICITY_STARTED)
	calls := operatorCalls(webhookgatewayv1.NewOperatorServiceClient(g.Conn()), g.Server().Log().History().FormatEventID(1))
	for _, method := range webhookgatewayv1.OperatorService_ServiceDesc.Methods {
		if calls[method.MethodName] == nil {
			t.Errorf("%s is not asked here", method.MethodName)
		}
	}
	workers := webhookgatewayv1.NewSubscriptionServiceClient(g.Conn())
	if _, err := workers.CreateSubscription(t.Context(), &webhookgatewayv1.CreateSubscriptionRequest{
		Subscription: &webhookgatewayv1.Subscription{Name: "team"},
	}); err != nil {
		t.Fatal(err)
	}

	var stopping atomic.Bool
	// goesOn reports whether one may go on after an error, which fails the test while the
	// gateway is not stopped, and afterwards unless it tells to come back.
	goesOn := func(what string, err error) bool {
		switch {
		case err == nil:
			return true
		case !stopping.Load() || status.Code(err) != codes.Unavailable:
			t.Errorf("%s, stopping %v: %v", what, stopping.Load(), err)
		}
		return false
	}
	var all, asked sync.WaitGroup
	for range operators {
		asked.Add(1)
		all.Go(func() {
			enough := sync.OnceFunc(asked.Done)
			defer enough()
			for round := 0; ; round++ {
				if round == rounds {
					enough()
				}
				for method, call := range calls {
					if !goesOn(method, call(t.Context())) {
						return
					}
				}
			}
		})
	}
	client := &http.Client{Transport: &http.Transport{}}
	defer client.CloseIdleConnections()
	finicity := webhookgatewayv1.Provider_PROVIDER_FINICITY
	for name, signature := range map[string]string{"taken": "", "refused": "not a signature"} {
		all.Go(func() {
			for {
				req := g.Request(t, finicity, []byte(`{"eventType":"started","customerId":"7000000001"}`))
				want := http.StatusOK
				if signature != "" {
					req.Header.Set("X-Finicity-Signature", signature)
					want = http.StatusUnauthorized
				}
				resp, err := client.Do(req)
				if err != nil { // nobody listens
					if !stopping.Load() {
						t.Errorf("a delivery that is to be %s: %v", name, err)
					}
					return
				}
				_, _ = io.Copy(io.Discard, resp.Body) // only the code matters
				_ = resp.Body.Close()
				if resp.StatusCode != want && !stopping.Load() {
					t.Errorf("a delivery that is to be %s: %d", name, resp.StatusCode)
					return
				}
			}
		})
	}
	for range 2 {
		all.Go(func() {
			for {
				ctx, end := context.WithCancel(t.Context())
				subscribed, err := webhookgatewayv1.NewEventServiceClient(g.Conn()).Subscribe(ctx, &webhookgatewayv1.SubscribeRequest{})
				if err == nil {
					_, err = subscribed.Recv()
				}
				working, err2 := workers.Consume(ctx, &webhookgatewayv1.ConsumeRequest{Subscription: "team"})
				if err2 == nil {
					_, err2 = working.Recv()
				}
				end()
				if !goesOn("Subscribe", err) || !goesOn("Consume", err2) {
					return
				}
			}
		})
	}
	asked.Wait()
	stopping.Store(true)
	if err := g.Stop(); err != nil {
		t.Errorf("the gateway did not drain: %v", err)
	}
	all.Wait()
}
