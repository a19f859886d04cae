package subscriptionservice

import (
	"context"

	webhookgatewayv1 "github.com/webhook-gateway/webhook-gateway/gen/webhookgateway/v1"
)

type client = webhookgatewayv1.SubscriptionServiceClient

// CreateSubscription implements SubscriptionService.
func (r *Router) CreateSubscription(ctx context.Context, req *webhookgatewayv1.CreateSubscriptionRequest) (*webhookgatewayv1.CreateSubscriptionResponse, error) {
	return write(ctx, r, req.GetSubscription().GetName(), req, r.own.CreateSubscription, client.CreateSubscription)
}

// GetSubscription implements SubscriptionService.
func (r *Router) GetSubscription(ctx context.Context, req *webhookgatewayv1.GetSubscriptionRequest) (*webhookgatewayv1.GetSubscriptionResponse, error) {
	return read(ctx, r, req.GetName(), req, r.own.GetSubscription, client.GetSubscription)
}

// UpdateSubscription implements SubscriptionService.
func (r *Router) UpdateSubscription(ctx context.Context, req *webhookgatewayv1.UpdateSubscriptionRequest) (*webhookgatewayv1.UpdateSubscriptionResponse, error) {
	return write(ctx, r, req.GetSubscription().GetName(), req, r.own.UpdateSubscription, client.UpdateSubscription)
}

// DeleteSubscription implements SubscriptionService.
func (r *Router) DeleteSubscription(ctx context.Context, req *webhookgatewayv1.DeleteSubscriptionRequest) (*webhookgatewayv1.DeleteSubscriptionResponse, error) {
	return write(ctx, r, req.GetName(), req, r.own.DeleteSubscription, client.DeleteSubscription)
}

// SeekSubscription implements SubscriptionService.
func (r *Router) SeekSubscription(ctx context.Context, req *webhookgatewayv1.SeekSubscriptionRequest) (*webhookgatewayv1.SeekSubscriptionResponse, error) {
	if req.GetValidateOnly() {
		return read(ctx, r, req.GetName(), req, r.own.SeekSubscription, client.SeekSubscription)
	}
	return write(ctx, r, req.GetName(), req, r.own.SeekSubscription, client.SeekSubscription)
}

// Acknowledge implements SubscriptionService.
func (r *Router) Acknowledge(ctx context.Context, req *webhookgatewayv1.AcknowledgeRequest) (*webhookgatewayv1.AcknowledgeResponse, error) {
	return write(ctx, r, req.GetSubscription(), req, r.own.Acknowledge, client.Acknowledge)
}

// Reject implements SubscriptionService.
func (r *Router) Reject(ctx context.Context, req *webhookgatewayv1.RejectRequest) (*webhookgatewayv1.RejectResponse, error) {
	return write(ctx, r, req.GetSubscription(), req, r.own.Reject, client.Reject)
}

// ExtendDeadline implements SubscriptionService.
func (r *Router) ExtendDeadline(ctx context.Context, req *webhookgatewayv1.ExtendDeadlineRequest) (*webhookgatewayv1.ExtendDeadlineResponse, error) {
	return write(ctx, r, req.GetSubscription(), req, r.own.ExtendDeadline, client.ExtendDeadline)
}

// CommitCursor implements SubscriptionService.
func (r *Router) CommitCursor(ctx context.Context, req *webhookgatewayv1.CommitCursorRequest) (*webhookgatewayv1.CommitCursorResponse, error) {
	return write(ctx, r, req.GetSubscription(), req, r.own.CommitCursor, client.CommitCursor)
}

// ListParkedEvents implements SubscriptionService.
func (r *Router) ListParkedEvents(ctx context.Context, req *webhookgatewayv1.ListParkedEventsRequest) (*webhookgatewayv1.ListParkedEventsResponse, error) {
	return read(ctx, r, req.GetSubscription(), req, r.own.ListParkedEvents, client.ListParkedEvents)
}

// ReplayParkedEvents implements SubscriptionService.
func (r *Router) ReplayParkedEvents(ctx context.Context, req *webhookgatewayv1.ReplayParkedEventsRequest) (*webhookgatewayv1.ReplayParkedEventsResponse, error) {
	return write(ctx, r, req.GetSubscription(), req, r.own.ReplayParkedEvents, client.ReplayParkedEvents)
}

// DiscardParkedEvents implements SubscriptionService.
func (r *Router) DiscardParkedEvents(ctx context.Context, req *webhookgatewayv1.DiscardParkedEventsRequest) (*webhookgatewayv1.DiscardParkedEventsResponse, error) {
	return write(ctx, r, req.GetSubscription(), req, r.own.DiscardParkedEvents, client.DiscardParkedEvents)
}
