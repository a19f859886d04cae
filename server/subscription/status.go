package subscription

import (
	"context"
	"errors"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"

	webhookgatewayv1 "github.com/webhook-gateway/webhook-gateway/gen/webhookgateway/v1"
	"github.com/webhook-gateway/webhook-gateway/server/eventlog"
)

// describe returns the subscription with its status.
func (s *subscription) describe(ctx context.Context) (*webhookgatewayv1.Subscription, error) {
	out, ok := proto.Clone(s.definition().proto).(*webhookgatewayv1.Subscription)
	if !ok {
		return nil, errors.New("clone the subscription")
	}
	var err error
	out.Status, err = s.status(ctx)
	return out, err
}

// status reads at most one event of the log.
func (s *subscription) status(ctx context.Context) (*webhookgatewayv1.SubscriptionStatus, error) {
	log := s.manager.Log
	bounds := log.Bounds()
	now := time.Now()

	s.mu.Lock()
	s.machine.trim(bounds.Trimmed)
	cursor, gap := s.machine.cursor, s.machine.gap
	head := max(bounds.Head, cursor)
	status := &webhookgatewayv1.SubscriptionStatus{
		Cursor:         eventlog.FormatCursor(log.ID(), cursor),
		HeadCursor:     eventlog.FormatCursor(log.ID(), head),
		LagEvents:      int64(head - cursor), //nolint:gosec // not negative
		InFlightEvents: int64(s.machine.held),
		RetryingEvents: int64(s.machine.waiting),
		ParkedEvents:   int64(len(s.machine.parked)),
		Streams:        int32(len(s.streams)), //nolint:gosec // few
	}
	if oldest, ok := s.machine.oldestParked(); ok {
		status.OldestParkedAge = durationpb.New(max(0, now.Sub(oldest)))
	}
	s.mu.Unlock()

	if gap != (Gap{}) {
		status.Gap = &webhookgatewayv1.SubscriptionGap{
			FromCursor: eventlog.FormatCursor(log.ID(), gap.From),
			ToCursor:   eventlog.FormatCursor(log.ID(), gap.To),
		}
	}
	if head == cursor {
		return status, nil
	}
	received, err := s.received(ctx, cursor+1)
	if err != nil {
		return nil, err
	}
	age := max(0, now.Sub(received))
	status.LagTime = durationpb.New(age)
	if maxAge := s.manager.MaxAge; maxAge > 0 {
		status.ExpiresIn = durationpb.New(max(0, maxAge-age))
	}
	return status, nil
}

// received returns when the event at a position, or else the earliest one after
// it, was received.
func (s *subscription) received(ctx context.Context, p eventlog.Position) (time.Time, error) {
	for {
		record, err := s.manager.record(ctx, p)
		var trimmed *eventlog.TrimmedError
		if errors.As(err, &trimmed) && trimmed.Trimmed >= p {
			if p = trimmed.Trimmed + 1; p > s.manager.Log.Bounds().Head {
				return time.Now(), nil
			}
			continue
		}
		if err != nil {
			return time.Time{}, readError(p, err)
		}
		return record.ReceiveTime(), nil
	}
}

// collector gathers the metrics of all subscriptions when they are scraped.
type collector struct {
	manager                                       *Manager
	lag, inFlight, retrying, parked, age, streams *prometheus.Desc
}

func newCollector(m *Manager) *collector {
	desc := func(name, help string) *prometheus.Desc {
		return prometheus.NewDesc("webhook_gateway_subscription_"+name, help, []string{"subscription"}, nil)
	}
	return &collector{
		manager:  m,
		lag:      desc("lag_events", "Events of the log after the cursor of the subscription, matching or not."),
		inFlight: desc("in_flight_events", "Events held by workers."),
		retrying: desc("retrying_events", "Events that wait for another delivery."),
		parked:   desc("parked_events", "Parked events."),
		age:      desc("oldest_parked_age_seconds", "Age of the event that is parked for longest, 0 if there is none."),
		streams:  desc("streams", "Streams attached."),
	}
}

// Describe implements prometheus.Collector.
func (c *collector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{c.lag, c.inFlight, c.retrying, c.parked, c.age, c.streams} {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (c *collector) Collect(ch chan<- prometheus.Metric) {
	c.manager.mu.RLock()
	defer c.manager.mu.RUnlock()
	head := c.manager.Log.Bounds().Head
	for name, s := range c.manager.byName {
		gauge := func(d *prometheus.Desc, v float64) {
			ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, name)
		}
		s.mu.Lock()
		m, streams := s.machine, len(s.streams)
		lag, inFlight, retrying, parked := max(head, m.cursor)-m.cursor, m.held, m.waiting, len(m.parked)
		oldest, _ := m.oldestParked()
		s.mu.Unlock()
		gauge(c.lag, float64(lag))
		gauge(c.inFlight, float64(inFlight))
		gauge(c.retrying, float64(retrying))
		gauge(c.parked, float64(parked))
		gauge(c.streams, float64(streams))
		age := 0.0
		if !oldest.IsZero() {
			age = time.Since(oldest).Seconds()
		}
		gauge(c.age, age)
	}
}
