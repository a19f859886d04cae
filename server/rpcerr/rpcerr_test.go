package rpcerr_test

import (
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/durationpb"

	webhookgatewayv1 "github.com/webhook-gateway/webhook-gateway/gen/webhookgateway/v1"
	"github.com/webhook-gateway/webhook-gateway/server/rpcerr"
)

// No expected condition is answered with INTERNAL or UNKNOWN, and every reason
// is read back as it was given.
func TestEveryReasonHasACode(t *testing.T) {
	t.Parallel()
	for number, name := range webhookgatewayv1.ErrorReason_name {
		reason := webhookgatewayv1.ErrorReason(number)
		if reason == webhookgatewayv1.ErrorReason_ERROR_REASON_UNSPECIFIED || reason == webhookgatewayv1.ErrorReason_ERROR_REASON_INTERNAL {
			continue // a fault is no expected condition
		}
		err := rpcerr.Error(reason, "what to do")
		switch code := status.Code(err); code {
		case codes.OK, codes.Unknown, codes.Internal:
			t.Errorf("%s has the code %s", name, code)
		default:
		}
		if got := rpcerr.Reason(err); got != reason {
			t.Errorf("Reason(%s) = %s", name, got)
		}
	}
}

func TestErrorCarriesDetails(t *testing.T) {
	t.Parallel()
	err := rpcerr.Error(webhookgatewayv1.ErrorReason_ERROR_REASON_TOO_MANY_STREAMS, "try again later",
		rpcerr.WithMetadata("limit", "10"), rpcerr.WithRetryDelay(3*time.Second))
	s := status.Convert(err)
	if s.Code() != codes.ResourceExhausted || s.Message() != "try again later" {
		t.Errorf("status = %v", s)
	}
	want := []any{
		&errdetails.ErrorInfo{Reason: "TOO_MANY_STREAMS", Domain: rpcerr.Domain, Metadata: map[string]string{"limit": "10"}},
		&errdetails.RetryInfo{RetryDelay: durationpb.New(3 * time.Second)},
	}
	if diff := cmp.Diff(want, s.Details(), protocmp.Transform()); diff != "" {
		t.Errorf("details (-want +got):\n%s", diff)
	}
	if got := rpcerr.RetryDelay(err); got != 3*time.Second {
		t.Errorf("RetryDelay = %s", got)
	}
}

func TestForeignErrorHasNoReason(t *testing.T) {
	t.Parallel()
	for _, err := range []error{errors.New("x"), status.Error(codes.NotFound, "x"), nil} {
		if got := rpcerr.Reason(err); got != webhookgatewayv1.ErrorReason_ERROR_REASON_UNSPECIFIED {
			t.Errorf("Reason(%v) = %s", err, got)
		}
		if got := rpcerr.RetryDelay(err); got != 0 {
			t.Errorf("RetryDelay(%v) = %s", err, got)
		}
	}
}
