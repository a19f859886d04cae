package eventservice_test

import (
	"bytes"
	"context"
	"fmt"
	"iter"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	webhookgatewayv1 "github.com/webhook-gateway/webhook-gateway/gen/webhookgateway/v1"
	"github.com/webhook-gateway/webhook-gateway/server/eventlog"
)

type filters = []*webhookgatewayv1.EventFilter

// filterCases select from the log of addMix.
var filterCases = []struct { //nolint:gochecknoglobals // a table
	name    string
	filters filters
	want    []eventlog.Position
}{
	{"none is all", nil, []eventlog.Position{1, 2, 3, 4, 5, 6}},
	{"an empty one is all", filters{{}}, []eventlog.Position{1, 2, 3, 4, 5, 6}},
	{"provider", filters{{Providers: []webhookgatewayv1.Provider{vezgo}}}, []eventlog.Position{3, 4, 6}},
	{"both providers", filters{{Providers: []webhookgatewayv1.Provider{vezgo, finicity}}}, []eventlog.Position{1, 2, 3, 4, 5, 6}},
	{"type", filters{{EventTypes: []webhookgatewayv1.EventType{done}}}, []eventlog.Position{2}},
	{"types", filters{{EventTypes: []webhookgatewayv1.EventType{syncError, ping}}}, []eventlog.Position{1, 4}},
	{"unrecognized", filters{{EventTypes: []webhookgatewayv1.EventType{unknownType}}}, []eventlog.Position{5, 6}},
	{"client", filters{{ClientIds: []string{"b"}}}, []eventlog.Position{2, 4, 6}},
	{"clients", filters{{ClientIds: []string{"b", "c"}}}, []eventlog.Position{2, 4, 5, 6}},
	{"no such client", filters{{ClientIds: []string{"B"}}}, nil},
	{
		"and within",
		filters{{Providers: []webhookgatewayv1.Provider{vezgo}, EventTypes: []webhookgatewayv1.EventType{syncError, unknownType}, ClientIds: []string{"b"}}},
		[]eventlog.Position{4, 6},
	},
	{
		"or across",
		filters{{EventTypes: []webhookgatewayv1.EventType{ping}}, {ClientIds: []string{"c"}}, {ClientIds: []string{"c"}}},
		[]eventlog.Position{1, 5},
	},
}

func addMix(tb testing.TB, g *gateway) {
	tb.Helper()
	g.add(tb, finicity, ping, "a")
	g.add(tb, finicity, done, "b")
	g.add(tb, vezgo, syncAccount, "a")
	g.add(tb, vezgo, syncError, "b")
	g.add(tb, finicity, unknownType, "c")
	g.add(tb, vezgo, unknownType, "b")
}

func TestFilters(t *testing.T) {
	t.Parallel()
	g := newGateway(t, testConfig())
	addMix(t, g)
	for _, tc := range filterCases {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			want := []string{"subscribed 0"}
			for _, p := range tc.want {
				want = append(want, fmt.Sprint(p))
			}
			want = append(want, "caught_up 6")
			got, err := g.subscribe(t, &webhookgatewayv1.SubscribeRequest{Filters: tc.filters, Start: fromEarliest(), Stop: toHead()}).rest()
			if diff := cmp.Diff(want, got); diff != "" || err != nil {
				t.Errorf("err = %v, frames (-want +got):\n%s", err, diff)
			}
		})
	}
}

