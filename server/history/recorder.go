// Package history keeps what the gateway measured in the last hour, in memory, so that it
// can be looked at without Prometheus.
package history

import (
	"context"
	"log/slog"
	"maps"
	"math"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	webhookgatewayv1 "github.com/webhook-gateway/webhook-gateway/gen/webhookgateway/v1"
)

const (
	// Interval is how far two values are apart.
	Interval = 10 * time.Second
	// kept is how many values each series has: those of an hour.
	kept = int(time.Hour / Interval)
	// maxSeries bounds them: the labels are few, but nobody else sees to it here.
	maxSeries = 500
)

// A Recorder samples metrics and keeps what they were.
type Recorder struct {
	gatherer prometheus.Gatherer
	logger   *slog.Logger

	mu     sync.Mutex
	before map[string]float64
	series map[id]*ring
	rose   map[id]time.Time
	end    time.Time
	count  int
}

// id tells series apart.
type id struct{ name, provider, outcome string }

// A ring has the newest values of a series.
type ring struct {
	values [kept]float64
	// first is the number of the sample that the first value is of.
	first int
}

// New returns a recorder of the metrics of a gateway. Run makes it record.
func New(gatherer prometheus.Gatherer, logger *slog.Logger) *Recorder {
	return &Recorder{gatherer: gatherer, logger: logger, series: make(map[id]*ring), rose: make(map[id]time.Time)}
}

// Run records until ctx is done.
func (r *Recorder) Run(ctx context.Context) {
	ticker := time.NewTicker(Interval)
	defer ticker.Stop()
	r.Record(time.Now())
	for {
		select {
		case now := <-ticker.C:
			r.Record(now)
		case <-ctx.Done():
			return
		}
	}
}

// Record samples once. The first sample has no rates: they are differences.
func (r *Recorder) Record(now time.Time) {
	families, err := r.gatherer.Gather()
	if err != nil { // what could be gathered is there all the same
		r.logger.Warn("some metrics could not be recorded", "error", err)
	}
	sample := read(families)

	r.mu.Lock()
	defer r.mu.Unlock()
	values := r.valuesOf(sample, now)
	r.before, r.end = sample.totals, now
	for key, value := range values {
		s := r.series[key]
		if s == nil {
			if len(r.series) >= maxSeries {
				continue
			}
			s = &ring{first: r.count}
			r.series[key] = s
		}
		s.values[r.count%kept] = value
	}
	for key, s := range r.series {
		if _, ok := values[key]; !ok {
			s.values[r.count%kept] = math.NaN()
		}
	}
	r.count++
}

// valuesOf returns the values of the series at a sample.
func (r *Recorder) valuesOf(s *sample, now time.Time) map[id]float64 {
	values := make(map[id]float64)
	for key, value := range s.gauges {
		values[id{name: key}] = value
	}
	if r.before == nil {
		return values
	}
	seconds := now.Sub(r.end).Seconds()
	for key, total := range s.totals {
		rise := total - r.before[key]
		name, provider, outcome := cut(key)
		if strings.Contains(name, bucketMark) {
			continue
		}
		values[id{name, provider, outcome}] = max(rise, 0) / seconds
		if rise > 0 {
			r.rose[id{name: name, provider: provider}] = now
		}
	}
	for name, bounds := range s.histograms {
		for _, q := range []struct {
			suffix string
			part   float64
		}{{"_p50", 0.5}, {"_p99", 0.99}} {
			values[id{name: name + q.suffix}] = quantile(q.part, bounds, func(bound float64) float64 {
				key := bucketKey(name, bound)
				return s.totals[key] - r.before[key]
			})
		}
	}
	return values
}

// Rose returns when a series of a provider last rose, to an Interval; zero if it has not since
// the start.
func (r *Recorder) Rose(name, provider string) time.Time {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.rose[id{name: name, provider: provider}]
}

// History returns what was recorded.
func (r *Recorder) History() *webhookgatewayv1.GetHistoryResponse {
	r.mu.Lock()
	defer r.mu.Unlock()
	response := &webhookgatewayv1.GetHistoryResponse{EndTime: timestamppb.New(r.end), Interval: durationpb.New(Interval)}
	if r.count == 0 {
		response.EndTime = nil
	}
	keys := slices.SortedFunc(maps.Keys(r.series), func(a, b id) int {
		return strings.Compare(a.name+"\x00"+a.provider+"\x00"+a.outcome, b.name+"\x00"+b.provider+"\x00"+b.outcome)
	})
	for _, key := range keys {
		s := r.series[key]
		one := &webhookgatewayv1.Series{Name: key.name, Labels: make(map[string]string)}
		if key.provider != "" {
			one.Labels["provider"] = key.provider
		}
		if key.outcome != "" {
			one.Labels["outcome"] = key.outcome
		}
		for i := max(s.first, r.count-kept); i < r.count; i++ {
			one.Values = append(one.Values, s.values[i%kept])
		}
		response.Series = append(response.Series, one)
	}
	return response
}
