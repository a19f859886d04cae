package eventservice

import (
	"context"
	"math"
	"time"

	webhookgatewayv1 "github.com/webhook-gateway/webhook-gateway/gen/webhookgateway/v1"
	"github.com/webhook-gateway/webhook-gateway/server/access"
	"github.com/webhook-gateway/webhook-gateway/server/eventlog"
	"github.com/webhook-gateway/webhook-gateway/server/fielderr"
	"github.com/webhook-gateway/webhook-gateway/server/filter"
	"github.com/webhook-gateway/webhook-gateway/server/logapi"
	"github.com/webhook-gateway/webhook-gateway/server/stream"
)

const maxBatchSize = 10_000

// plan is what a SubscribeRequest asks for, resolved.
type plan struct {
	reach     *access.Reach
	filter    *filter.Filter
	view      webhookgatewayv1.EventView
	heartbeat time.Duration
	maxBatch  int
	// skipMissing: events that are no longer retained, or are damaged, are passed over
	// with a gap. Otherwise they end the stream.
	skipMissing bool

	// history names where the stream is.
	history *eventlog.History

	bounds eventlog.Bounds // when the stream opened
	start  eventlog.Position
	// gap: the events after start and before the earliest event are missing.
	gap bool
	// notBefore skips events received before it. Zero: none.
	notBefore time.Time

	// stopAfter is the last position of the stream; noStop for none.
	stopAfter eventlog.Position
	// stopTime ends the stream before the first event received at it or later. Zero:
	// never.
	stopTime time.Time
}

const noStop = eventlog.Position(math.MaxUint64)

// plan validates a request and resolves its start and stop, in one history. Its errors
// are of fielderr, and statuses.
func (s *Service) plan(ctx context.Context, req *webhookgatewayv1.SubscribeRequest) (*plan, error) {
	for {
		history := s.log.History()
		p, err := s.resolve(ctx, req)
		if err != nil {
			return nil, err
		}
		if p.history = history; history == s.log.History() {
			return p, nil
		}
	}
}

func (s *Service) resolve(ctx context.Context, req *webhookgatewayv1.SubscribeRequest) (*plan, error) {
	p := &plan{stopAfter: noStop}
	var err error
	if p.reach, p.filter, p.view, err = readable(ctx, req); err != nil {
		return nil, err
	}
	if p.maxBatch, err = stream.BatchSize(req.GetMaxBatchSize(), maxBatchSize); err != nil {
		return nil, err
	}
	if p.heartbeat, err = s.streams.Heartbeat(req.GetHeartbeatInterval()); err != nil {
		return nil, err
	}
	switch req.GetOnExpired() {
	case webhookgatewayv1.ExpiredPolicy_EXPIRED_POLICY_UNSPECIFIED, webhookgatewayv1.ExpiredPolicy_EXPIRED_POLICY_FAIL:
	case webhookgatewayv1.ExpiredPolicy_EXPIRED_POLICY_EARLIEST:
		p.skipMissing = true
	default:
		return nil, fielderr.New("on_expired", "%v is not a policy that this gateway knows", req.GetOnExpired())
	}
	if err := s.planStart(ctx, req, p); err != nil {
		return nil, err
	}
	return p, s.planStop(ctx, req, p)
}

// readable returns what the caller of a request may read in the view that it asks for, and
// what that leaves of its filters. Its errors are of fielderr, and statuses.
func readable(ctx context.Context, req interface {
	GetFilters() []*webhookgatewayv1.EventFilter
	GetView() webhookgatewayv1.EventView
},
) (*access.Reach, *filter.Filter, webhookgatewayv1.EventView, error) {
	view, err := logapi.View(req.GetView())
	if err != nil {
		return nil, nil, 0, err
	}
	reach, err := access.From(ctx).Reach(view)
	if err != nil {
		return nil, nil, 0, err
	}
	asked, err := filter.Compile(req.GetFilters())
	if err != nil {
		return nil, nil, 0, err
	}
	narrow, err := reach.Narrow(asked)
	return reach, narrow, view, err
}

