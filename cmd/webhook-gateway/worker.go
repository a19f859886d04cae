package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	webhookgatewayv1 "github.com/webhook-gateway/webhook-gateway/gen/webhookgateway/v1"
)

const (
	// settleTimeout bounds a call that settles what was printed, also when the worker
	// was told to end.
	settleTimeout = 5 * time.Second
	// A worker that ends waits until nothing came for quietTime: what is on the way is
	// given back too.
	quietTime = 50 * time.Millisecond
	// maxQuiet bounds that.
	maxQuiet = time.Second
)

// worker follows a stream of Consume: it prints deliveries, and then acknowledges
// them. When it ends it gives back what it did not print.
type worker struct {
	follower

	client       webhookgatewayv1.SubscriptionServiceClient
	subscription string
	view         webhookgatewayv1.EventView
	show         func(delivery *webhookgatewayv1.Delivery) error

	leftOut leftOut
	// Unused are the tokens of what was not printed.
	unused []string
}

// run returns nil when ctx is done or enough was printed.
func (w *worker) run(ctx context.Context) error {
	defer w.leftOut.tell(w.note)
	return w.follower.run(ctx, w.session)
}

// frame is what a stream received.
type frame struct {
	response *webhookgatewayv1.ConsumeResponse
	err      error
}

// session prints one connection's events. The stream outlives ctx for as long as it
// takes to give back what came.
func (w *worker) session(ctx context.Context) error {
	streamCtx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	frames := w.open(streamCtx)
	defer func() {
		cancel()
		for range frames { // until it has ended
		}
	}()
	w.unused = nil
	for {
		select {
		case <-ctx.Done():
			w.giveBack(ctx, frames)
			return ctx.Err()
		case f := <-frames:
			if errors.Is(f.err, io.EOF) {
				return nil
			}
			if f.err != nil {
				return f.err
			}
			if err := w.frame(ctx, f.response); err != nil {
				w.giveBack(ctx, frames)
				return err
			}
		}
	}
}

// open opens a stream, whose frames it returns until the context is done.
func (w *worker) open(ctx context.Context) <-chan frame {
	frames := make(chan frame)
	go func() {
		defer close(frames)
		stream, err := w.client.Consume(ctx, &webhookgatewayv1.ConsumeRequest{
			Subscription: w.subscription, View: w.view,
			MaxInFlight: int32(min(max(w.left, 0), 1000)),
		})
		for {
			f := frame{err: err}
			if err == nil {
				f.response, f.err = stream.Recv()
				err = f.err
			}
			select {
			case frames <- f:
			case <-ctx.Done():
				return
			}
			if err != nil {
				return
			}
		}
	}()
	return frames
}

func (w *worker) frame(ctx context.Context, response *webhookgatewayv1.ConsumeResponse) error {
	switch frame := response.GetFrame().(type) {
	case *webhookgatewayv1.ConsumeResponse_Subscribed:
		w.opened()
	case *webhookgatewayv1.ConsumeResponse_Deliveries:
		return w.deliveries(ctx, frame.Deliveries.GetDeliveries())
	case *webhookgatewayv1.ConsumeResponse_Heartbeat:
		w.leftOut.now = frame.Heartbeat.GetLeftOutEvents()
	case *webhookgatewayv1.ConsumeResponse_CaughtUp:
		w.note("caught up: what follows is live")
		w.leftOut.now = frame.CaughtUp.GetLeftOutEvents()
		w.leftOut.tell(w.note)
	case *webhookgatewayv1.ConsumeResponse_Gap:
		w.missing(frame.Gap)
	case *webhookgatewayv1.ConsumeResponse_Goodbye:
		w.endsWith(frame.Goodbye)
	}
	return nil
}

// deliveries prints deliveries, and acknowledges those that it printed.
func (w *worker) deliveries(ctx context.Context, deliveries []*webhookgatewayv1.Delivery) error {
	var printed []string
	var ended error
	for i, delivery := range deliveries {
		if ended = ctx.Err(); ended == nil {
			if err := w.show(delivery); err != nil {
				ended = fmt.Errorf("print an event: %w", err)
			}
		}
		if ended != nil {
			w.keep(deliveries[i:])
			break
		}
		printed = append(printed, delivery.GetAckToken())
		if w.left--; w.left == 0 {
			ended = errEnough
			w.keep(deliveries[i+1:])
			break
		}
	}
	if err := w.acknowledge(ctx, printed); err != nil {
		return err
	}
	return ended
}

// keep remembers what is to be given back.
func (w *worker) keep(deliveries []*webhookgatewayv1.Delivery) {
	for _, delivery := range deliveries {
		w.unused = append(w.unused, delivery.GetAckToken())
	}
}

func (w *worker) acknowledge(ctx context.Context, tokens []string) error {
	if len(tokens) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), settleTimeout)
	defer cancel()
	resp, err := w.client.Acknowledge(ctx, &webhookgatewayv1.AcknowledgeRequest{Subscription: w.subscription, AckTokens: tokens})
	if err != nil {
		return err
	}
	late := 0
	for _, result := range resp.GetResults() {
		if result != webhookgatewayv1.TokenResult_TOKEN_RESULT_OK && result != webhookgatewayv1.TokenResult_TOKEN_RESULT_SETTLED {
			late++
		}
	}
	if late > 0 {
		w.note("%d events were printed too late to be acknowledged: they come again", late)
	}
	return nil
}

// giveBack releases what was not printed, and what is on the way.
func (w *worker) giveBack(ctx context.Context, frames <-chan frame) {
	limit := time.After(maxQuiet)
	for open := true; open; {
		select {
		case f, ok := <-frames:
			open = ok && f.err == nil
			w.keep(f.response.GetDeliveries().GetDeliveries())
		case <-time.After(quietTime):
			open = false
		case <-limit:
			open = false
		}
	}
	if len(w.unused) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), settleTimeout)
	defer cancel()
	_, err := w.client.Reject(ctx, &webhookgatewayv1.RejectRequest{
		Subscription: w.subscription, AckTokens: w.unused, Action: webhookgatewayv1.RejectAction_REJECT_ACTION_RELEASE,
	})
	if err != nil {
		w.note("%d events could not be given back: they come again after the ack deadline", len(w.unused))
	}
}
