package sessions_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"math"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	webhookgatewayv1 "github.com/webhook-gateway/webhook-gateway/gen/webhookgateway/v1"
	"github.com/webhook-gateway/webhook-gateway/server/eventlog"
	"github.com/webhook-gateway/webhook-gateway/server/eventlog/pebblelog"
	"github.com/webhook-gateway/webhook-gateway/server/sessions"
)

const (
	started = webhookgatewayv1.EventType_EVENT_TYPE_FINICITY_STARTED
	adding  = webhookgatewayv1.EventType_EVENT_TYPE_FINICITY_ADDING
	done    = webhookgatewayv1.EventType_EVENT_TYPE_FINICITY_DONE
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// clockedLog is a log whose clock the test sets.
type clockedLog struct {
	eventlog.Log
	now *atomic.Int64
}

func newLog(t *testing.T) clockedLog {
	t.Helper()
	now, opened := new(atomic.Int64), time.Now()
	now.Store(opened.UnixNano())
	config := pebblelog.DefaultConfig()
	config.Path = t.TempDir()
	log, err := pebblelog.Open(config, slog.New(slog.DiscardHandler), pebblelog.InMemory(), pebblelog.WithClock(
		func() time.Time { return time.Unix(0, now.Load()) }, func() time.Duration { return time.Since(opened) }))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := log.Close(); err != nil && !errors.Is(err, eventlog.ErrClosed) {
			t.Error(err)
		}
	})
	return clockedLog{log, now}
}

