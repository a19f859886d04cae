package subscriptionservice

import (
	"context"
	"errors"
	"fmt"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	webhookgatewayv1 "github.com/webhook-gateway/webhook-gateway/gen/webhookgateway/v1"
	"github.com/webhook-gateway/webhook-gateway/server/access"
	"github.com/webhook-gateway/webhook-gateway/server/eventlog"
	"github.com/webhook-gateway/webhook-gateway/server/fielderr"
	"github.com/webhook-gateway/webhook-gateway/server/logapi"
	"github.com/webhook-gateway/webhook-gateway/server/subscription"
)

// ListParkedEvents implements SubscriptionService. A page token is the cursor of
// the last event of the page before.
func (s *Service) ListParkedEvents(ctx context.Context, req *webhookgatewayv1.ListParkedEventsRequest) (*webhookgatewayv1.ListParkedEventsResponse, error) {
	resp, err := s.listParked(ctx, req)
	if err != nil {
		return nil, s.fail(ctx, "list parked events", err)
	}
	return resp, nil
}

func (s *Service) listParked(ctx context.Context, req *webhookgatewayv1.ListParkedEventsRequest) (*webhookgatewayv1.ListParkedEventsResponse, error) {
	reach, view, err := s.reach(ctx, req)
	if err != nil {
		return nil, err
	}
	if _, err := s.coveredBy(reach, req.GetSubscription()); err != nil {
		return nil, err
	}
	size, err := logapi.PageSize(req.GetPageSize())
	if err != nil {
		return nil, err
	}
	var after eventlog.Position
	if req.GetPageToken() != "" {
		if after, err = s.api.ParseCursor(ctx, "page_token", req.GetPageToken()); err != nil {
			return nil, logapi.ErrPageToken()
		}
	}
	// One more than a page tells whether there is another.
	parked, err := s.subscriptions.ListParked(ctx, req.GetSubscription(), after, size+1, logapi.MaxPageBytes)
	if err != nil {
		return nil, err
	}
	resp := &webhookgatewayv1.ListParkedEventsResponse{}
	for i, p := range parked {
		if i == size {
			break
		}
		event, err := s.parkedEvent(p, reach, view)
		if err == nil && !readsTexts(ctx, p) {
			event.Message = ""
		}
		if err != nil {
			return nil, err
		}
		resp.ParkedEvents = append(resp.ParkedEvents, event)
	}
	if n := len(resp.GetParkedEvents()); n > 0 {
		last := parked[n-1].Position
		more := n < len(parked)
		if !more && n < size { // the page may be short because it has enough bytes
			next, err := s.subscriptions.ListParked(ctx, req.GetSubscription(), last, 1, 0)
			if err != nil {
				return nil, err
			}
			more = len(next) > 0
		}
		if more {
			resp.NextPageToken = s.api.Cursor(last)
		}
	}
	return resp, nil
}

// parkedEvent describes a parked event. If the log had lost the event before it was
// parked, only its id and its cursor are known. No more is shown to a caller that may not
// read it: the filters of the subscription were other ones when it came.
func (s *Service) parkedEvent(p subscription.Parked, reach *access.Reach, view webhookgatewayv1.EventView) (*webhookgatewayv1.ParkedEvent, error) {
	parked := &webhookgatewayv1.ParkedEvent{
		Event:    &webhookgatewayv1.Event{Id: s.api.EventID(p.Position), Cursor: s.api.Cursor(p.Position)},
		Reason:   p.Reason,
		Message:  p.Message,
		Attempts: int32(p.Attempts), //nolint:gosec // at most 1,000
		ParkTime: timestamppb.New(p.Time),
	}
	if !p.HasRecord || !reach.Unlimited() && !reach.Allows(p.Record) {
		return parked, nil
	}
	parked.Event = &webhookgatewayv1.Event{}
	if err := proto.Unmarshal(reach.Encode(p.Record, s.log.History(), view), parked.Event); err != nil {
		return nil, fmt.Errorf("decode a stored event: %w", err)
	}
	return parked, nil
}

