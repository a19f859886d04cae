package server_test

import (
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/protobuf/proto"

	commitlogv1 "github.com/webhook-gateway/webhook-gateway/gen/webhookgateway/commitlog/v1"
	webhookgatewayv1 "github.com/webhook-gateway/webhook-gateway/gen/webhookgateway/v1"
	"github.com/webhook-gateway/webhook-gateway/server"
	"github.com/webhook-gateway/webhook-gateway/server/commitlog/jetstream"
	"github.com/webhook-gateway/webhook-gateway/server/servertest"
)

// A gateway that meets a commit of a later version while it runs tells its load balancer, and whoever
// looks, why. It refuses deliveries, answers pings, and serves what it has.
func TestGatewayMeetsNewerCommit(t *testing.T) {
	option := shares(t)
	var config server.Config
	g := servertest.Start(t, option, func(c *server.Config) {
		c.Webhooks.AppendTimeout = 100 * time.Millisecond
		config = *c
	})
	isReady(t, g, true)
	eventually(t, "a delivery is stored", func() bool { // the log has 100 ms for it, which a busy machine may need more than once
		code, _ := g.Send(t, webhookgatewayv1.Provider_PROVIDER_FINICITY, finicityBody("1"))
		return code == http.StatusOK
	})
	health, err := healthpb.NewHealthClient(g.Conn()).Watch(t.Context(), &healthpb.HealthCheckRequest{})
	if err != nil {
		t.Fatal(err)
	}
	expectHealth(t, health, healthpb.HealthCheckResponse_SERVING)

	stream := config.Store.CommitLog.JetStream
	connection := stream.Config
	user := url.UserPassword(stream.Username, stream.Password.Reveal()).String()
	connection.URLs = []string{strings.Replace(stream.URLs[0], "://", "://"+user+"@", 1)}
	commits, err := jetstream.Open(t.Context(), connection, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = commits.Close() })
	newer, err := proto.Marshal(&commitlogv1.Commit{Version: 1000, Number: 1})
	if err != nil {
		t.Fatal(err)
	}
	for appended := false; !appended; { // the gateway beats meanwhile
		newest := commits.Newest()
		at, err := commits.Append(t.Context(), newest, newer)
		appended = err == nil && at > newest
		if !appended {
			<-commits.Changed()
		}
	}

	for began := time.Now(); ; {
		code, body := get(t, g, "/readyz")
		if code == http.StatusServiceUnavailable {
			if !strings.Contains(body, "catching up: ") || !strings.Contains(body, "upgrade this one") {
				t.Errorf("/readyz says %s", body)
			}
			break
		}
		if time.Since(began) > time.Minute {
			t.Fatalf("/readyz: %d %s", code, body)
		}
	}
	expectHealth(t, health, healthpb.HealthCheckResponse_NOT_SERVING)
	if code, answer := g.Send(t, webhookgatewayv1.Provider_PROVIDER_FINICITY, finicityBody("2")); code != http.StatusServiceUnavailable {
		t.Errorf("a delivery is answered %d: %s", code, answer)
	}
	if code, answer := g.Send(t, webhookgatewayv1.Provider_PROVIDER_FINICITY, []byte(`{"eventType":"ping","payload":{}}`)); code != http.StatusOK {
		t.Errorf("a ping is answered %d: %s", code, answer)
	}
	if events := read(t, g, 1); events[0].GetProviderEventId() != "1" {
		t.Errorf("it serves %v", events)
	}
}
