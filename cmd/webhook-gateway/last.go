package main

import (
	"context"

	webhookgatewayv1 "github.com/webhook-gateway/webhook-gateway/gen/webhookgateway/v1"
)

// maxPage is the largest page of ListEvents.
const maxPage = 1000

// beforeLast makes a request start before the last n of the events that match its
// filters. What comes meanwhile follows them, and what is removed meanwhile is named.
func beforeLast(ctx context.Context, client webhookgatewayv1.EventServiceClient, request *webhookgatewayv1.SubscribeRequest, n int) error {
	list := &webhookgatewayv1.ListEventsRequest{
		Filters: request.GetFilters(), NewestFirst: true, View: webhookgatewayv1.EventView_EVENT_VIEW_METADATA,
	}
	request.OnExpired = webhookgatewayv1.ExpiredPolicy_EXPIRED_POLICY_EARLIEST
	for left := n + 1; ; { // the event before them is where to start
		list.PageSize = int32(min(left, maxPage)) //nolint:gosec // bounded
		page, err := client.ListEvents(ctx, list)
		if err != nil {
			return err
		}
		events := page.GetEvents()
		if left -= len(events); left <= 0 {
			request.Start = &webhookgatewayv1.SubscribeRequest_StartCursor{StartCursor: events[len(events)-1].GetCursor()}
			return nil
		}
		if list.PageToken = page.GetNextPageToken(); list.GetPageToken() == "" {
			request.Start = &webhookgatewayv1.SubscribeRequest_StartPosition{StartPosition: webhookgatewayv1.StartPosition_START_POSITION_EARLIEST}
			return nil
		}
	}
}
