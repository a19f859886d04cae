package eventservice_test

import (
	"bytes"
	"context"
	"math"
	"syscall"
	"testing"
	"time"

	webhookgatewayv1 "github.com/webhook-gateway/webhook-gateway/gen/webhookgateway/v1"
	"github.com/webhook-gateway/webhook-gateway/server/access"
	"github.com/webhook-gateway/webhook-gateway/server/stream/streamtest"
)

// BenchmarkCatchUpWithGrant streams a log from its beginning to its head, in turns with
// and without a grant of three conditions, all of which every event meets. It reports the
// CPU time of both sides for an event, and what the grant adds, with the 95 % interval of
// the pairs.
func BenchmarkCatchUpWithGrant(b *testing.B) {
	const events = 300_000
	g := newTCPGateway(b)
	g.addMany(b, events, bytes.Repeat([]byte("x"), 400))
	req := &webhookgatewayv1.SubscribeRequest{Start: fromEarliest(), Stop: toHead()}
	granted := streamtest.As(b.Context(), &access.Caller{Grants: []*access.Grant{reads(&webhookgatewayv1.EventFilter{
		Providers:  []webhookgatewayv1.Provider{vezgo},
		EventTypes: []webhookgatewayv1.EventType{syncError, syncAccount},
		ClientIds:  []string{"b", "a"},
	})}})
	measure := func(ctx context.Context) float64 {
		begun := cpuTime(b)
		countBytes(ctx, b, g, req)
		return float64(cpuTime(b)-begun) / events
	}
	measure(b.Context()) // what is first is slower
	var with, without, sum, squares, pairs float64
	for b.Loop() {
		x, y := measure(b.Context()), measure(granted)
		added := 100 * (y/x - 1)
		without, with, sum, squares, pairs = without+x, with+y, sum+added, squares+added*added, pairs+1
	}
	mean := sum / pairs
	b.ReportMetric(without/pairs, "cpu-ns/event-without")
	b.ReportMetric(with/pairs, "cpu-ns/event-with")
	b.ReportMetric(mean, "%added")
	b.ReportMetric(1.96*math.Sqrt((squares/pairs-mean*mean)/pairs), "±%added")
}

// cpuTime returns the CPU time that the process has used.
func cpuTime(b *testing.B) time.Duration {
	b.Helper()
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		b.Fatal(err)
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}
