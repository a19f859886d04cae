package operatorservice

import (
	"context"

	webhookgatewayv1 "github.com/webhook-gateway/webhook-gateway/gen/webhookgateway/v1"
	"github.com/webhook-gateway/webhook-gateway/server/access"
	"github.com/webhook-gateway/webhook-gateway/server/eventlog"
)

// EventStates knows where subscriptions stand with an event, wherever they run.
type EventStates interface {
	// EventStates returns where the subscriptions that the caller of the context may use stand
	// with an event, by name, and whether there are more. Its errors are statuses.
	EventStates(ctx context.Context, id string, record eventlog.Record) (states []*webhookgatewayv1.EventState, more bool, err error)
}

// ListEventStates implements OperatorService.
func (s *Service) ListEventStates(ctx context.Context, req *webhookgatewayv1.ListEventStatesRequest) (*webhookgatewayv1.ListEventStatesResponse, error) {
	reach, err := access.From(ctx).ReachInAnyView()
	if err != nil {
		return nil, err
	}
	resp := &webhookgatewayv1.ListEventStatesResponse{}
	err = s.api().ReadEvent(ctx, "id", req.GetId(), func(record eventlog.Record) error {
		if !reach.Allows(record) {
			return access.NotGranted("id", "this event is not granted")
		}
		var err error
		resp.States, resp.Truncated, err = s.States.EventStates(ctx, req.GetId(), record)
		return err
	})
	if err != nil {
		return nil, s.api().Fail(ctx, "look where subscriptions stand with an event", err)
	}
	return resp, nil
}
