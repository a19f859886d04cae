package main

import (
	"errors"
	"strings"
	"testing"

	webhookgatewayv1 "github.com/webhook-gateway/webhook-gateway/gen/webhookgateway/v1"
)

func subscribedAt(cursor string) *webhookgatewayv1.SubscribeResponse {
	return &webhookgatewayv1.SubscribeResponse{Frame: &webhookgatewayv1.SubscribeResponse_Subscribed{
		Subscribed: &webhookgatewayv1.Subscribed{StartCursor: cursor},
	}}
}

func eventsAfter(after string, cursors ...string) *webhookgatewayv1.SubscribeResponse {
	batch := &webhookgatewayv1.EventBatch{AfterCursor: after}
	for _, cursor := range cursors {
		batch.Events = append(batch.Events, &webhookgatewayv1.Event{Cursor: cursor})
	}
	return &webhookgatewayv1.SubscribeResponse{Frame: &webhookgatewayv1.SubscribeResponse_Events{Events: batch}}
}

func heartbeatAfter(after, cursor string) *webhookgatewayv1.SubscribeResponse {
	return &webhookgatewayv1.SubscribeResponse{Frame: &webhookgatewayv1.SubscribeResponse_Heartbeat{
		Heartbeat: &webhookgatewayv1.Heartbeat{AfterCursor: after, Cursor: cursor},
	}}
}

// moves are all frames that move the position.
func moves(after, cursor string) map[string]*webhookgatewayv1.SubscribeResponse {
	return map[string]*webhookgatewayv1.SubscribeResponse{
		"events":    eventsAfter(after, "x", cursor),
		"heartbeat": heartbeatAfter(after, cursor),
		"caught up": {Frame: &webhookgatewayv1.SubscribeResponse_CaughtUp{
			CaughtUp: &webhookgatewayv1.CaughtUp{AfterCursor: after, Cursor: cursor},
		}},
		"fell behind": {Frame: &webhookgatewayv1.SubscribeResponse_FellBehind{
			FellBehind: &webhookgatewayv1.FellBehind{AfterCursor: after, Cursor: cursor},
		}},
		"gap": {Frame: &webhookgatewayv1.SubscribeResponse_Gap{
			Gap: &webhookgatewayv1.Gap{FromCursor: after, ToCursor: cursor},
		}},
		"goodbye": {Frame: &webhookgatewayv1.SubscribeResponse_Goodbye{
			Goodbye: &webhookgatewayv1.Goodbye{AfterCursor: after, Cursor: cursor},
		}},
	}
}

// Every frame that the protocol has is one that the chain knows.
func TestChainKnowsEveryFrame(t *testing.T) {
	known := len(moves("", "")) + 1 // and subscribed
	frames := (&webhookgatewayv1.SubscribeResponse{}).ProtoReflect().Descriptor().Oneofs().ByName("frame").Fields()
	if frames.Len() != known {
		t.Errorf("the protocol has %d kinds of frames, the chain knows %d", frames.Len(), known)
	}
}

func TestChain(t *testing.T) {
	for name, frame := range moves("2", "5") {
		c := chain{at: "2"}
		if err := c.follow(frame); err != nil || c.at != "5" {
			t.Errorf("%s from where the reader is: %v, it is at %s", name, err, c.at)
		}
		for _, at := range []string{"1", "3", ""} {
			c := chain{at: at}
			err := c.follow(frame)
			var broken *brokenChain
			if !errors.As(err, &broken) || c.at != at {
				t.Errorf("%s from elsewhere than %s: %v, the reader is at %s", name, at, err, c.at)
				continue
			}
			if text := err.Error(); !strings.Contains(text, "up to "+at) || !strings.Contains(text, "after 2") {
				t.Errorf("the error does not name both cursors: %v", err)
			}
		}
	}
}

func TestChainOverReconnects(t *testing.T) {
	var c chain
	for i, frame := range []*webhookgatewayv1.SubscribeResponse{
		subscribedAt("1"), eventsAfter("1", "3", "4"), heartbeatAfter("4", "4"),
		{}, // of a newer gateway
		subscribedAt("4"), eventsAfter("4", "5"),
	} {
		if err := c.follow(frame); err != nil {
			t.Fatalf("frame %d: %v", i, err)
		}
	}
	if err := c.follow(subscribedAt("6")); err == nil {
		t.Error("a stream that begins elsewhere was followed")
	}
	if err := c.follow(eventsAfter("5")); err != nil || c.at != "5" {
		t.Errorf("a batch without events moved the chain to %s, %v", c.at, err)
	}
}
