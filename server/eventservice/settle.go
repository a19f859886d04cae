package eventservice

import (
	"context"
	"time"

	webhookgatewayv1 "github.com/webhook-gateway/webhook-gateway/gen/webhookgateway/v1"
)

const (
	maxTokens      = 10_000
	maxReasonBytes = 1024
	maxRetryAfter  = 24 * time.Hour
	minDeadline    = time.Second
	maxDeadline    = time.Hour
)

func checkTokens(tokens []string) error {
	if len(tokens) > maxTokens {
		return invalid("ack_tokens", "%d tokens are given: give at most %d at a time", len(tokens), maxTokens)
	}
	return nil
}

// Acknowledge implements EventService.
func (s *Service) Acknowledge(ctx context.Context, req *webhookgatewayv1.AcknowledgeRequest) (*webhookgatewayv1.AcknowledgeResponse, error) {
	if err := checkTokens(req.GetAckTokens()); err != nil {
		return nil, err
	}
	results, err := s.subscriptions.Acknowledge(ctx, req.GetAckTokens())
	if err != nil {
		return nil, s.fail(ctx, "acknowledge", err)
	}
	return &webhookgatewayv1.AcknowledgeResponse{Results: results}, nil
}

// Reject implements EventService.
func (s *Service) Reject(ctx context.Context, req *webhookgatewayv1.RejectRequest) (*webhookgatewayv1.RejectResponse, error) {
	if err := checkTokens(req.GetAckTokens()); err != nil {
		return nil, err
	}
	if n := len(req.GetReason()); n > maxReasonBytes {
		return nil, invalid("reason", "it has %d bytes: give at most %d", n, maxReasonBytes)
	}
	delay, err := retryDelayOf(req)
	if err != nil {
		return nil, err
	}
	var results []webhookgatewayv1.TokenResult
	switch req.GetAction() {
	case webhookgatewayv1.RejectAction_REJECT_ACTION_RETRY:
		results, err = s.subscriptions.Retry(ctx, req.GetAckTokens(), delay, req.GetReason())
	case webhookgatewayv1.RejectAction_REJECT_ACTION_PARK:
		results, err = s.subscriptions.Park(ctx, req.GetAckTokens(), req.GetReason())
	case webhookgatewayv1.RejectAction_REJECT_ACTION_SKIP:
		results, err = s.subscriptions.Acknowledge(ctx, req.GetAckTokens())
	default:
		return nil, invalid("action", "give REJECT_ACTION_RETRY, REJECT_ACTION_PARK or REJECT_ACTION_SKIP")
	}
	if err != nil {
		return nil, s.fail(ctx, "reject", err)
	}
	return &webhookgatewayv1.RejectResponse{Results: results}, nil
}

// ExtendDeadline implements EventService.
func (s *Service) ExtendDeadline(ctx context.Context, req *webhookgatewayv1.ExtendDeadlineRequest) (*webhookgatewayv1.ExtendDeadlineResponse, error) {
	if err := checkTokens(req.GetAckTokens()); err != nil {
		return nil, err
	}
	var deadline time.Duration // 0: that of the subscription
	if d := req.GetDeadline(); d != nil {
		if deadline = d.AsDuration(); d.CheckValid() != nil || deadline < minDeadline || deadline > maxDeadline {
			return nil, invalid("deadline", "give %v to %v", minDeadline, maxDeadline)
		}
	}
	results, err := s.subscriptions.Extend(ctx, req.GetAckTokens(), deadline)
	if err != nil {
		return nil, s.fail(ctx, "extend deadlines", err)
	}
	return &webhookgatewayv1.ExtendDeadlineResponse{Results: results}, nil
}

// CommitCursor implements EventService.
func (s *Service) CommitCursor(ctx context.Context, req *webhookgatewayv1.CommitCursorRequest) (*webhookgatewayv1.CommitCursorResponse, error) {
	upTo, err := s.parseCursor("cursor", req.GetCursor())
	if err != nil {
		return nil, err
	}
	result, err := s.subscriptions.CommitCursor(ctx, req.GetName(), upTo, req.GetAckToken())
	if err != nil {
		return nil, s.fail(ctx, "commit a cursor", err)
	}
	return &webhookgatewayv1.CommitCursorResponse{Result: result}, nil
}
