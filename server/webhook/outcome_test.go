package webhook_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	webhookgatewayv1 "github.com/webhook-gateway/webhook-gateway/gen/webhookgateway/v1"
	"github.com/webhook-gateway/webhook-gateway/server/eventlog"
	"github.com/webhook-gateway/webhook-gateway/server/provider"
	"github.com/webhook-gateway/webhook-gateway/server/webhook"
)

func TestFailingLog(t *testing.T) {
	t.Parallel()
	for _, failure := range []error{errors.New("disk full"), eventlog.ErrClosed, context.DeadlineExceeded, context.Canceled, io.EOF} {
		f := newFixture(t, func(f *fixture) {
			f.log.append = func(context.Context, eventlog.Entry) (eventlog.Receipt, error) { return eventlog.Receipt{}, failure }
		})
		got := f.post(t, "/v1/webhooks/fake", "{}", nil)
		if got.answer != (answer{503, "LOG_UNAVAILABLE"}) || got.header.Get("Retry-After") != "5" {
			t.Errorf("%v: reply = %+v", failure, got)
		}
		if !strings.Contains(f.logged.String(), failure.Error()) {
			t.Errorf("%v: the log does not say so: %s", failure, f.logged)
		}
	}
}

func probe([]byte) (provider.Decoded, error) {
	return provider.Decoded{Event: &webhookgatewayv1.Event{}, Probe: true}, nil
}

func TestProbeIsAnsweredWhileTheLogFails(t *testing.T) {
	t.Parallel()
	f := newFixture(t, func(f *fixture) {
		f.provider.decoded = probe
		f.log.append = func(context.Context, eventlog.Entry) (eventlog.Receipt, error) {
			return eventlog.Receipt{}, errors.New("disk full")
		}
	})
	if got := f.post(t, "/v1/webhooks/fake", "{}", nil); got.answer.Code != http.StatusOK || got.header.Get(webhook.OutcomeHeader) != webhook.OutcomeProbeNotStored {
		t.Errorf("reply = %+v", got)
	}
	f.wantMetric(t, `webhook_gateway_deliveries_total{outcome="probe_not_stored",provider="fake",verdict="verified"}`, 1)
	if !strings.Contains(f.logged.String(), "disk full") {
		t.Error("the log does not say so")
	}
	// It is verified all the same.
	f.provider.refusal = &provider.Refusal{Reason: webhookgatewayv1.ErrorReason_ERROR_REASON_SIGNATURE_MISMATCH, Message: "x"}
	if got := f.post(t, "/v1/webhooks/fake", "{}", nil); got.answer.Code != http.StatusUnauthorized || got.header.Get(webhook.OutcomeHeader) != "" {
		t.Errorf("reply = %+v", got)
	}
}

// A log that hangs does not hang deliveries for ever, and probes not for long.
func TestAppendTimeout(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, func(f *fixture) {
			f.log.append = func(ctx context.Context, _ eventlog.Entry) (eventlog.Receipt, error) {
				<-ctx.Done()
				return eventlog.Receipt{}, ctx.Err()
			}
		})
		start := time.Now()
		if got := f.post(t, "/v1/webhooks/fake", "{}", nil).answer; got != (answer{503, "LOG_UNAVAILABLE"}) {
			t.Errorf("answer = %+v", got)
		}
		if waited := time.Since(start); waited != f.cfg.AppendTimeout {
			t.Errorf("answered after %s", waited)
		}
		f.provider.decoded = probe
		start = time.Now()
		if got := f.post(t, "/v1/webhooks/fake", "{}", nil).answer; got.Code != http.StatusOK {
			t.Errorf("answer to a probe = %+v", got)
		}
		if waited := time.Since(start); waited != 2*time.Second {
			t.Errorf("probe answered after %s", waited)
		}
	})
}

// A sender that hangs up cannot know whether its delivery was stored: it is.
func TestHangUpDoesNotCancelTheAppend(t *testing.T) {
	t.Parallel()
	ctx, hangUp := context.WithCancel(t.Context())
	f := newFixture(t, func(f *fixture) {
		f.log.append = func(ctx context.Context, _ eventlog.Entry) (eventlog.Receipt, error) {
			hangUp()
			return eventlog.Receipt{Position: 1}, ctx.Err()
		}
	})
	request := httptest.NewRequestWithContext(ctx, http.MethodPost, "/v1/webhooks/fake", strings.NewReader("{}"))
	recorder := httptest.NewRecorder()
	f.handler.ServeHTTP(recorder, request)
	if recorder.Code != http.StatusOK {
		t.Errorf("code = %d", recorder.Code)
	}
}

