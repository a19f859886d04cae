package webhook_test

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	webhookgatewayv1 "github.com/webhook-gateway/webhook-gateway/gen/webhookgateway/v1"
	"github.com/webhook-gateway/webhook-gateway/server/eventlog"
	"github.com/webhook-gateway/webhook-gateway/server/provider"
	"github.com/webhook-gateway/webhook-gateway/server/telemetry"
	"github.com/webhook-gateway/webhook-gateway/server/webhook"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fakeProvider accepts everything unless told otherwise, and keeps what it was
// given.
type fakeProvider struct {
	name    string
	refusal error
	// admission is what Admit refuses with.
	admission error
	decoded   func(body []byte) (provider.Decoded, error)
	verdict   webhookgatewayv1.VerificationVerdict
	clientID  string
	failure   *provider.Refusal
	anyClient bool
	canary    bool
	verified  []string
	secret    []string

	mu         sync.Mutex
	deliveries []provider.Delivery
}

func (p *fakeProvider) Name() string { return p.name }

func (p *fakeProvider) ID() webhookgatewayv1.Provider {
	return webhookgatewayv1.Provider_PROVIDER_VEZGO
}

func (p *fakeProvider) Admit(d *provider.Delivery) (string, error) {
	return p.client(d), p.admission
}

func (p *fakeProvider) client(d *provider.Delivery) string {
	return cmp.Or(p.clientID, d.ClientID, "client")
}

func (p *fakeProvider) Authenticate(d *provider.Delivery) (provider.Identity, error) {
	p.mu.Lock()
	p.deliveries = append(p.deliveries, *d)
	p.mu.Unlock()
	if p.refusal != nil {
		return provider.Identity{}, p.refusal
	}
	return provider.Identity{
		ClientID:     p.client(d),
		Canary:       p.canary,
		Verification: &webhookgatewayv1.Verification{Verdict: p.verdict},
		Failure:      p.failure,
	}, nil
}

func (p *fakeProvider) AnyClient() bool { return p.anyClient }

func (p *fakeProvider) VerifiedHeaders() []string { return p.verified }

func (p *fakeProvider) SecretHeaders() []string { return p.secret }

func (p *fakeProvider) Decode(body []byte) (provider.Decoded, error) {
	if p.decoded != nil {
		return p.decoded(body)
	}
	return provider.Decoded{Event: &webhookgatewayv1.Event{
		Type:     webhookgatewayv1.EventType_EVENT_TYPE_VEZGO_SYNC_ACCOUNT,
		TypeName: "SyncAccount",
	}}, nil
}

func (p *fakeProvider) last(t *testing.T) provider.Delivery {
	t.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.deliveries) == 0 {
		t.Fatal("no delivery reached the provider")
	}
	return p.deliveries[len(p.deliveries)-1]
}

func (p *fakeProvider) count() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.deliveries)
}

// fakeLog keeps what is appended.
type fakeLog struct {
	append func(ctx context.Context, entry eventlog.Entry) (eventlog.Receipt, error)

	mu      sync.Mutex
	entries []eventlog.Entry
}

func (l *fakeLog) Append(ctx context.Context, entry eventlog.Entry) (eventlog.Receipt, error) {
	if l.append != nil {
		return l.append(ctx, entry)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.entries = append(l.entries, entry)
	return eventlog.Receipt{Position: eventlog.Position(len(l.entries))}, nil
}

// fixture is a gateway's edge with a fake provider and a fake log.
type fixture struct {
	provider *fakeProvider
	log      *fakeLog
	registry *prometheus.Registry
	logged   *syncBuffer
	cfg      webhook.Config
	handler  http.Handler
	tracer   *telemetry.Tracer
	refused  webhook.Refusals
}

func newFixture(t *testing.T, configure func(*fixture)) *fixture {
	t.Helper()
	f := &fixture{
		provider: &fakeProvider{name: "fake", verdict: webhookgatewayv1.VerificationVerdict_VERIFICATION_VERDICT_VERIFIED},
		log:      &fakeLog{},
		registry: newRegistry(),
		logged:   &syncBuffer{},
		cfg:      webhook.DefaultConfig(),
	}
	if configure != nil {
		configure(f)
	}
	handler, err := newHandler(f.cfg, []provider.Provider{f.provider}, f)
	if err != nil {
		t.Fatal(err)
	}
	f.handler = handler
	return f
}

func newRegistry() *prometheus.Registry { return prometheus.NewPedanticRegistry() }

func newHandler(cfg webhook.Config, providers []provider.Provider, f *fixture) (http.Handler, error) {
	logger := slog.New(slog.NewTextHandler(f.logged, &slog.HandlerOptions{Level: slog.LevelDebug}))
	return webhook.New(cfg, providers, f.log, logger, f.registry, f.tracer, f.refused)
}

// wantMetric checks the value of a counter, or the count of a histogram.
func (f *fixture) wantMetric(t *testing.T, name string, want float64) {
	t.Helper()
	families, err := f.registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, family := range families {
		for _, metric := range family.GetMetric() {
			var labels []string
			for _, label := range metric.GetLabel() {
				labels = append(labels, fmt.Sprintf("%s=%q", label.GetName(), label.GetValue()))
			}
			full := family.GetName()
			if len(labels) > 0 {
				full += "{" + strings.Join(labels, ",") + "}"
			}
			if full != name {
				continue
			}
			got := metric.GetCounter().GetValue()
			if metric.GetHistogram() != nil {
				got = float64(metric.GetHistogram().GetSampleCount())
			}
			if got != want {
				t.Errorf("%s = %v, want %v", name, got, want)
			}
			return
		}
	}
	t.Errorf("there is no metric %s", name)
}

// listen serves the edge on a real port, and returns its address.
func (f *fixture) listen(t *testing.T) string {
	t.Helper()
	return serve(t, f.cfg, f.handler)
}

func serve(t *testing.T, cfg webhook.Config, handler http.Handler) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := webhook.NewServer(cfg, handler, slog.New(slog.DiscardHandler))
	var conns sync.WaitGroup // a connection that is refused in the middle of a body lingers
	server.ConnState = func(_ net.Conn, state http.ConnState) {
		switch state {
		case http.StateNew:
			conns.Add(1)
		case http.StateClosed, http.StateHijacked:
			conns.Done()
		case http.StateActive, http.StateIdle:
		}
	}
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	t.Cleanup(func() {
		_ = server.Close()
		if err := <-served; !errors.Is(err, http.ErrServerClosed) {
			t.Error(err)
		}
		conns.Wait()
	})
	return listener.Addr().String()
}

// events returns what was stored, in order.
func (f *fixture) events(t *testing.T) []*webhookgatewayv1.Event {
	t.Helper()
	f.log.mu.Lock()
	defer f.log.mu.Unlock()
	var events []*webhookgatewayv1.Event
	for i, entry := range f.log.entries {
		events = append(events, decodeEntry(t, entry, eventlog.Position(i+1)))
	}
	return events
}

type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *syncBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

func readAll(t *testing.T, r io.Reader) string {
	t.Helper()
	b, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}
