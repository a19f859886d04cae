package main

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/webhook-gateway/webhook-gateway/server/ephemeral"
	"github.com/webhook-gateway/webhook-gateway/server/servertest"
)

// A gateway for tests, run by the command.
type throwaway struct {
	*command
	ephemeral.Description
	stdin *io.PipeWriter
}

// serveEphemerally runs `serve --ephemeral` on free ports, until standard input ends.
func serveEphemerally(t *testing.T, environ ...string) throwaway {
	t.Helper()
	ctx, stop := context.WithCancel(context.Background())
	in, stdin := io.Pipe()
	c := &command{out: newOutput(), err: newOutput(), stop: stop, code: make(chan int, 1)}
	go func() {
		c.code <- run(ctx, []string{"serve", "--ephemeral", "--free-ports", "--until-eof"}, streams{in: in, out: c.out, err: c.err, environ: environ})
	}()
	t.Cleanup(func() {
		_ = stdin.Close() // it may be closed already
		stop()
		c.code <- <-c.code
	})
	g := throwaway{command: c, stdin: stdin}
	if err := json.Unmarshal([]byte(c.out.waitFor(t, lines(1))), &g.Description); err != nil {
		t.Fatal(err)
	}
	return g
}

func (g throwaway) trigger(t *testing.T, types ...string) {
	t.Helper()
	mustExecute(t, append([]string{"trigger", "--ephemeral", "--url", g.Webhooks}, types...)...)
}

func (g throwaway) fault(t *testing.T, args ...string) (code int, out, errOut string) {
	t.Helper()
	return execute(t, append([]string{"fault", "--control", g.Control}, args...)...)
}

func (g throwaway) mustFault(t *testing.T, args ...string) {
	t.Helper()
	if code, out, errOut := g.fault(t, args...); code != exitOK || out != args[0]+": done\n" {
		t.Fatalf("fault %v ended with %d: %s%s", args, code, out, errOut)
	}
}

// A gateway for tests needs nothing, warns, takes every type, leaves nothing behind, and
// ends with its standard input.
func TestServeEphemeral(t *testing.T) {
	t.Chdir(t.TempDir())
	g := serveEphemerally(t)
	g.err.waitFor(t, has("THIS GATEWAY IS FOR TESTS, AND IS THROWN AWAY"))
	if out := mustExecute(t, "trigger", "--ephemeral", "--all", "--url", g.Webhooks); strings.Count(out, "  200  ") != 18 {
		t.Errorf("not all were taken:\n%s", out)
	}
	if n := len(storedEvents(t, g.GRPC)); n != 18 {
		t.Errorf("%d events are stored", n)
	}
	// What it prints is enough for any client.
	code, out, errOut := executeIn(t, []string{"S=" + g.FinicitySecret}, "trigger", "ping", "--url", g.Webhooks, "--client", g.Client, "--secret", "env:S")
	if code != exitOK {
		t.Errorf("with the secret that it prints: %s%s", out, errOut)
	}
	for _, url := range []string{g.InternalHTTP + "/readyz", g.Control + "/"} {
		resp, err := http.Get(url)
		if err != nil {
			t.Fatal(err)
		}
		if body, err := io.ReadAll(resp.Body); err != nil || resp.StatusCode != http.StatusOK {
			t.Errorf("%s answers %d %s, %v", url, resp.StatusCode, body, err)
		}
		_ = resp.Body.Close() // it was read
	}
	http.DefaultClient.CloseIdleConnections()
	if err := g.stdin.Close(); err != nil {
		t.Fatal(err)
	}
	if code := g.wait(); code != exitOK {
		t.Errorf("it ended with %d: %s", code, g.err)
	}
	if left, err := os.ReadDir("."); err != nil || len(left) > 0 {
		t.Errorf("it left %v behind, %v", left, err)
	}
}

