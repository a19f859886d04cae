package history

import (
	"math"
	"slices"
	"strconv"
	"strings"

	dto "github.com/prometheus/client_model/go"
)

// A sample is what metrics were at one time, as far as there are series of it.
type sample struct {
	// gauges by the names of their series.
	gauges map[string]float64
	// totals are counters, and buckets of histograms, by what join makes.
	totals map[string]float64
	// histograms has the upper bounds of their buckets, by the names of their series.
	histograms map[string][]float64
}

// The outcomes of deliveries that were not refused.
var taken = []string{"stored", "duplicate", "conflict", "probe_not_stored"}

// read takes from metrics what there are series of.
func read(families []*dto.MetricFamily) *sample {
	s := &sample{gauges: make(map[string]float64), totals: make(map[string]float64), histograms: make(map[string][]float64)}
	for _, family := range families {
		for _, m := range family.GetMetric() {
			s.add(family.GetName(), m)
		}
	}
	return s
}

func (s *sample) add(family string, m *dto.Metric) {
	gauge := m.GetGauge().GetValue()
	switch family {
	case "webhook_gateway_deliveries_total":
		name, outcome := "refusals", label(m, "outcome")
		if slices.Contains(taken, outcome) {
			name = "deliveries"
		}
		s.totals[join(name, label(m, "provider"), outcome)] += m.GetCounter().GetValue()
	case "webhook_gateway_stream_events_total":
		s.totals[join("events_sent", "", "")] += m.GetCounter().GetValue()
	case "webhook_gateway_stream_live_delay_seconds":
		s.addHistogram("delay", m.GetHistogram())
	case "webhook_gateway_append_duration_seconds":
		s.addHistogram("append", m.GetHistogram())
	case "webhook_gateway_streams_open":
		s.gauges["streams"] = gauge
	case "webhook_gateway_subscription_lag_events":
		s.gauges["lag_events"] = max(s.gauges["lag_events"], gauge)
	case "webhook_gateway_subscription_parked_events":
		s.gauges["parked_events"] += gauge
	case "webhook_gateway_store_bytes":
		s.gauges["store_bytes"] = gauge
	case "webhook_gateway_store_disk_free_bytes":
		s.gauges["free_bytes"] = gauge
	}
}

// addHistogram adds up histograms with the same buckets.
func (s *sample) addHistogram(name string, h *dto.Histogram) {
	var bounds []float64
	for _, b := range h.GetBucket() {
		bounds = append(bounds, b.GetUpperBound())
		s.totals[bucketKey(name, b.GetUpperBound())] += float64(b.GetCumulativeCount())
	}
	if len(bounds) == 0 || !math.IsInf(bounds[len(bounds)-1], 1) {
		bounds = append(bounds, math.Inf(1))
		s.totals[bucketKey(name, math.Inf(1))] += float64(h.GetSampleCount())
	}
	s.histograms[name] = bounds
}

// quantile returns the value that a part of what was measured is not above, as Prometheus
// does it: between the bounds of a bucket a line is assumed. It is NaN if nothing was measured.
func quantile(part float64, bounds []float64, upTo func(bound float64) float64) float64 {
	all := upTo(bounds[len(bounds)-1])
	if all <= 0 {
		return math.NaN()
	}
	lower, before := 0.0, 0.0
	for _, bound := range bounds {
		count := upTo(bound)
		if count >= part*all {
			if math.IsInf(bound, 1) || count == before {
				return lower
			}
			return lower + (bound-lower)*(part*all-before)/(count-before)
		}
		lower, before = bound, count
	}
	return lower
}

func label(m *dto.Metric, name string) string {
	for _, l := range m.GetLabel() {
		if l.GetName() == name {
			return l.GetValue()
		}
	}
	return ""
}

// bucketMark tells buckets from counters.
const bucketMark = "\x01"

func bucketKey(name string, bound float64) string {
	return name + bucketMark + strconv.FormatFloat(bound, 'g', -1, 64)
}

func join(name, provider, outcome string) string { return name + "\x00" + provider + "\x00" + outcome }

func cut(key string) (name, provider, outcome string) {
	name, rest, _ := strings.Cut(key, "\x00")
	provider, outcome, _ = strings.Cut(rest, "\x00")
	return name, provider, outcome
}
