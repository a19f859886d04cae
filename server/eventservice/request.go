package eventservice

import (
	"context"
	"math"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	webhookgatewayv1 "github.com/webhook-gateway/webhook-gateway/gen/webhookgateway/v1"
	"github.com/webhook-gateway/webhook-gateway/server/eventlog"
)

const maxBatchSize = 10_000

// plan is what a SubscribeRequest asks for, resolved.
type plan struct {
	filters   []*webhookgatewayv1.EventFilter // normalised, for the subscriber
	matchers  matchers
	view      webhookgatewayv1.EventView
	heartbeat time.Duration
	maxBatch  int
	// skipExpired says to go on behind events that are no longer retained, after a
	// gap, in place of ending the stream.
	skipExpired bool

	bounds eventlog.Bounds // when the stream opened
	start  eventlog.Position
	// gapFrom is where the gap in front of start begins, if hasGap.
	gapFrom eventlog.Position
	hasGap  bool
	// notBefore skips events received before it. Zero: none.
	notBefore time.Time

	// stopAfter is the last position of the stream; noStop for none.
	stopAfter eventlog.Position
	// stopTime ends the stream before the first event received at it or later. Zero:
	// never.
	stopTime time.Time
}

const noStop = eventlog.Position(math.MaxUint64)

// plan validates a request and resolves its start and stop.
func (s *Service) plan(ctx context.Context, req *webhookgatewayv1.SubscribeRequest) (*plan, error) {
	p := &plan{heartbeat: s.config.DefaultHeartbeat, maxBatch: maxBatchSize, stopAfter: noStop}
	var err error
	if p.filters, p.matchers, err = compile(req.GetFilters()); err != nil {
		return nil, err
	}
	if p.view, err = checkView(req.GetView()); err != nil {
		return nil, err
	}
	if err := p.options(req); err != nil {
		return nil, err
	}
	if err := s.planStart(ctx, req, p); err != nil {
		return nil, err
	}
	return p, s.planStop(req, p)
}

func (p *plan) options(req *webhookgatewayv1.SubscribeRequest) error {
	switch req.GetOnExpired() {
	case webhookgatewayv1.ExpiredPolicy_EXPIRED_POLICY_UNSPECIFIED, webhookgatewayv1.ExpiredPolicy_EXPIRED_POLICY_FAIL:
	case webhookgatewayv1.ExpiredPolicy_EXPIRED_POLICY_EARLIEST:
		p.skipExpired = true
	default:
		return invalid("on_expired", "%v is not a policy that this gateway knows", req.GetOnExpired())
	}
	if n := req.GetMaxBatchSize(); n < 0 || n > maxBatchSize {
		return invalid("max_batch_size", "%d is out of range: give 1 to %d, or 0 for the gateway's choice", n, maxBatchSize)
	} else if n > 0 {
		p.maxBatch = int(n)
	}
	if h := req.GetHeartbeatInterval(); h != nil {
		if h.CheckValid() != nil || h.AsDuration() < minHeartbeat || h.AsDuration() > maxHeartbeat {
			return invalid("heartbeat_interval", "give %s to %s", minHeartbeat, maxHeartbeat)
		}
		p.heartbeat = h.AsDuration()
	}
	return nil
}

func (s *Service) planStart(ctx context.Context, req *webhookgatewayv1.SubscribeRequest, p *plan) error {
	switch start := req.GetStart().(type) {
	case nil:
		return s.planStartPosition(webhookgatewayv1.StartPosition_START_POSITION_LATEST, p)
	case *webhookgatewayv1.SubscribeRequest_StartPosition:
		return s.planStartPosition(start.StartPosition, p)
	case *webhookgatewayv1.SubscribeRequest_StartCursor:
		return s.planStartCursor(ctx, start.StartCursor, p)
	case *webhookgatewayv1.SubscribeRequest_StartTime:
		t, err := checkTime("start_time", start.StartTime)
		if err != nil {
			return err
		}
		return s.planStartTime(ctx, t, p)
	case *webhookgatewayv1.SubscribeRequest_StartAgo:
		ago := start.StartAgo
		if ago.CheckValid() != nil || ago.AsDuration() < 0 {
			return invalid("start_ago", "give a duration that is not negative")
		}
		return s.planStartTime(ctx, clampTime(time.Now().Add(-ago.AsDuration())), p)
	}
	return invalid("start", "this gateway does not know this kind of start")
}

