package subscription

import (
	"fmt"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	webhookgatewayv1 "github.com/webhook-gateway/webhook-gateway/gen/webhookgateway/v1"
)

// settings are those of a subscription, with defaults filled in.
type settings struct {
	ackDeadline          time.Duration
	maxAttempts          int
	minBackoff           time.Duration
	maxBackoff           time.Duration
	maxInFlightPerStream int
	maxInFlight          int
	ordering             webhookgatewayv1.Ordering
}

func defaultSettings() settings {
	return settings{
		ackDeadline:          30 * time.Second,
		maxAttempts:          10,
		minBackoff:           time.Second,
		maxBackoff:           10 * time.Minute,
		maxInFlightPerStream: 1000,
		maxInFlight:          10_000,
		ordering:             webhookgatewayv1.Ordering_ORDERING_NONE,
	}
}

const (
	maxAckDeadline          = time.Hour
	maxMinBackoff           = time.Hour
	maxMaxBackoff           = 24 * time.Hour
	maxMaxAttempts          = 1000
	maxMaxInFlightPerStream = 100_000
	maxMaxInFlight          = 1_000_000
)

// parseSettings fills in defaults. Its errors are *InvalidError.
func parseSettings(in *webhookgatewayv1.SubscriptionSettings) (settings, error) {
	s := defaultSettings()
	if in == nil {
		return s, nil
	}
	const path = "subscription.settings."
	if err := setDuration(&s.ackDeadline, path+"ack_deadline", in.GetAckDeadline(), time.Second, maxAckDeadline); err != nil {
		return settings{}, err
	}
	if err := setDuration(&s.minBackoff, path+"min_backoff", in.GetMinBackoff(), 0, maxMinBackoff); err != nil {
		return settings{}, err
	}
	s.maxBackoff = max(s.maxBackoff, s.minBackoff)
	if err := setDuration(&s.maxBackoff, path+"max_backoff", in.GetMaxBackoff(), s.minBackoff, maxMaxBackoff); err != nil {
		return settings{}, err
	}
	if err := setInt(&s.maxAttempts, path+"max_attempts", in.GetMaxAttempts(), maxMaxAttempts); err != nil {
		return settings{}, err
	}
	if err := setInt(&s.maxInFlightPerStream, path+"max_in_flight_per_stream", in.GetMaxInFlightPerStream(), maxMaxInFlightPerStream); err != nil {
		return settings{}, err
	}
	if err := setInt(&s.maxInFlight, path+"max_in_flight", in.GetMaxInFlight(), maxMaxInFlight); err != nil {
		return settings{}, err
	}
	switch in.GetOrdering() {
	case webhookgatewayv1.Ordering_ORDERING_UNSPECIFIED:
	case webhookgatewayv1.Ordering_ORDERING_NONE, webhookgatewayv1.Ordering_ORDERING_BY_CUSTOMER, webhookgatewayv1.Ordering_ORDERING_STRICT:
		s.ordering = in.GetOrdering()
	default:
		return settings{}, invalid(path+"ordering", "%v is not an ordering that this gateway knows", in.GetOrdering())
	}
	return s, nil
}

func setDuration(to *time.Duration, field string, in *durationpb.Duration, least, most time.Duration) error {
	if in == nil {
		return nil
	}
	if d := in.AsDuration(); in.CheckValid() != nil || d < least || d > most {
		return invalid(field, "%v is given: give %v to %v", d, least, most)
	}
	*to = in.AsDuration()
	return nil
}

func setInt(to *int, field string, in int32, most int) error {
	if in == 0 {
		return nil
	}
	if in < 0 || int(in) > most {
		return invalid(field, "%d is given: give 1 to %d", in, most)
	}
	*to = int(in)
	return nil
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
	}
}

// backoff returns the delay after a number of attempts.
func (s settings) backoff(attempts int) time.Duration {
	delay := s.minBackoff
	for range attempts - 1 {
		if delay >= s.maxBackoff/2 {
			return s.maxBackoff
		}
		delay *= 2
	}
	return min(delay, s.maxBackoff)
}

// readAhead is how many events are known that no stream holds: enough to look
// past those that wait for others of their group or for another attempt.
func (s settings) readAhead() int { return min(max(s.maxInFlight, 1000), 100_000) }

// InvalidError says which field of a request is not valid.
type InvalidError struct {
	// Field is the path of the field in the request.
	Field string
	// Message says what is wrong and what to do.
	Message string
}

func (e *InvalidError) Error() string { return e.Field + ": " + e.Message }

func invalid(field, format string, args ...any) error {
	return &InvalidError{Field: field, Message: fmt.Sprintf(format, args...)}
}