// The faults happen to a reader that is a process of its own, and it goes on.
func TestFaultsOfTheCommand(t *testing.T) {
	g := serveEphemerally(t)
	tail := begin(t, nil, "tail", "--addr", g.GRPC, "--from", "earliest", "--json")
	seen := 0
	next := func(name string) {
		t.Helper()
		g.trigger(t, name)
		seen++
		got := tail.out.waitFor(t, lines(seen))
		if last := strings.Split(strings.TrimSpace(got), "\n")[seen-1]; !strings.Contains(last, `"typeName":"`+name+`"`) {
			t.Errorf("event %d is %s, want %s", seen, last, name)
		}
	}
	next("started")
	for _, fault := range []string{"cut", "restart", "fall-behind"} {
		g.mustFault(t, fault)
		next("added")
	}
	g.mustFault(t, "keep-up")
	g.mustFault(t, "freeze")
	g.trigger(t, "adding")
	g.mustFault(t, "thaw")
	seen++
	next("done")

	g.mustFault(t, "stop")
	if code, _, errOut := g.fault(t, "expire"); code != exitFailure || errOut != "webhook-gateway: expire: the gateway is stopped: start it again first\n" {
		t.Errorf("a fault of a gateway that is stopped ended with %d: %s", code, errOut)
	}
	g.mustFault(t, "start")
	g.mustFault(t, "start")
	next("SyncError")
	g.mustFault(t, "expire", "2")
	var left []string
	for _, event := range storedEvents(t, g.GRPC) {
		name, _ := event["typeName"].(string)
		left = append(left, name)
	}
	if diff := cmp.Diff([]string{"done", "SyncError"}, left); diff != "" {
		t.Errorf("left are (-want +got):\n%s", diff)
	}
	g.mustFault(t, "expire")
	if n := len(storedEvents(t, g.GRPC)); n != 0 {
		t.Errorf("%d events are left", n)
	}

	mustExecute(t, "subscriptions", "create", "billing", "--addr", g.GRPC)
	g.mustFault(t, "redeliver", "billing")
	for want, args := range map[string][]string{
		"there is no subscription with this name":          {"redeliver", "biling"},
		`keep "some" is no number of events`:               {"expire", "some"},
		"it takes other arguments: `webhook-gateway fault": {"redeliver"},
		`unknown command "explode"`:                        {"explode"},
	} {
		if code, _, errOut := g.fault(t, args...); code == exitOK || !strings.Contains(errOut, want) {
			t.Errorf("fault %v ended with %d, want %q: %s", args, code, want, errOut)
		}
	}
	for path, want := range map[string]int{
		"/faults/redeliver":       http.StatusBadRequest,
		"/faults/cut?keep=1":      http.StatusBadRequest,
		"/faults/expire?count=1":  http.StatusBadRequest,
		"/faults/explode":         http.StatusNotFound,
		"/faults/expire?keep=100": http.StatusOK,
	} {
		resp, err := http.Post(g.Control+path, "", nil)
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(resp.Body)
		_ = resp.Body.Close() // it was read
		if resp.StatusCode != want {
			t.Errorf("%s is answered %d %s", path, resp.StatusCode, body)
		}
	}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, g.Control+"/faults/cut", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Origin", "https://example.com")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close() // only the status matters
	if resp.StatusCode != http.StatusForbidden {
		t.Errorf("a web page may do it: %d", resp.StatusCode)
	}
	http.DefaultClient.CloseIdleConnections()
}

