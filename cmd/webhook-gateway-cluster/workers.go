package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	webhookgatewayv1 "github.com/webhook-gateway/webhook-gateway/gen/webhookgateway/v1"
)

const (
	workersEach = 2
	// callTimeout bounds the calls of workers. The gateways promise to answer sooner, also
	// while nobody owns the subscription.
	callTimeout = patience
	ackDeadline = 5 * time.Second
	// tries is far more than what dies here.
	tries = 1000
	// One in so many frames is not acknowledged: its worker dies.
	dies = 50
)

// names of subscriptions, which are shared by workers. There are several, so that several gateways own some.
var names = []string{"ledger", "mail", "search", "audit"}

// startWorkers creates the subscriptions, and starts their workers, each of which goes to another
// gateway when its stream ends.
func (l *lab) startWorkers(ctx context.Context) error {
	l.subscriptions = names
	for i, name := range l.subscriptions {
		if err := l.subscribe(ctx, l.gateways[i%gateways], name); err != nil {
			return err
		}
		for n := range workersEach {
			w := &worker{
				lab: l, subscription: name, name: fmt.Sprintf("worker %d of %s", n+1, name),
				rand: rand.New(rand.NewPCG(l.rand.Uint64(), 0)), //nolint:gosec // repeatable
			}
			l.tasks.Go(func() { w.run(ctx) })
		}
	}
	return nil
}

func (l *lab) subscribe(ctx context.Context, g *gateway, name string) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	_, err := g.subscriptions.CreateSubscription(ctx, &webhookgatewayv1.CreateSubscriptionRequest{Subscription: &webhookgatewayv1.Subscription{
		Name: name, Settings: &webhookgatewayv1.SubscriptionSettings{AckDeadline: durationpb.New(ackDeadline), MaxAttempts: tries},
		Start: &webhookgatewayv1.SubscriptionStart{Start: &webhookgatewayv1.SubscriptionStart_Position{
			Position: webhookgatewayv1.StartPosition_START_POSITION_EARLIEST,
		}},
	}})
	if err != nil {
		return fmt.Errorf("create the subscription %s: %w", name, err)
	}
	return nil
}

type worker struct {
	lab                *lab
	name, subscription string
	rand               *rand.Rand
}

func (w *worker) run(ctx context.Context) {
	for ctx.Err() == nil {
		g := w.lab.gateways[w.rand.IntN(gateways)]
		one, cancel := context.WithCancel(ctx)
		err := w.consume(one, g)
		cancel()
		if ctx.Err() == nil {
			w.lab.judgeEnd(w.name, err)
		}
		_ = pause(ctx, 20*time.Millisecond)
	}
}

// consume works until the stream ends, and returns why. Nil: the worker died.
func (w *worker) consume(ctx context.Context, g *gateway) error {
	opened := time.Now()
	ctx, silent := w.lab.listen(ctx, g, w.name)
	defer silent.stop()
	stream, err := g.subscriptions.Consume(ctx, &webhookgatewayv1.ConsumeRequest{
		Subscription: w.subscription, View: webhookgatewayv1.EventView_EVENT_VIEW_METADATA, HeartbeatInterval: durationpb.New(time.Second),
	})
	if err != nil {
		return err
	}
	for {
		frame, err := stream.Recv()
		if ended := silent.heard(); ended || err != nil {
			return ignoreIf(ended, err)
		}
		switch gap := frame.GetGap(); {
		case gap == nil:
		case gap.GetReason() == webhookgatewayv1.GapReason_GAP_REASON_RETENTION:
			w.lab.verdicts.lacks(w.name, w.subscription, gap.GetFromCursor(), gap.GetToCursor(), time.Now())
		default:
			w.lab.verdicts.fails("no gap", "%s: %v", w.name, gap)
		}
		deliveries := frame.GetDeliveries().GetDeliveries()
		for _, d := range deliveries {
			w.lab.verdicts.delivered(w.name, w.keyOf(d), d.GetAttempt(), opened)
		}
		switch {
		case len(deliveries) == 0:
		case w.rand.IntN(dies) == 0:
			return nil
		default:
			if err := w.acknowledge(ctx, g, deliveries); err != nil {
				return err
			}
		}
	}
}

func (w *worker) keyOf(d *webhookgatewayv1.Delivery) string {
	return w.subscription + "/" + keyOf(d.GetEvent())
}

func (w *worker) acknowledge(ctx context.Context, g *gateway, deliveries []*webhookgatewayv1.Delivery) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	tokens := make([]string, len(deliveries))
	for i, d := range deliveries {
		tokens[i] = d.GetAckToken()
	}
	answer, err := g.subscriptions.Acknowledge(ctx, &webhookgatewayv1.AcknowledgeRequest{Subscription: w.subscription, AckTokens: tokens})
	if err != nil { // it may be settled, or not
		for _, d := range deliveries {
			w.lab.verdicts.maySettle(w.keyOf(d))
		}
		return err
	}
	for i, d := range deliveries {
		switch result := answer.GetResults()[i]; result {
		case webhookgatewayv1.TokenResult_TOKEN_RESULT_OK:
			w.lab.verdicts.settles(w.name, w.keyOf(d), d.GetAttempt())
		case webhookgatewayv1.TokenResult_TOKEN_RESULT_SETTLED:
			w.lab.verdicts.wasSettled(w.name, w.keyOf(d))
		case webhookgatewayv1.TokenResult_TOKEN_RESULT_EXPIRED, webhookgatewayv1.TokenResult_TOKEN_RESULT_FENCED:
		default:
			w.lab.verdicts.fails("tokens are known", "%s: %s is %v", w.name, w.keyOf(d), result)
		}
	}
	return nil
}