func (l clockedLog) add(t *testing.T, subject string, types ...webhookgatewayv1.EventType) {
	t.Helper()
	for _, eventType := range types {
		entry, err := eventlog.NewEntry(&webhookgatewayv1.Event{
			Provider: webhookgatewayv1.Provider_PROVIDER_FINICITY, Type: eventType, ClientId: "a", Subject: subject,
			Verification: &webhookgatewayv1.Verification{Verdict: webhookgatewayv1.VerificationVerdict_VERIFICATION_VERDICT_VERIFIED},
		})
		if err == nil {
			_, err = l.Append(t.Context(), entry)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

func newIndex(t *testing.T, log eventlog.Log, registry *prometheus.Registry) *sessions.Index {
	t.Helper()
	x, err := sessions.New(sessions.DefaultConfig(), log, slog.New(slog.DiscardHandler), registry)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(x.Close)
	return x
}

// list returns the sessions, the newest first, and how old those are that are all known.
func list(t *testing.T, x *sessions.Index, log eventlog.Log) (text string, known time.Duration) {
	t.Helper()
	since, err := x.Sync(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, s := range x.Before(math.MaxUint64, 1000) {
		all = append(all, fmt.Sprintf("%s %s %d", s.Subject, strings.TrimPrefix(s.State.String(), "SESSION_STATE_"), s.Count))
	}
	return strings.Join(all, ", "), log.Clock().Now.Sub(since)
}

// ended returns what the counter of ended sessions has.
func ended(t *testing.T, registry *prometheus.Registry) string {
	t.Helper()
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, family := range families {
		for _, m := range family.GetMetric() {
			if family.GetName() == "webhook_gateway_sessions_ended_total" {
				all = append(all, fmt.Sprint(m.GetLabel()[0].GetValue(), " ", m.GetCounter().GetValue()))
			}
		}
	}
	return strings.Join(all, ", ")
}

// A gateway that starts reads back what it knew, as far as the window goes, and a session is
// not shown of which the beginning may be missing.
func TestReadBack(t *testing.T) {
	t.Parallel()
	log := newLog(t)
	log.add(t, "too old", started)
	log.now.Add(int64(10 * time.Minute))
	log.add(t, "cut", started)
	log.now.Add(int64(5 * time.Minute))
	log.add(t, "cut", adding)
	log.now.Add(int64(24*time.Hour + 20*time.Minute))
	log.add(t, "old", started, adding)
	log.add(t, "new", started, done)
	log.now.Add(int64(9 * time.Minute))
	registry := prometheus.NewRegistry()
	x := newIndex(t, log, registry)
	if text, known := list(t, x, log); text != "new DONE 2, old OPEN 2" || known != 24*time.Hour {
		t.Errorf("%s are known, all of %v", text, known)
	}
	log.now.Add(int64(time.Hour))
	if text, _ := list(t, x, log); text != "new DONE 2, old STALLED 2" {
		t.Errorf("an hour later there are %s", text)
	}
	// What ended before the start is not counted.
	if got, want := ended(t, registry), "done 0, failed 0, stalled 1"; got != want {
		t.Errorf("since the start there ended %s, want %s", got, want)
	}
	log.now.Add(int64(24 * time.Hour))
	if text, known := list(t, x, log); text != "" || known != 24*time.Hour {
		t.Errorf("a day later there are %s, all of %v", text, known)
	}
}

// What retention removes is not shown any more, and what began before it is not known.
func TestTrimmed(t *testing.T) {
	t.Parallel()
	log := newLog(t)
	log.add(t, "1", started)
	log.add(t, "2", started)
	log.add(t, "1", adding)
	x := newIndex(t, log, prometheus.NewRegistry())
	if text, _ := list(t, x, log); text != "2 OPEN 1, 1 OPEN 2" {
		t.Errorf("there are %s", text)
	}
	if err := log.Trim(t.Context(), 2); err != nil {
		t.Fatal(err)
	}
	if text, _ := list(t, x, log); text != "1 OPEN 2" {
		t.Errorf("of what is retained there are %s", text)
	}
	log.now.Add(int64(40 * time.Minute))
	log.add(t, "3", adding)
	again := newIndex(t, log, prometheus.NewRegistry())
	if text, known := list(t, again, log); text != "3 OPEN 1" || known != 10*time.Minute {
		t.Errorf("from what is retained it finds %s, all of %v", text, known)
	}
}

// Another configuration is in force for what was before, too.
func TestReplace(t *testing.T) {
	t.Parallel()
	log := newLog(t)
	x := newIndex(t, log, prometheus.NewRegistry())
	log.add(t, "1", started)
	log.now.Add(int64(10 * time.Minute))
	log.add(t, "1", adding)
	for _, tc := range []struct {
		stalledAfter time.Duration
		max          int
		want         string
	}{{30 * time.Minute, 10, "1 OPEN 2"}, {5 * time.Minute, 10, "1 OPEN 1, 1 STALLED 1"}, {5 * time.Minute, 1, "1 OPEN 1"}, {5 * time.Minute, 0, ""}, {time.Hour, 9, "1 OPEN 2"}} {
		config := sessions.DefaultConfig()
		config.StalledAfter, config.MaxSessions = tc.stalledAfter, tc.max
		x.Replace(config)
		if text, known := list(t, x, log); text != tc.want || tc.max == 0 && known != 0 || tc.max == 10 && known != 24*time.Hour {
			t.Errorf("stalled after %v, at most %d: %s, all of %v", tc.stalledAfter, tc.max, text, known)
		}
	}
}

// What has ended is counted once, also if everything is read anew.
func TestEndedOnce(t *testing.T) {
	t.Parallel()
	log := newLog(t)
	registry := prometheus.NewRegistry()
	x := newIndex(t, log, registry)
	log.add(t, "1", started, done)
	log.add(t, "2", started)
	log.now.Add(int64(time.Hour))
	for _, most := range []int{100, 10, 20} {
		config := sessions.DefaultConfig()
		config.MaxSessions = most
		x.Replace(config)
		list(t, x, log)
		if got, want := ended(t, registry), "done 1, failed 0, stalled 1"; got != want {
			t.Errorf("with room for %d there ended %s, want %s", most, got, want)
		}
	}
	log.add(t, "2", started, done)
	list(t, x, log)
	if got, want := ended(t, registry), "done 2, failed 0, stalled 1"; got != want {
		t.Errorf("then there ended %s, want %s", got, want)
	}
}

// brokenLog fails in the ways that a log may.
type brokenLog struct {
	clockedLog
	failure atomic.Pointer[error]
	// renamed is the history after other events have come in place of lost ones.
	renamed atomic.Pointer[eventlog.History]
	// begun counts how often it was read from the beginning.
	begun atomic.Int64
}

func (l *brokenLog) History() *eventlog.History {
	if h := l.renamed.Load(); h != nil {
		return h
	}
	return l.clockedLog.History()
}

func (l *brokenLog) Read(ctx context.Context, after eventlog.Position) iter.Seq2[eventlog.Record, error] {
	if after == 0 {
		l.begun.Add(1)
	}
	failure := l.failure.Load()
	if failure == nil {
		return l.clockedLog.Read(ctx, after)
	}
	var damaged *eventlog.DamagedError
	if errors.As(*failure, &damaged) && after >= damaged.UpTo {
		return l.clockedLog.Read(ctx, after)
	}
	return func(yield func(eventlog.Record, error) bool) { yield(eventlog.Record{}, *failure) }
}

// Damaged events are passed over. A log that cannot be read is read when it can, and until
// then nothing is said to be known.
func TestFailures(t *testing.T) {
	t.Parallel()
	log := &brokenLog{clockedLog: newLog(t)}
	log.add(t, "1", started)
	log.add(t, "2", started)
	fail := func(err error) { log.failure.Store(&err) }
	fail(&eventlog.DamagedError{After: 0, UpTo: 1, Err: errors.New("rot")})
	x := newIndex(t, log, prometheus.NewRegistry())
	if text, known := list(t, x, log); text != "2 OPEN 1" || known != 24*time.Hour {
		t.Errorf("behind the damage there are %s, all of %v", text, known)
	}
	fail(errors.New("the disk hangs"))
	log.add(t, "3", started)
	if text, known := list(t, x, log); text != "2 OPEN 1" || known != 0 {
		t.Errorf("of a log that fails there are %s, all of %v", text, known)
	}
	log.failure.Store(nil)
	if text, known := list(t, x, log); text != "3 OPEN 1, 2 OPEN 1" || known != 24*time.Hour {
		t.Errorf("when it works again there are %s, all of %v", text, known)
	}
	x.Close()
	if _, err := x.Sync(t.Context()); !errors.Is(err, eventlog.ErrClosed) {
		t.Errorf("after Close: %v", err)
	}
}

// Where other events have come in place of lost ones all is read anew.
func TestOverwrittenEnd(t *testing.T) {
	t.Parallel()
	log := &brokenLog{clockedLog: newLog(t)}
	log.add(t, "1", started)
	x := newIndex(t, log, prometheus.NewRegistry())
	if text, _ := list(t, x, log); text != "1 OPEN 1" {
		t.Fatalf("there are %s", text)
	}
	fail := error(&eventlog.DamagedError{After: 0, UpTo: 1, Err: errors.New("gone")}) // as if it were another event
	log.failure.Store(&fail)
	renamed, err := eventlog.NewHistory(log.ID(), eventlog.EpochStart{Epoch: eventlog.NewEpoch(), First: 1})
	if err != nil {
		t.Fatal(err)
	}
	log.renamed.Store(renamed)
	if text, _ := list(t, x, log); text != "" {
		t.Errorf("of the lost end %s is left", text)
	}
}

// Events that have come in place of lost ones have another epoch than the one that was begun for them afterwards. They are
// read once all the same, also if no other comes.
func TestOverwrittenEndIsReadOnce(t *testing.T) {
	t.Parallel()
	log := &brokenLog{clockedLog: newLog(t)}
	log.add(t, "1", started)
	renamed, err := eventlog.NewHistory(log.ID(), eventlog.EpochStart{Epoch: eventlog.NewEpoch(), First: 1})
	if err != nil {
		t.Fatal(err)
	}
	log.renamed.Store(renamed)
	x := newIndex(t, log, prometheus.NewRegistry())
	for range 3 {
		if text, known := list(t, x, log); text != "1 OPEN 1" || known != 24*time.Hour {
			t.Errorf("there are %s, all of %v", text, known)
		}
	}
	if n := log.begun.Load(); n != 1 {
		t.Errorf("all was read %d times", n)
	}
}

func TestConfig(t *testing.T) {
	t.Parallel()
	for want, change := range map[string]func(*sessions.Config){
		"stalled_after: must be 1m to 24h":                  func(c *sessions.Config) { c.StalledAfter = time.Second },
		"window: must be sessions.stalled_after (1h0m0s)":   func(c *sessions.Config) { c.StalledAfter, c.Window = time.Hour, time.Minute },
		"window: must be sessions.stalled_after (30m0s) to": func(c *sessions.Config) { c.Window = 721 * time.Hour },
		"max_sessions: must be 1 to 1000000, or 0":          func(c *sessions.Config) { c.MaxSessions = -1 },
	} {
		config := sessions.DefaultConfig()
		change(&config)
		if err := config.Validate(); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%+v: %v, want %s", config, err, want)
		}
	}
	if err := sessions.DefaultConfig().Validate(); err != nil {
		t.Error(err)
	}
}
