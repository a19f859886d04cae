package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

	webhookgatewayv1 "github.com/webhook-gateway/webhook-gateway/gen/webhookgateway/v1"
	"github.com/webhook-gateway/webhook-gateway/server/provider"
	"github.com/webhook-gateway/webhook-gateway/server/provider/all"
	"github.com/webhook-gateway/webhook-gateway/server/secret"
)

const (
	crashRounds  = 8  // unless CRASH_ROUNDS says otherwise
	crashSenders = 16 // concurrent, half for each provider
	crashMaxAcks = 400
)

// The real binary is killed again and again under load. What was answered 200 is
// in the log exactly once, in order; a delivery of Finicity with an unknown
// outcome is sent again, as the provider does, and stored once. One of Vezgo has
// no id: it is not sent again, and stored at most once.
func TestCrash(t *testing.T) {
	if testing.Short() {
		t.Skip("kills a real process for some seconds")
	}
	rounds := crashRounds
	if text := os.Getenv("CRASH_ROUNDS"); text != "" {
		var err error
		if rounds, err = strconv.Atoi(text); err != nil {
			t.Fatal(err)
		}
	}
	binary := buildBinary(t)
	load := newCrashLoad(t)
	for round := range rounds {
		p := startProcess(t, binary, load.environ)
		acks := load.serveFrom(p.webhooks)
		for range 1 + rand.IntN(crashMaxAcks) {
			<-acks
		}
		load.interrupt()
		p.kill(t)
		t.Logf("round %d: killed after %d deliveries in all", round+1, load.acked())
	}
	last := startProcess(t, binary, load.environ)
	load.serveFrom(last.webhooks)
	load.finish()
	load.check(t, stored(t, last.grpc))
	last.terminate(t)
}

func buildBinary(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "webhook-gateway")
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-o", path, ".").CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	return path
}

type process struct {
	cmd                      *exec.Cmd
	webhooks, grpc, internal string
	read                     chan struct{} // closed when its output ended
}

// startProcess starts a gateway and waits until it serves.
func startProcess(t *testing.T, binary string, environ []string) *process {
	t.Helper()
	cmd := exec.Command(binary, "serve")
	cmd.Env = append(os.Environ(), environ...)
	stderr, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill() })
	lines := bufio.NewScanner(stderr)
	var text bytes.Buffer
	for lines.Scan() {
		text.Write(append(lines.Bytes(), '\n'))
		if m := serving.FindSubmatch(lines.Bytes()); m != nil {
			p := &process{cmd: cmd, webhooks: string(m[1]), grpc: string(m[2]), internal: string(m[3]), read: make(chan struct{})}
			go func() {
				defer close(p.read)
				_, _ = io.Copy(io.Discard, stderr)
			}()
			return p
		}
	}
	t.Fatalf("the gateway did not start: %v\n%s", cmd.Wait(), &text)
	return nil
}

func (p *process) kill(t *testing.T) {
	t.Helper()
	if err := p.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	<-p.read
	_ = p.cmd.Wait() // says that it was killed
}

// terminate ends the gateway in order.
func (p *process) terminate(t *testing.T) {
	t.Helper()
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	<-p.read
	if err := p.cmd.Wait(); err != nil {
		t.Errorf("after SIGTERM the gateway ended with %v", err)
	}
}

// crashLoad sends deliveries from several senders, each one after the other,
// over restarts of the gateway.
type crashLoad struct {
	environ []string
	secret  secret.Secret
	group   sync.WaitGroup
	done    chan struct{}
	http    *http.Client

	mu       sync.Mutex
	address  string
	changed  chan struct{} // closed when address changes
	acks     chan struct{}
	sent     map[string]bool // by key; true: answered 200
	ackCount int
}

func newCrashLoad(t *testing.T) *crashLoad {
	s := secret.New("crash secret")
	path := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(path, []byte(s.Reveal()), 0o600); err != nil {
		t.Fatal(err)
	}
	l := &crashLoad{
		environ: []string{
			"WEBHOOK_GATEWAY_LISTEN_WEBHOOKS=127.0.0.1:0",
			"WEBHOOK_GATEWAY_LISTEN_GRPC=127.0.0.1:0",
			"WEBHOOK_GATEWAY_LISTEN_INTERNAL_HTTP=127.0.0.1:0",
			"WEBHOOK_GATEWAY_SHUTDOWN_DELAY=0s",
			"WEBHOOK_GATEWAY_STORE_PEBBLE_PATH=" + filepath.Join(t.TempDir(), "store"),
			"WEBHOOK_GATEWAY_PROVIDERS_FINICITY_ENABLED=true",
			"WEBHOOK_GATEWAY_PROVIDERS_FINICITY_CLIENTS={crash: {secrets: {k: 'file:" + path + "'}}}",
			"WEBHOOK_GATEWAY_PROVIDERS_VEZGO_ENABLED=true",
			"WEBHOOK_GATEWAY_PROVIDERS_VEZGO_ANY_CLIENT=true",
			"WEBHOOK_GATEWAY_PROVIDERS_VEZGO_SOURCE_ADDRESSES=[127.0.0.1]",
		},
		secret:  s,
		done:    make(chan struct{}),
		changed: make(chan struct{}),
		sent:    make(map[string]bool),
		http:    &http.Client{Timeout: time.Minute, Transport: &http.Transport{MaxIdleConnsPerHost: crashSenders}},
	}
	ctx, cancel := context.WithCancel(context.Background())
	senders := all.Senders()
	for i := range crashSenders {
		sender := senders[i%len(senders)]
		l.group.Go(func() { l.send(ctx, t, i, sender) })
	}
	t.Cleanup(func() {
		cancel()
		l.group.Wait()
		l.http.CloseIdleConnections()
	})
	return l
}

