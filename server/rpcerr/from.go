package rpcerr

import (
	"context"
	"errors"
	"strings"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	webhookgatewayv1 "github.com/webhook-gateway/webhook-gateway/gen/webhookgateway/v1"
	"github.com/webhook-gateway/webhook-gateway/server/fielderr"
)

// From returns the status of an error that means the same in every call: one that
// is a status already, and fields that are not valid. Of any other error, which is
// for the domain that it comes from to map, it returns the fallback, and nil for
// nil.
func From(err, fallback error) error {
	if err == nil {
		return nil
	}
	if s, ok := status.FromError(err); ok {
		return s.Err()
	}
	var field *fielderr.Error
	if errors.As(err, &field) {
		var messages []string
		for _, e := range fielderr.All(err) {
			messages = append(messages, e.Error())
		}
		var options []Option
		if field.Path != "" {
			options = append(options, WithMetadata("field", field.Path))
		}
		return Error(webhookgatewayv1.ErrorReason_ERROR_REASON_INVALID_FIELD, strings.Join(messages, "; "), options...)
	}
	return fallback
}

// Ended returns the status of a call whose own context has ended, for a reason
// that context.Context.Err gives. It has no ErrorInfo: there is nobody to read it.
func Ended(err error) error {
	if errors.Is(err, context.DeadlineExceeded) {
		return status.Error(codes.DeadlineExceeded, "the deadline of the call passed")
	}
	return status.Error(codes.Canceled, "the caller cancelled the call")
}
