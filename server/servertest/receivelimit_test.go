package servertest_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"

	webhookgatewayv1 "github.com/webhook-gateway/webhook-gateway/gen/webhookgateway/v1"
	"github.com/webhook-gateway/webhook-gateway/server/servertest"
)

// An event that is larger than what the workers receive is parked, alone: its
// neighbours are acknowledged, each counted as its first attempt. The workers have
// gRPC's default limit of 4 MiB, and connect again whenever their stream ends.
func TestEventOverTheReceiveLimitIsParkedAlone(t *testing.T) {
	for _, ordering := range []webhookgatewayv1.Ordering{
		webhookgatewayv1.Ordering_ORDERING_NONE,
		webhookgatewayv1.Ordering_ORDERING_BY_SUBJECT,
		webhookgatewayv1.Ordering_ORDERING_STRICT,
	} {
		for _, workers := range []int{1, 3} {
			t.Run(fmt.Sprintf("%v/workers=%d", ordering, workers), func(t *testing.T) {
				t.Parallel()
				parkedAlone(t, ordering, workers)
			})
		}
	}
}

func parkedAlone(t *testing.T, ordering webhookgatewayv1.Ordering, workers int) {
	t.Helper()
	const small, at = 50, 25
	g := servertest.Start(t)
	subscriptions := webhookgatewayv1.NewSubscriptionServiceClient(g.Conn())
	_, err := subscriptions.CreateSubscription(t.Context(), &webhookgatewayv1.CreateSubscriptionRequest{
		Subscription: &webhookgatewayv1.Subscription{
			Name: "work",
			Settings: &webhookgatewayv1.SubscriptionSettings{
				MaxAttempts: 2, Ordering: ordering,
				MinBackoff: durationpb.New(10 * time.Millisecond), MaxBackoff: durationpb.New(50 * time.Millisecond),
			},
			Start: &webhookgatewayv1.SubscriptionStart{Start: &webhookgatewayv1.SubscriptionStart_Position{
				Position: webhookgatewayv1.StartPosition_START_POSITION_EARLIEST,
			}},
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	body := func(user, login string) []byte {
		return fmt.Appendf(nil, `{"hook":"SyncAccount","user":{"id":%q,"loginName":%q},"account":{"id":"a","provider":"coinbase"}}`, user, login)
	}
	for i := range small + 1 {
		if i == at {
			g.DeliverBody(t, webhookgatewayv1.Provider_PROVIDER_VEZGO, body("u0", strings.Repeat("x", 6<<20)))
			continue
		}
		g.DeliverBody(t, webhookgatewayv1.Provider_PROVIDER_VEZGO, body(fmt.Sprintf("u%d", i%5), "small"))
	}

	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute) // a busy machine needs most of one
	defer cancel()
	var mu sync.Mutex
	acknowledged := map[string]int{}
	refused := 0
	var wait sync.WaitGroup
	for range workers {
		conn, err := grpc.NewClient(g.GRPCAddr(), grpc.WithTransportCredentials(insecure.NewCredentials()))
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = conn.Close() }() // nothing is left to lose
		client := webhookgatewayv1.NewSubscriptionServiceClient(conn)
		wait.Go(func() {
			for ctx.Err() == nil {
				err := work(ctx, client, func(id string) {
					mu.Lock()
					acknowledged[id]++
					mu.Unlock()
				})
				switch {
				case ctx.Err() != nil:
				case status.Code(err) == codes.ResourceExhausted && strings.Contains(err.Error(), "larger than max"):
					mu.Lock()
					refused++
					mu.Unlock()
				default:
					t.Errorf("the stream ended with %v", err)
					return
				}
			}
		})
	}
	for ctx.Err() == nil {
		<-time.After(20 * time.Millisecond)
		mu.Lock()
		n := len(acknowledged)
		mu.Unlock()
		s := statusOf(ctx, t, subscriptions)
		if n == small && s.GetParkedEvents() == 1 && s.GetLagEvents() == 0 {
			break
		}
	}
	s := statusOf(t.Context(), t, subscriptions)
	cancel()
	wait.Wait()

	if len(acknowledged) != small {
		t.Errorf("%d events were acknowledged, want %d", len(acknowledged), small)
	}
	for id, n := range acknowledged {
		if n != 1 {
			t.Errorf("%s was acknowledged %d times", id, n)
		}
	}
	if s.GetInFlightEvents() != 0 || s.GetWaitingEvents() != 0 || s.GetReadyEvents() != 0 || s.GetUnreadEvents() != 0 {
		t.Errorf("the status is %v, want nothing left", s)
	}
	parked, err := subscriptions.ListParkedEvents(t.Context(), &webhookgatewayv1.ListParkedEventsRequest{Subscription: "work"})
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range parked.GetParkedEvents() {
		if p.GetReason() != webhookgatewayv1.ParkReason_PARK_REASON_MAX_ATTEMPTS || p.GetAttempts() != 2 || len(p.GetEvent().GetVezgo().GetUser().GetLoginName()) != 6<<20 {
			t.Errorf("parked is %s with %d bytes, %v after %d attempts", p.GetEvent().GetId(), len(p.GetEvent().GetVezgo().GetUser().GetLoginName()), p.GetReason(), p.GetAttempts())
		}
	}
	if n := len(parked.GetParkedEvents()); n != 1 {
		t.Errorf("%d events are parked, want 1", n)
	}
	if refused < 2 {
		t.Errorf("%d frames were refused, want at least 2", refused)
	}
}

// work consumes until the stream ends, and returns why.
func work(ctx context.Context, client webhookgatewayv1.SubscriptionServiceClient, acknowledged func(id string)) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := client.Consume(ctx, &webhookgatewayv1.ConsumeRequest{Subscription: "work"})
	if err != nil {
		return err
	}
	for {
		frame, err := stream.Recv()
		if err != nil {
			return err
		}
		for _, d := range frame.GetDeliveries().GetDeliveries() {
			resp, err := client.Acknowledge(ctx, &webhookgatewayv1.AcknowledgeRequest{Subscription: "work", AckTokens: []string{d.GetAckToken()}})
			if err != nil {
				return err
			}
			if resp.GetResults()[0] == webhookgatewayv1.TokenResult_TOKEN_RESULT_OK {
				if d.GetAttempt() != 1 {
					return errors.New("a neighbour was charged: " + d.String())
				}
				acknowledged(d.GetEvent().GetId())
			}
		}
	}
}

func statusOf(ctx context.Context, t *testing.T, client webhookgatewayv1.SubscriptionServiceClient) *webhookgatewayv1.SubscriptionStatus {
	t.Helper()
	resp, err := client.GetSubscription(ctx, &webhookgatewayv1.GetSubscriptionRequest{Name: "work"})
	if err != nil {
		if ctx.Err() == nil {
			t.Error(err)
		}
		return nil
	}
	return resp.GetSubscription().GetStatus()
}
