package eventservice_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	webhookgatewayv1 "github.com/webhook-gateway/webhook-gateway/gen/webhookgateway/v1"
	"github.com/webhook-gateway/webhook-gateway/server/eventlog"
	"github.com/webhook-gateway/webhook-gateway/server/rpcerr"
)

// checkError compares an error with `CODE REASON [field]`.
func checkError(tb testing.TB, err error, want string) map[string]string {
	tb.Helper()
	var metadata map[string]string
	for _, d := range status.Convert(err).Details() {
		if info, ok := d.(*errdetails.ErrorInfo); ok {
			metadata = info.GetMetadata()
		}
	}
	got := strings.TrimSpace(fmt.Sprintf("%s %s %s", status.Code(err), rpcerr.Name(rpcerr.Reason(err)), metadata["field"]))
	if got != want {
		tb.Errorf("error = %s (%v), want %s", got, err, want)
	}
	if asksToRetry := status.Code(err) == codes.Unavailable || status.Code(err) == codes.ResourceExhausted; asksToRetry != (rpcerr.RetryDelay(err) > 0) {
		tb.Errorf("%v: retry delay %v", err, rpcerr.RetryDelay(err))
	}
	return metadata
}

func TestFilterRefusals(t *testing.T) {
	t.Parallel()
	g := newGateway(t, testConfig())
	for _, tc := range []struct {
		filters filters
		field   string
	}{
		{make(filters, 65), "filters"},
		{filters{{}, {Providers: []webhookgatewayv1.Provider{vezgo, 0}}}, "filters[1].providers[1]"},
		{filters{{Providers: []webhookgatewayv1.Provider{99}}}, "filters[0].providers[0]"},
		{filters{{EventTypes: []webhookgatewayv1.EventType{0}}}, "filters[0].event_types[0]"},
		{filters{{EventTypes: []webhookgatewayv1.EventType{ping, 99}}}, "filters[0].event_types[1]"},
		{filters{{ClientIds: slices.Repeat([]string{"a"}, 1001)}}, "filters[0].client_ids"},
		{filters{{ClientIds: []string{"a", ""}}}, "filters[0].client_ids[1]"},
		{filters{{ClientIds: []string{strings.Repeat("a", 256)}}}, "filters[0].client_ids[0]"},
	} {
		t.Run(tc.field, func(t *testing.T) {
			t.Parallel()
			for i := range tc.filters {
				if tc.filters[i] == nil {
					tc.filters[i] = &webhookgatewayv1.EventFilter{}
				}
			}
			want := "InvalidArgument INVALID_FIELD " + tc.field
			_, err := g.subscribe(t, &webhookgatewayv1.SubscribeRequest{Filters: tc.filters}).rest()
			checkError(t, err, want)
			_, err = g.client.ListEvents(t.Context(), &webhookgatewayv1.ListEventsRequest{Filters: tc.filters})
			checkError(t, err, want)
		})
	}
}

