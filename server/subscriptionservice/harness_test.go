package subscriptionservice_test

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/status"

	webhookgatewayv1 "github.com/webhook-gateway/webhook-gateway/gen/webhookgateway/v1"
	"github.com/webhook-gateway/webhook-gateway/server/eventlog"
	"github.com/webhook-gateway/webhook-gateway/server/eventlog/pebblelog"
	"github.com/webhook-gateway/webhook-gateway/server/rpcerr"
	"github.com/webhook-gateway/webhook-gateway/server/stream"
	"github.com/webhook-gateway/webhook-gateway/server/stream/streamtest"
	"github.com/webhook-gateway/webhook-gateway/server/subscription"
	"github.com/webhook-gateway/webhook-gateway/server/subscriptionservice"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// gateway is the service on the real log behind a real gRPC server, of which only
// the listener is not real.
type gateway struct {
	webhookgatewayv1.SubscriptionServiceClient

	log     *pebblelog.Log
	streams *stream.Streams
	metrics prometheus.Gatherer
}

// maxStreams is how many streams a gateway takes.
const maxStreams = 64

func newGateway(t testing.TB) *gateway {
	t.Helper()
	config := pebblelog.DefaultConfig()
	config.Path = t.TempDir()
	logger, registry := slog.New(slog.DiscardHandler), prometheus.NewRegistry()
	log, err := pebblelog.Open(config, logger)
	if err != nil {
		t.Fatal(err)
	}
	manager, err := subscription.New(t.Context(), subscription.Params{Log: log, States: log, Logger: logger, Registerer: registry})
	if err != nil {
		t.Fatal(err)
	}
	streams, err := stream.New(stream.Config{MaxStreams: maxStreams, DefaultHeartbeat: time.Minute}, time.Now, registry)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := manager.Close(context.Background()); err != nil {
			t.Error(err)
		}
		if err := log.Close(); err != nil {
			t.Error(err)
		}
	})
	conn := streamtest.Serve(t, func(server grpc.ServiceRegistrar) {
		webhookgatewayv1.RegisterSubscriptionServiceServer(server, subscriptionservice.New(log, manager, streams, logger))
	})
	return &gateway{SubscriptionServiceClient: webhookgatewayv1.NewSubscriptionServiceClient(conn), log: log, streams: streams, metrics: registry}
}

// add stores n events, each about a subject of its own.
func (g *gateway) add(t *testing.T, n int) {
	t.Helper()
	for range n {
		entry, err := eventlog.NewEntry(&webhookgatewayv1.Event{
			Provider: webhookgatewayv1.Provider_PROVIDER_FINICITY, Type: webhookgatewayv1.EventType_EVENT_TYPE_FINICITY_DONE,
			ClientId: "client", Subject: fmt.Sprint(g.log.Bounds().Head), RawBody: []byte(`{"raw":true}`),
			Verification: &webhookgatewayv1.Verification{Verdict: webhookgatewayv1.VerificationVerdict_VERIFICATION_VERDICT_VERIFIED},
		})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := g.log.Append(t.Context(), entry); err != nil {
			t.Fatal(err)
		}
	}
}

func earliest() *webhookgatewayv1.SubscriptionStart {
	return &webhookgatewayv1.SubscriptionStart{Start: &webhookgatewayv1.SubscriptionStart_Position{
		Position: webhookgatewayv1.StartPosition_START_POSITION_EARLIEST,
	}}
}

// create creates a subscription to everything.
func (g *gateway) create(t testing.TB, name string, settings *webhookgatewayv1.SubscriptionSettings) {
	t.Helper()
	if _, err := g.CreateSubscription(t.Context(), &webhookgatewayv1.CreateSubscriptionRequest{
		Subscription: &webhookgatewayv1.Subscription{Name: name, Settings: settings, Start: earliest()},
	}); err != nil {
		t.Fatal(err)
	}
}

func (g *gateway) status(t *testing.T, name string) *webhookgatewayv1.SubscriptionStatus {
	t.Helper()
	resp, err := patiently(func() (*webhookgatewayv1.GetSubscriptionResponse, error) {
		return g.GetSubscription(t.Context(), &webhookgatewayv1.GetSubscriptionRequest{Name: name})
	})
	if err != nil {
		t.Fatal(err)
	}
	return resp.GetSubscription().GetStatus()
}

// worker is one stream of Consume.
type worker struct {
	t      *testing.T
	stream grpc.ServerStreamingClient[webhookgatewayv1.ConsumeResponse]
	leave  context.CancelFunc
	held   []*webhookgatewayv1.Delivery // came, and was not asked for yet
}

func (g *gateway) consume(t *testing.T, req *webhookgatewayv1.ConsumeRequest) *worker {
	t.Helper()
	return g.consumeAs(t.Context(), t, req)
}