func TestSubscribedTellsWhatTheRequestWasResolvedTo(t *testing.T) {
	t.Parallel()
	g := newGateway(t, testConfig())
	addMix(t, g)
	if err := g.log.Trim(t.Context(), 2); err != nil {
		t.Fatal(err)
	}
	s := g.subscribe(t, &webhookgatewayv1.SubscribeRequest{
		Filters: filters{
			{Providers: []webhookgatewayv1.Provider{vezgo, finicity, vezgo}, EventTypes: []webhookgatewayv1.EventType{syncError, ping}},
			{ClientIds: []string{"b", "a", "b"}},
			{ClientIds: []string{"a", "b"}},
		},
		Start:             fromEarliest(),
		HeartbeatInterval: durationpb.New(3 * time.Second),
		View:              webhookgatewayv1.EventView_EVENT_VIEW_METADATA,
	})
	want := &webhookgatewayv1.Subscribed{
		StartCursor: g.cursor(2), EarliestCursor: g.cursor(2), HeadCursor: g.cursor(6),
		Filters: filters{
			{Providers: []webhookgatewayv1.Provider{finicity, vezgo}, EventTypes: []webhookgatewayv1.EventType{ping, syncError}, Verdicts: authentic(), ExcludeClientIds: []string{canary}},
			{ClientIds: []string{"a", "b"}, Verdicts: authentic()},
		},
		HeartbeatInterval: durationpb.New(3 * time.Second),
		View:              webhookgatewayv1.EventView_EVENT_VIEW_METADATA,
	}
	if diff := cmp.Diff(want, s.next().GetSubscribed(), protocmp.Transform()); diff != "" {
		t.Errorf("subscribed (-want +got):\n%s", diff)
	}
	defaults := g.subscribe(t, &webhookgatewayv1.SubscribeRequest{}).next().GetSubscribed()
	want = &webhookgatewayv1.Subscribed{
		StartCursor: g.cursor(6), EarliestCursor: g.cursor(2), HeadCursor: g.cursor(6),
		Filters:           filters{{Verdicts: authentic(), ExcludeClientIds: []string{canary}}},
		HeartbeatInterval: durationpb.New(time.Minute), View: webhookgatewayv1.EventView_EVENT_VIEW_FULL,
	}
	if diff := cmp.Diff(want, defaults, protocmp.Transform()); diff != "" {
		t.Errorf("subscribed by default (-want +got):\n%s", diff)
	}
}

