package servertest_test

import (
	"context"
	"net/http"
	"testing"

	"go.uber.org/goleak"
	"google.golang.org/grpc"

	webhookgatewayv1 "github.com/webhook-gateway/webhook-gateway/gen/webhookgateway/v1"
	"github.com/webhook-gateway/webhook-gateway/server"
	"github.com/webhook-gateway/webhook-gateway/server/provider/all"
	"github.com/webhook-gateway/webhook-gateway/server/servertest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// Every sample is delivered, verified, and of the type that it was asked for.
func TestDeliver(t *testing.T) {
	g := servertest.Start(t)
	var want []webhookgatewayv1.EventType
	for _, sender := range all.Senders() {
		for _, sample := range sender.Samples() {
			want = append(want, sample.Type)
		}
	}
	g.Deliver(t, want...)
	list, err := webhookgatewayv1.NewEventServiceClient(g.Conn()).ListEvents(t.Context(), &webhookgatewayv1.ListEventsRequest{})
	if err != nil {
		t.Fatal(err)
	}
	if len(list.GetEvents()) != len(want) {
		t.Fatalf("%d events were stored, want %d", len(list.GetEvents()), len(want))
	}
	for i, event := range list.GetEvents() {
		verdict := event.GetVerification().GetVerdict()
		if event.GetType() != want[i] || verdict != webhookgatewayv1.VerificationVerdict_VERIFICATION_VERDICT_VERIFIED || event.GetClientId() != servertest.Client {
			t.Errorf("event %d is a %v of %s, %v; want %v", i, event.GetType(), event.GetClientId(), verdict, want[i])
		}
	}
}

func TestSendIsRefused(t *testing.T) {
	g := servertest.Start(t)
	if code, answer := g.Send(t, webhookgatewayv1.Provider_PROVIDER_FINICITY, []byte(`[]`)); code != http.StatusBadRequest {
		t.Errorf("a body that is no object was answered %d %s", code, answer)
	}
}

// A restart keeps the store, the addresses and the connection.
func TestRestart(t *testing.T) {
	g := servertest.Start(t, func(config *server.Config) { config.Streams.MaxStreams = 7 })
	url := g.WebhookURL()
	for range 3 {
		g.Deliver(t, webhookgatewayv1.EventType_EVENT_TYPE_FINICITY_ADDED)
		g.Restart(t)
	}
	if url != g.WebhookURL() {
		t.Errorf("after the restart the URL is %s, it was %s", g.WebhookURL(), url)
	}
	info, err := getLogInfo(t.Context(), g, grpc.WaitForReady(true))
	if err != nil || info.GetEventCount() != 3 {
		t.Errorf("after the restarts: %v, %v", info, err)
	}
	for range 2 {
		if err := g.Stop(); err != nil {
			t.Error(err)
		}
	}
	if g.Server() != nil {
		t.Error("there is a server after Stop")
	}
	if _, err := getLogInfo(t.Context(), g); err == nil {
		t.Error("a gateway that is stopped answers")
	}
}

func getLogInfo(ctx context.Context, g *servertest.Gateway, options ...grpc.CallOption) (*webhookgatewayv1.GetLogInfoResponse, error) {
	return webhookgatewayv1.NewEventServiceClient(g.Conn()).GetLogInfo(ctx, &webhookgatewayv1.GetLogInfoRequest{}, options...)
}
