package operatorservice

import (
	"context"
	"errors"
	"fmt"

	webhookgatewayv1 "github.com/webhook-gateway/webhook-gateway/gen/webhookgateway/v1"
	"github.com/webhook-gateway/webhook-gateway/server/access"
	"github.com/webhook-gateway/webhook-gateway/server/fielderr"
	"github.com/webhook-gateway/webhook-gateway/server/logapi"
	"github.com/webhook-gateway/webhook-gateway/server/refusals"
	"github.com/webhook-gateway/webhook-gateway/server/rpcerr"
)

// ListRefusals implements OperatorService. A page token is the number of the last refusal of
// the page before: what comes meanwhile, or comes again, has a higher one.
func (s *Service) ListRefusals(ctx context.Context, req *webhookgatewayv1.ListRefusalsRequest) (*webhookgatewayv1.ListRefusalsResponse, error) {
	if err := access.From(ctx).Operate(); err != nil {
		return nil, err
	}
	size, err := logapi.PageSize(req.GetPageSize())
	if err := errors.Join(err, checkRefusals(req)); err != nil {
		return nil, rpcerr.From(err, err)
	}
	before, err := parseNumberToken(req.GetPageToken())
	if err != nil {
		return nil, err
	}
	page, next := s.Refusals.List(refusals.Filter{
		Reasons: req.GetReasons(), Providers: req.GetProviders(), ClientIDs: req.GetClientIds(),
	}, before, size)
	resp := &webhookgatewayv1.ListRefusalsResponse{Refusals: page}
	if next > 0 {
		resp.NextPageToken = formatNumberToken(next)
	}
	return resp, nil
}

// checkRefusals returns what is wrong with the conditions of a request.
func checkRefusals(req *webhookgatewayv1.ListRefusalsRequest) error {
	var errs []error
	for i, p := range req.GetProviders() {
		if _, known := webhookgatewayv1.Provider_name[int32(p)]; !known {
			errs = append(errs, fielderr.New(fmt.Sprintf("providers[%d]", i), "%v is not a provider that this gateway knows", p))
		}
	}
	for i, reason := range req.GetReasons() {
		if _, known := webhookgatewayv1.ErrorReason_name[int32(reason)]; !known || reason == webhookgatewayv1.ErrorReason_ERROR_REASON_UNSPECIFIED {
			errs = append(errs, fielderr.New(fmt.Sprintf("reasons[%d]", i), "%v is not a reason that this gateway knows", reason))
		}
	}
	return errors.Join(errs...)
}
