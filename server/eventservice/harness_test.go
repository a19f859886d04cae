package eventservice_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"

	vezgov1 "github.com/webhook-gateway/webhook-gateway/gen/vezgo/v1"
	webhookgatewayv1 "github.com/webhook-gateway/webhook-gateway/gen/webhookgateway/v1"
	"github.com/webhook-gateway/webhook-gateway/server/eventlog"
	"github.com/webhook-gateway/webhook-gateway/server/eventlog/pebblelog"
	"github.com/webhook-gateway/webhook-gateway/server/eventservice"
	"github.com/webhook-gateway/webhook-gateway/server/stream"
	"github.com/webhook-gateway/webhook-gateway/server/stream/streamtest"
)

const (
	finicity = webhookgatewayv1.Provider_PROVIDER_FINICITY
	vezgo    = webhookgatewayv1.Provider_PROVIDER_VEZGO

	ping        = webhookgatewayv1.EventType_EVENT_TYPE_FINICITY_PING
	done        = webhookgatewayv1.EventType_EVENT_TYPE_FINICITY_DONE
	syncAccount = webhookgatewayv1.EventType_EVENT_TYPE_VEZGO_SYNC_ACCOUNT
	syncError   = webhookgatewayv1.EventType_EVENT_TYPE_VEZGO_SYNC_ERROR
	unknownType = webhookgatewayv1.EventType_EVENT_TYPE_UNRECOGNIZED
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// gateway is the service on the real log behind a real gRPC server, of which
// only the listener is not real.
type gateway struct {
	log     eventlog.Log
	streams *stream.Streams
	conn    *grpc.ClientConn
	client  webhookgatewayv1.EventServiceClient
	metrics *prometheus.Registry
	// now is the clock of the log, in Unix nanoseconds; 0: the machine's.
	now *atomic.Int64
}

func testConfig() stream.Config {
	return stream.Config{MaxStreams: 1000, DefaultHeartbeat: time.Minute}
}

func newGateway(tb testing.TB, config stream.Config) *gateway {
	tb.Helper()
	now, opened := new(atomic.Int64), time.Now()
	logConfig := pebblelog.DefaultConfig()
	logConfig.Path = tb.TempDir()
	log, err := pebblelog.Open(logConfig, slog.New(slog.DiscardHandler), pebblelog.WithClock(func() time.Time {
		if n := now.Load(); n != 0 {
			return time.Unix(0, n)
		}
		return time.Now()
	}, func() time.Duration { return time.Since(opened) }))
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := log.Close(); err != nil && !errors.Is(err, eventlog.ErrClosed) {
			tb.Error(err)
		}
	})
	g := serve(tb, log, config)
	g.now = now
	return g
}

// serve serves a log.
func serve(tb testing.TB, log eventlog.Log, config stream.Config) *gateway {
	tb.Helper()
	return serveBy(streamtest.Serve, tb, log, config)
}

// serveBy serves a log in one of the ways of streamtest.
func serveBy(
	by func(testing.TB, func(grpc.ServiceRegistrar)) *grpc.ClientConn, tb testing.TB, log eventlog.Log, config stream.Config,
) *gateway {
	tb.Helper()
	registry := prometheus.NewRegistry()
	streams, err := stream.New(config, time.Now, registry)
	if err != nil {
		tb.Fatal(err)
	}
	conn := by(tb, func(server grpc.ServiceRegistrar) {
		webhookgatewayv1.RegisterEventServiceServer(server, eventservice.New(log, streams, slog.New(slog.DiscardHandler)))
	})
	return &gateway{log: log, streams: streams, conn: conn, client: webhookgatewayv1.NewEventServiceClient(conn), metrics: registry}
}

// add stores an event and returns its position.
func (g *gateway) add(tb testing.TB, provider webhookgatewayv1.Provider, eventType webhookgatewayv1.EventType, clientID string) eventlog.Position {
	tb.Helper()
	return g.addBody(tb, provider, eventType, clientID, []byte(`{"raw":"body"}`))
}

