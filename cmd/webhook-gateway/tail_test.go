package main

import (
	"bytes"
	"fmt"
	"net"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"google.golang.org/grpc"

	webhookgatewayv1 "github.com/webhook-gateway/webhook-gateway/gen/webhookgateway/v1"
	"github.com/webhook-gateway/webhook-gateway/server"
	"github.com/webhook-gateway/webhook-gateway/server/provider"
	"github.com/webhook-gateway/webhook-gateway/server/provider/all"
	"github.com/webhook-gateway/webhook-gateway/server/secret"
	"github.com/webhook-gateway/webhook-gateway/server/servertest"
)

var privateFields = regexp.MustCompile(`"(?:number|loginName|realAccountNumberLast4|accountNumberDisplay)":"([^"]+)"`)

// startWithAll starts a gateway that was sent one delivery of every type.
func startWithAll(t *testing.T, options ...func(*server.Config)) *servertest.Gateway {
	t.Helper()
	g := servertest.Start(t, options...)
	for _, et := range all.EventTypes() {
		g.Deliver(t, et.Sample.Type)
	}
	return g
}

// A tail goes on over a restart of the gateway: every event once, in order.
func TestTailReconnects(t *testing.T) {
	g := servertest.Start(t)
	const each, restarts = 5, 2
	tail := begin(t, nil, "tail", "--addr", g.GRPCAddr(), "--json", "--client", servertest.Client, "--max", strconv.Itoa(each*(restarts+1)))
	tail.err.waitFor(t, has("caught up"))
	for i := range restarts + 1 {
		if i > 0 {
			g.Restart(t)
		}
		// The tail may not be connected again: what is sent meanwhile must reach it.
		for range each {
			g.Deliver(t, webhookgatewayv1.EventType_EVENT_TYPE_FINICITY_ADDED)
		}
		tail.out.waitFor(t, lines(each*(i+1)))
	}
	if code := tail.wait(); code != exitOK {
		t.Errorf("tail ended with %d:\n%s", code, tail.err)
	}
	if want := mustExecute(t, "tail", "--addr", g.GRPCAddr(), "--from", "earliest", "--until", "head", "--json"); tail.out.String() != want {
		t.Errorf("over the restarts came\n%s\nand the log has\n%s", tail.out, want)
	}
	for _, want := range []string{"ended the stream", "connected again"} {
		if !strings.Contains(tail.err.String(), want) {
			t.Errorf("the notes lack %q:\n%s", want, tail.err)
		}
	}
}

func TestTailStarts(t *testing.T) {
	addr := startWithAll(t).GRPCAddr()
	events := storedEvents(t, addr)
	middle, _ := events[8]["cursor"].(string)
	at, _ := events[9]["receiveTime"].(string)
	id, _ := events[1]["providerEventId"].(string)
	subject, _ := events[17]["subject"].(string)
	if id == "" || subject == "" {
		t.Fatalf("the events have no id of their provider or no subject: %v, %v", events[1], events[17])
	}

	for name, test := range map[string]struct {
		args []string
		want int
	}{
		"latest":       {nil, 0},
		"earliest":     {[]string{"--from", "earliest"}, 18},
		"ago":          {[]string{"--ago", "1h"}, 18},
		"cursor":       {[]string{"--from", middle}, 9},
		"time":         {[]string{"--from", at}, 9},
		"type":         {[]string{"--from", "earliest", "-t", "finicity.added,SyncError", "-t", "EVENT_TYPE_FINICITY_PING"}, 3},
		"provider":     {[]string{"--from", "earliest", "-p", "vezgo"}, 2},
		"client":       {[]string{"--from", "earliest", "-c", "nobody"}, 0},
		"subject":      {[]string{"--from", "earliest", "-p", "vezgo", "--subject", subject}, 2},
		"no subject":   {[]string{"--from", "earliest", "--subject", "nobody"}, 0},
		"provider id":  {[]string{"--from", "earliest", "--provider-event-id", id}, 1},
		"verified":     {[]string{"--from", "earliest", "--verdict", "verified"}, 18},
		"others":       {[]string{"--from", "earliest", "--verdict", "failed,not-checked"}, 0},
		"max":          {[]string{"--from", "earliest", "--max", "4"}, 4},
		"last":         {[]string{"-n", "4"}, 4},
		"last of one":  {[]string{"-n", "4", "-p", "vezgo"}, 2},
		"last of all":  {[]string{"-n", "18"}, 18},
		"last of more": {[]string{"--last", "1000000"}, 18},
		"last none":    {[]string{"-n", "0"}, 0},
		"today":        {[]string{"--from", "yesterday"}, 18},
		"days":         {[]string{"--ago", "1d"}, 18},
	} {
		out := mustExecute(t, append([]string{"tail", "--addr", addr, "--until", "head"}, test.args...)...)
		if n := strings.Count(out, "\n"); n != test.want {
			t.Errorf("%s: %d events, want %d:\n%s", name, n, test.want, out)
		}
	}
	if out := mustExecute(t, "tail", "--addr", addr, "--from", "earliest", "--until", middle); strings.Count(out, "\n") != 9 {
		t.Errorf("until a cursor came:\n%s", out)
	}
	if out := mustExecute(t, "tail", "--addr", addr, "--from", "earliest", "--until", at); strings.Count(out, "\n") != 9 {
		t.Errorf("until a time came:\n%s", out)
	}
	stopped := begin(t, nil, "tail", "--addr", addr)
	stopped.err.waitFor(t, has("caught up"))
	stopped.stop()
	if code := stopped.wait(); code != exitOK {
		t.Errorf("an interrupted tail ended with %d", code)
	}
	if code := run(t.Context(), []string{"tail", "--addr", addr, "--from", "earliest"}, streams{out: failingWriter{}, err: newOutput()}); code != exitFailure {
		t.Errorf("a tail that cannot print ended with %d", code)
	}
}

