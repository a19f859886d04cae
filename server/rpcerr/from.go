package rpcerr

import (
	"context"
	"errors"
	"strings"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	webhookgatewayv1 "github.com/webhook-gateway/webhook-gateway/gen/webhookgateway/v1"
	"github.com/webhook-gateway/webhook-gateway/server/eventlog"
	"github.com/webhook-gateway/webhook-gateway/server/provider"
	"github.com/webhook-gateway/webhook-gateway/server/subscription"
)

// From returns the gRPC status error for an error of the event log, of a
// provider or of subscriptions. It returns nil for nil, and an error that is a status already as it
// is. Whatever is not known comes from the log by its contract, and means that
// the log cannot do it at present. The options add what only the caller knows.
//
// The end of the caller's own context has the code that gRPC gives it and no
// ErrorInfo: there is nobody to read it.
func From(err error, options ...Option) error {
	if err == nil {
		return nil
	}
	if s, ok := status.FromError(err); ok {
		return s.Err()
	}
	var (
		trimmed *eventlog.TrimmedError
		refusal *provider.Refusal
		invalid *subscription.InvalidError
		exists  *subscription.ExistsError
	)
	switch {
	case errors.As(err, &invalid):
		return Error(webhookgatewayv1.ErrorReason_ERROR_REASON_INVALID_FIELD, invalid.Error(),
			append(options, WithMetadata("field", invalid.Field))...)
	case errors.As(err, &exists):
		return Error(webhookgatewayv1.ErrorReason_ERROR_REASON_SUBSCRIPTION_EXISTS, exists.Error(),
			append(options, WithMetadata("difference", strings.Join(exists.Differences, ",")))...)
	case errors.Is(err, subscription.ErrNotFound):
		return Error(webhookgatewayv1.ErrorReason_ERROR_REASON_SUBSCRIPTION_NOT_FOUND,
			"there is no subscription with this name: create it first", options...)
	case errors.Is(err, subscription.ErrNotStrict):
		return Error(webhookgatewayv1.ErrorReason_ERROR_REASON_SUBSCRIPTION_NOT_STRICT,
			"a cursor is committed only to a subscription with ORDERING_STRICT: acknowledge the events instead", options...)
	case errors.Is(err, subscription.ErrCursorNotDelivered):
		return Error(webhookgatewayv1.ErrorReason_ERROR_REASON_INVALID_FIELD,
			"cursor: the ack token is not of the newest event up to it: give the cursor and the token of the same event",
			append(options, WithMetadata("field", "cursor"))...)
	case errors.As(err, &refusal):
		return Error(refusal.Reason, refusal.Message, options...)
	case errors.As(err, &trimmed):
		return Error(webhookgatewayv1.ErrorReason_ERROR_REASON_CURSOR_EXPIRED,
			"events after the cursor are no longer retained: start at earliest_cursor, or set on_expired to EXPIRED_POLICY_EARLIEST", options...)
	case errors.Is(err, eventlog.ErrMalformed):
		return Error(webhookgatewayv1.ErrorReason_ERROR_REASON_CURSOR_MALFORMED,
			"the cursor is not one that a gateway gave out: pass it exactly as it was received", options...)
	case errors.Is(err, eventlog.ErrClosed), errors.Is(err, subscription.ErrClosed):
		return Error(webhookgatewayv1.ErrorReason_ERROR_REASON_DRAINING,
			"the gateway is shutting down: reconnect and resume at the last cursor", options...)
	case errors.Is(err, context.Canceled):
		return status.Error(codes.Canceled, "the caller cancelled the call")
	case errors.Is(err, context.DeadlineExceeded):
		return status.Error(codes.DeadlineExceeded, "the deadline of the call passed")
	}
	return Error(webhookgatewayv1.ErrorReason_ERROR_REASON_LOG_UNAVAILABLE,
		"the event log cannot be used at present: try again later", options...)
}