// consumeAs is consume for a caller: see as.
func (g *gateway) consumeAs(ctx context.Context, t *testing.T, req *webhookgatewayv1.ConsumeRequest) *worker {
	t.Helper()
	ctx, cancel := context.WithCancel(ctx)
	t.Cleanup(cancel)
	w := &worker{t: t, leave: cancel}
	first, err := patiently(func() (first *webhookgatewayv1.ConsumeResponse, err error) {
		if w.stream, err = g.Consume(ctx, req); err == nil {
			first, err = w.stream.Recv()
		}
		return first, err
	})
	if err != nil {
		t.Fatal(err)
	}
	if first.GetSubscribed() == nil {
		t.Fatal("the first frame is not subscribed")
	}
	return w
}

// patiently makes a call again, for a minute at most, as long as it is told that the subscription is
// being taken over and that the call was not made: it waits for that for two seconds, which a busy
// machine may need more than once.
func patiently[T any](call func() (T, error)) (T, error) {
	for began := time.Now(); ; {
		answer, err := call()
		if rpcerr.Reason(err) != moving || rpcerr.Metadata(err)["unreachable"] != "" || time.Since(began) > time.Minute {
			return answer, err
		}
	}
}

// deserted waits until a subscription has no workers. One that has left may be given what comes until
// that is seen, and fails with it.
func (g *gateway) deserted(t *testing.T, name string) {
	t.Helper()
	for g.status(t, name).GetStreams() != 0 {
		<-time.After(time.Millisecond)
	}
}

func (w *worker) next() *webhookgatewayv1.ConsumeResponse {
	w.t.Helper()
	frame, err := w.stream.Recv()
	if err != nil {
		w.t.Fatal(err)
	}
	return frame
}

// take returns the next n deliveries.
func (w *worker) take(n int) []*webhookgatewayv1.Delivery {
	w.t.Helper()
	for len(w.held) < n {
		w.held = append(w.held, w.next().GetDeliveries().GetDeliveries()...)
	}
	taken := w.held[:n:n]
	w.held = w.held[n:]
	return taken
}

func tokens(deliveries ...*webhookgatewayv1.Delivery) []string {
	list := make([]string, len(deliveries))
	for i, d := range deliveries {
		list[i] = d.GetAckToken()
	}
	return list
}

// acknowledge acknowledges deliveries and compares the results.
func (g *gateway) acknowledge(t *testing.T, name string, want webhookgatewayv1.TokenResult, deliveries ...*webhookgatewayv1.Delivery) {
	t.Helper()
	resp, err := patiently(func() (*webhookgatewayv1.AcknowledgeResponse, error) {
		return g.Acknowledge(t.Context(), &webhookgatewayv1.AcknowledgeRequest{Subscription: name, AckTokens: tokens(deliveries...)})
	})
	if err != nil {
		t.Fatal(err)
	}
	for i, got := range resp.GetResults() {
		if got != want {
			t.Errorf("token %d: %v, want %v", i, got, want)
		}
	}
}

// reject rejects deliveries of the subscription team.
func (g *gateway) reject(t *testing.T, action webhookgatewayv1.RejectAction, deliveries ...*webhookgatewayv1.Delivery) {
	t.Helper()
	resp, err := g.Reject(t.Context(), &webhookgatewayv1.RejectRequest{
		Subscription: "team", AckTokens: tokens(deliveries...), Action: action, Reason: "why",
	})
	if err != nil {
		t.Fatal(err)
	}
	for i, got := range resp.GetResults() {
		if got != ok {
			t.Errorf("token %d: %v", i, got)
		}
	}
}

// checkError compares the status, the reason and the field of an error.
func checkError(t *testing.T, err error, want string) {
	t.Helper()
	field := ""
	for _, d := range status.Convert(err).Details() {
		if info, is := d.(*errdetails.ErrorInfo); is {
			field = info.GetMetadata()["field"]
		}
	}
	if got := strings.TrimSpace(fmt.Sprintf("%s %s %s", status.Code(err), rpcerr.Name(rpcerr.Reason(err)), field)); got != want {
		t.Errorf("error = %s (%v), want %s", got, err, want)
	}
}

const (
	ok      = webhookgatewayv1.TokenResult_TOKEN_RESULT_OK
	fenced  = webhookgatewayv1.TokenResult_TOKEN_RESULT_FENCED
	unknown = webhookgatewayv1.TokenResult_TOKEN_RESULT_UNKNOWN
	settled = webhookgatewayv1.TokenResult_TOKEN_RESULT_SETTLED

	retry   = webhookgatewayv1.RejectAction_REJECT_ACTION_RETRY
	park    = webhookgatewayv1.RejectAction_REJECT_ACTION_PARK
	skip    = webhookgatewayv1.RejectAction_REJECT_ACTION_SKIP
	release = webhookgatewayv1.RejectAction_REJECT_ACTION_RELEASE
)
