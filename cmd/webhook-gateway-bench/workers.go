package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	webhookgatewayv1 "github.com/webhook-gateway/webhook-gateway/gen/webhookgateway/v1"
)

// measureWorkers measures how fast 8 workers settle a stored log through one
// durable subscription, acknowledging each frame's events by one durable call.
func measureWorkers(ctx context.Context, s *settings) error {
	if err := fillStore(ctx, s, "workers", s.events); err != nil {
		return err
	}
	g, err := startGateway(ctx, s, "workers")
	if err != nil {
		return err
	}
	defer g.stop()
	fmt.Fprintln(s.out, "| workers | events in an acknowledgement, at most | events | time | events/s | memory of the process |")
	fmt.Fprintln(s.out, "|---|---|---|---|---|---|")
	const batch = 1000
	for _, workers := range []int{1, 8, 64} {
		name := fmt.Sprintf("bench-%d", workers)
		took, err := settleAll(ctx, []*process{g}, name, workers, batch, s.events)
		if err != nil {
			return err
		}
		resident, err := g.residentBytes()
		if err != nil {
			return err
		}
		fmt.Fprintf(s.out, "| %d | %d | %d | %v | **%.0f** | %.0f MB |\n",
			workers, batch, s.events, took.Round(time.Millisecond), float64(s.events)/took.Seconds(), float64(resident)/1e6)
	}
	return nil
}

// settleAll settles events with workers that are spread over gateways.
func settleAll(ctx context.Context, gateways []*process, name string, workers int, batch int32, events int) (time.Duration, error) {
	var clients []webhookgatewayv1.SubscriptionServiceClient
	for _, g := range gateways {
		conn, err := g.dial()
		if err != nil {
			return 0, err
		}
		defer conn.Close()
		clients = append(clients, webhookgatewayv1.NewSubscriptionServiceClient(conn))
	}
	_, err := clients[0].CreateSubscription(ctx, &webhookgatewayv1.CreateSubscriptionRequest{
		Subscription: &webhookgatewayv1.Subscription{
			Name: name,
			Start: &webhookgatewayv1.SubscriptionStart{Start: &webhookgatewayv1.SubscriptionStart_Position{
				Position: webhookgatewayv1.StartPosition_START_POSITION_EARLIEST,
			}},
		},
	})
	if err != nil {
		return 0, err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var settled atomic.Int64
	failed := make(chan error, workers)
	var group sync.WaitGroup
	start := time.Now()
	for i := range workers {
		group.Go(func() {
			err := settle(ctx, clients[i%len(clients)], name, batch, func(n int) {
				if settled.Add(int64(n)) >= int64(events) {
					cancel()
				}
			})
			if ctx.Err() == nil {
				failed <- err
				cancel()
			}
		})
	}
	group.Wait()
	took := time.Since(start)
	select {
	case err := <-failed:
		return 0, err
	default:
		return took, nil
	}
}

// settle is one worker. It goes on until it fails.
func settle(ctx context.Context, client webhookgatewayv1.SubscriptionServiceClient, name string, batch int32, done func(int)) error {
	stream, err := client.Consume(ctx, &webhookgatewayv1.ConsumeRequest{Subscription: name, MaxBatchSize: batch})
	if err != nil {
		return err
	}
	for {
		frame, err := stream.Recv()
		if err != nil {
			return err
		}
		var tokens []string
		for _, delivery := range frame.GetDeliveries().GetDeliveries() {
			tokens = append(tokens, delivery.GetAckToken())
		}
		if len(tokens) == 0 {
			continue
		}
		resp, err := client.Acknowledge(ctx, &webhookgatewayv1.AcknowledgeRequest{Subscription: name, AckTokens: tokens})
		if err != nil {
			return err
		}
		for _, result := range resp.GetResults() {
			if result != webhookgatewayv1.TokenResult_TOKEN_RESULT_OK {
				return errors.New("an acknowledgement was answered " + result.String())
			}
		}
		done(len(tokens))
	}
}
