package webhook_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"

	webhookgatewayv1 "github.com/webhook-gateway/webhook-gateway/gen/webhookgateway/v1"
	"github.com/webhook-gateway/webhook-gateway/server/eventlog"
	"github.com/webhook-gateway/webhook-gateway/server/eventlog/pebblelog"
	"github.com/webhook-gateway/webhook-gateway/server/provider"
	"github.com/webhook-gateway/webhook-gateway/server/provider/all"
	"github.com/webhook-gateway/webhook-gateway/server/provider/finicity"
	"github.com/webhook-gateway/webhook-gateway/server/secret"
	"github.com/webhook-gateway/webhook-gateway/server/webhook"
)

const (
	verified   = webhookgatewayv1.VerificationVerdict_VERIFICATION_VERDICT_VERIFIED
	failed     = webhookgatewayv1.VerificationVerdict_VERIFICATION_VERDICT_FAILED
	notChecked = webhookgatewayv1.VerificationVerdict_VERIFICATION_VERDICT_NOT_CHECKED
)

// reopen serves the same gateway with Finicity in another mode, over the same log.
func (g *gateway) reopen(t *testing.T, mode provider.Mode, configure func(*webhook.Config)) {
	t.Helper()
	providerConfig := all.DefaultConfig()
	providerConfig.Finicity.Enabled = true
	providerConfig.Finicity.Verification = mode
	providerConfig.Finicity.Clients = map[string]finicity.ClientConfig{
		testClient: {Secrets: map[string]secret.Secret{"key-1": g.secret}},
	}
	providers, err := all.New(providerConfig)
	if err != nil {
		t.Fatal(err)
	}
	cfg := webhook.DefaultConfig()
	if configure != nil {
		configure(&cfg)
	}
	handler, err := webhook.New(cfg, providers, g.log, slog.New(slog.DiscardHandler), prometheus.NewRegistry(), nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	g.url = "http://" + serve(t, cfg, handler)
}

// forge posts a body that nobody signed.
func (g *gateway) forge(t *testing.T, body string) answer {
	t.Helper()
	return g.post(t, "/v1/webhooks/finicity/"+testClient, body, http.Header{"Content-Type": {"application/json"}})
}

type verdictOf struct {
	Verdict  webhookgatewayv1.VerificationVerdict
	Conflict bool
}

func (g *gateway) wantVerdicts(t *testing.T, want ...verdictOf) {
	t.Helper()
	var got []verdictOf
	for _, event := range g.events(t) {
		got = append(got, verdictOf{event.GetVerification().GetVerdict(), event.GetEventIdConflict()})
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("events (-want +got):\n%s", diff)
	}
}

func wantOK(t *testing.T, got answer) {
	t.Helper()
	if got.Code != http.StatusOK {
		t.Errorf("answer = %+v", got)
	}
}

const done1, done2 = `{"eventType":"done","eventId":"1-a"}`, `{"eventType":"done","eventId":"1-a","customerId":"7"}`

// A forgery neither suppresses the authentic delivery that follows it, nor marks it.
func TestForgeryDoesNotSuppress(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		before provider.Mode // when the forgeries came
		after  provider.Mode
		forged webhookgatewayv1.VerificationVerdict
	}{
		"report":                    {provider.ModeReport, provider.ModeReport, failed},
		"off, then enforced":        {provider.ModeOff, provider.ModeEnforce, notChecked},
		"reported, and then off":    {provider.ModeReport, provider.ModeEnforce, failed},
		"off, and then in reported": {provider.ModeOff, provider.ModeReport, notChecked},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := newGateway(t)
			g.reopen(t, test.before, nil)
			wantOK(t, g.forge(t, done1))
			wantOK(t, g.forge(t, done2))
			wantOK(t, g.forge(t, done1)) // its own retry
			g.reopen(t, test.after, nil)
			for range 2 {
				wantOK(t, g.deliver(t, finicity.Sender{}, done1))
			}
			g.wantVerdicts(t, verdictOf{test.forged, false}, verdictOf{test.forged, true}, verdictOf{verified, false})
			wantOK(t, g.deliver(t, finicity.Sender{}, done2))
			g.wantVerdicts(t, verdictOf{test.forged, false}, verdictOf{test.forged, true}, verdictOf{verified, false}, verdictOf{verified, true})
		})
	}
}

