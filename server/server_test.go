package server_test

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
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	reflectionpb "google.golang.org/grpc/reflection/grpc_reflection_v1"
	"google.golang.org/grpc/status"

	webhookgatewayv1 "github.com/webhook-gateway/webhook-gateway/gen/webhookgateway/v1"
	"github.com/webhook-gateway/webhook-gateway/server"
	"github.com/webhook-gateway/webhook-gateway/server/provider"
	"github.com/webhook-gateway/webhook-gateway/server/servertest"
)

const (
	syncAccount = webhookgatewayv1.EventType_EVENT_TYPE_VEZGO_SYNC_ACCOUNT
	vezgo       = webhookgatewayv1.Provider_PROVIDER_VEZGO
)

var vezgoBody = []byte(`{"hook":"SyncAccount","user":{"id":"u1","loginName":"user-42"},"account":{"id":"a1","provider":"coinbase"}}`)

// get asks the internal HTTP listener.
func get(t *testing.T, g *servertest.Gateway, path string) (int, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, g.InternalURL()+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	return do(t, req)
}

// do returns the answer to a request.
func do(t *testing.T, req *http.Request) (code int, body string) {
	t.Helper()
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer http.DefaultClient.CloseIdleConnections()
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(text)
}

func subscribe(t *testing.T, g *servertest.Gateway, req *webhookgatewayv1.SubscribeRequest) grpc.ServerStreamingClient[webhookgatewayv1.SubscribeResponse] {
	t.Helper()
	stream, err := webhookgatewayv1.NewEventServiceClient(g.Conn()).Subscribe(t.Context(), req, grpc.WaitForReady(true))
	if err != nil {
		t.Fatal(err)
	}
	return stream
}

// next returns the next frame for which want returns something.
func next[F, T any](t *testing.T, stream grpc.ServerStreamingClient[F], want func(*F) *T) *T {
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
	g := servertest.Start(t)
	stream := subscribe(t, g, &webhookgatewayv1.SubscribeRequest{})
	start := next(t, stream, (*webhookgatewayv1.SubscribeResponse).GetSubscribed).GetStartCursor()
	g.Deliver(t, syncAccount)
	event := next(t, stream, (*webhookgatewayv1.SubscribeResponse).GetEvents).GetEvents()[0]
	if event.GetType() != syncAccount || event.GetClientId() != servertest.Client {
		t.Errorf("the event is %v", event)
	}
	for path, want := range map[string]string{
		"/v1/events/" + event.GetId():                               "EVENT_TYPE_VEZGO_SYNC_ACCOUNT",
		"/v1/events:subscribe?stopAtHead=true&startCursor=" + start: event.GetId(),
		"/v1/subscriptions":                                         "{}",
		"/openapi.json":                                             `"operationId": "subscribe"`,
		"/openapi-webhooks.json":                                    `"operationId": "receiveWebhookOfClient"`,
		"/metrics":                                                  "webhook_gateway_log_events 1\n",
		"/healthz":                                                  `"status":"ok"`,
		"/readyz":                                                   `"status":"ok"`,
	} {
		if code, body := get(t, g, path); code != http.StatusOK || !strings.Contains(body, want) {
			t.Errorf("GET %s: %d without %q:\n%.500s", path, code, want, body)
		}
	}
	if code, _ := get(t, g, "/debug/pprof/"); code != http.StatusNotFound {
		t.Errorf("pprof is served without being asked for: %d", code)
	}
}

