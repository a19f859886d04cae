package server_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	nats "github.com/nats-io/nats-server/v2/server"
	natsgo "github.com/nats-io/nats.go"
	natsjs "github.com/nats-io/nats.go/jetstream"
	"google.golang.org/grpc"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/protobuf/testing/protocmp"

	webhookgatewayv1 "github.com/webhook-gateway/webhook-gateway/gen/webhookgateway/v1"
	"github.com/webhook-gateway/webhook-gateway/server"
	"github.com/webhook-gateway/webhook-gateway/server/rpcerr"
	"github.com/webhook-gateway/webhook-gateway/server/servertest"
)

// shares returns an option for gateways that share their events by a NATS server of this
// process.
func shares(t *testing.T) func(*server.Config) {
	t.Helper()
	return sharesBy("nats://" + startNATS(t, -1))
}

// startNATS starts a NATS server in this process at a port, -1 for any, and returns its address. It does not
// sync each commit, as it should elsewhere: it lives as long as the gateways, which would wait for a busy disk.
func startNATS(t *testing.T, port int) string {
	t.Helper()
	s, err := nats.NewServer(&nats.Options{
		Host: "127.0.0.1", Port: port, JetStream: true, StoreDir: t.TempDir(), NoLog: true, NoSigs: true,
		Username: "gateways", Password: servertest.FinicitySecret,
	})
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	t.Cleanup(func() {
		s.Shutdown()
		s.WaitForShutdown()
	})
	if !s.ReadyForConnections(time.Minute) {
		t.Fatal("the NATS server is not ready")
	}
	return s.Addr().String()
}

func sharesBy(url string) func(*server.Config) {
	return func(c *server.Config) {
		c.Cluster.Listen, c.Cluster.Secret = "127.0.0.1:0", servertest.Secret(webhookgatewayv1.Provider_PROVIDER_FINICITY)
		c.Store.CommitLog.Engine = server.CommitLogJetStream
		jetstream := &c.Store.CommitLog.JetStream
		jetstream.URLs, jetstream.Replicas = []string{url}, 1
		jetstream.Username, jetstream.Password = "gateways", servertest.Secret(webhookgatewayv1.Provider_PROVIDER_FINICITY)
	}
}

func finicityBody(id string) []byte {
	return fmt.Appendf(nil, `{"eventId":%q,"eventType":"added","payload":{"accounts":[]}}`, id)
}

// read returns the events of a gateway, from the earliest to the nth, each as its own frame
// has it.
func read(t *testing.T, g *servertest.Gateway, n int) (events []*webhookgatewayv1.Event) {
	t.Helper()
	stream := subscribe(t, g, &webhookgatewayv1.SubscribeRequest{Start: &webhookgatewayv1.SubscribeRequest_StartPosition{
		StartPosition: webhookgatewayv1.StartPosition_START_POSITION_EARLIEST,
	}})
	for len(events) < n {
		events = append(events, next(t, stream, (*webhookgatewayv1.SubscribeResponse).GetEvents).GetEvents()...)
	}
	return events
}

