package eventservice_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"testing"

	webhookgatewayv1 "github.com/webhook-gateway/webhook-gateway/gen/webhookgateway/v1"
	"github.com/webhook-gateway/webhook-gateway/server/eventlog"
)

// damagedLog cannot read the events after a position up to another.
type damagedLog struct {
	eventlog.Log
	after, upTo eventlog.Position
}

func (l damagedLog) Read(ctx context.Context, after eventlog.Position) iter.Seq2[eventlog.Record, error] {
	return func(yield func(eventlog.Record, error) bool) {
		for r, err := range l.Log.Read(ctx, after) {
			if err == nil && r.Position > l.after && r.Position <= l.upTo {
				yield(eventlog.Record{}, &eventlog.DamagedError{After: r.Position - 1, UpTo: l.upTo, Err: errors.New("a flipped bit")})
				return
			}
			if !yield(r, err) {
				return
			}
		}
	}
}

func TestDamagedEvents(t *testing.T) {
	t.Parallel()
	stored := newGateway(t, testConfig())
	addMix(t, stored)
	g := serve(t, damagedLog{Log: stored.log, after: 2, upTo: 4}, testConfig())

	const want = "DataLoss EVENT_DAMAGED"
	s := g.subscribe(t, &webhookgatewayv1.SubscribeRequest{Start: fromEarliest(), Stop: toHead()})
	frames, err := s.rest()
	if fmt.Sprint(frames) != "[subscribed 0 1 2]" {
		t.Errorf("frames = %v", frames)
	}
	checkError(t, err, want)
	_, err = g.client.GetEvent(t.Context(), &webhookgatewayv1.GetEventRequest{Id: g.log.History().FormatEventID(3)})
	checkError(t, err, want)
	_, err = g.client.ListEvents(t.Context(), &listRequest{})
	checkError(t, err, want)

	s = g.subscribe(t, &webhookgatewayv1.SubscribeRequest{Start: fromEarliest(), Stop: toHead(), OnExpired: goOn})
	frames, err = s.rest()
	if fmt.Sprint(frames) != "[subscribed 0 1 2 gap 2-4 5 6 caught_up 6]" || err != nil {
		t.Errorf("frames = %v, %v", frames, err)
	}
	s = g.subscribe(t, &webhookgatewayv1.SubscribeRequest{
		Start: &webhookgatewayv1.SubscribeRequest_StartCursor{StartCursor: g.cursor(2)}, OnExpired: goOn,
	})
	s.expect("subscribed 2")
	if gap := s.next().GetGap(); gap.GetReason() != webhookgatewayv1.GapReason_GAP_REASON_DAMAGED {
		t.Errorf("gap = %v", gap)
	}
}