// readsTexts reports whether a caller may read what workers have written about a parked
// event. They may have read all of it, so it may who is granted all of it, but for what
// only the raw body has.
func readsTexts(ctx context.Context, p subscription.Parked) bool {
	whole, err := access.From(ctx).Reach(webhookgatewayv1.EventView_EVENT_VIEW_FULL)
	switch {
	case err != nil:
		return false
	case !p.HasRecord:
		return whole.Unlimited() && !whole.Masks()
	}
	return whole.Allows(p.Record) && whole.Mask(p.Record) == nil
}

// ReplayParkedEvents implements SubscriptionService.
func (s *Service) ReplayParkedEvents(ctx context.Context, req *webhookgatewayv1.ReplayParkedEventsRequest) (*webhookgatewayv1.ReplayParkedEventsResponse, error) {
	n, unknown, err := s.chosen(ctx, req, s.subscriptions.Replay)
	if err != nil {
		return nil, s.fail(ctx, "replay parked events", err)
	}
	return &webhookgatewayv1.ReplayParkedEventsResponse{ReplayedEvents: int64(n), UnknownEventIds: unknown}, nil
}

// DiscardParkedEvents implements SubscriptionService.
func (s *Service) DiscardParkedEvents(ctx context.Context, req *webhookgatewayv1.DiscardParkedEventsRequest) (*webhookgatewayv1.DiscardParkedEventsResponse, error) {
	n, unknown, err := s.chosen(ctx, req, s.subscriptions.Discard)
	if err != nil {
		return nil, s.fail(ctx, "discard parked events", err)
	}
	return &webhookgatewayv1.DiscardParkedEventsResponse{DiscardedEvents: int64(n), UnknownEventIds: unknown}, nil
}

// choice is a request that names parked events, or all of them.
type choice interface {
	proto.Message
	GetSubscription() string
	GetEventIds() []string
	GetAll() bool
}

// chosen calls do with the parked events that a request names. It returns how many
// do changed, and the ids that are not of parked events.
func (s *Service) chosen(
	ctx context.Context, req choice, do func(context.Context, string, []eventlog.Position) (int, []eventlog.Position, error),
) (int, []string, error) {
	if err := access.From(ctx).Manage("subscription", req.GetSubscription()); err != nil {
		return 0, nil, err
	}
	if err := checkKnown(req); err != nil {
		return 0, nil, err
	}
	positions, unknown, err := s.positions(ctx, req)
	if err != nil {
		return 0, nil, err
	}
	n, missing, err := do(ctx, req.GetSubscription(), positions)
	if err != nil {
		return 0, nil, err
	}
	if !req.GetAll() {
		for _, p := range missing {
			unknown = append(unknown, s.api.EventID(p))
		}
	}
	return n, unknown, nil
}

// positions returns those of the events that a request names, nil for all of
// them, and the ids that are of another log.
func (s *Service) positions(ctx context.Context, req choice) (positions []eventlog.Position, foreign []string, err error) {
	ids := req.GetEventIds()
	switch {
	case req.GetAll() && len(ids) > 0:
		return nil, nil, fielderr.New("event_ids", "leave them out, or leave out `all`")
	case req.GetAll():
		return nil, nil, nil
	case len(ids) == 0 || len(ids) > maxTokens:
		return nil, nil, fielderr.New("event_ids", "%d ids are given: give 1 to %d, or `all`", len(ids), maxTokens)
	}
	positions = make([]eventlog.Position, 0, len(ids))
	for i, id := range ids {
		p, err := s.api.ParseEventID(ctx, fmt.Sprintf("event_ids[%d]", i), id)
		switch {
		case errors.Is(err, logapi.ErrForeignEvent):
			foreign = append(foreign, id)
		case err != nil:
			return nil, nil, err
		default:
			positions = append(positions, p)
		}
	}
	return positions, foreign, nil
}
