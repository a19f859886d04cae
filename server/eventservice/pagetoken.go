package eventservice

import (
	"slices"

	webhookgatewayv1 "github.com/webhook-gateway/webhook-gateway/gen/webhookgateway/v1"
	"github.com/webhook-gateway/webhook-gateway/server/filter"
)

// samePage has what must not change between two pages.
func samePage(req *webhookgatewayv1.ListEventsRequest, inForce *filter.Filter) *webhookgatewayv1.ListEventsRequest {
	return &webhookgatewayv1.ListEventsRequest{
		Filters:     slices.Concat(req.GetFilters(), inForce.Normal()),
		StartTime:   req.GetStartTime(),
		EndTime:     req.GetEndTime(),
		NewestFirst: req.GetNewestFirst(),
		View:        req.GetView(),
	}
}