func TestReceiptsAreAnsweredAndCounted(t *testing.T) {
	t.Parallel()
	for outcome, receipt := range map[string]eventlog.Receipt{
		"stored": {Position: 7}, "duplicate": {Position: 3, Duplicate: true}, "conflict": {Position: 7, Conflict: true},
	} {
		f := newFixture(t, func(f *fixture) {
			f.log.append = func(context.Context, eventlog.Entry) (eventlog.Receipt, error) { return receipt, nil }
		})
		if got := f.post(t, "/v1/webhooks/fake", "{}", nil); got.answer.Code != http.StatusOK || got.header.Get(webhook.OutcomeHeader) != outcome {
			t.Errorf("%s: reply = %+v", outcome, got)
		}
		f.wantMetric(t, `webhook_gateway_deliveries_total{outcome="`+outcome+`",provider="fake",verdict="verified"}`, 1)
		f.wantMetric(t, "webhook_gateway_append_duration_seconds", 1)
		if logged := strings.Contains(f.logged.String(), "another body"); logged != receipt.Conflict {
			t.Errorf("%s: logged a conflict: %t", outcome, logged)
		}
	}
}

// Each accepted delivery is one line of the log, of the level that is configured.
func TestAcceptedDeliveriesAreLogged(t *testing.T) {
	t.Parallel()
	for level, configured := range map[string]bool{"INFO": true, "DEBUG": false} {
		f := newFixture(t, func(f *fixture) { f.cfg.LogAccepted = configured })
		for range 3 {
			f.post(t, "/v1/webhooks/fake", "{}", nil)
		}
		if n := strings.Count(f.logged.String(), "level="+level+` msg="delivery accepted" provider=fake `); n != 3 {
			t.Errorf("%d lines of %s:\n%s", n, level, f.logged)
		}
	}
}

func TestReportModeAndDriftAreCounted(t *testing.T) {
	t.Parallel()
	f := newFixture(t, func(f *fixture) {
		f.provider.verdict = webhookgatewayv1.VerificationVerdict_VERIFICATION_VERDICT_FAILED
		f.provider.failure = &provider.Refusal{Message: "what to do"}
		f.provider.decoded = func([]byte) (provider.Decoded, error) {
			return provider.Decoded{Event: &webhookgatewayv1.Event{DecodeError: "unknown field"}}, nil
		}
	})
	if got := f.post(t, "/v1/webhooks/fake", "{}", nil).answer; got.Code != http.StatusOK {
		t.Errorf("answer = %+v", got)
	}
	f.wantMetric(t, `webhook_gateway_deliveries_total{outcome="stored",provider="fake",verdict="failed"}`, 1)
	f.wantMetric(t, `webhook_gateway_deliveries_total{outcome="stored",provider="fake",verdict="verified"}`, 0)
	if !strings.Contains(f.logged.String(), `failure="what to do"`) {
		t.Errorf("the log does not say what to do: %s", f.logged)
	}
	f.wantMetric(t, `webhook_gateway_decode_drift_total{provider="fake",verdict="failed"}`, 1)
	f.wantMetric(t, `webhook_gateway_decode_drift_total{provider="fake",verdict="verified"}`, 0)
}

func TestRefusalsAreCountedWithBoundedLabels(t *testing.T) {
	t.Parallel()
	f := newFixture(t, nil)
	for _, name := range []string{"a", "b", "c"} {
		f.post(t, "/v1/webhooks/"+name, "{}", nil)
		f.post(t, "/"+name, "{}", nil)
	}
	f.post(t, "/v1/webhooks/fake", "{}", http.Header{"Content-Encoding": {"gzip"}})
	f.wantMetric(t, `webhook_gateway_deliveries_total{outcome="provider_unknown",provider="unknown",verdict="none"}`, 3)
	f.wantMetric(t, `webhook_gateway_deliveries_total{outcome="path_unknown",provider="unknown",verdict="none"}`, 3)
	f.wantMetric(t, `webhook_gateway_deliveries_total{outcome="content_encoding_unsupported",provider="fake",verdict="none"}`, 1)
}