// Several gateways share one log: what one has answered 200 every other streams, with the
// same ids and cursors, and a retry that goes to another gateway is stored once.
func TestGatewaysShareEvents(t *testing.T) {
	option := shares(t)
	const gateways, each = 3, 5
	var all []*servertest.Gateway
	for range gateways {
		all = append(all, servertest.Start(t, option))
	}
	together(t, all...)
	waiting := subscribe(t, all[gateways-1], &webhookgatewayv1.SubscribeRequest{})
	next(t, waiting, (*webhookgatewayv1.SubscribeResponse).GetSubscribed)
	for i := range each {
		for g, gateway := range all {
			body := finicityBody(fmt.Sprintf("event-%d-%d", g, i))
			for _, to := range []*servertest.Gateway{gateway, all[(g+1)%gateways]} { // the second is a retry
				if code, answer := to.Send(t, webhookgatewayv1.Provider_PROVIDER_FINICITY, body); code != http.StatusOK {
					t.Fatalf("a delivery is answered %d: %s", code, answer)
				}
			}
		}
	}
	want := read(t, all[0], gateways*each)
	ids := make(map[string]bool)
	for _, event := range want {
		ids[event.GetProviderEventId()] = true
	}
	if len(want) != gateways*each || len(ids) != len(want) {
		t.Errorf("there are %d events with %d ids, want %d", len(want), len(ids), gateways*each)
	}
	for i, g := range all[1:] {
		if diff := cmp.Diff(want, read(t, g, len(want)), protocmp.Transform()); diff != "" {
			t.Errorf("gateway %d has other events (-gateway 0 +gateway %d):\n%s", i+1, i+1, diff)
		}
	}
	first := next(t, waiting, (*webhookgatewayv1.SubscribeResponse).GetEvents)
	if diff := cmp.Diff(want[0], first.GetEvents()[0], protocmp.Transform()); diff != "" {
		t.Errorf("a stream that waited for events got another first one (-want +got):\n%s", diff)
	}

	// A cursor of one gateway is good on another, also on one that begins with nothing.
	late := servertest.Start(t, option)
	isReady(t, late, true)
	stream := subscribe(t, late, &webhookgatewayv1.SubscribeRequest{Start: &webhookgatewayv1.SubscribeRequest_StartCursor{StartCursor: want[each].GetCursor()}})
	resumed := next(t, stream, (*webhookgatewayv1.SubscribeResponse).GetEvents)
	if resumed.GetAfterCursor() != want[each].GetCursor() || resumed.GetEvents()[0].GetId() != want[each+1].GetId() {
		t.Errorf("after %s comes %s after %s", want[each].GetId(), resumed.GetEvents()[0].GetId(), resumed.GetAfterCursor())
	}
}

// A gateway is not ready, and takes nothing, until its copy is known to have everything.
func TestGatewayThatCatchesUp(t *testing.T) {
	option := shares(t)
	var config server.Config
	a := servertest.Start(t, option, func(c *server.Config) { config = *c })
	a.DeliverBody(t, webhookgatewayv1.Provider_PROVIDER_FINICITY, finicityBody("1"))
	isReady(t, a, true)

	// A stream that is full can be read, but nobody can find out whether that was all.
	jetstream := config.Store.CommitLog.JetStream
	js := streams(t, jetstream)
	limit := func(bytes func(natsjs.StreamInfo) int64) {
		stream, err := js.Stream(t.Context(), jetstream.Stream)
		if err != nil {
			t.Fatal(err)
		}
		info := stream.CachedInfo()
		info.Config.MaxBytes = bytes(*info)
		if _, err := js.UpdateStream(t.Context(), info.Config); err != nil {
			t.Fatal(err)
		}
	}
	limit(func(i natsjs.StreamInfo) int64 { return int64(i.State.Bytes) })

	b := servertest.Start(t, option, func(c *server.Config) { c.Webhooks.AppendTimeout = 100 * time.Millisecond })
	body := isReady(t, b, false)
	if !strings.Contains(body, "catching up: ") || !strings.Contains(body, "commits") {
		t.Errorf("/readyz says %s", body)
	}
	health := healthpb.NewHealthClient(b.Conn())
	watching, err := health.Watch(t.Context(), &healthpb.HealthCheckRequest{}, grpc.WaitForReady(true))
	if err != nil {
		t.Fatal(err)
	}
	expectHealth(t, watching, healthpb.HealthCheckResponse_NOT_SERVING)
	if code, answer := b.Send(t, webhookgatewayv1.Provider_PROVIDER_FINICITY, finicityBody("2")); code != http.StatusServiceUnavailable {
		t.Errorf("a delivery is answered %d: %s", code, answer)
	}

	if code, answer := b.Send(t, webhookgatewayv1.Provider_PROVIDER_FINICITY, []byte(`{"eventType":"ping","payload":{}}`)); code != http.StatusOK {
		t.Errorf("a ping is answered %d: %s", code, answer)
	}

	limit(func(natsjs.StreamInfo) int64 { return -1 })
	expectHealth(t, watching, healthpb.HealthCheckResponse_SERVING)
	isReady(t, b, true)
	eventually(t, "a delivery is stored", func() bool { // the log has 100 ms for it, which a busy machine may need more than once
		code, _ := b.Send(t, webhookgatewayv1.Provider_PROVIDER_FINICITY, finicityBody("3"))
		return code == http.StatusOK
	})
	if diff := cmp.Diff(read(t, a, 2)[:1], read(t, b, 2)[:1], protocmp.Transform()); diff != "" {
		t.Errorf("the gateways have other events (-a +b):\n%s", diff)
	}
}

