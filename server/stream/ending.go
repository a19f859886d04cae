package stream

import (
	"context"

	"google.golang.org/protobuf/types/known/durationpb"

	webhookgatewayv1 "github.com/webhook-gateway/webhook-gateway/gen/webhookgateway/v1"
	"github.com/webhook-gateway/webhook-gateway/server/access"
	"github.com/webhook-gateway/webhook-gateway/server/rpcerr"
)

// Ending returns a context that is done when the stream of a call is to say goodbye and
// end: the gateway drains, or the access of the caller has ended. Its cause is the
// status that the stream ends with. It is released by the function.
func (s *Streams) Ending(call context.Context) (context.Context, func()) {
	ending, end := context.WithCancelCause(context.Background())
	access := access.Ended(call)
	stopDrain := context.AfterFunc(s.drain, func() { end(ErrDraining()) })
	stopAccess := context.AfterFunc(access, func() { end(context.Cause(access)) })
	return ending, func() {
		stopDrain()
		stopAccess()
		end(context.Canceled)
	}
}

// Goodbye returns the frame that announces the end of a stream, but for its cursors.
func Goodbye(ending context.Context) *webhookgatewayv1.Goodbye {
	reason := webhookgatewayv1.GoodbyeReason_GOODBYE_REASON_ACCESS_ENDED
	if rpcerr.Reason(context.Cause(ending)) == webhookgatewayv1.ErrorReason_ERROR_REASON_DRAINING {
		reason = webhookgatewayv1.GoodbyeReason_GOODBYE_REASON_DRAINING
	}
	return &webhookgatewayv1.Goodbye{Reason: reason, RetryAfter: durationpb.New(RetryDelay)}
}
