package server

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	reflectionpb "google.golang.org/grpc/reflection/grpc_reflection_v1"
	"google.golang.org/grpc/status"

	webhookgatewayv1 "github.com/webhook-gateway/webhook-gateway/gen/webhookgateway/v1"
	"github.com/webhook-gateway/webhook-gateway/server/provider"
)

const vezgoBody = `{"hook":"SyncAccount","user":{"id":"u1","loginName":"user-42"},"account":{"id":"a1","provider":"coinbase"}}`

func testConfig(t *testing.T) Config {
	t.Helper()
	config := DefaultConfig()
	config.Listen = Listen{Webhooks: "127.0.0.1:0", GRPC: "127.0.0.1:0", InternalHTTP: "127.0.0.1:0"}
	config.Store.Pebble.Path = t.TempDir()
	config.Providers.Vezgo.Enabled = true
	config.Providers.Vezgo.Verification = provider.ModeOff
	config.Shutdown.Timeout = 20 * time.Second
	return config
}

// gateway is a running server and the clients of a test.
type gateway struct {
	*Server
	conn *grpc.ClientConn
	http *http.Client
	stop context.CancelFunc
	// ended gets what Run returned.
	ended chan error
}

func start(t *testing.T, config Config) *gateway {
	t.Helper()
	s, err := New(t.Context(), config, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	g := &gateway{Server: s, stop: stop, ended: make(chan error, 1), http: &http.Client{Transport: &http.Transport{}}}
	go func() { g.ended <- s.Run(ctx) }()
	g.conn, err = grpc.NewClient(s.Addrs().GRPC.String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		g.http.CloseIdleConnections()
		_ = g.conn.Close()
		stop()
		if err := <-g.ended; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	return g
}

// wait stops the gateway and returns what Run returned. Later calls get nil.
func (g *gateway) wait() error {
	g.stop()
	err := <-g.ended
	g.ended <- nil
	return err
}

func (g *gateway) do(t *testing.T, method, url, body string, header ...string) (int, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := g.http.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(text)
}

func (g *gateway) deliver(t *testing.T) {
	t.Helper()
	code, body := g.do(t, http.MethodPost, "http://"+g.Addrs().Webhooks.String()+"/v1/webhooks/vezgo", vezgoBody,
		"Content-Type", "application/json", "X-Client-Id", "app")
	if code != http.StatusOK {
		t.Fatalf("the delivery was answered %d %s", code, body)
	}
}

func (g *gateway) internal(t *testing.T, path string) (int, string) {
	t.Helper()
	return g.do(t, http.MethodGet, "http://"+g.Addrs().InternalHTTP.String()+path, "")
}

// next returns the next frame for which want returns something.
func next[T any](t *testing.T, stream grpc.ServerStreamingClient[webhookgatewayv1.SubscribeResponse], want func(*webhookgatewayv1.SubscribeResponse) *T) *T {
	t.Helper()
	for {
		frame, err := stream.Recv()
		if err != nil {
			t.Fatalf("the stream ended: %v", err)
		}
		if got := want(frame); got != nil {
			return got
		}
	}
}

func TestDeliveryReachesEveryListener(t *testing.T) {
	g := start(t, testConfig(t))
	stream, err := webhookgatewayv1.NewEventServiceClient(g.conn).Subscribe(t.Context(), &webhookgatewayv1.SubscribeRequest{})
	if err != nil {
		t.Fatal(err)
	}
	next(t, stream, (*webhookgatewayv1.SubscribeResponse).GetSubscribed)
	g.deliver(t)
	event := next(t, stream, (*webhookgatewayv1.SubscribeResponse).GetEvents).GetEvents()[0]
	if event.GetType() != webhookgatewayv1.EventType_EVENT_TYPE_VEZGO_SYNC_ACCOUNT || event.GetClientId() != "app" {
		t.Errorf("the event is %v", event)
	}
	for path, want := range map[string]string{
		"/v1/events/" + event.GetId():                                      "EVENT_TYPE_VEZGO_SYNC_ACCOUNT",
		"/v1/events:subscribe?stopAtHead=true&startCursor=" + cursor(t, g): event.GetId(),
		"/openapi.json": "swagger",
		"/metrics":      "webhook_gateway_log_events 1\n",
		"/healthz":      `"status":"ok"`,
		"/readyz":       `"status":"ok"`,
	} {
		if code, body := g.internal(t, path); code != http.StatusOK || !strings.Contains(body, want) {
			t.Errorf("GET %s: %d without %q:\n%.500s", path, code, want, body)
		}
	}
	if code, _ := g.internal(t, "/debug/pprof/"); code != http.StatusNotFound {
		t.Errorf("pprof is served without being asked for: %d", code)
	}
}

// cursor returns the cursor before the earliest event.
func cursor(t *testing.T, g *gateway) string {
	t.Helper()
	info, err := webhookgatewayv1.NewEventServiceClient(g.conn).GetLogInfo(t.Context(), &webhookgatewayv1.GetLogInfoRequest{})
	if err != nil {
		t.Fatal(err)
	}
	return info.GetEarliestCursor()
}

func TestPprofIsOptIn(t *testing.T) {
	config := testConfig(t)
	config.Debug.Pprof = true
	g := start(t, config)
	if code, body := g.internal(t, "/debug/pprof/"); code != http.StatusOK {
		t.Errorf("pprof: %d %s", code, body)
	}
}

// waitForHealth waits until the gRPC health of a service is as wanted.
func waitForHealth(t *testing.T, g *gateway, service string, want healthpb.HealthCheckResponse_ServingStatus) {
	t.Helper()
	watch, err := healthpb.NewHealthClient(g.conn).Watch(t.Context(), &healthpb.HealthCheckRequest{Service: service})
	if err != nil {
		t.Fatal(err)
	}
	for {
		response, err := watch.Recv()
		if err != nil {
			t.Fatal(err)
		}
		if response.GetStatus() == want {
			return
		}
	}
}

func TestHealthAndReflection(t *testing.T) {
	g := start(t, testConfig(t))
	for _, service := range []string{"", "webhookgateway.v1.EventService"} {
		waitForHealth(t, g, service, healthpb.HealthCheckResponse_SERVING)
	}
	stream, err := reflectionpb.NewServerReflectionClient(g.conn).ServerReflectionInfo(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := stream.Send(&reflectionpb.ServerReflectionRequest{MessageRequest: &reflectionpb.ServerReflectionRequest_ListServices{}}); err != nil {
		t.Fatal(err)
	}
	response, err := stream.Recv()
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(response.String(), "webhookgateway.v1.EventService") {
		t.Errorf("reflection lists %v", response)
	}
	_ = stream.CloseSend()
}

// A shutdown tells the subscribers where to resume, answers the delivery in
// flight, and leaves a log that a new gateway goes on with.
func TestShutdownSaysGoodbye(t *testing.T) {
	config := testConfig(t)
	g := start(t, config)
	stream, err := webhookgatewayv1.NewEventServiceClient(g.conn).Subscribe(t.Context(), &webhookgatewayv1.SubscribeRequest{})
	if err != nil {
		t.Fatal(err)
	}
	next(t, stream, (*webhookgatewayv1.SubscribeResponse).GetSubscribed)
	g.deliver(t)
	event := next(t, stream, (*webhookgatewayv1.SubscribeResponse).GetEvents).GetEvents()[0]

	finish := slowDelivery(t, g)
	g.stop()
	if code := finish(); code != http.StatusOK {
		t.Errorf("the delivery in flight was answered %d", code)
	}
	goodbye := next(t, stream, (*webhookgatewayv1.SubscribeResponse).GetGoodbye)
	if goodbye.GetReason() != webhookgatewayv1.GoodbyeReason_GOODBYE_REASON_DRAINING || goodbye.GetCursor() == "" {
		t.Errorf("the goodbye is %v", goodbye)
	}
	for err == nil {
		_, err = stream.Recv()
	}
	if status.Code(err) != codes.Unavailable {
		t.Errorf("after the goodbye the stream ended with %v", err)
	}
	if err := g.wait(); err != nil {
		t.Errorf("Run: %v", err)
	}

	again := start(t, config)
	stream, err = webhookgatewayv1.NewEventServiceClient(again.conn).Subscribe(t.Context(), &webhookgatewayv1.SubscribeRequest{
		Start: &webhookgatewayv1.SubscribeRequest_StartCursor{StartCursor: event.GetCursor()},
	})
	if err != nil {
		t.Fatal(err)
	}
	if events := next(t, stream, (*webhookgatewayv1.SubscribeResponse).GetEvents).GetEvents(); len(events) != 1 {
		t.Errorf("after the restart %d events arrived, want the one that was in flight", len(events))
	}
}

// slowDelivery sends a delivery but for its last byte, and returns a function
// that sends this one and returns the answer.
func slowDelivery(t *testing.T, g *gateway) func() int {
	t.Helper()
	r, w := io.Pipe()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+g.Addrs().Webhooks.String()+"/v1/webhooks/vezgo", r)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("X-Client-Id", "app")
	req.Header.Set("Expect", "100-continue") // the body is read when the delivery is being handled
	client := &http.Client{Transport: &http.Transport{ExpectContinueTimeout: time.Minute}}
	answered := make(chan int, 1)
	go func() {
		defer client.CloseIdleConnections()
		resp, err := client.Do(req)
		if err != nil {
			answered <- 0
			return
		}
		_ = resp.Body.Close()
		answered <- resp.StatusCode
	}()
	if _, err := io.WriteString(w, vezgoBody[:len(vezgoBody)-1]); err != nil {
		t.Fatal(err)
	}
	return func() int {
		_, _ = io.WriteString(w, "}")
		_ = w.Close()
		return <-answered
	}
}

// A subscriber that does not read cannot hold up a shutdown beyond its bound.
func TestShutdownIsBounded(t *testing.T) {
	config := testConfig(t)
	config.Shutdown.Timeout = 200 * time.Millisecond
	g := start(t, config)
	finish := slowDelivery(t, g)
	if err := g.wait(); !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "shutdown.timeout") {
		t.Errorf("Run: %v", err)
	}
	if code := finish(); code == http.StatusOK {
		t.Error("a delivery that was cut off was answered 200")
	}
}

func TestNotReadyWhileDraining(t *testing.T) {
	g := start(t, testConfig(t))
	g.draining.Store(true)
	code, body := g.internal(t, "/readyz")
	var answer struct{ Reasons []string }
	if err := json.Unmarshal([]byte(body), &answer); err != nil || code != http.StatusServiceUnavailable || len(answer.Reasons) != 1 {
		t.Errorf("/readyz while draining: %d %s %v", code, body, err)
	}
	if code, _ := g.internal(t, "/healthz"); code != http.StatusOK {
		t.Errorf("/healthz while draining: %d", code)
	}
}

// A log that takes no events makes the gateway not ready, in both health checks.
func TestNotReadyWhileTheLogFails(t *testing.T) {
	g := start(t, testConfig(t))
	waitForHealth(t, g, "", healthpb.HealthCheckResponse_SERVING)
	if err := g.log.Close(); err != nil {
		t.Fatal(err)
	}
	waitForHealth(t, g, "", healthpb.HealthCheckResponse_NOT_SERVING)
	if code, body := g.internal(t, "/readyz"); code != http.StatusServiceUnavailable || !strings.Contains(body, "event log") {
		t.Errorf("/readyz: %d %s", code, body)
	}
	if code, body := g.do(t, http.MethodPost, "http://"+g.Addrs().Webhooks.String()+"/v1/webhooks/vezgo", vezgoBody,
		"Content-Type", "application/json", "X-Client-Id", "app"); code != http.StatusServiceUnavailable {
		t.Errorf("a delivery that cannot be stored was answered %d %s", code, body)
	}
}

func TestNewReleasesEverythingOnError(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = taken.Close() }()
	config := testConfig(t)
	config.Listen.InternalHTTP = taken.Addr().String()
	if _, err := New(t.Context(), config, slog.New(slog.DiscardHandler)); err == nil || !strings.Contains(err.Error(), "listen.internal_http") {
		t.Fatalf("New with a port that is taken: %v", err)
	}
	config.Listen.InternalHTTP = "127.0.0.1:0"
	s, err := New(t.Context(), config, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatalf("the event log was left open: %v", err)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}

func TestNewRefusesConfig(t *testing.T) {
	if _, err := New(t.Context(), DefaultConfig(), slog.New(slog.DiscardHandler)); err == nil {
		t.Error("a configuration without a provider was accepted")
	}
}

func TestPanicIsInternal(t *testing.T) {
	var logged bytes.Buffer
	logger := slog.New(slog.NewTextHandler(&logged, nil))
	_, err := recoverUnary(logger)(t.Context(), nil, &grpc.UnaryServerInfo{FullMethod: "/m"},
		func(context.Context, any) (any, error) { panic("boom") })
	if status.Code(err) != codes.Internal || strings.Contains(err.Error(), "boom") {
		t.Errorf("unary: %v", err)
	}
	err = recoverStream(logger)(nil, fakeStream{ctx: t.Context()}, &grpc.StreamServerInfo{FullMethod: "/m"},
		func(any, grpc.ServerStream) error { panic("boom") })
	if status.Code(err) != codes.Internal {
		t.Errorf("stream: %v", err)
	}
	if n := strings.Count(logged.String(), "panic=boom"); n != 2 {
		t.Errorf("%d panics were logged, want 2:\n%s", n, &logged)
	}
}

type fakeStream struct {
	grpc.ServerStream
	ctx context.Context //nolint:containedctx // what a stream has
}

func (s fakeStream) Context() context.Context { return s.ctx }
