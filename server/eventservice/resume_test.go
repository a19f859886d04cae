package eventservice_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	webhookgatewayv1 "github.com/webhook-gateway/webhook-gateway/gen/webhookgateway/v1"
	"github.com/webhook-gateway/webhook-gateway/server/eventlog"
)

// Subscribers that break off anywhere and resume at their last cursor, of an
// event or a heartbeat, while events are stored, see every event of their filter
// once and in order.
func TestResumeUnderLoad(t *testing.T) {
	t.Parallel()
	const (
		events      = 1500
		subscribers = 50
	)
	config := testConfig()
	config.DefaultHeartbeat = time.Millisecond
	g := newGateway(t, config)

	var group sync.WaitGroup
	for n := range subscribers {
		group.Go(func() {
			filter := &webhookgatewayv1.EventFilter{}
			if n%2 == 1 {
				filter.ClientIds = []string{strconv.Itoa(n % 5)}
			}
			random := rand.New(rand.NewPCG(1, uint64(n)))
			seen := make([]eventlog.Position, 0, events)
			cursor := g.cursor(0)
			for cursor != g.cursor(events) {
				var got []eventlog.Position
				got, cursor = readSome(t, g, filter, cursor, random.IntN(300))
				seen = append(seen, got...)
			}
			next := 0
			for p := eventlog.Position(1); p <= events; p++ {
				if n%2 == 1 && clientOf(p) != n%5 {
					continue
				}
				if next >= len(seen) || seen[next] != p {
					t.Errorf("subscriber %d: event %d is not where it belongs", n, p)
					return
				}
				next++
			}
			if next != len(seen) {
				t.Errorf("subscriber %d got %d events too many", n, len(seen)-next)
			}
		})
	}
	for range events {
		g.add(t, vezgo, syncAccount, fmt.Sprint(g.log.Bounds().Head%5))
	}
	group.Wait()
}

// clientOf is the number of the client of the event at a position, which is
// stored when the head is one before it.
func clientOf(p eventlog.Position) int { return int((p - 1) % 5) }

// readSome reads up to n frames and returns the positions of their events, and
// the last cursor.
func readSome(tb testing.TB, g *gateway, filter *webhookgatewayv1.EventFilter, cursor string, n int) ([]eventlog.Position, string) {
	tb.Helper()
	ctx, cancel := context.WithCancel(tb.Context())
	defer cancel()
	stream, err := g.client.Subscribe(ctx, &webhookgatewayv1.SubscribeRequest{
		Filters: filters{filter},
		Start:   &webhookgatewayv1.SubscribeRequest_StartCursor{StartCursor: cursor},
	})
	if err != nil {
		tb.Error(err)
		return nil, cursor
	}
	var positions []eventlog.Position
	for range n {
		frame, err := stream.Recv()
		if err != nil {
			tb.Error(err)
			return positions, cursor
		}
		for _, e := range frame.GetEvents().GetEvents() {
			cursor = e.GetCursor()
			p, err := g.log.History().ParseCursor(cursor)
			if err != nil {
				tb.Error(err)
			}
			positions = append(positions, p)
		}
		if h := frame.GetHeartbeat(); h != nil {
			cursor = h.GetCursor()
		}
	}
	return positions, cursor
}

func TestDrain(t *testing.T) {
	t.Parallel()
	g := newGateway(t, testConfig())
	addMix(t, g)
	const streams = 20
	subscribers := make([]*subscriber, streams)
	for i := range subscribers {
		subscribers[i] = g.subscribe(t, &webhookgatewayv1.SubscribeRequest{})
		subscribers[i].expect("subscribed 6", "caught_up 6")
	}
	if err := g.streams.Drain(t.Context()); err != nil {
		t.Errorf("Drain: %v", err)
	}
	for _, s := range subscribers {
		goodbye := s.next().GetGoodbye()
		if goodbye.GetCursor() != g.cursor(6) || goodbye.GetReason() != webhookgatewayv1.GoodbyeReason_GOODBYE_REASON_DRAINING ||
			goodbye.GetRetryAfter().AsDuration() <= 0 {
			t.Errorf("goodbye = %v", goodbye)
		}
		frames, err := s.rest()
		checkError(t, err, "Unavailable DRAINING")
		if len(frames) > 0 {
			t.Errorf("frames after goodbye: %v", frames)
		}
	}
	_, err := g.subscribe(t, &webhookgatewayv1.SubscribeRequest{}).rest()
	checkError(t, err, "Unavailable DRAINING")
	if _, err := g.client.GetLogInfo(t.Context(), &webhookgatewayv1.GetLogInfoRequest{}); err != nil {
		t.Errorf("a call after Drain: %v", err)
	}
	if err := g.streams.Drain(t.Context()); err != nil {
		t.Errorf("Drain again: %v", err)
	}
}

// A subscriber that catches up is told to go, too, and loses nothing.
func TestDrainWhileCatchingUp(t *testing.T) {
	t.Parallel()
	g := newGateway(t, testConfig())
	g.addMany(t, 5000, []byte("{}"))
	s := g.subscribe(t, &webhookgatewayv1.SubscribeRequest{Start: fromEarliest(), MaxBatchSize: 1})
	s.expect("subscribed 0")
	drained := make(chan error, 1)
	go func() { drained <- g.streams.Drain(t.Context()) }()
	got, err := s.rest()
	checkError(t, err, "Unavailable DRAINING")
	if err := <-drained; err != nil {
		t.Errorf("Drain: %v", err)
	}
	var last string
	for i, frame := range got {
		if frame == strconv.Itoa(i+1) {
			last = frame
		}
	}
	if want := "goodbye " + last; got[len(got)-1] != want {
		t.Errorf("the stream ended with %s, want %s", got[len(got)-1], want)
	}
}

func TestDrainDoesNotWaitForEver(t *testing.T) {
	t.Parallel()
	g := newGateway(t, testConfig())
	s := g.subscribe(t, &webhookgatewayv1.SubscribeRequest{View: webhookgatewayv1.EventView_EVENT_VIEW_RAW})
	s.expect("subscribed 0", "caught_up 0")
	for range 20 {
		g.addBody(t, vezgo, syncAccount, "a", make([]byte, 256<<10)) // and nobody reads
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := g.streams.Drain(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Drain = %v", err)
	}
	s.cancel()
	if _, err := s.rest(); status.Code(err) != codes.Canceled {
		t.Errorf("the stream ended with %v", err)
	}
	if err := g.streams.Drain(t.Context()); err != nil {
		t.Errorf("Drain after the stream ended: %v", err)
	}
}
