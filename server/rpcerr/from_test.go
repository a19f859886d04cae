package rpcerr_test

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	webhookgatewayv1 "github.com/webhook-gateway/webhook-gateway/gen/webhookgateway/v1"
	"github.com/webhook-gateway/webhook-gateway/server/fielderr"
	"github.com/webhook-gateway/webhook-gateway/server/rpcerr"
)

func TestFrom(t *testing.T) {
	t.Parallel()
	fallback := status.Error(codes.DataLoss, "fallback")
	given := rpcerr.Error(webhookgatewayv1.ErrorReason_ERROR_REASON_DRAINING, "bye")
	for _, test := range []struct {
		name string
		err  error
		want string
	}{
		{"nil", nil, "OK UNSPECIFIED: "},
		{"a status", given, "Unavailable DRAINING: bye"},
		{"a wrapped status", fmt.Errorf("open: %w", given), "Unavailable DRAINING: open: rpc error: code = Unavailable desc = bye"},
		{"a field", fielderr.New("a.b", "no"), "InvalidArgument INVALID_FIELD: a.b: no"},
		{
			"fields", fmt.Errorf("check: %w", errors.Join(fielderr.New("a", "no"), fielderr.New("b", "never"))),
			"InvalidArgument INVALID_FIELD: a: no; b: never",
		},
		{"a context that is not the caller's", fmt.Errorf("wait: %w", context.DeadlineExceeded), "DataLoss UNSPECIFIED: fallback"},
		{"any other", errors.New("disk"), "DataLoss UNSPECIFIED: fallback"},
	} {
		if got := describe(rpcerr.From(test.err, fallback)); got != test.want {
			t.Errorf("%s: %s, want %s", test.name, got, test.want)
		}
	}
}

func TestEnded(t *testing.T) {
	t.Parallel()
	if got := describe(rpcerr.Ended(context.Canceled)); got != "Canceled UNSPECIFIED: the caller cancelled the call" {
		t.Error(got)
	}
	if got := describe(rpcerr.Ended(context.DeadlineExceeded)); got != "DeadlineExceeded UNSPECIFIED: the deadline of the call passed" {
		t.Error(got)
	}
}

func describe(err error) string {
	return fmt.Sprintf("%v %s: %s", status.Code(err), rpcerr.Name(rpcerr.Reason(err)), status.Convert(err).Message())
}