func TestSubscribeRefusals(t *testing.T) {
	t.Parallel()
	g := newGateway(t, testConfig())
	addMix(t, g)
	if err := g.log.Trim(t.Context(), 3); err != nil {
		t.Fatal(err)
	}
	badTime := &timestamppb.Timestamp{Nanos: -1}
	startCursor := func(c string) *webhookgatewayv1.SubscribeRequest {
		return &webhookgatewayv1.SubscribeRequest{Start: &webhookgatewayv1.SubscribeRequest_StartCursor{StartCursor: c}}
	}
	stopCursor := func(c string) *webhookgatewayv1.SubscribeRequest {
		return &webhookgatewayv1.SubscribeRequest{Stop: &webhookgatewayv1.SubscribeRequest_StopCursor{StopCursor: c}}
	}
	startAgo := func(d *durationpb.Duration) *webhookgatewayv1.SubscribeRequest {
		return &webhookgatewayv1.SubscribeRequest{Start: &webhookgatewayv1.SubscribeRequest_StartAgo{StartAgo: d}}
	}
	heartbeat := func(d time.Duration) *webhookgatewayv1.SubscribeRequest {
		return &webhookgatewayv1.SubscribeRequest{HeartbeatInterval: durationpb.New(d)}
	}
	foreign := newGateway(t, testConfig()).cursor(4)
	for _, tc := range []struct {
		name string
		req  *webhookgatewayv1.SubscribeRequest
		want string
	}{
		{"start cursor empty", startCursor(""), "InvalidArgument CURSOR_MALFORMED start_cursor"},
		{"start cursor garbled", startCursor(g.cursor(4)[1:] + "c"), "InvalidArgument CURSOR_MALFORMED start_cursor"},
		{"start cursor is an event id", startCursor(g.log.History().FormatEventID(4)), "InvalidArgument CURSOR_MALFORMED start_cursor"},
		{"start cursor foreign", startCursor(foreign), "FailedPrecondition CURSOR_OF_ANOTHER_LOG start_cursor"},
		{"start cursor ahead", startCursor(g.cursor(7)), "FailedPrecondition CURSOR_AHEAD start_cursor"},
		{"start cursor expired", startCursor(g.cursor(2)), "OutOfRange CURSOR_EXPIRED"},
		{"stop cursor garbled", stopCursor("c"), "InvalidArgument CURSOR_MALFORMED stop_cursor"},
		{"stop cursor foreign", stopCursor(foreign), "FailedPrecondition CURSOR_OF_ANOTHER_LOG stop_cursor"},
		{"stop cursor ahead", stopCursor(g.cursor(7)), "FailedPrecondition CURSOR_AHEAD stop_cursor"},
		{"start position unknown", &webhookgatewayv1.SubscribeRequest{
			Start: &webhookgatewayv1.SubscribeRequest_StartPosition{StartPosition: 9},
		}, "InvalidArgument INVALID_FIELD start_position"},
		{"start time invalid", &webhookgatewayv1.SubscribeRequest{
			Start: &webhookgatewayv1.SubscribeRequest_StartTime{StartTime: badTime},
		}, "InvalidArgument INVALID_FIELD start_time"},
		{"start ago negative", startAgo(durationpb.New(-time.Nanosecond)), "InvalidArgument INVALID_FIELD start_ago"},
		{"start ago invalid", startAgo(&durationpb.Duration{Seconds: 1, Nanos: -1}), "InvalidArgument INVALID_FIELD start_ago"},
		{"stop time invalid", &webhookgatewayv1.SubscribeRequest{
			Stop: &webhookgatewayv1.SubscribeRequest_StopTime{StopTime: badTime},
		}, "InvalidArgument INVALID_FIELD stop_time"},
		{"stop at head false", &webhookgatewayv1.SubscribeRequest{
			Stop: &webhookgatewayv1.SubscribeRequest_StopAtHead{},
		}, "InvalidArgument INVALID_FIELD stop_at_head"},
		{"policy unknown", &webhookgatewayv1.SubscribeRequest{OnExpired: 9}, "InvalidArgument INVALID_FIELD on_expired"},
		{"view unknown", &webhookgatewayv1.SubscribeRequest{View: 9}, "InvalidArgument INVALID_FIELD view"},
		{"batch negative", &webhookgatewayv1.SubscribeRequest{MaxBatchSize: -1}, "InvalidArgument INVALID_FIELD max_batch_size"},
		{"batch too large", &webhookgatewayv1.SubscribeRequest{MaxBatchSize: 10_001}, "InvalidArgument INVALID_FIELD max_batch_size"},
		{"heartbeat zero", heartbeat(0), "InvalidArgument INVALID_FIELD heartbeat_interval"},
		{"heartbeat short", heartbeat(time.Second - 1), "InvalidArgument INVALID_FIELD heartbeat_interval"},
		{"heartbeat long", heartbeat(10*time.Minute + 1), "InvalidArgument INVALID_FIELD heartbeat_interval"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			frames, err := g.subscribe(t, tc.req).rest()
			if len(frames) > 0 {
				t.Errorf("frames = %v", frames)
			}
			metadata := checkError(t, err, tc.want)
			switch rpcerr.Reason(err) {
			case webhookgatewayv1.ErrorReason_ERROR_REASON_CURSOR_OF_ANOTHER_LOG:
				if metadata["log"] != g.log.ID().String() {
					t.Errorf("metadata = %v", metadata)
				}
			case webhookgatewayv1.ErrorReason_ERROR_REASON_CURSOR_EXPIRED:
				info, err := g.client.GetLogInfo(t.Context(), &webhookgatewayv1.GetLogInfoRequest{})
				if err != nil {
					t.Fatal(err)
				}
				want := map[string]string{
					"earliest_cursor": info.GetEarliestCursor(),
					"earliest_time":   info.GetEarliestTime().AsTime().Format(time.RFC3339Nano),
				}
				if diff := cmp.Diff(want, metadata); diff != "" {
					t.Errorf("metadata (-want +got):\n%s", diff)
				}
			default:
			}
		})
	}
}

func TestTooManyStreams(t *testing.T) {
	t.Parallel()
	config := testConfig()
	config.MaxStreams = 1
	g := newGateway(t, config)
	first := g.subscribe(t, &webhookgatewayv1.SubscribeRequest{})
	first.expect("subscribed 0")
	_, err := g.subscribe(t, &webhookgatewayv1.SubscribeRequest{}).rest()
	checkError(t, err, "ResourceExhausted TOO_MANY_STREAMS")

	first.cancel()
	_, err = first.rest()
	if status.Code(err) != codes.Canceled {
		t.Errorf("the cancelled stream: %v", err)
	}
	for err != nil { // until the server has noticed
		_, err = g.subscribe(t, &webhookgatewayv1.SubscribeRequest{Stop: toHead()}).rest()
	}
}

