package server_test

import (
	"context"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/fieldmaskpb"

	webhookgatewayv1 "github.com/webhook-gateway/webhook-gateway/gen/webhookgateway/v1"
	"github.com/webhook-gateway/webhook-gateway/server"
	"github.com/webhook-gateway/webhook-gateway/server/provider"
	"github.com/webhook-gateway/webhook-gateway/server/servertest"
)

// loggedT is a test to which a gateway writes its log line by line.
type loggedT struct {
	*testing.T
	lines chan string
}

func newLoggedT(t *testing.T) loggedT { return loggedT{t, make(chan string, 100)} }

func (t loggedT) Output() io.Writer { return t }

func (t loggedT) Write(line []byte) (int, error) {
	select {
	case t.lines <- string(line):
	default: // nobody reads it any more
	}
	return len(line), nil
}

// ofCanary returns the next line about the canary. A busy machine may have others before it.
func (t loggedT) ofCanary() string {
	t.Helper()
	for end := time.After(time.Minute); ; {
		select {
		case line := <-t.lines:
			if strings.Contains(line, "the canary fails") {
				return line
			}
		case <-end:
			t.Fatal("the log has nothing about the canary")
		}
	}
}

// answering listens, and answers each connection's first bytes by a function.
func answering(t *testing.T, answer func(net.Conn)) (url string) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go func() {
				defer func() { _ = conn.Close() }()
				if _, err := conn.Read(make([]byte, 1<<10)); err == nil {
					answer(conn)
				}
			}()
		}
	}()
	return "http://" + listener.Addr().String()
}

// endlessly writes until the other side has enough.
func endlessly(text string) func(net.Conn) {
	return func(conn net.Conn) {
		for {
			if _, err := io.WriteString(conn, text); err != nil {
				return
			}
		}
	}
}

// Whoever answers at the canary's URL fails it, whatever they answer, and does nothing else:
// the log has one line that is not theirs to fill, they are not read for ever, and nobody that they
// send it on to hears of it.
func TestCanaryIsAnsweredByAStranger(t *testing.T) {
	elsewhere := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { t.Errorf("sent on: %v", r.Header) }))
	t.Cleanup(elsewhere.Close)
	const ok = "HTTP/1.1 200 OK\r\n"
	for name, tc := range map[string]struct {
		stage  string
		answer func(net.Conn)
	}{
		"an endless status":   {"send", endlessly("HTTP/1.1 " + strings.Repeat("A", 1<<20))},
		"a long status":       {"send", endlessly("HTTP/1.1 " + strings.Repeat("A", 10<<10) + "\r\n")},
		"endless headers":     {"send", endlessly(ok + "X: " + strings.Repeat("A", 1<<20))},
		"a large header":      {"send", endlessly(ok + "X: " + strings.Repeat("A", 100<<10) + "\r\n\r\n")},
		"endless hints":       {"send", endlessly("HTTP/1.1 103 Early Hints\r\nLink: <x>\r\n\r\n")},
		"an endless body":     {"receive", endlessly(ok + "\r\n" + strings.Repeat("[", 1<<20))},
		"a refusal of a kind": {"answer", endlessly("HTTP/1.1 400 Bad\r\n\r\n{\"error\":{\"reason\":\"" + strings.Repeat(`\n`, 1<<10) + "\"}}")},
		"a redirect":          {"answer", endlessly("HTTP/1.1 307 Temporary Redirect\r\nLocation: " + elsewhere.URL + "\r\n\r\n")},
		"nothing":             {"send", func(conn net.Conn) { _, _ = conn.Read(make([]byte, 1)) }},
	} {
		t.Run(name, func(t *testing.T) {
			logged := newLoggedT(t)
			servertest.Start(logged, withCanary, func(c *server.Config) { c.Canary.URL, c.Canary.Timeout = answering(t, tc.answer), 5*time.Second })
			line := logged.ofCanary()
			if !strings.Contains(line, "stage="+tc.stage) {
				t.Errorf("want stage %s, the log has %.300s", tc.stage, line)
			}
			if most := 1 << 10; len(line) > most {
				t.Errorf("they fill the log with %d bytes: %.300s", len(line), line)
			}
		})
	}
}

