package eventservice

import (
	"context"
	"errors"
	"fmt"

	"google.golang.org/protobuf/types/known/timestamppb"

	webhookgatewayv1 "github.com/webhook-gateway/webhook-gateway/gen/webhookgateway/v1"
	"github.com/webhook-gateway/webhook-gateway/server/eventlog"
	"github.com/webhook-gateway/webhook-gateway/server/subscription"
)

// ListParkedEvents implements EventService. A page token is the cursor of the
// last event of the page before.
func (s *Service) ListParkedEvents(ctx context.Context, req *webhookgatewayv1.ListParkedEventsRequest) (*webhookgatewayv1.ListParkedEventsResponse, error) {
	view, err := checkView(req.GetView())
	if err != nil {
		return nil, err
	}
	size, err := checkPageSize(req.GetPageSize())
	if err != nil {
		return nil, err
	}
	var after eventlog.Position
	if req.GetPageToken() != "" {
		if after, err = s.parseCursor("page_token", req.GetPageToken()); err != nil {
			return nil, errPageToken()
		}
	}
	parked, err := s.subscriptions.ListParked(req.GetName(), after, size+1)
	if err != nil {
		return nil, s.fail(ctx, "list parked events", err)
	}
	resp := &webhookgatewayv1.ListParkedEventsResponse{}
	bytes := 0
	for i, p := range parked {
		if i == size || bytes > maxPageBytes {
			resp.NextPageToken = s.cursor(parked[i-1].Position)
			break
		}
		event, length, err := s.parkedEvent(ctx, p, view)
		if err != nil {
			return nil, s.fail(ctx, "list parked events", err)
		}
		bytes += length
		resp.ParkedEvents = append(resp.ParkedEvents, event)
	}
	return resp, nil
}

// parkedEvent returns a parked event and its stored size. Of an event that is no
// longer retained only what its position says is known.
func (s *Service) parkedEvent(ctx context.Context, p subscription.Parked, view webhookgatewayv1.EventView) (*webhookgatewayv1.ParkedEvent, int, error) {
	parked := &webhookgatewayv1.ParkedEvent{
		Event: &webhookgatewayv1.Event{
			Id:     eventlog.FormatEventID(s.log.ID(), p.Position),
			Cursor: s.cursor(p.Position),
		},
		Reason:   p.Reason,
		Message:  p.Message,
		Attempts: int32(p.Attempts), //nolint:gosec // at most 1,000
		ParkTime: timestamppb.New(p.Time),
	}
	for r, err := range s.log.Read(ctx, p.Position-1) {
		var trimmed *eventlog.TrimmedError
		if errors.As(err, &trimmed) {
			break
		}
		if err != nil {
			return nil, 0, err
		}
		parked.Event, err = r.Event(s.log.ID(), view)
		return parked, r.Size(), err
	}
	return parked, 0, nil
}

// ReplayParkedEvents implements EventService.
func (s *Service) ReplayParkedEvents(ctx context.Context, req *webhookgatewayv1.ReplayParkedEventsRequest) (*webhookgatewayv1.ReplayParkedEventsResponse, error) {
	positions, foreign, err := s.chosen(req.GetEventIds(), req.GetAll())
	if err != nil {
		return nil, err
	}
	n, unknown, err := s.subscriptions.Replay(ctx, req.GetName(), positions)
	if err != nil {
		return nil, s.fail(ctx, "replay parked events", err)
	}
	return &webhookgatewayv1.ReplayParkedEventsResponse{
		ReplayedEvents: int64(n), UnknownEventIds: s.unknown(req.GetAll(), foreign, unknown),
	}, nil
}

// DiscardParkedEvents implements EventService.
func (s *Service) DiscardParkedEvents(ctx context.Context, req *webhookgatewayv1.DiscardParkedEventsRequest) (*webhookgatewayv1.DiscardParkedEventsResponse, error) {
	positions, foreign, err := s.chosen(req.GetEventIds(), req.GetAll())
	if err != nil {
		return nil, err
	}
	n, unknown, err := s.subscriptions.Discard(ctx, req.GetName(), positions)
	if err != nil {
		return nil, s.fail(ctx, "discard parked events", err)
	}
	return &webhookgatewayv1.DiscardParkedEventsResponse{
		DiscardedEvents: int64(n), UnknownEventIds: s.unknown(req.GetAll(), foreign, unknown),
	}, nil
}

// chosen returns the positions of events, nil for all of them, and the ids that
// are of another log.
func (s *Service) chosen(ids []string, all bool) (positions []eventlog.Position, foreign []string, err error) {
	switch {
	case all && len(ids) > 0:
		return nil, nil, invalid("event_ids", "leave them out, or leave out `all`")
	case all:
		return nil, nil, nil
	case len(ids) == 0 || len(ids) > maxTokens:
		return nil, nil, invalid("event_ids", "%d ids are given: give 1 to %d, or `all`", len(ids), maxTokens)
	}
	positions = make([]eventlog.Position, 0, len(ids))
	for i, id := range ids {
		log, p, err := eventlog.ParseEventID(id)
		switch {
		case err != nil:
			return nil, nil, invalid(fmt.Sprintf("event_ids[%d]", i), "it is not the id of an event: pass it exactly as it was received")
		case log != s.log.ID():
			foreign = append(foreign, id)
		default:
			positions = append(positions, p)
		}
	}
	return positions, foreign, nil
}

// unknown returns the ids that were asked for and are not parked.
func (s *Service) unknown(all bool, foreign []string, positions []eventlog.Position) []string {
	if all {
		return nil
	}
	for _, p := range positions {
		foreign = append(foreign, eventlog.FormatEventID(s.log.ID(), p))
	}
	return foreign
}