// serveFrom lets the senders go on at an address, and returns a channel that
// gets every delivery answered 200 from then on.
func (l *crashLoad) serveFrom(address string) <-chan struct{} {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.address = address
	l.acks = make(chan struct{}, crashMaxAcks)
	close(l.changed)
	l.changed = make(chan struct{})
	return l.acks
}

// interrupt makes the senders wait for the next address after a delivery that
// gets no answer.
func (l *crashLoad) interrupt() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.address = ""
}

func (l *crashLoad) acked() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.ackCount
}

// finish ends the senders. Every delivery of Finicity is answered 200 then.
func (l *crashLoad) finish() {
	close(l.done)
	l.group.Wait()
}

// where returns the address to send to.
func (l *crashLoad) where(ctx context.Context) string {
	for {
		l.mu.Lock()
		address, changed := l.address, l.changed
		l.mu.Unlock()
		if address != "" {
			return address
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ""
		}
	}
}

func (l *crashLoad) send(ctx context.Context, t *testing.T, sender int, p provider.Sender) {
	for n := 0; ; n++ {
		select {
		case <-l.done:
			return
		case <-ctx.Done():
			return
		default:
		}
		key := fmt.Sprintf("%d-%d", sender, n)
		l.note(key, false)
		d := delivery{sender: p, body: crashBody(p, key)}
		for {
			tr := &triggerer{
				url: "http://" + l.where(ctx), client: "crash", http: l.http,
				secrets: map[string]secret.Secret{"finicity": l.secret},
			}
			a, err := tr.post(ctx, d)
			if ctx.Err() != nil {
				return
			}
			if err == nil && !a.ok() {
				t.Errorf("delivery %s was answered %d %s: %s", key, a.code, a.reason, a.message)
				return
			}
			if err == nil {
				l.note(key, true)
				break
			}
			if p.ID() == webhookgatewayv1.Provider_PROVIDER_VEZGO {
				break
			}
		}
	}
}

func crashBody(p provider.Sender, key string) []byte {
	if p.ID() == webhookgatewayv1.Provider_PROVIDER_FINICITY {
		return fmt.Appendf(nil, `{"customerId":"1","eventType":"started","eventId":"key:%s","payload":{}}`, key)
	}
	return fmt.Appendf(nil, `{"hook":"SyncAccount","user":{"id":"key:%s"},"account":{"id":"a","provider":"coinbase"}}`, key)
}

func (l *crashLoad) note(key string, acked bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.sent[key] = acked
	if !acked {
		return
	}
	l.ackCount++
	select {
	case l.acks <- struct{}{}:
	default: // nobody counts any more
	}
}

var crashKey = regexp.MustCompile(`"key:((\d+)-(\d+))"`)

// stored returns the keys of all events, in log order.
func stored(t *testing.T, grpc string) [][]string {
	t.Helper()
	conn, err := (&remote{addr: grpc}).dial()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	stream, err := webhookgatewayv1.NewEventServiceClient(conn).Subscribe(t.Context(), &webhookgatewayv1.SubscribeRequest{
		Start: &webhookgatewayv1.SubscribeRequest_StartPosition{StartPosition: webhookgatewayv1.StartPosition_START_POSITION_EARLIEST},
		Stop:  &webhookgatewayv1.SubscribeRequest_StopAtHead{StopAtHead: true},
		View:  webhookgatewayv1.EventView_EVENT_VIEW_RAW,
	})
	if err != nil {
		t.Fatal(err)
	}
	var keys [][]string
	for {
		frame, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return keys
		}
		if err != nil {
			t.Fatal(err)
		}
		for _, event := range frame.GetEvents().GetEvents() {
			m := crashKey.FindSubmatch(event.GetRawBody())
			if m == nil || event.GetDecodeError() != "" || event.GetEventIdConflict() {
				t.Fatalf("the log has an event that was not sent so: %v", event)
			}
			keys = append(keys, []string{string(m[1]), string(m[2]), string(m[3])})
		}
	}
}

func (l *crashLoad) check(t *testing.T, events [][]string) {
	t.Helper()
	count := make(map[string]int)
	newest := make(map[string]int) // by sender
	for _, event := range events {
		key, sender := event[0], event[1]
		count[key]++
		n, err := strconv.Atoi(event[2])
		if err != nil {
			t.Fatal(err)
		}
		if count[key] == 1 && n < newest[sender] {
			t.Errorf("delivery %s is behind %s-%d, which was sent after its answer", key, sender, newest[sender])
		}
		newest[sender] = n
		if _, ok := l.sent[key]; !ok {
			t.Errorf("the log has %s, which was not sent", key)
		}
		if count[key] > 1 {
			t.Errorf("the log has %s %d times", key, count[key])
		}
	}
	answered := 0
	for key, acked := range l.sent {
		if acked {
			answered++
			if count[key] == 0 {
				t.Errorf("%s was answered 200 and is lost", key)
			}
		}
	}
	t.Logf("%d deliveries, %d answered 200, %d events", len(l.sent), answered, len(events))
}
