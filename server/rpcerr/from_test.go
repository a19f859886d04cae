package rpcerr_test

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	webhookgatewayv1 "github.com/webhook-gateway/webhook-gateway/gen/webhookgateway/v1"
	"github.com/webhook-gateway/webhook-gateway/server/eventlog"
	"github.com/webhook-gateway/webhook-gateway/server/provider"
	"github.com/webhook-gateway/webhook-gateway/server/rpcerr"
)

func TestFrom(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name   string
		err    error
		code   codes.Code
		reason webhookgatewayv1.ErrorReason
		retry  bool
	}{
		{"none", nil, codes.OK, 0, false},
		{
			"trimmed", fmt.Errorf("read: %w", &eventlog.TrimmedError{After: 1, Trimmed: 2}),
			codes.OutOfRange, webhookgatewayv1.ErrorReason_ERROR_REASON_CURSOR_EXPIRED, false,
		},
		{
			"malformed", eventlog.ErrMalformed,
			codes.InvalidArgument, webhookgatewayv1.ErrorReason_ERROR_REASON_CURSOR_MALFORMED, false,
		},
		{
			"closed", fmt.Errorf("append: %w", eventlog.ErrClosed),
			codes.Unavailable, webhookgatewayv1.ErrorReason_ERROR_REASON_DRAINING, true,
		},
		{
			"refusal", &provider.Refusal{Reason: webhookgatewayv1.ErrorReason_ERROR_REASON_CLIENT_UNKNOWN, Message: "no"},
			codes.NotFound, webhookgatewayv1.ErrorReason_ERROR_REASON_CLIENT_UNKNOWN, false,
		},
		{
			"disk", errors.New("no space left on device"),
			codes.Unavailable, webhookgatewayv1.ErrorReason_ERROR_REASON_LOG_UNAVAILABLE, true,
		},
		{"cancelled", fmt.Errorf("read: %w", context.Canceled), codes.Canceled, 0, false},
		{"deadline", context.DeadlineExceeded, codes.DeadlineExceeded, 0, false},
		{
			"status", rpcerr.Error(webhookgatewayv1.ErrorReason_ERROR_REASON_TOO_MANY_STREAMS, "later"),
			codes.ResourceExhausted, webhookgatewayv1.ErrorReason_ERROR_REASON_TOO_MANY_STREAMS, true,
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			err := rpcerr.From(tc.err)
			if got := status.Code(err); got != tc.code {
				t.Errorf("code = %s, want %s", got, tc.code)
			}
			if got := rpcerr.Reason(err); got != tc.reason {
				t.Errorf("reason = %s, want %s", got, tc.reason)
			}
			if got := rpcerr.RetryDelay(err) > 0; got != tc.retry {
				t.Errorf("asks to try again: %t, want %t", got, tc.retry)
			}
		})
	}
}