func (s *Service) planStartPosition(at webhookgatewayv1.StartPosition, p *plan) error {
	p.bounds = s.log.Bounds()
	switch at {
	case webhookgatewayv1.StartPosition_START_POSITION_EARLIEST:
		p.start = p.bounds.Trimmed
	case webhookgatewayv1.StartPosition_START_POSITION_UNSPECIFIED, webhookgatewayv1.StartPosition_START_POSITION_LATEST:
		p.start = p.bounds.Head
	default:
		return invalid("start_position", "%v is not a position that this gateway knows", at)
	}
	return nil
}

func (s *Service) planStartCursor(ctx context.Context, cursor string, p *plan) error {
	var err error
	if p.start, err = s.parseCursor("start_cursor", cursor); err != nil {
		return err
	}
	p.bounds = s.log.Bounds()
	if p.start < p.bounds.Trimmed {
		if !p.skipExpired {
			return s.expired(ctx, &eventlog.TrimmedError{After: p.start, Trimmed: p.bounds.Trimmed})
		}
		p.gapFrom, p.start, p.hasGap = p.start, p.bounds.Trimmed, true
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
		return s.fail(ctx, "find the start of a stream", err)
	}
	p.bounds = s.log.Bounds()
	p.start = max(start, p.bounds.Trimmed)
	p.hasGap = p.start == p.bounds.Trimmed && p.start > 0 && t.Before(time.Now())
	p.notBefore = t // it may be in the future
	return nil
}

func (s *Service) planStop(req *webhookgatewayv1.SubscribeRequest, p *plan) error {
	var err error
	switch stop := req.GetStop().(type) {
	case nil:
	case *webhookgatewayv1.SubscribeRequest_StopCursor:
		p.stopAfter, err = s.parseCursor("stop_cursor", stop.StopCursor)
	case *webhookgatewayv1.SubscribeRequest_StopTime:
		p.stopTime, err = checkTime("stop_time", stop.StopTime)
	case *webhookgatewayv1.SubscribeRequest_StopAtHead:
		if !stop.StopAtHead {
			return invalid("stop_at_head", "give true, or leave it out to follow the log")
		}
		p.stopAfter = p.bounds.Head
	default:
		return invalid("stop", "this gateway does not know this kind of stop")
	}
	return err
}

// pastStop says whether a record is behind the end of the stream.
func (p *plan) pastStop(r eventlog.Record) bool {
	return r.Position > p.stopAfter || !p.stopTime.IsZero() && !r.ReceiveTime().Before(p.stopTime)
}

// match says whether a record is to be delivered.
func (p *plan) match(r eventlog.Record) bool {
	return p.matchers.match(r) && (p.notBefore.IsZero() || !r.ReceiveTime().Before(p.notBefore))
}

func checkTime(field string, t *timestamppb.Timestamp) (time.Time, error) {
	if t.CheckValid() != nil {
		return time.Time{}, invalid(field, "give a time from the year 1 to 9999")
	}
	return clampTime(t.AsTime()), nil
}

// clampTime brings a time into the range that nanoseconds since 1970 can
// express. No event was received outside of it.
func clampTime(t time.Time) time.Time {
	earliest, latest := time.Unix(0, 0), time.Unix(0, math.MaxInt64)
	switch {
	case t.Before(earliest):
		return earliest
	case t.After(latest):
		return latest
	}
	return t
}
