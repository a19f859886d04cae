package subscription

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	webhookgatewayv1 "github.com/webhook-gateway/webhook-gateway/gen/webhookgateway/v1"
	"github.com/webhook-gateway/webhook-gateway/server/eventlog"
)

// Gap names events that were not settled and cannot be delivered: some of those
// after From up to To.
type Gap struct {
	From, To eventlog.Position
	// Reason is GAP_REASON_RETENTION or GAP_REASON_DAMAGED.
	Reason webhookgatewayv1.GapReason
}

// Delivery is an event handed to a stream.
type Delivery struct {
	// Position of the event in the log.
	Position eventlog.Position
	// Attempt is one more than the number of attempts that failed.
	Attempt int
	// First: no stream was given the event before.
	First bool
	// Deadline is until when the event is the stream's: to be sent, and once Sending
	// has returned it, to be settled.
	Deadline time.Time

	lease  lease
	copied bool // the event is read from its copy
	sum    uint32
	seal   *seal
	// token that another gateway has made, which then is the one that knows the lease.
	token string
}

// AckToken returns the token that settles this delivery.
func (d Delivery) AckToken() string { return string(d.AppendAckToken(make([]byte, 0, TokenLen))) }

// AppendAckToken appends the token that settles this delivery.
func (d Delivery) AppendAckToken(b []byte) []byte {
	if d.seal == nil {
		return append(b, d.token...)
	}
	return d.seal.appendToken(b, d.lease)
}

var (
	// ErrNotFound is returned for a subscription that does not exist, and to the
	// streams of one that is deleted.
	ErrNotFound = errors.New("there is no subscription with this name")
	// ErrNotStrict is returned by CommitCursor for a subscription that is not
	// strictly ordered.
	ErrNotStrict = errors.New("a cursor is committed only to a subscription with ORDERING_STRICT")
	// ErrCursorNotDelivered is returned by CommitCursor if the token is not of the
	// newest event up to the cursor.
	ErrCursorNotDelivered = errors.New("the ack token is not of the newest event up to the cursor")
	// ErrTooManyWaiting is returned by Retry and Replay if more events would wait
	// for another attempt than the settings allow. Nothing was done.
	ErrTooManyWaiting = errors.New("max_waiting events of the subscription wait for another attempt: park or skip events, replay fewer, or raise it")
	// ErrMoved is returned for a subscription that another gateway runs, or is taking
	// over, and to the streams that it had here.
	ErrMoved = errors.New("another gateway runs the subscription")
	// ErrClosed is returned once the manager is closed.
	ErrClosed = errors.New("the gateway is shutting down")
)

// ExistsError is returned by Create when a subscription with the name has other
// filters or settings, or was to start elsewhere.
type ExistsError struct {
	Name string
	// Differences names the fields of the subscription that differ, such as
	// `settings.ordering`, sorted.
	Differences []string
}

func (e *ExistsError) Error() string {
	what := "update it"
	switch { // an update keeps the position
	case !slices.Contains(e.Differences, "start"):
	case len(e.Differences) == 1:
		what = "seek it"
	default:
		what = "update and seek it"
	}
	return fmt.Sprintf("the subscription %s exists and differs in %s: %s, or choose another name",
		e.Name, strings.Join(e.Differences, ", "), what)
}

// UnusableError is returned for a subscription that was set aside because it
// could not be loaded. Get, List and Delete work.
type UnusableError struct {
	Name string
	// Reason is for people.
	Reason string
}

func (e *UnusableError) Error() string {
	return fmt.Sprintf("the subscription %s was set aside: %s: use the version of the gateway that wrote it, or delete it", e.Name, e.Reason)
}