// No mode of verification, and no way of writing the canary's client, lets anybody deliver
// for it, whether it is on or off.
func TestNobodyForgesTheCanaryInAnyMode(t *testing.T) {
	const named = "X-Client-Id"
	for _, mode := range []provider.Mode{provider.ModeEnforce, provider.ModeReport, provider.ModeOff} {
		for _, on := range []bool{true, false} {
			g := servertest.Start(t, func(c *server.Config) {
				c.Log.Level = slog.LevelError
				c.Providers.Finicity.Verification, c.Providers.Vezgo.Verification = mode, mode
				c.Providers.Vezgo.Clients, c.Providers.Vezgo.AnyClient = nil, true
				if on {
					withCanary(c)
				}
			})
			for _, tc := range []struct{ path, client, signature string }{
				{"finicity/webhook-gateway-canary", "", ""},
				{"finicity/webhook-gateway-canary", "", "00"},
				{"finicity/webhook%2Dgateway%2dcanary", "", "00"},
				{"finicity/./webhook-gateway-canary", "", "00"},
				{"finicity/webhook-gateway-canary/", "", "00"},
				{"finicity/webhook-gateway-canary?client_id=" + servertest.Client, "", "00"},
				{"finicity/" + servertest.Client + "?client_id=webhook-gateway-canary", "webhook-gateway-canary", "00"},
				{"vezgo", "webhook-gateway-canary", ""},
				{"vezgo", " webhook-gateway-canary\t", ""},
				{"vezgo/webhook-gateway-canary", "", ""},
				{"vezgo/webhook-gateway-canary", "webhook-gateway-canary", ""},
				{"vezgo/webhook-gateway%2Dcanary", "webhook-gateway-canary", ""},
			} {
				body := `{"hook":"SyncAccount","eventType":"started","eventId":"1","payload":{},"user":{"id":"u"}}`
				req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, g.WebhookURL()+"/v1/webhooks/"+tc.path, strings.NewReader(body))
				if err != nil {
					t.Fatal(err)
				}
				req.Header.Set("Content-Type", "application/json")
				if tc.client != "" {
					req.Header.Set(named, tc.client)
				}
				if tc.signature != "" {
					req.Header.Set("X-Finicity-Signature", tc.signature)
				}
				code, answer := do(t, req)
				if code == http.StatusOK && !strings.HasPrefix(tc.path, "finicity/"+servertest.Client) {
					t.Errorf("mode %v, canary on: %v: %s for %q is answered %d %s", mode, on, tc.path, tc.client, code, answer)
				}
			}
			list, err := webhookgatewayv1.NewEventServiceClient(g.Conn()).ListEvents(t.Context(), &webhookgatewayv1.ListEventsRequest{
				Filters: []*webhookgatewayv1.EventFilter{{ClientIds: []string{provider.CanaryClientID}, Verdicts: []webhookgatewayv1.VerificationVerdict{1, 2, 3}}},
			})
			if err != nil {
				t.Fatal(err)
			}
			for _, event := range list.GetEvents() {
				if event.GetProviderEventId() == "1" || event.GetVerification().GetVerdict() != webhookgatewayv1.VerificationVerdict_VERIFICATION_VERDICT_VERIFIED {
					t.Errorf("mode %v, canary on: %v: stored %v", mode, on, event)
				}
			}
		}
	}
}

// A canary that waits for an answer keeps no gateway from shutting down.
func TestShutdownWhileTheCanaryWaits(t *testing.T) {
	asked := make(chan struct{}, 100)
	g := servertest.Start(t, withCanary, func(c *server.Config) {
		c.Canary.Timeout = time.Minute
		c.Canary.URL = answering(t, func(conn net.Conn) {
			asked <- struct{}{}
			_, _ = conn.Read(make([]byte, 1))
		})
	})
	<-asked
	begun := time.Now()
	if err := g.Stop(); err != nil {
		t.Error(err)
	}
	if took := time.Since(begun); took > 20*time.Second {
		t.Errorf("it takes %v", took)
	}
}

// However often the configuration is loaded, deliveries that are broken off by it are no
// failures, and the last configuration is the one in force.
func TestCanaryInAStormOfReloads(t *testing.T) {
	r := newReloader(t, withCanary)
	for i := range 100 {
		r.mustReload(t, func(c *server.Config) { c.Canary.Interval = time.Duration(1+i%2) * time.Second })
	}
	before := metric(t, r.g, canarySucceeded)
	eventually(t, "a round trip after them", func() bool { return metric(t, r.g, canarySucceeded) > before })
	for _, stage := range []string{"subscribe", "send", "answer", "receive"} {
		if n := metric(t, r.g, canaryFailures(stage)); n != 0 {
			t.Errorf("%v failures at %s", n, stage)
		}
	}
	if interval := metric(t, r.g, "webhook_gateway_canary_interval_seconds"); interval != 2 {
		t.Errorf("the interval is %v", interval)
	}
	eventually(t, "the streams of before have ended", func() bool { return metric(t, r.g, "webhook_gateway_streams_open") <= 1 })
}