// Every start with every stop: 5 events, received at 10 s to 50 s.
func TestStartAndStop(t *testing.T) {
	t.Parallel()
	g := newGateway(t, testConfig())
	epoch := time.Now().Add(-time.Hour).Truncate(time.Second)
	at := func(seconds int) time.Time { return epoch.Add(time.Duration(seconds) * time.Second) }
	for i := 1; i <= 5; i++ {
		g.now.Store(at(10 * i).UnixNano())
		g.add(t, vezgo, syncAccount, "a")
	}
	g.now.Store(0)
	type req = webhookgatewayv1.SubscribeRequest
	starts := []struct {
		name  string
		set   func(*req)
		after int // the resolved start
	}{
		{"unset", func(*req) {}, 5},
		{"earliest", func(r *req) { r.Start = fromEarliest() }, 0},
		{"latest", func(r *req) {
			r.Start = &webhookgatewayv1.SubscribeRequest_StartPosition{StartPosition: webhookgatewayv1.StartPosition_START_POSITION_LATEST}
		}, 5},
		{"cursor", func(r *req) { r.Start = &webhookgatewayv1.SubscribeRequest_StartCursor{StartCursor: g.cursor(2)} }, 2},
		{"cursor at the head", func(r *req) { r.Start = &webhookgatewayv1.SubscribeRequest_StartCursor{StartCursor: g.cursor(5)} }, 5},
		{"time of an event", func(r *req) {
			r.Start = &webhookgatewayv1.SubscribeRequest_StartTime{StartTime: timestamppb.New(at(30))}
		}, 2},
		{"time between", func(r *req) {
			r.Start = &webhookgatewayv1.SubscribeRequest_StartTime{StartTime: timestamppb.New(at(31))}
		}, 3},
		{"time before all", func(r *req) {
			r.Start = &webhookgatewayv1.SubscribeRequest_StartTime{StartTime: &timestamppb.Timestamp{Seconds: -62135596800}}
		}, 0},
		{"time after all", func(r *req) {
			r.Start = &webhookgatewayv1.SubscribeRequest_StartTime{StartTime: timestamppb.New(at(51))}
		}, 5},
		{"ago", func(r *req) {
			r.Start = &webhookgatewayv1.SubscribeRequest_StartAgo{StartAgo: durationpb.New(time.Since(at(31)))}
		}, 3},
		{"long ago", func(r *req) {
			r.Start = &webhookgatewayv1.SubscribeRequest_StartAgo{StartAgo: &durationpb.Duration{Seconds: 315576000000}}
		}, 0},
		{"just now", func(r *req) { r.Start = &webhookgatewayv1.SubscribeRequest_StartAgo{StartAgo: &durationpb.Duration{}} }, 5},
	}
	stops := []struct {
		name string
		set  func(*req)
		upTo int
	}{
		{"head", func(r *req) { r.Stop = toHead() }, 5},
		{"cursor", func(r *req) { r.Stop = &webhookgatewayv1.SubscribeRequest_StopCursor{StopCursor: g.cursor(4)} }, 4},
		{"cursor 0", func(r *req) { r.Stop = &webhookgatewayv1.SubscribeRequest_StopCursor{StopCursor: g.cursor(0)} }, 0},
		{"time of an event", func(r *req) { r.Stop = &webhookgatewayv1.SubscribeRequest_StopTime{StopTime: timestamppb.New(at(40))} }, 3},
		{"time after all", func(r *req) { r.Stop = &webhookgatewayv1.SubscribeRequest_StopTime{StopTime: timestamppb.New(at(60))} }, 5},
	}
	for _, start := range starts {
		for _, stop := range stops {
			t.Run(start.name+" to "+stop.name, func(t *testing.T) {
				t.Parallel()
				r := &req{}
				start.set(r)
				stop.set(r)
				want := []string{fmt.Sprintf("subscribed %d", start.after)}
				for p := start.after + 1; p <= stop.upTo; p++ {
					want = append(want, strconv.Itoa(p))
				}
				if max(start.after, stop.upTo) == 5 {
					want = append(want, "caught_up 5")
				}
				got, err := g.subscribe(t, r).rest()
				if diff := cmp.Diff(want, got); diff != "" || err != nil {
					t.Errorf("err = %v, frames (-want +got):\n%s", err, diff)
				}
			})
		}
	}
}

func TestStartInTheFutureSkipsWhatComesBefore(t *testing.T) {
	t.Parallel()
	g := newGateway(t, testConfig())
	start := time.Now().Add(time.Hour)
	s := g.subscribe(t, &webhookgatewayv1.SubscribeRequest{
		Start: &webhookgatewayv1.SubscribeRequest_StartTime{StartTime: timestamppb.New(start)},
	})
	s.expect("subscribed 0", "caught_up 0")
	g.add(t, vezgo, syncAccount, "a")
	g.now.Store(start.UnixNano())
	g.add(t, vezgo, syncAccount, "a")
	s.expect("2")
}

