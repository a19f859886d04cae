package subscriptionservice_test

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	webhookgatewayv1 "github.com/webhook-gateway/webhook-gateway/gen/webhookgateway/v1"
	"github.com/webhook-gateway/webhook-gateway/server/eventlog"
)

// BenchmarkConsume has workers settle 200,000 events over gRPC, each frame's by one
// durable call.
func BenchmarkConsume(b *testing.B) {
	const events = 200_000
	for _, workers := range []int{1, 8, 64} {
		b.Run(fmt.Sprintf("workers=%d", workers), func(b *testing.B) {
			g := newGateway(b)
			g.addMany(b, events)
			n := 0
			for b.Loop() {
				name := fmt.Sprintf("s%d", n)
				n++
				g.create(b, name, nil)
				g.settleAll(b, name, workers, events)
			}
			b.ReportMetric(float64(events*n)/b.Elapsed().Seconds(), "events/s")
		})
	}
}

// settleAll settles the events of a subscription.
func (g *gateway) settleAll(b *testing.B, name string, workers, events int) {
	b.Helper()
	ctx, cancel := context.WithCancel(b.Context())
	defer cancel()
	var settledEvents atomic.Int64
	var group sync.WaitGroup
	for range workers {
		group.Go(func() {
			s, err := g.Consume(ctx, &webhookgatewayv1.ConsumeRequest{Subscription: name})
			for err == nil {
				var frame *webhookgatewayv1.ConsumeResponse
				if frame, err = s.Recv(); err != nil {
					break
				}
				d := frame.GetDeliveries().GetDeliveries()
				if len(d) == 0 {
					continue
				}
				_, err = g.Acknowledge(ctx, &webhookgatewayv1.AcknowledgeRequest{Subscription: name, AckTokens: tokens(d...)})
				if err == nil && settledEvents.Add(int64(len(d))) >= int64(events) {
					cancel()
				}
			}
			if ctx.Err() == nil {
				b.Error(err)
				cancel()
			}
		})
	}
	group.Wait()
}

// addMany stores events, many at a time.
func (g *gateway) addMany(b *testing.B, events int) {
	b.Helper()
	var next atomic.Int64
	var group sync.WaitGroup
	for w := range 256 {
		group.Go(func() {
			for next.Add(1) <= int64(events) {
				entry, err := eventlog.NewEntry(&webhookgatewayv1.Event{
					Provider: webhookgatewayv1.Provider_PROVIDER_VEZGO, Type: webhookgatewayv1.EventType_EVENT_TYPE_VEZGO_SYNC_ACCOUNT,
					ClientId: "client", Subject: fmt.Sprint(w), RawBody: []byte(`{"raw":true}`),
					Verification: &webhookgatewayv1.Verification{Verdict: webhookgatewayv1.VerificationVerdict_VERIFICATION_VERDICT_VERIFIED},
				})
				if err == nil {
					_, err = g.log.Append(b.Context(), entry)
				}
				if err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	group.Wait()
}
