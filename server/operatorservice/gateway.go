package operatorservice

import (
	"context"

	webhookgatewayv1 "github.com/webhook-gateway/webhook-gateway/gen/webhookgateway/v1"
	"github.com/webhook-gateway/webhook-gateway/server/access"
)

// GetCaller implements OperatorService.
func (s *Service) GetCaller(ctx context.Context, _ *webhookgatewayv1.GetCallerRequest) (*webhookgatewayv1.GetCallerResponse, error) {
	caller := access.From(ctx)
	response := &webhookgatewayv1.GetCallerResponse{
		Operator: caller.Operate() == nil, Views: caller.Views(), ConsoleActions: s.ConsoleActions(),
	}
	if caller.Method != access.MethodNone {
		response.AccessControl, response.Name = true, caller.Name
	}
	for _, granted := range caller.Subscriptions() {
		response.Subscriptions = append(response.Subscriptions,
			&webhookgatewayv1.SubscriptionGrant{Prefix: granted.Prefix, Manage: granted.Manage})
	}
	return response, nil
}

// GetOverview implements OperatorService.
func (s *Service) GetOverview(ctx context.Context, _ *webhookgatewayv1.GetOverviewRequest) (*webhookgatewayv1.GetOverviewResponse, error) {
	if err := access.From(ctx).Operate(); err != nil {
		return nil, err
	}
	return s.Overview(), nil
}

// GetHistory implements OperatorService.
func (s *Service) GetHistory(ctx context.Context, _ *webhookgatewayv1.GetHistoryRequest) (*webhookgatewayv1.GetHistoryResponse, error) {
	if err := access.From(ctx).Operate(); err != nil {
		return nil, err
	}
	return s.History.History(), nil
}
