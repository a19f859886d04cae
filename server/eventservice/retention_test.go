package eventservice_test

import (
	"fmt"
	"strconv"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	webhookgatewayv1 "github.com/webhook-gateway/webhook-gateway/gen/webhookgateway/v1"
	"github.com/webhook-gateway/webhook-gateway/server/eventlog"
)

const goOn = webhookgatewayv1.ExpiredPolicy_EXPIRED_POLICY_EARLIEST

func TestExpiredAtTheStart(t *testing.T) {
	t.Parallel()
	g := newGateway(t, testConfig())
	addMix(t, g)
	if err := g.log.Trim(t.Context(), 4); err != nil {
		t.Fatal(err)
	}
	longAgo := &webhookgatewayv1.SubscribeRequest_StartAgo{StartAgo: durationpb.New(time.Hour)}
	for _, tc := range []struct {
		name string
		req  *webhookgatewayv1.SubscribeRequest
		want string
	}{
		{
			"cursor",
			&webhookgatewayv1.SubscribeRequest{Start: &webhookgatewayv1.SubscribeRequest_StartCursor{StartCursor: g.cursor(1)}, OnExpired: goOn},
			"[subscribed 1 gap 1-4 5 6 caught_up 6]",
		},
		{
			"cursor just retained",
			&webhookgatewayv1.SubscribeRequest{Start: &webhookgatewayv1.SubscribeRequest_StartCursor{StartCursor: g.cursor(4)}},
			"[subscribed 4 5 6 caught_up 6]",
		},
		{"earliest", &webhookgatewayv1.SubscribeRequest{Start: fromEarliest()}, "[subscribed 4 5 6 caught_up 6]"},
		{"latest", &webhookgatewayv1.SubscribeRequest{}, "[subscribed 6 caught_up 6]"},
		{"time", &webhookgatewayv1.SubscribeRequest{Start: longAgo}, "[subscribed 0 gap 0-4 5 6 caught_up 6]"},
		{"time with policy", &webhookgatewayv1.SubscribeRequest{Start: longAgo, OnExpired: goOn}, "[subscribed 0 gap 0-4 5 6 caught_up 6]"},
		{
			"time that is retained",
			&webhookgatewayv1.SubscribeRequest{Start: &webhookgatewayv1.SubscribeRequest_StartAgo{StartAgo: &durationpb.Duration{}}},
			"[subscribed 6 caught_up 6]",
		},
		{
			"stop before what is retained",
			&webhookgatewayv1.SubscribeRequest{
				Start: &webhookgatewayv1.SubscribeRequest_StartCursor{StartCursor: g.cursor(1)}, OnExpired: goOn,
				Stop: &webhookgatewayv1.SubscribeRequest_StopCursor{StopCursor: g.cursor(2)},
			},
			"[subscribed 1 gap 1-4]",
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			if tc.req.GetStop() == nil {
				tc.req.Stop = toHead()
			}
			got, err := g.subscribe(t, tc.req).rest()
			if fmt.Sprint(got) != tc.want || err != nil {
				t.Errorf("frames = %v, %v, want %s", got, err, tc.want)
			}
		})
	}
}

// A subscriber that does not read, while the log moves past what is in memory
// and trims what was not read.
func TestSlowSubscriber(t *testing.T) {
	t.Parallel()
	const events = 900 // of 64 KiB: more than the window of the log holds
	body := make([]byte, 64<<10)
	for i := range body {
		body[i] = 'x'
	}
	for _, tc := range []struct {
		name   string
		policy webhookgatewayv1.ExpiredPolicy
		trim   eventlog.Position
	}{
		{"falls behind and catches up", 0, 0},
		{"fails when events expire", 0, 500},
		{"goes on after a gap", goOn, 500},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			g := newGateway(t, testConfig())
			slow := g.subscribe(t, &webhookgatewayv1.SubscribeRequest{OnExpired: tc.policy, View: webhookgatewayv1.EventView_EVENT_VIEW_RAW})
			slow.expect("subscribed 0", "caught_up 0")
			// Nobody waits for it: neither who stores, nor another subscriber.
			fast := g.subscribe(t, &webhookgatewayv1.SubscribeRequest{View: webhookgatewayv1.EventView_EVENT_VIEW_METADATA})
			g.addMany(t, events, body)
			for last := ""; last != strconv.Itoa(events); {
				frames := fast.describe(fast.next())
				last = frames[len(frames)-1]
			}
			// What was sent to a subscriber and not read is bounded: it is in memory.
			if sent := counter(t, g, "webhook_gateway_stream_event_bytes_total"); sent > events*512+1<<20 {
				t.Errorf("%v bytes were sent to a subscriber that does not read, and one that reads metadata", sent)
			}
			if tc.trim > 0 {
				if err := g.log.Trim(t.Context(), tc.trim); err != nil {
					t.Fatal(err)
				}
			}

			read, gaps, behind := eventlog.Position(0), 0, false
			for {
				frame, err := slow.stream.Recv()
				if tc.trim > 0 && tc.policy == 0 {
					if err != nil {
						checkError(t, err, "OutOfRange CURSOR_EXPIRED")
						break
					}
				} else if err != nil {
					t.Fatal(err)
				}
				if gap := frame.GetGap(); gap != nil {
					gaps++
					if gap.GetFromCursor() != g.cursor(read) || gap.GetToCursor() != g.cursor(tc.trim) ||
						gap.GetReason() != webhookgatewayv1.GapReason_GAP_REASON_RETENTION {
						t.Errorf("gap = %v after %d", gap, read)
					}
					read = tc.trim
				}
				if f := frame.GetFellBehind(); f != nil {
					behind = true
					lag := f.GetLagEvents()
					if f.GetCursor() != g.cursor(read) || lag <= 0 || f.GetHeadCursor() != g.cursor(read+eventlog.Position(lag)) {
						t.Errorf("fell_behind = %v after %d", f, read)
					}
				}
				for _, e := range frame.GetEvents().GetEvents() {
					if read++; e.GetCursor() != g.cursor(read) {
						t.Fatalf("event %s follows event %d", e.GetCursor(), read-1)
					}
				}
				if frame.GetCaughtUp() != nil {
					if read != events {
						t.Errorf("caught up at %d", read)
					}
					break
				}
			}
			if wantGaps := map[bool]int{true: 1}[tc.policy == goOn]; gaps != wantGaps {
				t.Errorf("gaps: %d, want %d", gaps, wantGaps)
			}
			if failed := tc.trim > 0 && tc.policy == 0; !behind && !failed {
				t.Error("the stream did not say that it fell behind")
			}
		})
	}
}