func TestDeadlineOfTheCaller(t *testing.T) {
	t.Parallel()
	g := newGateway(t, testConfig())
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	// It may pass before the stream is open, or later.
	stream, err := g.client.Subscribe(ctx, &webhookgatewayv1.SubscribeRequest{})
	for err == nil {
		_, err = stream.Recv()
	}
	if status.Code(err) != codes.DeadlineExceeded {
		t.Errorf("error = %v", err)
	}
}

// brokenLog fails to read.
type brokenLog struct{ eventlog.Log }

var errDisk = errors.New("input/output error")

func (brokenLog) Read(context.Context, eventlog.Position) iter.Seq2[eventlog.Record, error] {
	return func(yield func(eventlog.Record, error) bool) { yield(eventlog.Record{}, errDisk) }
}

func (brokenLog) Seek(context.Context, time.Time) (eventlog.Position, error) { return 0, errDisk }

func (brokenLog) Stats(context.Context) (eventlog.Stats, error) { return eventlog.Stats{}, errDisk }

// failingLog can write nothing, and may have lost sight of its newest events.
type failingLog struct{ eventlog.Log }

func (failingLog) Err() error { return errDisk }

// A log that cannot read its newest events yet denies none of them.
func TestNewestEventsWaitForTheLog(t *testing.T) {
	t.Parallel()
	stored := newGateway(t, testConfig())
	addMix(t, stored)
	g := serve(t, failingLog{stored.log}, testConfig())
	const want = "Unavailable LOG_UNAVAILABLE"
	ahead := stored.log.Bounds().Head + 1
	_, err := g.subscribe(t, &webhookgatewayv1.SubscribeRequest{Start: &webhookgatewayv1.SubscribeRequest_StartCursor{StartCursor: stored.cursor(ahead)}}).rest()
	checkError(t, err, want)
	_, err = g.client.GetEvent(t.Context(), &webhookgatewayv1.GetEventRequest{Id: stored.log.History().FormatEventID(ahead)})
	checkError(t, err, want)
}

func TestLogFails(t *testing.T) {
	t.Parallel()
	stored := newGateway(t, testConfig())
	addMix(t, stored)
	g := serve(t, brokenLog{stored.log}, testConfig())
	const want = "Unavailable LOG_UNAVAILABLE"
	ctx := t.Context()

	frames, err := g.subscribe(t, &webhookgatewayv1.SubscribeRequest{Start: fromEarliest()}).rest()
	checkError(t, err, want)
	if fmt.Sprint(frames) != "[subscribed 0]" {
		t.Errorf("frames = %v", frames)
	}
	_, err = g.subscribe(t, &webhookgatewayv1.SubscribeRequest{
		Start: &webhookgatewayv1.SubscribeRequest_StartAgo{StartAgo: durationpb.New(time.Hour)},
	}).rest()
	checkError(t, err, want)
	for _, req := range []*webhookgatewayv1.ListEventsRequest{
		{},
		{NewestFirst: true},
		{StartTime: timestamppb.Now()},
		{EndTime: timestamppb.Now()},
	} {
		_, err = g.client.ListEvents(ctx, req)
		checkError(t, err, want)
	}
	_, err = g.client.GetEvent(ctx, &webhookgatewayv1.GetEventRequest{Id: g.log.History().FormatEventID(1)})
	checkError(t, err, want)
	_, err = g.client.GetLogInfo(ctx, &webhookgatewayv1.GetLogInfoRequest{})
	checkError(t, err, want)

	if err := stored.log.Trim(ctx, 2); err != nil {
		t.Fatal(err)
	}
	_, err = g.subscribe(t, &webhookgatewayv1.SubscribeRequest{
		Start: &webhookgatewayv1.SubscribeRequest_StartCursor{StartCursor: g.cursor(1)},
	}).rest()
	checkError(t, err, want)
}

func TestLogCloses(t *testing.T) {
	t.Parallel()
	g := newGateway(t, testConfig())
	addMix(t, g)
	if err := g.log.Close(); err != nil {
		t.Fatal(err)
	}
	_, err := g.client.GetEvent(t.Context(), &webhookgatewayv1.GetEventRequest{Id: g.log.History().FormatEventID(1)})
	if status.Code(err) != codes.OK { // it may be in memory
		checkError(t, err, "Unavailable DRAINING")
	}
	_, err = g.client.ListEvents(t.Context(), &webhookgatewayv1.ListEventsRequest{StartTime: timestamppb.Now()})
	checkError(t, err, "Unavailable DRAINING")
}