// What the gateway refuses is said in its words, and in no others.
func TestTailIsRefused(t *testing.T) {
	g := servertest.Start(t)
	addr := g.GRPCAddr()
	for name, test := range map[string]struct {
		args []string
		code int
		want string
	}{
		"cursor": {[]string{"--from", "cNotOneThatWasGivenOut00"}, exitUsage, "webhook-gateway: " + addr +
			": the cursor is not one that a gateway gave out: pass it exactly as it was received (CURSOR_MALFORMED)\n"},
		"provider and type": {[]string{"--provider", "vezgo", "--type", "added"}, exitUsage, "filters[0].event_types[0]: " +
			"EVENT_TYPE_FINICITY_ADDED is a type of PROVIDER_FINICITY, which is not among the providers of this filter: add it, or leave the type out (INVALID_FIELD)\n"},
		"subscription": {[]string{"--subscription", "none"}, exitFailure, "there is no subscription with this name: create it first (SUBSCRIPTION_NOT_FOUND)\n"},
	} {
		code, _, errOut := execute(t, append([]string{"tail", "--addr", addr}, test.args...)...)
		if code != test.code || !strings.HasSuffix(errOut, test.want) || strings.Contains(errOut, "rpc error") {
			t.Errorf("%s: ended with %d, want %d and %q in:\n%s", name, code, test.code, test.want, errOut)
		}
	}
	// An address where something else is, or nobody yet.
	for _, other := range []string{g.WebhookURL(), g.InternalURL()} {
		code, _, errOut := execute(t, "tail", "--addr", strings.TrimPrefix(other, "http://"))
		if code != exitFailure || !strings.Contains(errOut, "what answers does not speak gRPC: this is no gRPC listener: --addr names that of the gateway, port 9090") {
			t.Errorf("%s: ended with %d:\n%s", other, code, errOut)
		}
	}
	waiting := begin(t, nil, "tail", "--addr", "127.0.0.1:1")
	waiting.err.waitFor(t, func(text string) bool { return strings.Count(text, "reconnecting in") >= 2 })
	waiting.stop()
	if code := waiting.wait(); code != exitOK || strings.Count(waiting.err.String(), "# is the gateway running? `webhook-gateway serve` starts one") != 1 {
		t.Errorf("waiting for a gateway ended with %d:\n%s", code, waiting.err)
	}
	code, _, errOut := execute(t, "tail", "--addr", "127.0.0.1:1", "--stop-at-head")
	if want := "webhook-gateway: 127.0.0.1:1: no connection: connection refused: is the gateway running?"; code != exitFailure || !strings.Contains(errOut, want) {
		t.Errorf("without a gateway tail ended with %d, want %q in:\n%s", code, want, errOut)
	}
}

// Events that failed verification are left out, which is said.
func TestTailLeavesOutWhatFailedVerification(t *testing.T) {
	g := startWithAll(t, func(config *server.Config) { config.Providers.Finicity.Verification = provider.ModeReport })
	forged := func(n int) {
		mustExecute(t, "trigger", "added", "--count", strconv.Itoa(n), "--client", servertest.Client, "--url", g.WebhookURL())
	}
	t.Chdir(t.TempDir()) // no secret to sign with
	forged(3)
	tail := begin(t, nil, "tail", "--addr", g.GRPCAddr(), "--from", "earliest")
	tail.err.waitFor(t, has("# caught up: what follows is live\n# 3 events were left out because they failed verification: `webhook-gateway tail --verdict failed` shows them\n"))
	if out := tail.out.String(); strings.Count(out, "\n") != 18 || strings.Contains(out, "UNVERIFIED") {
		t.Errorf("printed:\n%s", out)
	}
	tail.stop()
	tail.wait()
	if n := strings.Count(tail.err.String(), "left out"); n != 1 {
		t.Errorf("it was said %d times:\n%s", n, tail.err)
	}
	code, out, errOut := execute(t, "tail", "--addr", g.GRPCAddr(), "--from", "earliest", "--until", "head", "--verdict", "failed")
	if code != exitOK || strings.Count(out, "[UNVERIFIED: signature missing]\n") != 3 || strings.Count(out, "\n") != 3 || strings.Contains(errOut, "left out") {
		t.Errorf("--verdict failed: %d\n%s%s", code, out, errOut)
	}
}