// A gateway that takes what is not verified says so, in its log at every start, in
// the body of /readyz, which stays green, and in metrics.
func TestModesAreToldOf(t *testing.T) {
	enforced := servertest.Start(t)
	if _, body := get(t, enforced, "/readyz"); strings.Contains(body, "warnings") {
		t.Errorf("GET /readyz of a gateway that enforces: %s", body)
	}
	config := servertest.Config(t)
	config.Providers.Vezgo.Verification = provider.ModeOff
	report, client := provider.ModeReport, config.Providers.Finicity.Clients[servertest.Client]
	client.Verification = &report
	config.Providers.Finicity.Clients["reports"] = client
	for range 2 {
		var logged bytes.Buffer
		s, err := server.New(t.Context(), config, slog.New(slog.NewTextHandler(&logged, nil)))
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		for _, want := range []string{
			`warning="vezgo: verification is off`, `warning="finicity (clients reports): verification only reports`,
		} {
			if !strings.Contains(logged.String(), want) {
				t.Errorf("the log does not have %s:\n%s", want, logged.String())
			}
		}
	}
	g := servertest.Start(t, func(c *server.Config) { c.Providers = config.Providers })
	for path, wants := range map[string][]string{
		"/readyz": {`"status":"ok"`, `"warnings":["finicity (clients reports): `, `"vezgo: verification is off`},
		"/metrics": {
			`webhook_gateway_verification_mode{mode="enforce",provider="finicity"} 1`,
			`webhook_gateway_verification_mode{mode="report",provider="finicity"} 1`,
			`webhook_gateway_verification_mode{mode="off",provider="finicity"} 0`,
			`webhook_gateway_verification_mode{mode="off",provider="vezgo"} 1`,
			`webhook_gateway_verification_mode{mode="enforce",provider="vezgo"} 0`,
			"webhook_gateway_log_unverified_quota_bytes 1.073741824e+09\n",
			"webhook_gateway_log_unverified_bytes 0\n",
		},
	} {
		code, body := get(t, g, path)
		for _, want := range wants {
			if code != http.StatusOK || !strings.Contains(body, want) {
				t.Errorf("GET %s: %d without %q:\n%.2000s", path, code, want, body)
			}
		}
	}
}

func TestPprofIsOptIn(t *testing.T) {
	g := servertest.Start(t, func(config *server.Config) { config.Debug.Pprof = true })
	if code, body := get(t, g, "/debug/pprof/"); code != http.StatusOK {
		t.Errorf("pprof: %d %s", code, body)
	}
}

// waitForHealth waits until the gRPC health of a service is as wanted.
func waitForHealth(t *testing.T, g *servertest.Gateway, service string, want healthpb.HealthCheckResponse_ServingStatus) {
	t.Helper()
	watch, err := healthpb.NewHealthClient(g.Conn()).Watch(t.Context(), &healthpb.HealthCheckRequest{Service: service})
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
	g := servertest.Start(t)
	services := []string{"webhookgateway.v1.EventService", "webhookgateway.v1.SubscriptionService"}
	for _, service := range append(services, "") {
		waitForHealth(t, g, service, healthpb.HealthCheckResponse_SERVING)
	}
	stream, err := reflectionpb.NewServerReflectionClient(g.Conn()).ServerReflectionInfo(t.Context())
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
	for _, service := range services {
		if !strings.Contains(response.String(), service) {
			t.Errorf("reflection lists %v", response)
		}
	}
	_ = stream.CloseSend()
}

// A shutdown tells the subscribers where to resume, answers the delivery in
// flight, and leaves a log that a new gateway goes on with.
func TestShutdownSaysGoodbye(t *testing.T) {
	g := servertest.Start(t)
	stream := subscribe(t, g, &webhookgatewayv1.SubscribeRequest{})
	next(t, stream, (*webhookgatewayv1.SubscribeResponse).GetSubscribed)
	g.Deliver(t, syncAccount)
	event := next(t, stream, (*webhookgatewayv1.SubscribeResponse).GetEvents).GetEvents()[0]

	finish := slowDelivery(t, g)
	stopped := make(chan error, 1)
	go func() { stopped <- g.Stop() }()
	if code := finish(); code != http.StatusOK {
		t.Errorf("the delivery in flight was answered %d", code)
	}
	goodbye := next(t, stream, (*webhookgatewayv1.SubscribeResponse).GetGoodbye)
	if goodbye.GetReason() != webhookgatewayv1.GoodbyeReason_GOODBYE_REASON_DRAINING || goodbye.GetCursor() == "" {
		t.Errorf("the goodbye is %v", goodbye)
	}
	var err error
	for err == nil {
		_, err = stream.Recv()
	}
	if status.Code(err) != codes.Unavailable {
		t.Errorf("after the goodbye the stream ended with %v", err)
	}
	if err := <-stopped; err != nil {
		t.Errorf("Run: %v", err)
	}

	g.Restart(t)
	stream = subscribe(t, g, &webhookgatewayv1.SubscribeRequest{
		Start: &webhookgatewayv1.SubscribeRequest_StartCursor{StartCursor: event.GetCursor()},
	})
	if events := next(t, stream, (*webhookgatewayv1.SubscribeResponse).GetEvents).GetEvents(); len(events) != 1 {
		t.Errorf("after the restart %d events arrived, want the one that was in flight", len(events))
	}
}