func TestEphemeralIsRefused(t *testing.T) {
	t.Chdir(t.TempDir())
	for name, test := range map[string]struct {
		args    []string
		environ string
		want    string
	}{
		"configuration":      {[]string{"--config", "gateway.yaml"}, "", "--ephemeral takes no configuration, and gateway.yaml is given"},
		"configuration, too": {nil, "WEBHOOK_GATEWAY_CONFIG=gateway.yaml", "--ephemeral takes no configuration, and gateway.yaml is given"},
		"path":               {nil, "WEBHOOK_GATEWAY_STORE_PEBBLE_PATH=data", "--ephemeral keeps events in memory, and store.pebble.path is set"},
		"commit log":         {nil, "WEBHOOK_GATEWAY_STORE_COMMIT_LOG_ENGINE=jetstream", "--ephemeral is a single gateway, and store.commit_log is set"},
		"wrong key":          {nil, "WEBHOOK_GATEWAY_STREAMS_MAX_STREAMS=0", "streams.max_streams: must be at least 1"},
		"unknown key":        {nil, "WEBHOOK_GATEWAY_STREAM_MAX=1", "WEBHOOK_GATEWAY_STREAM_MAX"},
		"control of others":  {[]string{"--control-addr", "0.0.0.0:0"}, "", "--control-addr 0.0.0.0:0 can be reached by other machines"},
		"no control":         {[]string{"--control-addr", "http://x"}, "", "an address is host:port, without http://"},
	} {
		t.Run(name, func(t *testing.T) {
			code, out, errOut := executeIn(t, []string{test.environ}, append([]string{"serve", "--ephemeral", "--free-ports"}, test.args...)...)
			if code != exitUsage || out != "" || !strings.Contains(errOut, test.want) {
				t.Errorf("ended with %d, want %q: %s%s", code, test.want, out, errOut)
			}
		})
	}
	for _, flag := range []string{"--free-ports", "--until-eof", "--control-addr=localhost:1"} {
		if code, _, errOut := execute(t, "serve", flag); code != exitUsage || !strings.Contains(errOut, "is for --ephemeral only") {
			t.Errorf("serve %s ended with %d: %s", flag, code, errOut)
		}
	}
	if code, _, errOut := execute(t, "trigger", "added", "--ephemeral", "--secret", "env:X"); code != exitUsage || !strings.Contains(errOut, "--ephemeral and --secret exclude each other") {
		t.Errorf("two secrets: %d %s", code, errOut)
	}
	if code, _, errOut := execute(t, "fault", "cut", "--control", "http://127.0.0.1:1"); code != exitFailure || !strings.Contains(errOut, "does a gateway with --ephemeral run?") {
		t.Errorf("without a gateway: %d %s", code, errOut)
	}
	if code, _, errOut := execute(t, "fault", "cut", "--control", "localhost:8082"); code != exitUsage || !strings.Contains(errOut, "--control: a URL begins with http://") {
		t.Errorf("an address: %d %s", code, errOut)
	}
	taken := httptest.NewServer(http.NotFoundHandler())
	defer taken.Close()
	addr := taken.Listener.Addr().String()
	if code, _, errOut := execute(t, "serve", "--ephemeral", "--free-ports", "--control-addr", addr); code != exitFailure || !strings.Contains(errOut, "another process listens there: give another address, or --free-ports") {
		t.Errorf("an address that is taken: %d %s", code, errOut)
	}
	if left, err := os.ReadDir("."); err != nil || len(left) > 0 {
		t.Errorf("there is %v, %v", left, err)
	}
}

// A gateway that is not for tests has no faults, at none of its ports and under no name.
// And it does not take the secret that everybody knows.
func TestNoFaultsWithoutEphemeral(t *testing.T) {
	t.Chdir(t.TempDir())
	gateway := serve(t)
	for _, addr := range []string{gateway.webhooks, gateway.grpc, gateway.internal} {
		for _, f := range ephemeral.Faults() {
			args := []string{"fault", f.Name, "--control", "http://" + addr}
			if f.Param != "" {
				args = append(args, "1")
			}
			if code, _, errOut := execute(t, args...); code != exitFailure || !strings.Contains(errOut, "gateway with --ephemeral") {
				t.Errorf("%v ended with %d: %s", args, code, errOut)
			}
		}
	}
	if code, out, _ := execute(t, "trigger", "--ephemeral", "added", "--url", "http://"+gateway.webhooks); code != exitFailure || !strings.Contains(out, "SIGNATURE_MISMATCH") {
		t.Errorf("the known secret is taken: %s", out)
	}
	g := servertest.Start(t, servertest.InMemory)
	resp, err := http.Post(g.InternalURL()+"/faults/cut", "", nil)
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close() // only the status matters
	if resp.StatusCode != http.StatusNotFound {
		t.Errorf("the internal port answers %d", resp.StatusCode)
	}
	http.DefaultClient.CloseIdleConnections()
}
