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

// maxConditions is how many values a condition has at most, as those of filters of events.
const maxConditions = 1000

// checkRefusals returns what is wrong with the conditions of a request.
func checkRefusals(req *webhookgatewayv1.ListRefusalsRequest) error {
	var errs []error
	errs = append(errs, checkCount("providers", len(req.GetProviders())),
		checkCount("client_ids", len(req.GetClientIds())), checkCount("reasons", len(req.GetReasons())))
	if err := errors.Join(errs...); err != nil {
		return err // without a thousand others
	}
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

func checkCount(field string, given int) error {
	if given > maxConditions {
		return fielderr.New(field, "%d are given: give at most %d, or none for all", given, maxConditions)
	}
	return nil
}
