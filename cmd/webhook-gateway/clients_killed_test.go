package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	webhookgatewayv1 "github.com/webhook-gateway/webhook-gateway/gen/webhookgateway/v1"
)

// testKilledClients kills the gateway, then every client, then the gateway again, while
// deliveries go on. In the end every event of the log has had its effect at each client,
// and once; the event that no worker can handle is parked, with the reason.
func testKilledClients(t *testing.T, binary string, examples []*example) {
	g := newKilledGateway(t)
	p := startProcess(t, binary, g.environ())
	var clients []*client
	for _, e := range examples {
		mustExecute(t, "subscriptions", "create", e.language, "--addr", g.grpc, "--from", "earliest")
		for _, name := range []string{"subscriber", "worker"} {
			clients = append(clients, startClient(t, e, name, g.grpc))
		}
	}
	stop := g.deliver(t)
	steps := []func(){
		func() { p.kill(t); p = startProcess(t, binary, g.environ()) },
		func() {
			for _, c := range clients {
				c.kill(t)
				c.start(t)
			}
		},
		func() { p.kill(t); p = startProcess(t, binary, g.environ()) },
	}
	for _, step := range steps {
		had := make(map[*client]int)
		for _, c := range clients {
			had[c] = len(c.effects(t))
		}
		for _, c := range clients {
			waitUntil(t, c, func() bool { return len(c.effects(t)) > had[c]+30 })
		}
		step()
	}
	acked := stop()
	events := eventsOf(t, g.grpc)
	t.Logf("%d deliveries were answered 200, the log has %d events", acked, len(events))
	want := map[string]map[string]int{"subscriber": {}, "worker": {}}
	for _, event := range events {
		if event.GetType() != webhookgatewayv1.EventType_EVENT_TYPE_VEZGO_SYNC_ERROR {
			continue
		}
		want["subscriber"][event.GetClientId()+": syncs failed"]++
		if account := event.GetVezgo().GetAccount().GetId(); account != "" {
			want["worker"][account]++
		}
	}
	for _, c := range clients {
		waitUntil(t, c, func() bool { return len(c.effects(t)) >= len(want[c.name]) && (c.name == "subscriber" || c.settled(t)) })
		c.terminate(t)
		if diff := cmp.Diff(want[c.name], c.effects(t)); diff != "" {
			t.Errorf("the effects of the %s of %s are not those of the events (-want +got):\n%s", c.name, c.example.language, diff)
		}
	}
	for _, e := range examples {
		if out := mustExecute(t, "parked", "list", e.language, "--addr", g.grpc); !strings.Contains(out, "it names no account") {
			t.Errorf("the parked events of %s are\n%s", e.language, out)
		}
	}
	p.terminate(t)
}

// killedGateway is a gateway that comes back under the same addresses, with the same store. Its ports are
// below those that a system gives to whoever asks for any, so that nobody is given them meanwhile.
type killedGateway struct {
	webhooks, grpc, internal, store string
}

func newKilledGateway(t *testing.T) *killedGateway {
	t.Helper()
	g := &killedGateway{store: filepath.Join(t.TempDir(), "store")}
	for _, address := range []*string{&g.webhooks, &g.grpc, &g.internal} {
		listener, err := net.Listen("tcp", fmt.Sprint("127.0.0.1:", 10_000+rand.IntN(20_000)))
		for tries := 0; err != nil && tries < 100; tries++ { // it is taken
			listener, err = net.Listen("tcp", fmt.Sprint("127.0.0.1:", 10_000+rand.IntN(20_000)))
		}
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = listener.Close() }() // for the gateway
		*address = listener.Addr().String()
	}
	return g
}

func (g *killedGateway) environ() []string {
	return []string{
		"WEBHOOK_GATEWAY_LISTEN_WEBHOOKS=" + g.webhooks,
		"WEBHOOK_GATEWAY_LISTEN_GRPC=" + g.grpc,
		"WEBHOOK_GATEWAY_LISTEN_INTERNAL_HTTP=" + g.internal,
		"WEBHOOK_GATEWAY_SHUTDOWN_DELAY=0s",
		"WEBHOOK_GATEWAY_STORE_PEBBLE_PATH=" + g.store,
		"WEBHOOK_GATEWAY_PROVIDERS_VEZGO_ENABLED=true",
		"WEBHOOK_GATEWAY_PROVIDERS_VEZGO_ANY_CLIENT=true",
		"WEBHOOK_GATEWAY_PROVIDERS_VEZGO_SOURCE_ADDRESSES=[127.0.0.1]",
	}
}