// expectHealth waits for the health of a gateway in a watch of it. It follows what /readyz says within half a second.
func expectHealth(t *testing.T, watching grpc.ServerStreamingClient[healthpb.HealthCheckResponse], want healthpb.HealthCheckResponse_ServingStatus) {
	t.Helper()
	for {
		answer, err := watching.Recv()
		if err != nil {
			t.Fatalf("the health is not %v: %v", want, err)
		}
		if answer.GetStatus() == want {
			return
		}
	}
}

// streams speaks to the NATS server as an operator does.
func streams(t *testing.T, config server.JetStream) natsjs.JetStream {
	t.Helper()
	conn, err := natsgo.Connect(config.URLs[0], natsgo.UserInfo(config.Username, config.Password.Reveal()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(conn.Close)
	js, err := natsjs.New(conn)
	if err != nil {
		t.Fatal(err)
	}
	return js
}

// A copy that lacks the beginning of the commit log is not served before it is whole.
func TestGatewayThatIsNotWhole(t *testing.T) {
	option := shares(t)
	var config server.Config
	a := servertest.Start(t, option, func(c *server.Config) { config = *c })
	for i := range 3 {
		a.DeliverBody(t, webhookgatewayv1.Provider_PROVIDER_FINICITY, finicityBody(fmt.Sprint(i)))
	}
	jetstream := config.Store.CommitLog.JetStream
	js := streams(t, jetstream)
	stream, err := js.Stream(t.Context(), jetstream.Stream)
	if err != nil {
		t.Fatal(err)
	}
	if err := stream.Purge(t.Context(), natsjs.WithPurgeKeep(1)); err != nil { // not by a gateway, which says it again before
		t.Fatal(err)
	}
	b := servertest.Start(t, option)
	isReady(t, b, false)
	events := webhookgatewayv1.NewEventServiceClient(b.Conn())
	_, err = events.GetLogInfo(t.Context(), &webhookgatewayv1.GetLogInfoRequest{})
	if got := rpcerr.Reason(err); got != webhookgatewayv1.ErrorReason_ERROR_REASON_STARTING {
		t.Errorf("the answer is %v: %v", got, err)
	}
	subscribed, err := events.Subscribe(t.Context(), &webhookgatewayv1.SubscribeRequest{})
	if err == nil {
		_, err = subscribed.Recv()
	}
	if got := rpcerr.Reason(err); got != webhookgatewayv1.ErrorReason_ERROR_REASON_STARTING {
		t.Errorf("the answer is %v: %v", got, err)
	}
}

// isReady checks what /readyz says, and waits for it if it is to be good.
func isReady(t *testing.T, g *servertest.Gateway, want bool) (body string) {
	t.Helper()
	for began := time.Now(); ; {
		code, body := get(t, g, "/readyz")
		if (code == http.StatusOK) == want {
			return body
		}
		if !want || time.Since(began) > time.Minute {
			t.Fatalf("/readyz: %d %s", code, body)
		}
	}
}

// A gateway that was restarted goes on with its copy.
func TestGatewayRestartsWithItsCopy(t *testing.T) {
	option := shares(t)
	a, b := servertest.Start(t, option), servertest.Start(t, option)
	together(t, a, b)
	a.DeliverBody(t, webhookgatewayv1.Provider_PROVIDER_FINICITY, finicityBody("1"))
	read(t, b, 1)
	if err := b.Stop(); err != nil {
		t.Fatal(err)
	}
	a.DeliverBody(t, webhookgatewayv1.Provider_PROVIDER_FINICITY, finicityBody("2"))
	b.Restart(t)
	isReady(t, b, true)
	b.DeliverBody(t, webhookgatewayv1.Provider_PROVIDER_FINICITY, finicityBody("3"))
	if diff := cmp.Diff(read(t, a, 3), read(t, b, 3), protocmp.Transform()); diff != "" {
		t.Errorf("the gateways have other events (-a +b):\n%s", diff)
	}
}