// lyingGateway sends some frames, whatever was asked for.
type lyingGateway struct {
	webhookgatewayv1.UnimplementedEventServiceServer

	frames []*webhookgatewayv1.SubscribeResponse
}

func (g *lyingGateway) Subscribe(_ *webhookgatewayv1.SubscribeRequest, stream grpc.ServerStreamingServer[webhookgatewayv1.SubscribeResponse]) error {
	for _, frame := range g.frames {
		if err := stream.Send(frame); err != nil {
			return err
		}
	}
	<-stream.Context().Done()
	return nil
}

// serveEvents serves an EventService of the test, and returns its address.
func serveEvents(t *testing.T, service webhookgatewayv1.EventServiceServer) string {
	t.Helper()
	var listen net.ListenConfig
	listener, err := listen.Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := grpc.NewServer()
	webhookgatewayv1.RegisterEventServiceServer(s, service)
	served := make(chan error, 1)
	go func() { served <- s.Serve(listener) }()
	t.Cleanup(func() {
		s.Stop()
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
	return listener.Addr().String()
}

// A tail to which events are missing ends with an error that says between what.
func TestTailEndsWhenTheChainBreaks(t *testing.T) {
	addr := serveEvents(t, &lyingGateway{frames: []*webhookgatewayv1.SubscribeResponse{
		subscribedAt("c1"), eventsAfter("c1", "c2", "c3"), eventsAfter("c4", "c5"),
	}})
	code, out, errOut := execute(t, "tail", "--addr", addr, "--json")
	if code != exitFailure || strings.Count(out, "\n") != 2 || !strings.Contains(errOut, "complete up to c3 and goes on after c4") {
		t.Errorf("tail ended with %d:\n%s%s", code, out, errOut)
	}
}

// Lines for people hold no account number and no login name, and nothing from
// outside reaches the terminal as a command.
func TestHumanLines(t *testing.T) {
	for _, et := range all.EventTypes() {
		decoded, err := decode(t, et)
		if err != nil {
			t.Fatal(err)
		}
		decoded.TypeName = et.Sample.TypeName
		decoded.Provider = et.Sender.ID()
		var line bytes.Buffer
		if err := (humanPrinter{}).write(&line, decoded, 1); err != nil {
			t.Fatal(err)
		}
		for _, private := range privateFields.FindAllSubmatch(et.Sample.Body, -1) {
			if bytes.Contains(line.Bytes(), private[1]) {
				t.Errorf("%s: the line has %q: %s", et.Name(), private[1], &line)
			}
		}
	}

	var line bytes.Buffer
	hostile := &webhookgatewayv1.Event{
		TypeName: "\x1b[2Jgone", ClientId: "a b", DecodeError: "drift\x07", EventIdConflict: true,
		Verification: &webhookgatewayv1.Verification{
			Verdict: webhookgatewayv1.VerificationVerdict_VERIFICATION_VERDICT_FAILED,
			Failure: webhookgatewayv1.VerificationFailure_VERIFICATION_FAILURE_SOURCE_NOT_ALLOWED,
		},
		Subject: "some\x07body",
		RawBody: []byte("{\"a\":\"\x1b[31m\"}"),
	}
	if err := (humanPrinter{raw: true}).write(&line, hostile, 3); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`"\x1b[2Jgone"`, `"a b"`, "[DRIFT: drift·]", "[CONFLICT", "[UNVERIFIED: source not allowed]", `subject="some\abody"`, "[ATTEMPT 3]", `{"a":"·[31m"}`} {
		if !strings.Contains(line.String(), want) {
			t.Errorf("the line lacks %s: %s", want, &line)
		}
	}
	if strings.ContainsAny(line.String(), "\x1b\x07") {
		t.Errorf("a control character reaches the terminal: %q", &line)
	}
}

// decode returns the typed event of a sample, as its provider decodes it.
func decode(t *testing.T, et all.EventType) (*webhookgatewayv1.Event, error) {
	t.Helper()
	config := localConfig()
	acceptDevelopment(&config, secret.New("test secret"))
	providers, err := all.New(config.Providers)
	if err != nil {
		return nil, err
	}
	for _, p := range providers {
		if p.ID() == et.Sender.ID() {
			decoded, err := p.Decode(et.Sample.Body)
			return decoded.Event, err
		}
	}
	return nil, fmt.Errorf("no provider %s", et.Sender.Name())
}