// deliver sends deliveries, each with a client and an account of its own, but for the first:
// it names no account. What it returns ends that, and returns how many were answered 200.
func (g *killedGateway) deliver(t *testing.T) (stop func() int) {
	t.Helper()
	if !g.post(t.Context(), "bad", `{"hook":"SyncError","error":"LoginFailedError","user":{"id":"u"},"account":{"provider":"coinbase"}}`) {
		t.Fatal("the first delivery was not answered 200")
	}
	acked := 1
	done := make(chan struct{})
	var task sync.WaitGroup
	task.Go(func() {
		pace := time.NewTicker(5 * time.Millisecond)
		defer pace.Stop()
		for n := 0; ; n++ {
			select {
			case <-done:
				return
			case <-pace.C:
			}
			kind := `"hook":"SyncError","error":"LoginFailedError"`
			if n%4 == 0 {
				kind = `"hook":"SyncAccount"` // not for the subscribers, nothing for the workers
			}
			body := fmt.Sprintf(`{%s,"user":{"id":"u"},"account":{"id":"a%d","provider":"coinbase"}}`, kind, n)
			if g.post(t.Context(), fmt.Sprint("c", n), body) {
				acked++
			}
		}
	})
	end := sync.OnceFunc(func() {
		close(done)
		task.Wait()
	})
	t.Cleanup(end) // if the test fails before
	return func() int {
		end()
		return acked
	}
}

// post reports whether a delivery was answered 200. The gateway may be dead.
func (g *killedGateway) post(ctx context.Context, client, body string) bool {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+g.webhooks+"/v1/webhooks/vezgo", strings.NewReader(body))
	if err != nil {
		return false
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("X-Client-Id", client)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return false
	}
	_ = resp.Body.Close() // nothing is read from it
	return resp.StatusCode == http.StatusOK
}

// eventsOf returns all events of the log.
func eventsOf(t *testing.T, grpc string) []*webhookgatewayv1.Event {
	t.Helper()
	conn, err := (&remote{addr: grpc}).dial()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }() // nothing is left to lose
	stream, err := webhookgatewayv1.NewEventServiceClient(conn).Subscribe(t.Context(), &webhookgatewayv1.SubscribeRequest{
		Start: &webhookgatewayv1.SubscribeRequest_StartPosition{StartPosition: webhookgatewayv1.StartPosition_START_POSITION_EARLIEST},
		Stop:  &webhookgatewayv1.SubscribeRequest_StopAtHead{StopAtHead: true},
	})
	if err != nil {
		t.Fatal(err)
	}
	var events []*webhookgatewayv1.Event
	for {
		frame, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return events
		}
		if err != nil {
			t.Fatal(err)
		}
		events = append(events, frame.GetEvents().GetEvents()...)
	}
}

// client is a program of an example, over its restarts.
type client struct {
	example *example
	name    string // subscriber, worker
	address string // of the gateway
	state   string
	log     *os.File
	cmd     *exec.Cmd
}

func startClient(t *testing.T, e *example, name, address string) *client {
	t.Helper()
	dir := t.TempDir()
	log, err := os.Create(filepath.Join(dir, "log"))
	if err != nil {
		t.Fatal(err)
	}
	c := &client{example: e, name: name, address: address, state: filepath.Join(dir, "state"), log: log}
	t.Cleanup(func() {
		_ = c.cmd.Process.Kill()
		_ = c.cmd.Wait() // it has ended, one way or the other
		_ = log.Close()
		if t.Failed() {
			t.Logf("%s of %s said:\n%s", c.name, c.example.language, read(t, log.Name()))
		}
	})
	c.start(t)
	return c
}

func (c *client) start(t *testing.T) {
	t.Helper()
	args := append(c.example.program(c.name), "--address", c.address, "--state", c.state)
	if c.name == "worker" {
		args = append(args, "--subscription", c.example.language)
	}
	c.cmd = exec.Command(args[0], args[1:]...)
	c.cmd.Dir, c.cmd.Stdout, c.cmd.Stderr = c.example.folder, c.log, c.log
	if err := c.cmd.Start(); err != nil {
		t.Fatal(err)
	}
}

func (c *client) kill(t *testing.T) {
	t.Helper()
	if err := c.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = c.cmd.Wait() // says that it was killed
}

func (c *client) terminate(t *testing.T) {
	t.Helper()
	if err := c.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := c.cmd.Wait(); err != nil {
		t.Errorf("%s of %s ended after SIGTERM with %v", c.name, c.example.language, err)
	}
}

func (c *client) effects(t *testing.T) map[string]int {
	t.Helper()
	if _, err := os.Stat(c.state); err != nil {
		return nil
	}
	return c.example.effects(t, c.state)
}

// settled reports whether of all events only the one that cannot be handled is left.
func (c *client) settled(t *testing.T) bool {
	t.Helper()
	conn, err := (&remote{addr: c.address}).dial()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }() // nothing is left to lose
	got, err := webhookgatewayv1.NewSubscriptionServiceClient(conn).GetSubscription(t.Context(), &webhookgatewayv1.GetSubscriptionRequest{Name: c.example.language})
	if err != nil {
		t.Fatal(err)
	}
	status := got.GetSubscription().GetStatus()
	return status.GetLagEvents() == 0 && status.GetInFlightEvents() == 0 && status.GetWaitingEvents() == 0 && status.GetParkedEvents() == 1
}

// waitUntil waits for a client.
func waitUntil(t *testing.T, c *client, condition func() bool) {
	t.Helper()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for limit := time.After(3 * time.Minute); !condition(); { // a busy machine needs some of that
		select {
		case <-tick.C:
		case <-limit:
			t.Fatalf("%s of %s waits for ever, with %d effects", c.name, c.example.language, len(c.effects(t)))
		}
	}
}
