package subscriptionservice

import (
	"context"
	"time"

	webhookgatewayv1 "github.com/webhook-gateway/webhook-gateway/gen/webhookgateway/v1"
	"github.com/webhook-gateway/webhook-gateway/server/access"
	"github.com/webhook-gateway/webhook-gateway/server/fielderr"
)

const (
	maxTokens      = 10_000
	maxReasonBytes = 1024
	maxRetryAfter  = 24 * time.Hour
	minDeadline    = time.Second
	maxDeadline    = time.Hour
)

// checkTokens validates tokens of a subscription that the caller has to be allowed to use.
func checkTokens(ctx context.Context, req interface {
	GetSubscription() string
	GetAckTokens() []string
},
) error {
	if err := access.From(ctx).Use("subscription", req.GetSubscription()); err != nil {
		return err
	}
	tokens := req.GetAckTokens()
	if len(tokens) > maxTokens {
		return fielderr.New("ack_tokens", "%d tokens are given: give at most %d at a time", len(tokens), maxTokens)
	}
	return nil
}

// Acknowledge implements SubscriptionService.
func (s *Service) Acknowledge(ctx context.Context, req *webhookgatewayv1.AcknowledgeRequest) (*webhookgatewayv1.AcknowledgeResponse, error) {
	err := checkTokens(ctx, req)
	if err == nil {
		err = checkKnown(req)
	}
	if err != nil {
		return nil, s.fail(ctx, "acknowledge", err)
	}
	results, err := s.subscriptions.Acknowledge(ctx, req.GetSubscription(), req.GetAckTokens())
	if err != nil {
		return nil, s.fail(ctx, "acknowledge", err)
	}
	return &webhookgatewayv1.AcknowledgeResponse{Results: results}, nil
}

// Reject implements SubscriptionService.
func (s *Service) Reject(ctx context.Context, req *webhookgatewayv1.RejectRequest) (*webhookgatewayv1.RejectResponse, error) {
	results, err := s.reject(ctx, req)
	if err != nil {
		return nil, s.fail(ctx, "reject", err)
	}
	return &webhookgatewayv1.RejectResponse{Results: results}, nil
}

func (s *Service) reject(ctx context.Context, req *webhookgatewayv1.RejectRequest) ([]webhookgatewayv1.TokenResult, error) {
	name, tokens := req.GetSubscription(), req.GetAckTokens()
	if err := checkTokens(ctx, req); err != nil {
		return nil, err
	}
	if err := checkKnown(req); err != nil {
		return nil, err
	}
	if n := len(req.GetReason()); n > maxReasonBytes {
		return nil, fielderr.New("reason", "it has %d bytes: give at most %d", n, maxReasonBytes)
	}
	delay, err := retryDelay(req)
	if err != nil {
		return nil, err
	}
	switch req.GetAction() {
	case webhookgatewayv1.RejectAction_REJECT_ACTION_RETRY:
		return s.subscriptions.Retry(ctx, name, tokens, delay, req.GetReason())
	case webhookgatewayv1.RejectAction_REJECT_ACTION_PARK:
		return s.subscriptions.Park(ctx, name, tokens, req.GetReason())
	case webhookgatewayv1.RejectAction_REJECT_ACTION_SKIP:
		return s.subscriptions.Acknowledge(ctx, name, tokens)
	case webhookgatewayv1.RejectAction_REJECT_ACTION_RELEASE:
		return s.subscriptions.Release(ctx, name, tokens)
	case webhookgatewayv1.RejectAction_REJECT_ACTION_UNSPECIFIED:
	}
	return nil, fielderr.New("action", "give REJECT_ACTION_RETRY, REJECT_ACTION_PARK, REJECT_ACTION_SKIP or REJECT_ACTION_RELEASE")
}

// retryDelay returns the delay that a Reject asks for, negative for the backoff of
// the subscription.
func retryDelay(req *webhookgatewayv1.RejectRequest) (time.Duration, error) {
	after := req.GetRetryAfter()
	switch {
	case after == nil:
		return -1, nil
	case req.GetAction() != webhookgatewayv1.RejectAction_REJECT_ACTION_RETRY:
		return 0, fielderr.New("retry_after", "it belongs to REJECT_ACTION_RETRY only: leave it out")
	case after.CheckValid() != nil || after.AsDuration() < 0 || after.AsDuration() > maxRetryAfter:
		return 0, fielderr.New("retry_after", "give 0s to %s", fielderr.Duration(maxRetryAfter))
	}
	return after.AsDuration(), nil
}

// ExtendDeadline implements SubscriptionService.
func (s *Service) ExtendDeadline(ctx context.Context, req *webhookgatewayv1.ExtendDeadlineRequest) (*webhookgatewayv1.ExtendDeadlineResponse, error) {
	if err := checkTokens(ctx, req); err != nil {
		return nil, s.fail(ctx, "extend deadlines", err)
	}
	var deadline time.Duration // 0: that of the subscription
	if d := req.GetDeadline(); d != nil {
		if deadline = d.AsDuration(); d.CheckValid() != nil || deadline < minDeadline || deadline > maxDeadline {
			return nil, s.fail(ctx, "extend deadlines", fielderr.New("deadline", "give %s to %s",
				fielderr.Duration(minDeadline), fielderr.Duration(maxDeadline)))
		}
	}
	results, err := s.subscriptions.Extend(ctx, req.GetSubscription(), req.GetAckTokens(), deadline)
	if err != nil {
		return nil, s.fail(ctx, "extend deadlines", err)
	}
	return &webhookgatewayv1.ExtendDeadlineResponse{Results: results}, nil
}

// CommitCursor implements SubscriptionService.
func (s *Service) CommitCursor(ctx context.Context, req *webhookgatewayv1.CommitCursorRequest) (*webhookgatewayv1.CommitCursorResponse, error) {
	if err := access.From(ctx).Use("subscription", req.GetSubscription()); err != nil {
		return nil, err
	}
	if err := checkKnown(req); err != nil {
		return nil, s.fail(ctx, "commit a cursor", err)
	}
	upTo, err := s.api.ParseCursor(ctx, "cursor", req.GetCursor())
	if err != nil {
		return nil, err
	}
	result, err := s.subscriptions.CommitCursor(ctx, req.GetSubscription(), upTo, req.GetAckToken())
	if err != nil {
		return nil, s.fail(ctx, "commit a cursor", err)
	}
	return &webhookgatewayv1.CommitCursorResponse{Result: result}, nil
}
