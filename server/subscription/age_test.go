package subscription

import (
	"log/slog"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"

	webhookgatewayv1 "github.com/webhook-gateway/webhook-gateway/gen/webhookgateway/v1"
	"github.com/webhook-gateway/webhook-gateway/server/eventlog/pebblelog"
	"github.com/webhook-gateway/webhook-gateway/server/eventlog/pebblelog/pebblelogtest"
)

// logTime is a time of the log that is not that of this machine.
type logTime struct{ passed, jumped atomic.Int64 }

func (l *logTime) pass(d time.Duration) { l.passed.Add(int64(d)) }

// jump moves the clock, and no time passes.
func (l *logTime) jump(d time.Duration) { l.jumped.Add(int64(d)) }

// startAtOtherTime starts a gateway whose log has a time of its own, a year ahead of the
// machine's at first. It returns a function that gathers a gauge of the subscription s.
func startAtOtherTime(t *testing.T) (*gateway, *logTime, func(name string) float64) {
	t.Helper()
	clock, opened := &logTime{}, time.Now()
	clock.pass(365 * day)
	disk := pebblelogtest.NewDisk()
	log := disk.Open(t, pebblelog.WithClock(
		func() time.Time { return opened.Add(time.Duration(clock.passed.Load() + clock.jumped.Load())) },
		func() time.Duration { return time.Duration(clock.passed.Load()) },
	))
	registry := prometheus.NewRegistry()
	manager, err := New(t.Context(), Params{
		Log: log, States: log, MaxAge: time.Hour, Logger: slog.New(slog.DiscardHandler), Registerer: registry,
	})
	if err != nil {
		t.Fatal(err)
	}
	g := &gateway{disk: disk, log: log, manager: manager}
	t.Cleanup(func() { g.stop(t) })
	return g, clock, func(name string) float64 { return gauge(t, registry, metricPrefix+name) }
}

func gauge(t *testing.T, registry *prometheus.Registry, name string) float64 {
	t.Helper()
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, family := range families {
		if family.GetName() == name && family.GetType() == dto.MetricType_GAUGE {
			return family.GetMetric()[0].GetGauge().GetValue()
		}
	}
	t.Fatalf("there is no %s", name)
	return 0
}

// The oldest event that is owed is as old as the log says, whatever the clock of the
// machine is, and whoever holds it.
func TestOldestUnacknowledgedAge(t *testing.T) {
	g, clock, gauge := startAtOtherTime(t)
	want := func(when string, want time.Duration) {
		t.Helper()
		g.manager.byName["s"].lookAtOldest(t.Context())
		if got := gauge("oldest_unacknowledged_age_seconds"); got != want.Seconds() {
			t.Errorf("%s it is %v s, want %v", when, got, want)
		}
	}
	g.create(t, "s", nil, "a")
	g.append(t, "b", "1")
	want("with nothing of its own", 0)
	stream := g.attach(t)
	g.append(t, "a", "2")
	first := next(t, stream, 1)
	clock.pass(10 * time.Minute)
	want("while one is held", 10*time.Minute)
	if got := g.status(t); got.GetLagTime().AsDuration() != 10*time.Minute || got.GetExpiresIn().AsDuration() != 50*time.Minute {
		t.Errorf("the status is %v", got)
	}
	g.append(t, "a", "3")
	second := next(t, stream, 1)
	clock.pass(5 * time.Minute)
	wantResults(t, resultOK, func() ([]webhookgatewayv1.TokenResult, error) {
		return g.manager.Retry(t.Context(), "s", tokens(first...), time.Hour, "")
	})
	want("while one waits", 15*time.Minute)
	stream.Close()
	want("without a stream", 15*time.Minute)
	g.wantAck(t, resultFenced, second...)

	stream = g.attach(t)
	second = next(t, stream, 1)
	wantResults(t, resultOK, func() ([]webhookgatewayv1.TokenResult, error) {
		return g.manager.Park(t.Context(), "s", tokens(second...), "")
	})
	want("while one waits and one is parked", 15*time.Minute)
	if _, err := g.manager.Seek(t.Context(), "s", g.log.Bounds().Head); err != nil {
		t.Fatal(err)
	}
	want("after a seek to the end", 0)
}

