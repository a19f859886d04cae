// Package subscriptionservice is SubscriptionService: it keeps durable
// subscriptions, streams their events to workers, and takes what workers say of
// them. The rules are those of package subscription.
package subscriptionservice

import (
	"context"
	"errors"
	"log/slog"
	"strings"

	webhookgatewayv1 "github.com/webhook-gateway/webhook-gateway/gen/webhookgateway/v1"
	"github.com/webhook-gateway/webhook-gateway/server/eventlog"
	"github.com/webhook-gateway/webhook-gateway/server/logapi"
	"github.com/webhook-gateway/webhook-gateway/server/rpcerr"
	"github.com/webhook-gateway/webhook-gateway/server/stream"
	"github.com/webhook-gateway/webhook-gateway/server/subscription"
)

// Service implements SubscriptionService.
type Service struct {
	webhookgatewayv1.UnimplementedSubscriptionServiceServer

	api           logapi.API
	log           eventlog.Log
	subscriptions *subscription.Manager
	streams       *stream.Streams
}

// New returns the service of the subscriptions to a log. Its streams are counted
// among others.
func New(log eventlog.Log, subscriptions *subscription.Manager, streams *stream.Streams, logger *slog.Logger) *Service {
	return &Service{api: logapi.API{Log: log, Logger: logger}, log: log, subscriptions: subscriptions, streams: streams}
}

// errMoving is the status of a call on a subscription that no gateway can answer for at
// the moment. Nothing was done.
func errMoving(message string) error {
	return rpcerr.Error(webhookgatewayv1.ErrorReason_ERROR_REASON_SUBSCRIPTION_MOVING, message)
}

// fail turns an error of the subscriptions into the status of a call.
func (s *Service) fail(ctx context.Context, doing string, err error) error {
	var (
		exists   *subscription.ExistsError
		unusable *subscription.UnusableError
	)
	switch {
	case errors.As(err, &exists):
		return rpcerr.Error(webhookgatewayv1.ErrorReason_ERROR_REASON_SUBSCRIPTION_EXISTS, exists.Error(),
			rpcerr.WithMetadata("difference", strings.Join(exists.Differences, ",")))
	case errors.As(err, &unusable):
		return rpcerr.Error(webhookgatewayv1.ErrorReason_ERROR_REASON_SUBSCRIPTION_UNUSABLE, unusable.Error())
	case errors.Is(err, subscription.ErrNotFound):
		return rpcerr.Error(webhookgatewayv1.ErrorReason_ERROR_REASON_SUBSCRIPTION_NOT_FOUND,
			"there is no subscription with this name: create it first")
	case errors.Is(err, subscription.ErrNotStrict):
		return rpcerr.Error(webhookgatewayv1.ErrorReason_ERROR_REASON_SUBSCRIPTION_NOT_STRICT,
			"a cursor is committed only to a subscription with ORDERING_STRICT: acknowledge the events instead")
	case errors.Is(err, subscription.ErrTooManyWaiting):
		return rpcerr.Error(webhookgatewayv1.ErrorReason_ERROR_REASON_TOO_MANY_WAITING, subscription.ErrTooManyWaiting.Error())
	case errors.Is(err, subscription.ErrCursorNotDelivered):
		return rpcerr.Error(webhookgatewayv1.ErrorReason_ERROR_REASON_INVALID_FIELD,
			"cursor: the ack token is not of the newest event up to it: give the cursor and the token of the same event",
			rpcerr.WithMetadata("field", "cursor"))
	case errors.Is(err, subscription.ErrMoved):
		return errMoving("another gateway is taking over the subscription: try again")
	case errors.Is(err, subscription.ErrBehind):
		s.api.Logger.WarnContext(ctx, "a worker's stream ends: it finds its events at another gateway", "error", err)
		return errMoving("the copy of the log that this gateway has is not up to date: try again, at another gateway")
	case errors.Is(err, subscription.ErrClosed):
		return stream.ErrDraining()
	}
	return s.api.Fail(ctx, doing, err)
}
