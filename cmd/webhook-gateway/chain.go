package main

import (
	"fmt"

	webhookgatewayv1 "github.com/webhook-gateway/webhook-gateway/gen/webhookgateway/v1"
)

// A chain checks that a stream of Subscribe leaves no event out: each frame that
// moves the position says from where, and that must be where the reader is. It
// goes on over reconnects. The zero value is a reader that has not begun.
type chain struct {
	// At is the cursor up to which the reader has everything.
	at string
}

// A brokenChain tells that events may be missing.
type brokenChain struct{ at, after string }

func (e *brokenChain) Error() string {
	return fmt.Sprintf("the stream is broken: it was complete up to %s and goes on after %s, so events may be missing", e.at, e.after)
}

// follow moves the chain by a frame. Its error is a *brokenChain. A frame that it
// does not know moves nothing.
func (c *chain) follow(frame *webhookgatewayv1.SubscribeResponse) error {
	var after, at string
	switch f := frame.GetFrame().(type) {
	case *webhookgatewayv1.SubscribeResponse_Subscribed:
		after = f.Subscribed.GetStartCursor()
		at = after
		if c.at == "" {
			c.at = after
		}
	case *webhookgatewayv1.SubscribeResponse_Events:
		events := f.Events.GetEvents()
		if len(events) == 0 {
			return nil // not from a gateway that keeps its word
		}
		after, at = f.Events.GetAfterCursor(), events[len(events)-1].GetCursor()
	case *webhookgatewayv1.SubscribeResponse_Heartbeat:
		after, at = f.Heartbeat.GetAfterCursor(), f.Heartbeat.GetCursor()
	case *webhookgatewayv1.SubscribeResponse_CaughtUp:
		after, at = f.CaughtUp.GetAfterCursor(), f.CaughtUp.GetCursor()
	case *webhookgatewayv1.SubscribeResponse_FellBehind:
		after, at = f.FellBehind.GetAfterCursor(), f.FellBehind.GetCursor()
	case *webhookgatewayv1.SubscribeResponse_Gap:
		after, at = f.Gap.GetFromCursor(), f.Gap.GetToCursor()
	case *webhookgatewayv1.SubscribeResponse_Goodbye:
		after, at = f.Goodbye.GetAfterCursor(), f.Goodbye.GetCursor()
	default:
		return nil
	}
	if after != c.at {
		return &brokenChain{at: c.at, after: after}
	}
	c.at = at
	return nil
}