func (g *gateway) addBody(
	tb testing.TB, provider webhookgatewayv1.Provider, eventType webhookgatewayv1.EventType, clientID string, body []byte,
) eventlog.Position {
	tb.Helper()
	entry, err := newEntry(provider, eventType, clientID, body)
	if err != nil {
		tb.Fatal(err)
	}
	receipt, err := g.log.Append(tb.Context(), entry)
	if err != nil {
		tb.Fatal(err)
	}
	return receipt.Position
}

// addMany stores n events at once and waits for all.
func (g *gateway) addMany(tb testing.TB, n int, body []byte) {
	tb.Helper()
	const writers = 256
	failed := make(chan error, writers)
	for w := range writers {
		go func() {
			var err error
			for i := w; i < n && err == nil; i += writers {
				var entry eventlog.Entry
				if entry, err = newEntry(vezgo, syncAccount, "a", body); err == nil {
					_, err = g.log.Append(tb.Context(), entry)
				}
			}
			failed <- err
		}()
	}
	for range writers {
		if err := <-failed; err != nil {
			tb.Fatal(err)
		}
	}
}

func newEntry(provider webhookgatewayv1.Provider, eventType webhookgatewayv1.EventType, clientID string, body []byte) (eventlog.Entry, error) {
	event := &webhookgatewayv1.Event{
		Provider: provider, Type: eventType, TypeName: eventType.String(), ClientId: clientID,
		Verification: &webhookgatewayv1.Verification{
			Mode:    webhookgatewayv1.VerificationMode_VERIFICATION_MODE_ENFORCE,
			Method:  webhookgatewayv1.VerificationMethod_VERIFICATION_METHOD_SOURCE_ADDRESS,
			Verdict: webhookgatewayv1.VerificationVerdict_VERIFICATION_VERDICT_VERIFIED,
		},
	}
	if provider == vezgo {
		event.Payload = &webhookgatewayv1.Event_Vezgo{Vezgo: &vezgov1.SyncEvent{
			Account: &vezgov1.Account{Id: proto.String("account")},
		}}
	}
	event.RawBody = body
	return eventlog.NewEntry(event)
}

func (g *gateway) cursor(p eventlog.Position) string { return g.log.History().FormatCursor(p) }

func (g *gateway) subscribe(tb testing.TB, req *webhookgatewayv1.SubscribeRequest) *subscriber {
	tb.Helper()
	return g.subscribeWith(tb, tb.Context(), req)
}

func (g *gateway) subscribeWith(tb testing.TB, ctx context.Context, req *webhookgatewayv1.SubscribeRequest) *subscriber { //nolint:revive // tb comes first
	tb.Helper()
	ctx, cancel := context.WithCancel(ctx)
	tb.Cleanup(cancel)
	stream, err := g.client.Subscribe(ctx, req)
	if err != nil {
		tb.Fatal(err)
	}
	return &subscriber{tb: tb, stream: stream, cancel: cancel, gateway: g}
}

// subscriber reads one stream.
type subscriber struct {
	tb      testing.TB
	stream  grpc.ServerStreamingClient[webhookgatewayv1.SubscribeResponse]
	cancel  context.CancelFunc
	gateway *gateway
	// chain is where the stream is: every frame that moves it must go on from there.
	chain string
}

// moves checks that a frame goes on from where the stream is.
func (s *subscriber) moves(after, to string) {
	s.tb.Helper()
	if after != s.chain {
		s.tb.Fatalf("a frame goes on after %q, and the stream is at %q", after, s.chain)
	}
	s.chain = to
}

// next returns the next frame that is no heartbeat.
func (s *subscriber) next() *webhookgatewayv1.SubscribeResponse {
	s.tb.Helper()
	for {
		frame, err := s.stream.Recv()
		if err != nil {
			s.tb.Fatalf("the stream ended: %v", err)
		}
		if frame.GetHeartbeat() == nil {
			return frame
		}
		s.describe(frame)
	}
}