// slowDelivery sends a delivery but for its last byte, and returns a function
// that sends this one and returns the answer.
func slowDelivery(t *testing.T, g *servertest.Gateway) func() int {
	t.Helper()
	req := g.Request(t, vezgo, vezgoBody)
	r, w := io.Pipe()
	req.Body, req.GetBody, req.ContentLength = r, nil, -1
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
	last := len(vezgoBody) - 1
	if _, err := w.Write(vezgoBody[:last]); err != nil {
		t.Fatal(err)
	}
	return func() int {
		_, _ = w.Write(vezgoBody[last:])
		_ = w.Close()
		return <-answered
	}
}

// A subscriber that does not read cannot hold up a shutdown beyond its bound.
func TestShutdownIsBounded(t *testing.T) {
	g := servertest.Start(t, func(config *server.Config) { config.Shutdown.Timeout = 200 * time.Millisecond })
	finish := slowDelivery(t, g)
	if err := g.Stop(); !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "shutdown.timeout") {
		t.Errorf("Run: %v", err)
	}
	if code := finish(); code == http.StatusOK {
		t.Error("a delivery that was cut off was answered 200")
	}
}

// While it drains a gateway serves on, and says that it should get no more. Who
// watches its health does not keep it from ending.
func TestNotReadyWhileDraining(t *testing.T) {
	t.Parallel()                                                                                       // it takes as long as the delay
	g := servertest.Start(t, func(config *server.Config) { config.Shutdown.Delay = 10 * time.Second }) // a busy machine needs some of it
	waitForHealth(t, g, "", healthpb.HealthCheckResponse_SERVING)
	stopped := make(chan error, 1)
	go func() { stopped <- g.Stop() }()
	waitForHealth(t, g, "", healthpb.HealthCheckResponse_NOT_SERVING)
	code, body := get(t, g, "/readyz")
	var answer struct{ Reasons []string }
	if err := json.Unmarshal([]byte(body), &answer); err != nil || code != http.StatusServiceUnavailable || len(answer.Reasons) != 1 {
		t.Errorf("/readyz while draining: %d %s %v", code, body, err)
	}
	if code, _ := get(t, g, "/healthz"); code != http.StatusOK {
		t.Errorf("/healthz while draining: %d", code)
	}
	g.Deliver(t, syncAccount)
	if err := <-stopped; err != nil {
		t.Error(err)
	}
}

// A log that takes no events is shown by the health checks, and leaves the gateway in
// rotation, but for those who ask for the log.
func TestReadyWhileTheLogFails(t *testing.T) {
	g := servertest.Start(t)
	waitForHealth(t, g, "", healthpb.HealthCheckResponse_SERVING)
	if code, body := get(t, g, "/readyz?require=log"); code != http.StatusOK || !strings.Contains(body, `"status":"ok"`) {
		t.Errorf("/readyz?require=log: %d %s", code, body)
	}
	if err := g.Server().Log().Close(); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]int{
		"/readyz": http.StatusOK, "/readyz?require=log": http.StatusServiceUnavailable, "/healthz": http.StatusOK, "/readyz?require=disk": http.StatusBadRequest,
	} {
		code, body := get(t, g, path)
		if code != want || strings.HasPrefix(path, "/readyz") && want != http.StatusBadRequest && !strings.Contains(body, "does not accept events") {
			t.Errorf("%s: %d %s, want %d", path, code, body, want)
		}
	}
	if _, body := get(t, g, "/readyz"); !strings.Contains(body, `"status":"degraded"`) {
		t.Errorf("/readyz: %s", body)
	}
	waitForHealth(t, g, "", healthpb.HealthCheckResponse_SERVING)
	if code, body := g.Send(t, vezgo, vezgoBody); code != http.StatusServiceUnavailable {
		t.Errorf("a delivery that cannot be stored was answered %d %s", code, body)
	}
}

func TestNewReleasesEverythingOnError(t *testing.T) {
	var listen net.ListenConfig
	taken, err := listen.Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = taken.Close() }()
	config := servertest.Config(t)
	config.Listen.InternalHTTP = taken.Addr().String()
	if _, err := server.New(t.Context(), config, slog.New(slog.DiscardHandler)); err == nil || !strings.Contains(err.Error(), "listen.internal_http") {
		t.Fatalf("New with a port that is taken: %v", err)
	}
	config.Listen.InternalHTTP = "127.0.0.1:0"
	s, err := server.New(t.Context(), config, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatalf("the event log was left open: %v", err)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}

func TestNewRefusesConfig(t *testing.T) {
	if _, err := server.New(t.Context(), server.DefaultConfig(), slog.New(slog.DiscardHandler)); err == nil {
		t.Error("a configuration without a provider was accepted")
	}
}