// What is left for an event is until retention really removes it: ten times as fast while
// that catches up with a jump of the clock, and nothing once it has.
func TestExpiresIn(t *testing.T) {
	g, clock, _ := startAtOtherTime(t) // events are kept for an hour
	g.create(t, "s", nil, "a")
	g.append(t, "a", "1")
	g.append(t, "a", "2")
	next(t, g.attach(t), 2)
	want := func(when string, want time.Duration) {
		t.Helper()
		if got := g.status(t).GetExpiresIn(); got == nil || got.AsDuration() != want {
			t.Errorf("%s it expires in %v, want %v", when, got.AsDuration(), want)
		}
	}
	want("at first", time.Hour)
	clock.jump(-time.Hour)
	want("by a clock that is behind", time.Hour)
	clock.jump(7 * time.Hour)
	want("after a jump", 6*time.Minute)
	clock.pass(5 * time.Minute)
	want("soon", time.Minute)
	clock.pass(time.Minute)
	want("when retention has caught up", 0)
	clock.jump(-6 * time.Hour)
	if err := g.log.Trim(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	want("of an event that is gone and held", 0)
}

// What is parked is kept for parked_retention by the clock that ends that, the log's: a
// machine that thinks that it is last year loses nothing.
func TestParkedByTheTimeOfTheLog(t *testing.T) {
	g, clock, gauge := startAtOtherTime(t)
	g.create(t, "s", nil, "a")
	g.append(t, "a", "1")
	d := next(t, g.attach(t), 1)
	wantResults(t, resultOK, func() ([]webhookgatewayv1.TokenResult, error) {
		return g.manager.Park(t.Context(), "s", tokens(d...), "")
	})
	s := g.manager.byName["s"]
	clock.pass(time.Hour)
	s.sweep(t.Context())
	if got := g.status(t); got.GetParkedEvents() != 1 || got.GetOldestParkedAge().AsDuration() != time.Hour {
		t.Errorf("after an hour the status is %v", got)
	}
	if got := gauge("oldest_parked_age_seconds"); got != 3600 {
		t.Errorf("after an hour the event has been parked for %v s", got)
	}
	clock.pass(90 * day)
	s.sweep(t.Context())
	if got := g.status(t); got.GetParkedEvents() != 0 {
		t.Errorf("after parked_retention the status is %v", got)
	}
}

// An event waits for a day at most, also if its wait began by a clock that was wrong.
func TestWaitByAWrongClock(t *testing.T) {
	now := time.Now()
	before := newMachine(defaultSettings(), 0, 1, now.Add(365*day))
	before.offer([]offer{{position: 1}}, 1)
	s := before.first
	before.leaveHeap(s)
	e := before.at(s)
	e.stage, e.due = waiting, int64(time.Minute)
	after := newMachine(defaultSettings(), 1, 2, now)
	if err := after.decodeApart(change{pairApart, 1}, before.encodeApart(e)); err != nil {
		t.Fatal(err)
	}
	if due, ok := after.nextDue(); !ok || due.Sub(now) != day {
		t.Errorf("it waits for %v", due.Sub(now))
	}
}

// A counter that alerts look at is there before it counts, and goes with its
// subscription.
func TestCountersAreThereBefore(t *testing.T) {
	g, _, _ := startAtOtherTime(t)
	counted := func() (names []string) {
		families, err := g.manager.Registerer.(*prometheus.Registry).Gather()
		if err != nil {
			t.Fatal(err)
		}
		for _, family := range families {
			if family.GetType() == dto.MetricType_COUNTER {
				names = append(names, family.GetName())
			}
		}
		return names
	}
	g.create(t, "s", nil)
	if got := counted(); len(got) != 2 {
		t.Errorf("of a subscription that is new there is counted %v", got)
	}
	if err := g.manager.Delete(t.Context(), "s"); err != nil {
		t.Fatal(err)
	}
	if got := counted(); len(got) != 0 {
		t.Errorf("of a subscription that was deleted there is counted %v", got)
	}
}

// An event that waits does so as long as it was meant to, also if the wait began on a gateway
// with another clock. Both know by how much theirs is ahead of the time of the log.
func TestWaitByTheClockOfAnotherGateway(t *testing.T) {
	now := time.Now()
	for _, ahead := range []time.Duration{0, 9 * time.Second, 365 * day, -365 * day} {
		before := newMachine(defaultSettings(), 0, 1, now.Add(ahead))
		before.ahead = ahead
		before.offer([]offer{{position: 1}}, 1)
		s := before.first
		before.leaveHeap(s)
		e := before.at(s)
		e.stage, e.due = waiting, int64(time.Minute)
		for _, there := range []time.Duration{0, -time.Hour} {
			after := newMachine(defaultSettings(), 1, 2, now.Add(there))
			after.ahead = there
			if err := after.decodeApart(change{pairApart, 1}, before.encodeApart(e)); err != nil {
				t.Fatal(err)
			}
			if due, ok := after.nextDue(); !ok || due.Sub(now.Add(there)) != time.Minute {
				t.Errorf("from a clock that is %v ahead to one that is %v ahead: it waits for %v", ahead, there, due.Sub(now.Add(there)))
			}
		}
	}
}
