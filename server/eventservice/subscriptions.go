package eventservice

import (
	"context"
	"encoding/base64"

	webhookgatewayv1 "github.com/webhook-gateway/webhook-gateway/gen/webhookgateway/v1"
	"github.com/webhook-gateway/webhook-gateway/server/eventlog"
	"github.com/webhook-gateway/webhook-gateway/server/rpcerr"
)

// CreateSubscription implements EventService.
func (s *Service) CreateSubscription(ctx context.Context, req *webhookgatewayv1.CreateSubscriptionRequest) (*webhookgatewayv1.CreateSubscriptionResponse, error) {
	after := s.log.Bounds().Head
	if req.GetStart() != nil {
		var err error
		if after, err = s.subscriptionStart(ctx, req.GetStart()); err != nil {
			return nil, err
		}
	}
	created, err := s.subscriptions.Create(ctx, req.GetSubscription(), after)
	if err != nil {
		return nil, s.fail(ctx, "create a subscription", err)
	}
	return &webhookgatewayv1.CreateSubscriptionResponse{Subscription: created}, nil
}

// GetSubscription implements EventService.
func (s *Service) GetSubscription(ctx context.Context, req *webhookgatewayv1.GetSubscriptionRequest) (*webhookgatewayv1.GetSubscriptionResponse, error) {
	got, err := s.subscriptions.Get(ctx, req.GetName())
	if err != nil {
		return nil, s.fail(ctx, "get a subscription", err)
	}
	return &webhookgatewayv1.GetSubscriptionResponse{Subscription: got}, nil
}

// ListSubscriptions implements EventService. A page token is the last name of the
// page before.
func (s *Service) ListSubscriptions(ctx context.Context, req *webhookgatewayv1.ListSubscriptionsRequest) (*webhookgatewayv1.ListSubscriptionsResponse, error) {
	size, err := checkPageSize(req.GetPageSize())
	if err != nil {
		return nil, err
	}
	after, err := base64.RawURLEncoding.Strict().DecodeString(req.GetPageToken())
	if err != nil {
		return nil, errPageToken()
	}
	list, err := s.subscriptions.List(ctx, string(after), size+1)
	if err != nil {
		return nil, s.fail(ctx, "list subscriptions", err)
	}
	resp := &webhookgatewayv1.ListSubscriptionsResponse{Subscriptions: list}
	if len(list) > size {
		resp.Subscriptions = list[:size]
		resp.NextPageToken = base64.RawURLEncoding.EncodeToString([]byte(list[size-1].GetName()))
	}
	return resp, nil
}

// UpdateSubscription implements EventService.
func (s *Service) UpdateSubscription(ctx context.Context, req *webhookgatewayv1.UpdateSubscriptionRequest) (*webhookgatewayv1.UpdateSubscriptionResponse, error) {
	updated, err := s.subscriptions.Update(ctx, req.GetSubscription())
	if err != nil {
		return nil, s.fail(ctx, "update a subscription", err)
	}
	return &webhookgatewayv1.UpdateSubscriptionResponse{Subscription: updated}, nil
}

// DeleteSubscription implements EventService.
func (s *Service) DeleteSubscription(ctx context.Context, req *webhookgatewayv1.DeleteSubscriptionRequest) (*webhookgatewayv1.DeleteSubscriptionResponse, error) {
	if err := s.subscriptions.Delete(ctx, req.GetName()); err != nil {
		return nil, s.fail(ctx, "delete a subscription", err)
	}
	return &webhookgatewayv1.DeleteSubscriptionResponse{}, nil
}

// SeekSubscription implements EventService.
func (s *Service) SeekSubscription(ctx context.Context, req *webhookgatewayv1.SeekSubscriptionRequest) (*webhookgatewayv1.SeekSubscriptionResponse, error) {
	after, err := s.subscriptionStart(ctx, req.GetStart())
	if err != nil {
		return nil, err
	}
	moved, err := s.subscriptions.Seek(ctx, req.GetName(), after)
	if err != nil {
		return nil, s.fail(ctx, "seek a subscription", err)
	}
	return &webhookgatewayv1.SeekSubscriptionResponse{Subscription: moved}, nil
}

// subscriptionStart returns the position after which a subscription is to begin.
func (s *Service) subscriptionStart(ctx context.Context, start *webhookgatewayv1.SubscriptionStart) (eventlog.Position, error) {
	p := &plan{}
	var err error
	switch at := start.GetStart().(type) {
	case *webhookgatewayv1.SubscriptionStart_Cursor:
		p.start, err = s.parseCursor("start.cursor", at.Cursor)
		if trimmed := s.log.Bounds().Trimmed; err == nil && p.start < trimmed {
			err = s.expired(ctx, &eventlog.TrimmedError{After: p.start, Trimmed: trimmed})
		}
	case *webhookgatewayv1.SubscriptionStart_Time:
		t, timeErr := checkTime("start.time", at.Time)
		if timeErr != nil {
			return 0, timeErr
		}
		err = s.planStartTime(ctx, t, p)
	case *webhookgatewayv1.SubscriptionStart_Position:
		if at.Position == webhookgatewayv1.StartPosition_START_POSITION_UNSPECIFIED {
			return 0, invalid("start.position", "give START_POSITION_EARLIEST or START_POSITION_LATEST")
		}
		err = s.planStartPosition(at.Position, p)
	default:
		return 0, invalid("start", "give a cursor, a time or a position")
	}
	return p.start, err
}

func checkPageSize(n int32) (int, error) {
	switch {
	case n < 0 || n > maxPageSize:
		return 0, invalid("page_size", "%d is out of range: give 1 to %d, or 0 for %d", n, maxPageSize, defaultPageSize)
	case n == 0:
		return defaultPageSize, nil
	}
	return int(n), nil
}

func errPageToken() error {
	return rpcerr.Error(webhookgatewayv1.ErrorReason_ERROR_REASON_PAGE_TOKEN_INVALID,
		"the page token was not given out for this request: repeat all fields but page_size as they were, or start again without it")
}
