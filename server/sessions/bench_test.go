//go:build unix

package sessions_test

import (
	"fmt"
	"log/slog"
	"syscall"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	webhookgatewayv1 "github.com/webhook-gateway/webhook-gateway/gen/webhookgateway/v1"
	"github.com/webhook-gateway/webhook-gateway/server/eventlog"
	"github.com/webhook-gateway/webhook-gateway/server/eventlog/pebblelog"
	"github.com/webhook-gateway/webhook-gateway/server/sessions"
)

// BenchmarkIndex reads events of the log: an operation is one event, each of a customer that
// has six in a session. The time has the pauses of reading back in it; cpu-ns/op has not.
func BenchmarkIndex(b *testing.B) {
	const events = 6000
	config := pebblelog.DefaultConfig()
	config.Path = b.TempDir()
	log, err := pebblelog.Open(config, slog.New(slog.DiscardHandler), pebblelog.InMemory())
	if err != nil {
		b.Fatal(err)
	}
	defer log.Close()
	types := sessions.Types()[:6]
	for i := range events {
		entry, err := eventlog.NewEntry(&webhookgatewayv1.Event{
			Provider: webhookgatewayv1.Provider_PROVIDER_FINICITY, Type: types[i/(events/6)], ClientId: "acme", Subject: fmt.Sprint(1_000_000 + i%(events/6)),
			Verification: &webhookgatewayv1.Verification{Verdict: webhookgatewayv1.VerificationVerdict_VERIFICATION_VERDICT_VERIFIED},
			RawBody:      make([]byte, 750),
		})
		if err == nil {
			_, err = log.Append(b.Context(), entry)
		}
		if err != nil {
			b.Fatal(err)
		}
	}
	off, on := sessions.DefaultConfig(), sessions.DefaultConfig()
	off.MaxSessions = 0
	x, err := sessions.New(off, log, slog.New(slog.DiscardHandler), prometheus.NewRegistry())
	if err != nil {
		b.Fatal(err)
	}
	defer x.Close()
	b.ReportAllocs()
	before := cpuTime(b)
	for n := 0; n < b.N; n += events {
		x.Replace(off)
		x.Replace(on)
		if _, err := x.Sync(b.Context()); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(cpuTime(b)-before)/float64(max(b.N, events)), "cpu-ns/op")
}

// cpuTime returns the nanoseconds that the process has computed.
func cpuTime(b *testing.B) int64 {
	b.Helper()
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		b.Fatal(err)
	}
	return usage.Utime.Nano() + usage.Stime.Nano()
}