func TestStopTimeInTheFuture(t *testing.T) {
	t.Parallel()
	t.Run("ends when an event is past it", func(t *testing.T) {
		t.Parallel()
		g := newGateway(t, testConfig())
		stop := time.Now().Add(time.Hour)
		s := g.subscribe(t, &webhookgatewayv1.SubscribeRequest{Stop: &webhookgatewayv1.SubscribeRequest_StopTime{StopTime: timestamppb.New(stop)}})
		s.expect("subscribed 0", "caught_up 0")
		g.add(t, vezgo, syncAccount, "a")
		g.now.Store(stop.UnixNano())
		g.add(t, vezgo, syncAccount, "a")
		if got, err := s.rest(); err != nil || fmt.Sprint(got) != "[1]" {
			t.Errorf("frames = %v, %v", got, err)
		}
	})
	t.Run("ends when it comes", func(t *testing.T) {
		t.Parallel()
		g := newGateway(t, testConfig())
		for ahead := 100 * time.Millisecond; ; ahead *= 4 {
			stop := time.Now().Add(ahead)
			s := g.subscribe(t, &webhookgatewayv1.SubscribeRequest{Stop: &webhookgatewayv1.SubscribeRequest_StopTime{StopTime: timestamppb.New(stop)}})
			got, err := s.rest()
			if fmt.Sprint(got) == "[subscribed 0]" && ahead < time.Minute {
				continue // it came before the stream began, on a busy machine
			}
			if err != nil || fmt.Sprint(got) != "[subscribed 0 caught_up 0]" {
				t.Errorf("frames = %v, %v", got, err)
			}
			if time.Now().Before(stop) {
				t.Error("the stream ended before its stop time")
			}
			return
		}
	})
}

func TestViews(t *testing.T) {
	t.Parallel()
	g := newGateway(t, testConfig())
	g.add(t, vezgo, syncAccount, "a")
	for _, view := range []webhookgatewayv1.EventView{
		webhookgatewayv1.EventView_EVENT_VIEW_UNSPECIFIED, webhookgatewayv1.EventView_EVENT_VIEW_METADATA,
		webhookgatewayv1.EventView_EVENT_VIEW_FULL, webhookgatewayv1.EventView_EVENT_VIEW_RAW,
	} {
		t.Run(view.String(), func(t *testing.T) {
			t.Parallel()
			var want *webhookgatewayv1.Event
			for r, err := range g.log.Read(t.Context(), 0) {
				if err != nil {
					t.Fatal(err)
				}
				if want, err = r.Event(g.log.History(), view); err != nil {
					t.Fatal(err)
				}
			}
			s := g.subscribe(t, &webhookgatewayv1.SubscribeRequest{Start: fromEarliest(), View: view})
			s.expect("subscribed 0")
			got := s.next().GetEvents().GetEvents()
			if diff := cmp.Diff([]*webhookgatewayv1.Event{want}, got, protocmp.Transform()); diff != "" {
				t.Errorf("streamed (-want +got):\n%s", diff)
			}
			event, err := g.client.GetEvent(t.Context(), &webhookgatewayv1.GetEventRequest{Id: got[0].GetId(), View: view})
			if diff := cmp.Diff(want, event.GetEvent(), protocmp.Transform()); err != nil || diff != "" {
				t.Errorf("got: err = %v (-want +got):\n%s", err, diff)
			}
			list, err := g.client.ListEvents(t.Context(), &webhookgatewayv1.ListEventsRequest{View: view})
			if diff := cmp.Diff([]*webhookgatewayv1.Event{want}, list.GetEvents(), protocmp.Transform()); err != nil || diff != "" {
				t.Errorf("listed: err = %v (-want +got):\n%s", err, diff)
			}
		})
	}
}

func TestBatches(t *testing.T) {
	t.Parallel()
	g := newGateway(t, testConfig())
	// Sizes around the limits of buffers and of the bytes that a length takes.
	sizes := []int{0, 1, 100, 128, 300, 3000, 4000, 4200, 16_000, 16_300, 16_500, 30_000, 31_500, 31_744, 33_000, 100_000, 131_072, 140_000, 3 << 20, 10, 5 << 20, 10}
	bodies := make([][]byte, 0, len(sizes))
	for i, size := range append(sizes, sizes...) {
		body := bytes.Repeat([]byte{byte('a' + i)}, size)
		bodies = append(bodies, body)
		g.addBody(t, vezgo, syncAccount, "a", body)
	}
	for _, limit := range []int32{0, 1, 3, 10_000} {
		t.Run(strconv.Itoa(int(limit)), func(t *testing.T) {
			t.Parallel()
			s := g.subscribe(t, &webhookgatewayv1.SubscribeRequest{
				Start: fromEarliest(), Stop: toHead(), MaxBatchSize: limit, View: webhookgatewayv1.EventView_EVENT_VIEW_RAW,
			})
			s.expect("subscribed 0")
			got := 0
			for got < len(bodies) {
				batch := s.next().GetEvents().GetEvents()
				size := 0
				for _, e := range batch {
					if !bytes.Equal(e.GetRawBody(), bodies[got]) {
						t.Fatalf("event %d has another body", got+1)
					}
					size += len(e.GetRawBody())
					got++
				}
				if limit > 0 && len(batch) > int(limit) {
					t.Errorf("a batch of %d events", len(batch))
				}
				if len(batch) > 1 && size > 1<<20 {
					t.Errorf("a batch of %d events in %d bytes", len(batch), size)
				}
			}
		})
	}
}

