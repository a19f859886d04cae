package subscription

import (
	"context"
	"fmt"
	"log/slog"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	webhookgatewayv1 "github.com/webhook-gateway/webhook-gateway/gen/webhookgateway/v1"
	"github.com/webhook-gateway/webhook-gateway/server/eventlog"
	"github.com/webhook-gateway/webhook-gateway/server/eventlog/pebblelog"
	"github.com/webhook-gateway/webhook-gateway/server/eventlog/pebblelog/pebblelogtest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// gateway is a log with a manager.
type gateway struct {
	disk    *pebblelogtest.Disk
	log     *pebblelog.Log
	manager *Manager
}

func startGateway(t testing.TB, disk *pebblelogtest.Disk) *gateway {
	t.Helper()
	log := disk.Open(t)
	return startOn(t, disk, log, log, log)
}

// startOn starts a gateway on an open log. Its manager reads the log through read
// and keeps what is durable through states, so that a test may come between.
func startOn(t testing.TB, disk *pebblelogtest.Disk, log *pebblelog.Log, read eventlog.Log, states eventlog.StateStore) *gateway {
	t.Helper()
	manager, err := New(t.Context(), Params{
		Log: read, States: states, MaxAge: time.Hour,
		Logger: slog.New(slog.DiscardHandler), Registerer: prometheus.NewRegistry(),
	})
	if err != nil {
		t.Fatal(err)
	}
	g := &gateway{disk: disk, log: log, manager: manager}
	t.Cleanup(func() { g.stop(t) })
	return g
}

// startOnFiles starts a gateway whose log is in files, to measure it.
func startOnFiles(b *testing.B) *gateway {
	b.Helper()
	config := pebblelog.DefaultConfig()
	config.Path = b.TempDir()
	log, err := pebblelog.Open(config, slog.New(slog.DiscardHandler))
	if err != nil {
		b.Fatal(err)
	}
	return startOn(b, nil, log, log, log)
}

func (g *gateway) stop(t testing.TB) {
	t.Helper()
	if err := g.manager.Close(context.WithoutCancel(t.Context())); err != nil {
		t.Errorf("Close() = %v", err)
	}
	if err := g.log.Close(); err != nil {
		t.Errorf("Close() = %v", err)
	}
}

// crash starts another gateway on what was durable at this moment.
func (g *gateway) crash(t testing.TB) *gateway {
	t.Helper()
	return startGateway(t, g.disk.Crash())
}

func logEntry(t testing.TB, client, key string) eventlog.Entry {
	t.Helper()
	e, err := eventlog.NewEntry(&webhookgatewayv1.Event{
		Provider: webhookgatewayv1.Provider_PROVIDER_VEZGO,
		Type:     webhookgatewayv1.EventType_EVENT_TYPE_VEZGO_SYNC_ACCOUNT,
		ClientId: client,
		Subject:  key,
		RawBody:  []byte(`{"body":"` + key + `"}`),
		Verification: &webhookgatewayv1.Verification{
			Verdict: webhookgatewayv1.VerificationVerdict_VERIFICATION_VERDICT_VERIFIED,
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func (g *gateway) append(t testing.TB, client string, keys ...string) {
	t.Helper()
	for _, key := range keys {
		if _, err := g.log.Append(t.Context(), logEntry(t, client, key)); err != nil {
			t.Fatal(err)
		}
	}
}

// fromTheBeginning is where the subscriptions of tests begin.
func fromTheBeginning() (eventlog.Position, error) { return 0, nil }

func (g *gateway) create(t testing.TB, name string, settings *webhookgatewayv1.SubscriptionSettings, clients ...string) *webhookgatewayv1.Subscription {
	t.Helper()
	in := &webhookgatewayv1.Subscription{Name: name, Settings: settings}
	if clients != nil {
		in.Filters = []*webhookgatewayv1.EventFilter{{ClientIds: clients}}
	}
	out, err := g.manager.Create(t.Context(), in, fromTheBeginning)
	if err != nil {
		t.Fatalf("Create() = %v", err)
	}
	return out
}

// attach attaches a stream to the subscription s.
func (g *gateway) attach(t testing.TB) *Stream {
	t.Helper()
	stream, err := g.manager.Attach("s", StreamOptions{})
	if err != nil {
		t.Fatalf("Attach() = %v", err)
	}
	t.Cleanup(stream.Close)
	return stream
}

// next returns n deliveries, which are taken for sent.
func next(t testing.TB, stream *Stream, n int) []Delivery {
	t.Helper()
	var deliveries []Delivery
	for len(deliveries) < n {
		batch, err := stream.Next(t.Context(), n-len(deliveries))
		if err != nil {
			t.Fatalf("Next() = %v", err)
		}
		if len(batch.Gaps) > 0 {
			t.Fatalf("unexpected gaps %v", batch.Gaps)
		}
		deliveries = append(deliveries, stream.Sending(batch.Deliveries)...)
	}
	return deliveries
}

// positions describes deliveries as position/attempt.
func positions(deliveries []Delivery) []string {
	var out []string
	for _, d := range deliveries {
		out = append(out, fmt.Sprintf("%d/%d", d.Position, d.Attempt))
	}
	return out
}

func wantDeliveries(t testing.TB, got []Delivery, want ...string) {
	t.Helper()
	if diff := cmp.Diff(want, positions(got)); diff != "" {
		t.Fatalf("deliveries (-want +got):\n%s", diff)
	}
}

func tokens(deliveries ...Delivery) []string {
	var out []string
	for _, d := range deliveries {
		out = append(out, d.AckToken())
	}
	return out
}

func wantResults(t testing.TB, want webhookgatewayv1.TokenResult, f func() ([]webhookgatewayv1.TokenResult, error)) {
	t.Helper()
	results, err := f()
	if err != nil {
		t.Fatal(err)
	}
	for i, got := range results {
		if got != want {
			t.Errorf("result %d = %v, want %v", i, got, want)
		}
	}
}

func (g *gateway) wantAck(t testing.TB, want webhookgatewayv1.TokenResult, deliveries ...Delivery) {
	t.Helper()
	wantResults(t, want, func() ([]webhookgatewayv1.TokenResult, error) {
		return g.manager.Acknowledge(t.Context(), "s", tokens(deliveries...))
	})
}

// status returns the status of the subscription s.
func (g *gateway) status(t testing.TB) *webhookgatewayv1.SubscriptionStatus {
	t.Helper()
	s, err := g.manager.Get(t.Context(), "s")
	if err != nil {
		t.Fatalf("Get() = %v", err)
	}
	return s.GetStatus()
}

// cursor returns the cursor of the subscription s.
func (g *gateway) cursor(t testing.TB) eventlog.Position {
	t.Helper()
	p, err := g.log.History().ParseCursor(g.status(t).GetCursor())
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// setCredit gives a stream credit as if it had settled a lot.
func (g *gateway) setCredit(t testing.TB, st *Stream, credit int) {
	t.Helper()
	st.subscription.mu.Lock()
	defer st.subscription.mu.Unlock()
	w := st.subscription.machine.workers[st.id]
	w.credit = credit
	st.subscription.machine.refresh(w)
}