func (s *Service) planStart(ctx context.Context, req *webhookgatewayv1.SubscribeRequest, p *plan) error {
	switch start := req.GetStart().(type) {
	case nil:
		return s.planStartPosition(ctx, webhookgatewayv1.StartPosition_START_POSITION_LATEST, p)
	case *webhookgatewayv1.SubscribeRequest_StartPosition:
		return s.planStartPosition(ctx, start.StartPosition, p)
	case *webhookgatewayv1.SubscribeRequest_StartCursor:
		return s.planStartCursor(ctx, start.StartCursor, p)
	case *webhookgatewayv1.SubscribeRequest_StartTime:
		t, err := logapi.Time("start_time", start.StartTime)
		if err != nil {
			return err
		}
		return s.planStartTime(ctx, t, p)
	case *webhookgatewayv1.SubscribeRequest_StartAgo:
		ago := start.StartAgo
		if ago.CheckValid() != nil || ago.AsDuration() < 0 {
			return fielderr.New("start_ago", "give a duration that is not negative")
		}
		return s.planStartTime(ctx, logapi.ClampTime(s.log.Clock().Now.Add(-ago.AsDuration())), p)
	}
	return fielderr.New("start", "this gateway does not know this kind of start")
}

func (s *Service) planStartPosition(ctx context.Context, at webhookgatewayv1.StartPosition, p *plan) error {
	if at != webhookgatewayv1.StartPosition_START_POSITION_EARLIEST {
		if err := s.api.Sync(ctx); err != nil {
			return err
		}
	}
	p.bounds = s.log.Bounds()
	switch at {
	case webhookgatewayv1.StartPosition_START_POSITION_EARLIEST:
		p.start = p.bounds.Trimmed
	case webhookgatewayv1.StartPosition_START_POSITION_UNSPECIFIED, webhookgatewayv1.StartPosition_START_POSITION_LATEST:
		p.start = p.bounds.Head
	default:
		return fielderr.New("start_position", "%v is not a position that this gateway knows", at)
	}
	return nil
}

func (s *Service) planStartCursor(ctx context.Context, cursor string, p *plan) error {
	var err error
	if p.start, err = s.api.ParseCursor(ctx, "start_cursor", cursor); err != nil {
		return err
	}
	p.bounds = s.log.Bounds()
	if p.start < p.bounds.Trimmed {
		if !p.skipMissing {
			return s.api.Expired(ctx, p.bounds.Trimmed)
		}
		p.gap = true
	}
	return nil
}

// planStartTime starts at a time. A time says nothing about how many events came
// after it: if it is before the earliest event and any were removed, some of
// those asked for may be among them. The subscriber is told by a gap that begins
// where the log once began.
func (s *Service) planStartTime(ctx context.Context, t time.Time, p *plan) error {
	start, err := s.log.Seek(ctx, t)
	if err != nil {
		return s.api.Fail(ctx, "find the start of a stream", err)
	}
	p.bounds = s.log.Bounds()
	p.start = max(start, p.bounds.Trimmed)
	if p.start == p.bounds.Trimmed && p.start > 0 && t.Before(s.log.Clock().Now) {
		p.start, p.gap = 0, true
	}
	p.notBefore = t // it may be in the future
	return nil
}

func (s *Service) planStop(ctx context.Context, req *webhookgatewayv1.SubscribeRequest, p *plan) error {
	var err error
	switch stop := req.GetStop().(type) {
	case nil:
	case *webhookgatewayv1.SubscribeRequest_StopCursor:
		p.stopAfter, err = s.api.ParseCursor(ctx, "stop_cursor", stop.StopCursor)
	case *webhookgatewayv1.SubscribeRequest_StopTime:
		p.stopTime, err = logapi.Time("stop_time", stop.StopTime)
	case *webhookgatewayv1.SubscribeRequest_StopAtHead:
		if !stop.StopAtHead {
			return fielderr.New("stop_at_head", "give true, or leave it out to follow the log")
		}
		if err := s.api.Sync(ctx); err != nil {
			return err
		}
		p.stopAfter = s.log.Bounds().Head
	default:
		return fielderr.New("stop", "this gateway does not know this kind of stop")
	}
	return err
}

// pastStop reports whether a record is past the end of the stream.
func (p *plan) pastStop(r eventlog.Record) bool {
	return r.Position > p.stopAfter || !p.stopTime.IsZero() && !r.ReceiveTime().Before(p.stopTime)
}

// match returns what the filters make of a record.
func (p *plan) match(r eventlog.Record) filter.Result {
	if !p.notBefore.IsZero() && r.ReceiveTime().Before(p.notBefore) {
		return filter.Other
	}
	return p.filter.Match(r)
}
