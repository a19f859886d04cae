package eventservice

import (
	"context"
	"errors"
	"fmt"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	webhookgatewayv1 "github.com/webhook-gateway/webhook-gateway/gen/webhookgateway/v1"
	"github.com/webhook-gateway/webhook-gateway/server/access"
	"github.com/webhook-gateway/webhook-gateway/server/eventlog"
	"github.com/webhook-gateway/webhook-gateway/server/fielderr"
	"github.com/webhook-gateway/webhook-gateway/server/filter"
	"github.com/webhook-gateway/webhook-gateway/server/logapi"
)

const (
	// A page is searched for this long, looking at the clock after every chunk.
	maxPageTime  = 500 * time.Millisecond
	minListChunk = 32
	maxListChunk = 4096
)

// GetEvent implements EventService.
func (s *Service) GetEvent(ctx context.Context, req *webhookgatewayv1.GetEventRequest) (*webhookgatewayv1.GetEventResponse, error) {
	event, err := s.event(ctx, req)
	if err != nil {
		return nil, s.api.Fail(ctx, "get an event", err)
	}
	return &webhookgatewayv1.GetEventResponse{Event: event}, nil
}

func (s *Service) event(ctx context.Context, req *webhookgatewayv1.GetEventRequest) (*webhookgatewayv1.Event, error) {
	view, err := logapi.View(req.GetView())
	if err != nil {
		return nil, err
	}
	reach, err := access.From(ctx).Reach(view)
	if err != nil {
		return nil, err
	}
	event := &webhookgatewayv1.Event{}
	return event, s.api.ReadEvent(ctx, "id", req.GetId(), func(r eventlog.Record) error {
		if !reach.Allows(r) {
			return access.NotGranted("id", fmt.Sprintf("this event is not granted in %v", view))
		}
		return decode(reach.Encode(r, s.log.History(), view), event)
	})
}

func decode(encoded []byte, event *webhookgatewayv1.Event) error {
	if err := proto.Unmarshal(encoded, event); err != nil {
		return fmt.Errorf("decode a stored event: %w", err)
	}
	return nil
}

// GetLogInfo implements EventService.
func (s *Service) GetLogInfo(ctx context.Context, _ *webhookgatewayv1.GetLogInfoRequest) (*webhookgatewayv1.GetLogInfoResponse, error) {
	if err := access.From(ctx).Look(); err != nil {
		return nil, err
	}
	if err := s.api.Sync(ctx); err != nil {
		return nil, err
	}
	stats, err := s.log.Stats(ctx)
	if err != nil {
		return nil, s.api.Fail(ctx, "describe the log", err)
	}
	info := &webhookgatewayv1.GetLogInfoResponse{
		LogId:          s.log.ID().String(),
		EarliestCursor: s.api.Cursor(stats.Bounds.Trimmed),
		HeadCursor:     s.api.Cursor(stats.Bounds.Head),
		EventCount:     int64(stats.Bounds.Len()), //nolint:gosec // a number of events
		EventBytes:     int64(stats.Bytes),        //nolint:gosec // a number of bytes
		ServerTime:     timestamppb.Now(),
	}
	if stats.Bounds.Len() > 0 {
		info.EarliestTime = timestamppb.New(stats.EarliestTime)
		info.HeadTime = timestamppb.New(stats.HeadTime)
	}
	return info, nil
}

// page is one ListEvents call.
type page struct {
	*Service

	reach  *access.Reach
	filter *filter.Filter
	view   webhookgatewayv1.EventView
	size   int
	// The events after low and up to high are still to be listed.
	low, high eventlog.Position
	deadline  time.Time
	// leftOut counts events that failed verification. leftAt are those found since
	// high was moved.
	leftOut int64
	leftAt  []eventlog.Position
}

// ListEvents implements EventService.
func (s *Service) ListEvents(ctx context.Context, req *webhookgatewayv1.ListEventsRequest) (*webhookgatewayv1.ListEventsResponse, error) {
	for {
		history := s.log.History()
		resp, err := s.listEvents(ctx, req)
		if err != nil || history == s.log.History() { // the page is of one
			return resp, err
		}
	}
}

func (s *Service) listEvents(ctx context.Context, req *webhookgatewayv1.ListEventsRequest) (*webhookgatewayv1.ListEventsResponse, error) {
	p, err := s.planPage(ctx, req)
	if err != nil {
		return nil, s.api.Fail(ctx, "list events", err)
	}
	list := p.oldestFirst
	next := &p.low
	if req.GetNewestFirst() {
		list, next = p.newestFirst, &p.high
	}
	encoded, err := list(ctx)
	if err != nil {
		return nil, s.api.Fail(ctx, "list events", err)
	}
	resp := &webhookgatewayv1.ListEventsResponse{Events: make([]*webhookgatewayv1.Event, len(encoded)), LeftOutEvents: p.leftOut}
	for i, e := range encoded {
		resp.Events[i] = &webhookgatewayv1.Event{}
		if err := decode(e, resp.Events[i]); err != nil {
			return nil, s.api.Fail(ctx, "list events", err)
		}
	}
	if p.low < p.high {
		resp.NextPageToken = logapi.FormatPageToken(s.log.History(), *next, samePage(req, p.filter))
	}
	return resp, nil
}