// A stream that is quiet sends heartbeats, whose cursor moves past events that
// its filters skip.
func TestHeartbeat(t *testing.T) {
	t.Parallel()
	config := testConfig()
	config.DefaultHeartbeat = 10 * time.Millisecond
	g := newGateway(t, config)
	s := g.subscribe(t, &webhookgatewayv1.SubscribeRequest{Filters: filters{{ClientIds: []string{"b"}}}})
	s.expect("subscribed 0", "caught_up 0")
	for i := range eventlog.Position(3) {
		p := g.add(t, vezgo, syncAccount, "a")
		if p != i+1 {
			t.Fatalf("position %d", p)
		}
		for {
			frame, err := s.stream.Recv()
			if err != nil {
				t.Fatal(err)
			}
			h := frame.GetHeartbeat()
			if h == nil {
				t.Fatalf("got %v", frame)
			}
			s.describe(frame)
			if h.GetServerTime().AsTime().Before(time.Now().Add(-time.Minute)) {
				t.Errorf("server time = %v", h.GetServerTime().AsTime())
			}
			if h.GetCursor() != g.cursor(p) {
				continue // sent before the event
			}
			if h.GetHeadCursor() != g.cursor(p) || h.GetLagEvents() != 0 {
				t.Errorf("heartbeat %v", h)
			}
			break
		}
	}
	g.add(t, vezgo, syncAccount, "b")
	s.expect("4")
	if got, want := counter(t, g, "webhook_gateway_stream_events_total"), 1.0; got != want {
		t.Errorf("events counted = %v, want %v", got, want)
	}
}

// slowLog takes a while for every 256 events.
type slowLog struct{ eventlog.Log }

func (l slowLog) Read(ctx context.Context, after eventlog.Position) iter.Seq2[eventlog.Record, error] {
	return func(yield func(eventlog.Record, error) bool) {
		n := 0
		for r, err := range l.Log.Read(ctx, after) {
			if n++; n%256 == 0 {
				<-time.After(60 * time.Millisecond)
			}
			if !yield(r, err) {
				return
			}
		}
	}
}

// A filter that matches nothing in a long log is no reason for silence.
func TestHeartbeatWhileScanning(t *testing.T) {
	t.Parallel()
	stored := newGateway(t, testConfig())
	stored.addMany(t, 1000, []byte("{}"))
	config := testConfig()
	config.DefaultHeartbeat = time.Millisecond
	g := serve(t, slowLog{stored.log}, config)
	s := g.subscribe(t, &webhookgatewayv1.SubscribeRequest{Start: fromEarliest(), Stop: toHead(), Filters: filters{{ClientIds: []string{"b"}}}})
	got, err := s.rest()
	want := []string{"subscribed 0", "heartbeat 256", "heartbeat 512", "heartbeat 768", "caught_up 1000"}
	got = slices.DeleteFunc(got, func(frame string) bool { return frame == "heartbeat 0" || frame == "heartbeat 1000" })
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Errorf("err = %v, frames (-want +got):\n%s", err, diff)
	}
}