func TestRateLimitIsAnswered(t *testing.T) {
	t.Parallel()
	f := newFixture(t, func(f *fixture) { f.cfg.RateLimit = webhook.RateLimit{RequestsPerSecond: 0.001, Burst: 1} })
	if got := f.post(t, "/v1/webhooks/fake", "{}", nil).answer; got.Code != http.StatusOK {
		t.Fatalf("answer = %+v", got)
	}
	got := f.post(t, "/v1/webhooks/fake", "{}", nil)
	if got.answer != (answer{429, "RATE_LIMITED"}) || got.header.Get("Retry-After") == "" {
		t.Errorf("reply = %+v", got)
	}
	if got := f.post(t, "/v1/webhooks/fake/another", "{}", nil).answer; got.Code != http.StatusOK {
		t.Errorf("answer to another client = %+v", got)
	}
	f.provider.decoded = probe
	if got := f.post(t, "/v1/webhooks/fake", "{}", nil).answer; got.Code != http.StatusOK {
		t.Errorf("answer to a probe = %+v", got)
	}
}

// Nothing that is sent comes back or is logged, but for the client id.
func TestNothingSecretIsEchoedOrLogged(t *testing.T) {
	t.Parallel()
	const secret = "hunter2"
	header := http.Header{"X-Finicity-Signature": {secret}, "Authorization": {secret}}
	refused := newFixture(t, func(f *fixture) {
		f.provider.refusal = &provider.Refusal{Reason: webhookgatewayv1.ErrorReason_ERROR_REASON_SHARED_SECRET_MISMATCH, Message: "x"}
	})
	accepted := newFixture(t, nil)
	for _, f := range []*fixture{refused, accepted} {
		for _, target := range []string{"/v1/webhooks/fake?s=", "/v1/webhooks/x?s=", "/x?s=", "/", "/v1/webhooks/"} {
			for _, contentType := range []string{"application/json", secret + "/x"} {
				header.Set("Content-Type", contentType)
				recorder := httptest.NewRecorder()
				request := httptest.NewRequest(http.MethodPost, target+secret, strings.NewReader(`{"a":"`+secret+`"}`))
				request.Header = header
				f.handler.ServeHTTP(recorder, request)
				if strings.Contains(recorder.Body.String(), secret) {
					t.Errorf("%s: the answer has the secret: %s", target, recorder.Body)
				}
			}
		}
		if f.logged.String() == "" || strings.Contains(f.logged.String(), secret) {
			t.Errorf("the log is empty or has the secret: %s", f.logged)
		}
	}
}

func TestRefusalsCannotFloodTheLog(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, nil)
		for range 1000 {
			f.post(t, "/x", "{}", nil)
		}
		if lines := strings.Count(f.logged.String(), "delivery refused"); lines != 10 {
			t.Errorf("%d lines are logged", lines)
		}
		// Another reason is not hidden by the flood, and the flood is accounted for.
		f.post(t, "/v1/webhooks/x", "{}", nil)
		time.Sleep(time.Second) //nolint:forbidigo // the clock of the bubble
		f.post(t, "/x", "{}", nil)
		for _, want := range []string{"PROVIDER_UNKNOWN", "suppressed=990"} {
			if !strings.Contains(f.logged.String(), want) {
				t.Errorf("the log does not have %s", want)
			}
		}
	})
}

func TestNewRefusesWhatCannotWork(t *testing.T) {
	t.Parallel()
	f := newFixture(t, nil)
	providers := []provider.Provider{f.provider}
	bad := webhook.DefaultConfig()
	bad.TrustedProxies = []string{"x"}
	_, configErr := newHandler(bad, providers, f)
	_, registeredErr := newHandler(f.cfg, providers, f) // a second time in one registry
	g := newFixture(t, nil)
	g.registry = newRegistry()
	_, twiceErr := newHandler(g.cfg, slices.Repeat(providers, 2), g)
	for what, err := range map[string]error{"configuration": configErr, "registry": registeredErr, "providers": twiceErr} {
		if err == nil {
			t.Errorf("New took a bad %s", what)
		}
	}
}
