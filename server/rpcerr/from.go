package rpcerr

import (
	"context"
	"errors"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	webhookgatewayv1 "github.com/webhook-gateway/webhook-gateway/gen/webhookgateway/v1"
	"github.com/webhook-gateway/webhook-gateway/server/eventlog"
	"github.com/webhook-gateway/webhook-gateway/server/provider"
)

// From returns the gRPC status error for an error of the event log or of a
// provider. It returns nil for nil, and an error that is a status already as it
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
	)
	switch {
	case errors.As(err, &refusal):
		return Error(refusal.Reason, refusal.Message, options...)
	case errors.As(err, &trimmed):
		return Error(webhookgatewayv1.ErrorReason_ERROR_REASON_CURSOR_EXPIRED,
			"events after the cursor are no longer retained: start at earliest_cursor, or set on_expired to EXPIRED_POLICY_EARLIEST", options...)
	case errors.Is(err, eventlog.ErrMalformed):
		return Error(webhookgatewayv1.ErrorReason_ERROR_REASON_CURSOR_MALFORMED,
			"the cursor is not one that a gateway gave out: pass it exactly as it was received", options...)
	case errors.Is(err, eventlog.ErrClosed):
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