// Forgeries do not use up the rate of the authentic deliveries of their client.
func TestForgeryDoesNotUseUpTheRate(t *testing.T) {
	t.Parallel()
	g := newGateway(t)
	g.reopen(t, provider.ModeReport, func(cfg *webhook.Config) {
		cfg.RateLimit = webhook.RateLimit{RequestsPerSecond: 0.001, Burst: 3}
	})
	for range 3 {
		wantOK(t, g.forge(t, "{}"))
	}
	if got := g.forge(t, "{}"); got != (answer{429, "RATE_LIMITED"}) {
		t.Errorf("answer = %+v", got)
	}
	for range 3 {
		wantOK(t, g.deliver(t, finicity.Sender{}, "{}"))
	}
	if got := g.deliver(t, finicity.Sender{}, "{}"); got != (answer{429, "RATE_LIMITED"}) {
		t.Errorf("answer = %+v", got)
	}
}

// Only a string is an event id: what else `eventId` may be is no reason to take one
// event for another.
func TestOnlyAStringIsAnEventID(t *testing.T) {
	t.Parallel()
	for _, value := range []string{"false", "true", "7", "1e400", "null", "{}", `{"a":1}`, "[]", `["x"]`, `""`} {
		g := newGateway(t)
		body := `{"eventType":"done","eventId":` + value + `}`
		for range 2 {
			wantOK(t, g.deliver(t, finicity.Sender{}, body))
		}
		wantOK(t, g.deliver(t, finicity.Sender{}, strings.Replace(body, "{", `{"x":1,`, 1)))
		g.wantVerdicts(t, verdictOf{verified, false}, verdictOf{verified, false}, verdictOf{verified, false})
		for _, event := range g.events(t) {
			if event.GetProviderEventId() != "" {
				t.Errorf("eventId %s has the id %q", value, event.GetProviderEventId())
			}
		}
	}
}

// What failed verification is refused beyond its quota. What is verified is not, and a
// ping is answered OK all the same.
func TestUnverifiedQuotaIsAnswered(t *testing.T) {
	t.Parallel()
	g := newGateway(t)
	if err := g.log.Close(); err != nil {
		t.Fatal(err)
	}
	logConfig := pebblelog.DefaultConfig()
	logConfig.Path, logConfig.UnverifiedQuotaBytes = t.TempDir(), 1
	var err error
	if g.log, err = pebblelog.Open(logConfig, slog.New(slog.DiscardHandler)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = g.log.Close() })
	g.reopen(t, provider.ModeReport, nil)
	if got := g.forge(t, done1); got != (answer{429, "UNVERIFIED_QUOTA"}) {
		t.Errorf("answer = %+v", got)
	}
	wantOK(t, g.forge(t, `{"eventType":"ping"}`))
	g.wantVerdicts(t)
	wantOK(t, g.deliver(t, finicity.Sender{}, done1))
	g.wantVerdicts(t, verdictOf{verified, false})
}

func TestUnverifiedQuotaIsCounted(t *testing.T) {
	t.Parallel()
	f := newFixture(t, func(f *fixture) {
		f.provider.verdict = failed
		f.log.append = func(context.Context, eventlog.Entry) (eventlog.Receipt, error) {
			return eventlog.Receipt{}, fmt.Errorf("store the event: %w", errors.Join(eventlog.ErrUnverifiedQuota))
		}
	})
	got := f.post(t, "/v1/webhooks/fake", "{}", nil)
	if got.answer != (answer{429, "UNVERIFIED_QUOTA"}) || got.header.Get("Retry-After") != "60" {
		t.Errorf("reply = %+v", got)
	}
	f.wantMetric(t, `webhook_gateway_deliveries_total{outcome="unverified_quota",provider="fake",verdict="failed"}`, 1)
	if !strings.Contains(f.logged.String(), "store.unverified_quota_bytes") {
		t.Errorf("the log does not say what to do: %s", f.logged)
	}
}

// A flood of what failed verification does not hide the log lines of what did not.
func TestVerdictsDoNotShareLogLines(t *testing.T) {
	t.Parallel()
	f := newFixture(t, func(f *fixture) {
		f.provider.verdict = failed
		f.cfg.RateLimit = webhook.RateLimit{RequestsPerSecond: 0.001, Burst: 50}
		f.log.append = func(context.Context, eventlog.Entry) (eventlog.Receipt, error) {
			return eventlog.Receipt{Position: 7, Conflict: true}, nil
		}
	})
	for range 100 {
		f.post(t, "/v1/webhooks/fake", "{}", nil)
	}
	before := len(f.logged.String())
	f.provider.verdict = verified
	for range 51 {
		f.post(t, "/v1/webhooks/fake", "{}", nil)
	}
	logged := f.logged.String()[before:]
	for _, want := range []string{"another body", "RATE_LIMITED"} {
		if !strings.Contains(logged, want) {
			t.Errorf("the log does not have %q", want)
		}
	}
}
