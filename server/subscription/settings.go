package subscription

import (
	"errors"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	webhookgatewayv1 "github.com/webhook-gateway/webhook-gateway/gen/webhookgateway/v1"
	"github.com/webhook-gateway/webhook-gateway/server/fielderr"
)

// settings are those of a subscription, with defaults filled in.
type settings struct {
	ackDeadline          time.Duration
	maxAttempts          int // neverPark, or at least 1
	minBackoff           time.Duration
	maxBackoff           time.Duration
	maxInFlightPerStream int
	maxInFlight          int
	ordering             webhookgatewayv1.Ordering
	maxWaiting           int
	parkedRetention      time.Duration
}

// neverPark as max_attempts is no limit.
const neverPark = -1

func defaultSettings() settings {
	return settings{
		ackDeadline:          30 * time.Second,
		maxAttempts:          10,
		minBackoff:           time.Second,
		maxBackoff:           10 * time.Minute,
		maxInFlightPerStream: 1000,
		maxInFlight:          10_000,
		ordering:             webhookgatewayv1.Ordering_ORDERING_NONE,
		maxWaiting:           100_000,
		parkedRetention:      90 * day,
	}
}

const (
	day = 24 * time.Hour

	maxAckDeadline          = time.Hour
	maxMinBackoff           = time.Hour
	maxMaxBackoff           = day
	maxMaxAttempts          = 1000
	maxMaxInFlightPerStream = 100_000
	maxMaxInFlight          = 1_000_000
	maxMaxWaiting           = 1_000_000
	minParkedRetention      = time.Hour
	maxParkedRetention      = 3650 * day

	// maxSuspectBackoff is the longest wait between two steps of the search for the
	// event that ends its workers, unless min_backoff is longer.
	maxSuspectBackoff = 15 * time.Second
)

// parseSettings fills in defaults. Its errors are of fielderr, with paths that
// begin with `settings`.
func parseSettings(in *webhookgatewayv1.SubscriptionSettings) (settings, error) {
	s := defaultSettings()
	if in == nil {
		return s, nil
	}
	errs := []error{
		setDuration(&s.ackDeadline, "ack_deadline", in.GetAckDeadline(), time.Second, maxAckDeadline),
		setAttempts(&s.maxAttempts, in.GetMaxAttempts()),
		setDuration(&s.minBackoff, "min_backoff", in.GetMinBackoff(), 0, maxMinBackoff),
	}
	s.maxBackoff = max(s.maxBackoff, s.minBackoff)
	errs = append(errs,
		setDuration(&s.maxBackoff, "max_backoff", in.GetMaxBackoff(), s.minBackoff, maxMaxBackoff),
		setInt(&s.maxInFlightPerStream, "max_in_flight_per_stream", in.GetMaxInFlightPerStream(), maxMaxInFlightPerStream),
		setInt(&s.maxInFlight, "max_in_flight", in.GetMaxInFlight(), maxMaxInFlight),
		setInt(&s.maxWaiting, "max_waiting", in.GetMaxWaiting(), maxMaxWaiting),
		setDuration(&s.parkedRetention, "parked_retention", in.GetParkedRetention(), minParkedRetention, maxParkedRetention),
	)
	switch in.GetOrdering() {
	case webhookgatewayv1.Ordering_ORDERING_UNSPECIFIED:
	case webhookgatewayv1.Ordering_ORDERING_NONE, webhookgatewayv1.Ordering_ORDERING_BY_SUBJECT, webhookgatewayv1.Ordering_ORDERING_STRICT:
		s.ordering = in.GetOrdering()
	default:
		errs = append(errs, fielderr.New("ordering", "%v is not an ordering that this gateway knows", in.GetOrdering()))
	}
	if err := errors.Join(errs...); err != nil {
		return settings{}, fielderr.In("settings", err)
	}
	return s, nil
}

func setDuration(to *time.Duration, field string, in *durationpb.Duration, least, most time.Duration) error {
	if in == nil {
		return nil
	}
	if d := in.AsDuration(); in.CheckValid() != nil || d < least || d > most {
		return fielderr.New(field, "give %s to %s", fielderr.Duration(least), fielderr.Duration(most))
	}
	*to = in.AsDuration()
	return nil
}

func setInt(to *int, field string, in int32, most int) error {
	if in == 0 {
		return nil
	}
	if in < 0 || int(in) > most {
		return fielderr.New(field, "%d is given: give 1 to %d", in, most)
	}
	*to = int(in)
	return nil
}

func setAttempts(to *int, in int32) error {
	if in == neverPark {
		*to = neverPark
		return nil
	}
	if in < 0 || in > maxMaxAttempts {
		return fielderr.New("max_attempts", "%d is given: give 1 to %d, or %d for never", in, maxMaxAttempts, neverPark)
	}
	return setInt(to, "max_attempts", in, maxMaxAttempts)
}

func (s settings) proto() *webhookgatewayv1.SubscriptionSettings {
	return &webhookgatewayv1.SubscriptionSettings{
		AckDeadline:          durationpb.New(s.ackDeadline),
		MaxAttempts:          int32(s.maxAttempts), //nolint:gosec // bounded
		MinBackoff:           durationpb.New(s.minBackoff),
		MaxBackoff:           durationpb.New(s.maxBackoff),
		MaxInFlightPerStream: int32(s.maxInFlightPerStream), //nolint:gosec // bounded
		MaxInFlight:          int32(s.maxInFlight),          //nolint:gosec // bounded
		Ordering:             s.ordering,
		MaxWaiting:           int32(s.maxWaiting), //nolint:gosec // bounded
		ParkedRetention:      durationpb.New(s.parkedRetention),
	}
}

// backoff returns the delay after a number of failed attempts.
func (s settings) backoff(attempts int) time.Duration {
	return doubled(s.minBackoff, attempts-1, s.maxBackoff)
}

// suspectBackoff returns the delay after a number of rounds of the search for the
// event that ends its workers.
func (s settings) suspectBackoff(rounds int) time.Duration {
	return doubled(s.minBackoff, rounds-1, min(max(s.minBackoff, maxSuspectBackoff), s.maxBackoff))
}

// doubled returns a delay doubled some times, but at most a limit.
func doubled(delay time.Duration, times int, limit time.Duration) time.Duration {
	for range times {
		if delay == 0 {
			break
		}
		if delay >= limit/2 {
			return limit
		}
		delay *= 2
	}
	return min(delay, limit)
}

// exhausted reports whether an event that failed this often is parked.
func (s settings) exhausted(attempts int) bool {
	return s.maxAttempts != neverPark && attempts >= s.maxAttempts
}

// readAhead is the most events that are found and not delivered yet: enough to look
// past those that wait for others of their group.
func (s settings) readAhead() int { return min(max(s.maxInFlight, 1000), 100_000) }