// The canary finds its listener, however that is written.
func TestCanaryFindsItsListener(t *testing.T) {
	for _, listen := range []string{"127.0.0.1:0", "localhost:0", ":0", "0.0.0.0:0", "[::]:0", "[::1%lo]:0"} {
		t.Run(listen, func(t *testing.T) {
			probe, err := net.Listen("tcp", listen)
			if err != nil {
				t.Skipf("this machine has no such address: %v", err)
			}
			_ = probe.Close()
			g := servertest.Start(t, withCanary, func(c *server.Config) { c.Listen.Webhooks = listen })
			eventually(t, "a delivery", func() bool { return metric(t, g, canarySucceeded)+metric(t, g, canaryFailures("send")) > 0 })
			if metric(t, g, canarySucceeded) == 0 {
				t.Error("it does not arrive")
			}
		})
	}
}

// Whose subscription names the canary's client gets its events like all others: parks them,
// and replays them. Once its filter names nobody, no new ones come, not even on seeking back.
func TestCanaryInASubscription(t *testing.T) {
	g := servertest.Start(t, withCanary)
	workers := webhookgatewayv1.NewSubscriptionServiceClient(g.Conn())
	const team = "team"
	if _, err := workers.CreateSubscription(t.Context(), &webhookgatewayv1.CreateSubscriptionRequest{
		Subscription: &webhookgatewayv1.Subscription{Name: team, Filters: ofCanary()},
	}); err != nil {
		t.Fatal(err)
	}
	consume := func() (receive func() *webhookgatewayv1.Delivery, end context.CancelFunc) {
		ctx, cancel := context.WithCancel(t.Context())
		stream, err := workers.Consume(ctx, &webhookgatewayv1.ConsumeRequest{Subscription: team, MaxInFlight: 1})
		if err != nil {
			t.Fatal(err)
		}
		return func() *webhookgatewayv1.Delivery {
			return next(t, stream, (*webhookgatewayv1.ConsumeResponse).GetDeliveries).GetDeliveries()[0]
		}, cancel
	}
	receive, end := consume()
	parked := receive()
	rejected, err := workers.Reject(t.Context(), &webhookgatewayv1.RejectRequest{
		Subscription: team, AckTokens: []string{parked.GetAckToken()}, Action: webhookgatewayv1.RejectAction_REJECT_ACTION_PARK,
	})
	if err != nil || rejected.GetResults()[0] != webhookgatewayv1.TokenResult_TOKEN_RESULT_OK {
		t.Fatalf("park it: %v, %v", rejected, err)
	}
	list, err := workers.ListParkedEvents(t.Context(), &webhookgatewayv1.ListParkedEventsRequest{Subscription: team})
	if err != nil || len(list.GetParkedEvents()) != 1 || list.GetParkedEvents()[0].GetEvent().GetClientId() != provider.CanaryClientID {
		t.Errorf("parked: %v, %v", list, err)
	}
	if _, err := workers.ReplayParkedEvents(t.Context(), &webhookgatewayv1.ReplayParkedEventsRequest{Subscription: team, All: true}); err != nil {
		t.Fatal(err)
	}
	for got := ""; got != parked.GetEvent().GetId(); {
		delivery := receive()
		got = delivery.GetEvent().GetId()
		if _, err := workers.Acknowledge(t.Context(), &webhookgatewayv1.AcknowledgeRequest{Subscription: team, AckTokens: []string{delivery.GetAckToken()}}); err != nil {
			t.Fatal(err)
		}
	}
	end()
	if _, err := workers.UpdateSubscription(t.Context(), &webhookgatewayv1.UpdateSubscriptionRequest{
		Subscription: &webhookgatewayv1.Subscription{Name: team}, UpdateMask: &fieldmaskpb.FieldMask{Paths: []string{"filters"}},
	}); err != nil {
		t.Fatal(err)
	}
	if _, err := workers.SeekSubscription(t.Context(), &webhookgatewayv1.SeekSubscriptionRequest{Name: team, Start: &webhookgatewayv1.SubscriptionStart{
		Start: &webhookgatewayv1.SubscriptionStart_Position{Position: webhookgatewayv1.StartPosition_START_POSITION_EARLIEST},
	}}); err != nil {
		t.Fatal(err)
	}
	g.Deliver(t, webhookgatewayv1.EventType_EVENT_TYPE_FINICITY_ADDED)
	receive, end = consume()
	defer end()
	if event := receive().GetEvent(); event.GetClientId() != servertest.Client {
		t.Errorf("after the update: %v", event)
	}
}

// A canary whose URL leads to another gateway, as one of several behind a load balancer, says
// so.
func TestCanaryThatAnotherGatewayAnswers(t *testing.T) {
	other := servertest.Start(t, withCanary)
	logged := newLoggedT(t)
	servertest.Start(logged, withCanary, func(c *server.Config) { c.Canary.URL = other.WebhookURL() })
	if line := logged.ofCanary(); !strings.Contains(line, "another gateway answers at canary.url") {
		t.Errorf("the log has %.500s", line)
	}
}
