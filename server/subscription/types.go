package subscription

import (
	"errors"
	"fmt"
	"strings"

	"github.com/webhook-gateway/webhook-gateway/server/eventlog"
)

// Gap names events that retention removed before they were delivered, or
// delivered again: some of those after From up to To.
type Gap struct {
	From, To eventlog.Position
}

// Delivery is an event given to a stream.
type Delivery struct {
	// Position of the event in the log.
	Position eventlog.Position
	// Attempt is the number of this delivery of the event, from 1.
	Attempt int

	lease        lease
	subscription subscriptionID
}

// AckToken returns the token that settles this delivery.
func (d Delivery) AckToken() string { return string(d.AppendAckToken(make([]byte, 0, TokenLen))) }

// AppendAckToken appends the token that settles this delivery.
func (d Delivery) AppendAckToken(b []byte) []byte { return appendToken(b, d.subscription, d.lease) }

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
	// ErrClosed is returned once the manager is closed.
	ErrClosed = errors.New("the gateway is shutting down")
)

// ExistsError is returned by Create when a subscription with the name has other
// filters or settings.
type ExistsError struct {
	Name string
	// Differences names the fields of the subscription that differ, such as
	// `settings.ordering`, sorted.
	Differences []string
}

func (e *ExistsError) Error() string {
	return fmt.Sprintf("the subscription %s exists and differs in %s: update it, or choose another name",
		e.Name, strings.Join(e.Differences, ", "))
}