func (s *Service) planPage(ctx context.Context, req *webhookgatewayv1.ListEventsRequest) (*page, error) {
	p := &page{Service: s, deadline: time.Now().Add(maxPageTime)}
	var err error
	if p.reach, p.filter, p.view, err = readable(ctx, req); err != nil {
		return nil, err
	}
	if p.size, err = logapi.PageSize(req.GetPageSize()); err != nil {
		return nil, err
	}
	if err := p.planRange(ctx, req); err != nil {
		return nil, err
	}
	if req.GetPageToken() == "" {
		return p, nil
	}
	position, err := logapi.ParsePageToken(s.log.History(), req.GetPageToken(), samePage(req, p.filter))
	if err != nil {
		return nil, err
	}
	if req.GetNewestFirst() {
		p.high = min(p.high, position)
		return p, nil
	}
	if position < p.low { // what was to come next is gone
		return nil, s.api.Expired(ctx, p.low)
	}
	p.low = position
	return p, nil
}

// countLeftOut counts the events that were left out after high. Those up to it will
// be found again by the next page.
func (p *page) countLeftOut() {
	for _, at := range p.leftAt {
		if at > p.high {
			p.leftOut++
		}
	}
	p.leftAt = p.leftAt[:0]
}

// planRange finds the positions that the times of a request select.
func (p *page) planRange(ctx context.Context, req *webhookgatewayv1.ListEventsRequest) error {
	low, high := eventlog.Position(0), noStop
	if req.GetStartTime() != nil {
		t, err := logapi.Time("start_time", req.GetStartTime())
		if err != nil {
			return err
		}
		if low, err = p.log.Seek(ctx, t); err != nil {
			return p.api.Fail(ctx, "find the start of a list", err)
		}
	}
	if req.GetEndTime() != nil {
		t, err := logapi.Time("end_time", req.GetEndTime())
		if err != nil {
			return err
		}
		if req.GetStartTime() != nil && t.Before(req.GetStartTime().AsTime()) {
			return fielderr.New("end_time", "it is before start_time")
		}
		if high, err = p.log.Seek(ctx, t); err != nil {
			return p.api.Fail(ctx, "find the end of a list", err)
		}
	}
	bounds := p.log.Bounds()
	p.low, p.high = max(low, bounds.Trimmed), min(high, bounds.Head)
	return nil
}

// oldestFirst returns the next events, encoded, and moves low to the last of them.
func (p *page) oldestFirst(ctx context.Context) ([][]byte, error) {
	var events [][]byte
	scanned, size := 0, 0
	for r, err := range p.log.Read(ctx, p.low) {
		if err != nil {
			return nil, err
		}
		if r.Position > p.high {
			break
		}
		switch p.filter.Match(r) {
		case filter.Match:
			if len(events) > 0 && size+r.Size() > logapi.MaxPageBytes {
				return events, nil
			}
			events = append(events, p.reach.Encode(r, p.log.History(), p.view))
			size += len(events[len(events)-1])
		case filter.LeftOut:
			p.leftOut++
		case filter.Other:
		}
		p.low = r.Position
		if len(events) == p.size {
			return events, nil
		}
		if scanned++; scanned%minListChunk == 0 && time.Now().After(p.deadline) {
			return events, nil
		}
	}
	p.low = p.high
	return events, nil
}

// newestFirst returns the next events, encoded, and moves high in front of them.
// The log is read forwards only, so it reads chunks of growing size, each in
// front of the one before, and keeps the newest of each that fit.
func (p *page) newestFirst(ctx context.Context) ([][]byte, error) {
	var events [][]byte
	size := 0
	for chunk := eventlog.Position(minListChunk); p.low < p.high && len(events) < p.size; {
		begun := time.Now()
		from := p.low
		if p.high-p.low > chunk {
			from = p.high - chunk
		}
		newest, complete, err := p.newestOf(ctx, from, p.size-len(events), logapi.MaxPageBytes-size, len(events) == 0)
		var trimmed *eventlog.TrimmedError
		if errors.As(err, &trimmed) { // the rest of the list is gone, as it would be a moment later
			p.low = min(max(p.low, trimmed.Trimmed), p.high)
			continue
		}
		if err != nil {
			return nil, err
		}
		for i := len(newest) - 1; i >= 0; i-- {
			events = append(events, newest[i].event)
			size += len(newest[i].event)
			p.high = newest[i].position - 1
		}
		if !complete {
			p.countLeftOut()
			break
		}
		p.high = from
		p.countLeftOut()
		now := time.Now()
		if now.After(p.deadline) {
			break
		}
		if now.Sub(begun) < maxPageTime/8 { // events may be large
			chunk = min(2*chunk, maxListChunk)
		}
	}
	return events, nil
}

type listed struct {
	position eventlog.Position
	event    []byte
}

// newestOf returns the newest matching events after a position and up to high,
// oldest first: at most count, of size bytes together; with atLeastOne, one of
// any size. complete says that none was left out.
func (p *page) newestOf(ctx context.Context, from eventlog.Position, count, size int, atLeastOne bool) (kept []listed, complete bool, err error) {
	complete = true
	total, minKept := 0, 0
	if atLeastOne {
		minKept = 1
	}
	for r, err := range p.log.Read(ctx, from) {
		if err != nil {
			return nil, false, err
		}
		if r.Position > p.high {
			break
		}
		switch p.filter.Match(r) {
		case filter.Match:
		case filter.LeftOut:
			p.leftAt = append(p.leftAt, r.Position)
			continue
		case filter.Other:
			continue
		}
		kept = append(kept, listed{r.Position, p.reach.Encode(r, p.log.History(), p.view)})
		total += len(kept[len(kept)-1].event)
		for len(kept) > minKept && (len(kept) > count || total > size) {
			total -= len(kept[0].event)
			kept[0].event = nil
			kept = kept[1:]
			complete = false
		}
	}
	return kept, complete, nil
}