// rest returns what each frame up to the end of the stream is, and its error;
// nil for a stream that ended with OK.
func (s *subscriber) rest() ([]string, error) {
	s.tb.Helper()
	var frames []string
	for {
		frame, err := s.stream.Recv()
		if errors.Is(err, io.EOF) {
			return frames, nil
		}
		if err != nil {
			return frames, err
		}
		frames = append(frames, s.describe(frame)...)
	}
}

// expect reads frames, events one by one, and compares.
func (s *subscriber) expect(want ...string) {
	s.tb.Helper()
	var got []string
	for len(got) < len(want) {
		got = append(got, s.describe(s.next())...)
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		s.tb.Fatalf("frames = %v, want %v", got, want)
	}
}

// describe writes a frame with positions for cursors.
func (s *subscriber) describe(frame *webhookgatewayv1.SubscribeResponse) []string {
	s.tb.Helper()
	at := func(cursor string) eventlog.Position {
		p, err := s.gateway.log.History().ParseCursor(cursor)
		if err != nil {
			s.tb.Fatalf("cursor %q: %v", cursor, err)
		}
		return p
	}
	switch f := frame.GetFrame().(type) {
	case *webhookgatewayv1.SubscribeResponse_Subscribed:
		s.chain = f.Subscribed.GetStartCursor()
		return []string{fmt.Sprintf("subscribed %d", at(f.Subscribed.GetStartCursor()))}
	case *webhookgatewayv1.SubscribeResponse_Events:
		s.moves(f.Events.GetAfterCursor(), f.Events.GetEvents()[len(f.Events.GetEvents())-1].GetCursor())
		var events []string
		for _, e := range f.Events.GetEvents() {
			events = append(events, fmt.Sprint(at(e.GetCursor())))
		}
		return events
	case *webhookgatewayv1.SubscribeResponse_Heartbeat:
		s.moves(f.Heartbeat.GetAfterCursor(), f.Heartbeat.GetCursor())
		return []string{fmt.Sprintf("heartbeat %d", at(f.Heartbeat.GetCursor()))}
	case *webhookgatewayv1.SubscribeResponse_CaughtUp:
		s.moves(f.CaughtUp.GetAfterCursor(), f.CaughtUp.GetCursor())
		return []string{fmt.Sprintf("caught_up %d", at(f.CaughtUp.GetCursor()))}
	case *webhookgatewayv1.SubscribeResponse_FellBehind:
		s.moves(f.FellBehind.GetAfterCursor(), f.FellBehind.GetCursor())
		return []string{fmt.Sprintf("fell_behind %d", at(f.FellBehind.GetCursor()))}
	case *webhookgatewayv1.SubscribeResponse_Gap:
		s.moves(f.Gap.GetFromCursor(), f.Gap.GetToCursor())
		return []string{fmt.Sprintf("gap %d-%d", at(f.Gap.GetFromCursor()), at(f.Gap.GetToCursor()))}
	case *webhookgatewayv1.SubscribeResponse_Goodbye:
		s.moves(f.Goodbye.GetAfterCursor(), f.Goodbye.GetCursor())
		return []string{fmt.Sprintf("goodbye %d", at(f.Goodbye.GetCursor()))}
	}
	s.tb.Fatalf("unknown frame %v", frame)
	return nil
}

func fromEarliest() *webhookgatewayv1.SubscribeRequest_StartPosition {
	return &webhookgatewayv1.SubscribeRequest_StartPosition{StartPosition: webhookgatewayv1.StartPosition_START_POSITION_EARLIEST}
}

func toHead() *webhookgatewayv1.SubscribeRequest_StopAtHead {
	return &webhookgatewayv1.SubscribeRequest_StopAtHead{StopAtHead: true}
}
