package eventservice

import (
	"context"
	"errors"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	webhookgatewayv1 "github.com/webhook-gateway/webhook-gateway/gen/webhookgateway/v1"
	"github.com/webhook-gateway/webhook-gateway/server/eventlog"
	"github.com/webhook-gateway/webhook-gateway/server/rpcerr"
)

const (
	// passTime bounds how long a stream reads without looking at anything else: its
	// heartbeat, a drain, the events it has collected.
	passTime = 50 * time.Millisecond
	// passCheck is after how many records it looks at the clock.
	passCheck = 256
	// stopGrace is how long after its stop time a stream ends. An event gets its
	// receive time a moment before it can be read.
	stopGrace = time.Second
)

// stream is one Subscribe call.
type stream struct {
	*Service
	*plan

	ctx    context.Context //nolint:containedctx // a stream lives as long as its call
	send   func(frame any) error
	buffer batch
	// read is how far the log was read. Everything up to it was sent, or skipped by
	// the filters, or is in the buffer.
	read     eventlog.Position
	caughtUp bool
	stopped  bool
	lastSent time.Time
}

// Subscribe implements EventService.
func (s *Service) Subscribe(req *webhookgatewayv1.SubscribeRequest, call grpc.ServerStreamingServer[webhookgatewayv1.SubscribeResponse]) error {
	if err := s.admit(); err != nil {
		return err
	}
	defer s.leave()
	if req.GetSubscription() != "" {
		return s.work(req, call)
	}
	ctx := call.Context()
	p, err := s.plan(ctx, req)
	if err != nil {
		return err
	}
	st := &stream{Service: s, plan: p, ctx: ctx, send: call.SendMsg, read: p.start}
	if err := st.opened(); err != nil {
		return err
	}
	return st.run()
}

// opened sends what comes before everything else.
func (st *stream) opened() error {
	err := st.sendFrame("subscribed", &webhookgatewayv1.SubscribeResponse{
		Frame: &webhookgatewayv1.SubscribeResponse_Subscribed{Subscribed: &webhookgatewayv1.Subscribed{
			StartCursor:       st.cursor(st.start),
			EarliestCursor:    st.cursor(st.bounds.Trimmed),
			HeadCursor:        st.cursor(st.bounds.Head),
			Filters:           st.filters,
			HeartbeatInterval: durationpb.New(st.heartbeat),
			View:              st.view,
		}},
	})
	if err == nil && st.hasGap {
		err = st.sendGap(st.gapFrom, st.start)
	}
	return err
}

// run delivers until the stream ends.
func (st *stream) run() error {
	opened := time.Now()
	timer := time.NewTimer(st.nextDue(opened).Sub(opened))
	defer timer.Stop()
	armed := true // it fires when the next thing is due, or before that
	for {
		changed := st.log.Changed()
		now := time.Now()
		head := st.log.Bounds().Head
		if done, err := st.tell(now, head); done || err != nil {
			return err
		}
		if st.read < head {
			if err := st.pass(head); err != nil {
				return err
			}
			continue
		}
		if !armed {
			timer.Reset(st.nextDue(now).Sub(now))
			armed = true
		}
		select {
		case <-changed:
		case <-timer.C:
			armed = false
		case <-st.draining:
		case <-st.ctx.Done():
		}
	}
}

// tell sends the frames that depend on the clock and on where the stream is, and
// says whether the stream is to end.
func (st *stream) tell(now time.Time, head eventlog.Position) (done bool, err error) {
	if st.ctx.Err() != nil {
		return true, rpcerr.From(st.ctx.Err())
	}
	atHead := st.read >= head
	if atHead && !st.caughtUp {
		st.caughtUp = true
		if err := st.sendCaughtUp(); err != nil {
			return true, err
		}
	}
	pastTime := atHead && !st.stopTime.IsZero() && now.Sub(st.stopTime) >= stopGrace
	if st.stopped || st.read >= st.stopAfter || pastTime {
		return true, nil
	}
	if st.isDraining() {
		return true, st.goodbye()
	}
	if now.Sub(st.lastSent) >= st.heartbeat {
		return false, st.sendHeartbeat()
	}
	return false, nil
}

func (st *stream) nextDue(now time.Time) time.Time {
	due := st.lastSent.Add(st.heartbeat)
	if end := st.stopTime.Add(stopGrace); !st.stopTime.IsZero() && end.After(now) && end.Before(due) {
		return end
	}
	return due
}

// pass reads the log up to the head, or for a while, and sends what matches as
// frames fill. The last frame is not held back.
func (st *stream) pass(head eventlog.Position) error {
	begun, scanned := time.Now(), 0
	var failure error
	fellBehind := false
	for r, err := range st.log.Read(st.ctx, st.read) {
		if err != nil {
			failure = err
			break
		}
		if st.caughtUp && !r.Live {
			fellBehind = true
			break
		}
		if st.pastStop(r) {
			st.stopped = true
			break
		}
		if st.match(r) {
			if st.buffer.full(r) {
				if err := st.flush(); err != nil {
					return err
				}
			}
			st.buffer.add(r, st.log.ID(), st.view, r.Position >= head, nil, st.buffers)
		}
		st.read = r.Position
		if st.buffer.count >= st.maxBatch {
			if err := st.flush(); err != nil {
				return err
			}
		}
		if scanned++; scanned%passCheck == 0 && time.Since(begun) >= passTime {
			break
		}
	}
	if err := st.flush(); err != nil {
		return err
	}
	var trimmed *eventlog.TrimmedError
	switch {
	case errors.As(failure, &trimmed):
		return st.skip(trimmed)
	case failure != nil:
		return st.fail(st.ctx, "read a stream", failure)
	case fellBehind:
		return st.fallBehind()
	}
	return nil
}

// skip goes on behind events that are gone, if the subscriber asked for that.
func (st *stream) skip(trimmed *eventlog.TrimmedError) error {
	if !st.skipExpired {
		return st.expired(st.ctx, trimmed)
	}
	if st.caughtUp {
		if err := st.fallBehind(); err != nil {
			return err
		}
	}
	from := st.read
	st.read = trimmed.Trimmed
	return st.sendGap(from, st.read)
}

// flush sends the collected events, if any.
func (st *stream) flush() error {
	if st.buffer.count == 0 {
		return nil
	}
	count, oldest := st.buffer.count, st.buffer.oldest
	frame, size := st.buffer.take(st.buffers)
	if st.caughtUp {
		st.metrics.liveDelay.Observe(time.Since(oldest).Seconds())
	}
	if err := st.sendFrame("events", frame); err != nil {
		return err
	}
	st.metrics.events.Add(float64(count))
	st.metrics.bytes.Add(float64(size))
	return nil
}

func (st *stream) sendCaughtUp() error {
	return st.sendFrame("caught_up", &webhookgatewayv1.SubscribeResponse{
		Frame: &webhookgatewayv1.SubscribeResponse_CaughtUp{CaughtUp: &webhookgatewayv1.CaughtUp{Cursor: st.cursor(st.read)}},
	})
}

func (st *stream) sendHeartbeat() error {
	head := max(st.log.Bounds().Head, st.read)
	return st.sendFrame("heartbeat", &webhookgatewayv1.SubscribeResponse{
		Frame: &webhookgatewayv1.SubscribeResponse_Heartbeat{Heartbeat: &webhookgatewayv1.Heartbeat{
			Cursor:     st.cursor(st.read),
			HeadCursor: st.cursor(head),
			LagEvents:  int64(head - st.read), //nolint:gosec // a number of events
			ServerTime: timestamppb.Now(),
		}},
	})
}

func (st *stream) fallBehind() error {
	st.caughtUp = false
	head := max(st.log.Bounds().Head, st.read)
	return st.sendFrame("fell_behind", &webhookgatewayv1.SubscribeResponse{
		Frame: &webhookgatewayv1.SubscribeResponse_FellBehind{FellBehind: &webhookgatewayv1.FellBehind{
			Cursor:     st.cursor(st.read),
			HeadCursor: st.cursor(head),
			LagEvents:  int64(head - st.read), //nolint:gosec // a number of events
		}},
	})
}

func (st *stream) sendGap(from, to eventlog.Position) error {
	return st.sendFrame("gap", &webhookgatewayv1.SubscribeResponse{
		Frame: &webhookgatewayv1.SubscribeResponse_Gap{Gap: &webhookgatewayv1.Gap{
			FromCursor: st.cursor(from),
			ToCursor:   st.cursor(to),
			Reason:     webhookgatewayv1.GapReason_GAP_REASON_RETENTION,
		}},
	})
}

// goodbye announces the end of the stream and returns its status.
func (st *stream) goodbye() error {
	err := st.sendFrame("goodbye", &webhookgatewayv1.SubscribeResponse{
		Frame: &webhookgatewayv1.SubscribeResponse_Goodbye{Goodbye: &webhookgatewayv1.Goodbye{
			Cursor:     st.cursor(st.read),
			Reason:     webhookgatewayv1.GoodbyeReason_GOODBYE_REASON_DRAINING,
			RetryAfter: durationpb.New(retryDelay),
		}},
	})
	if err != nil {
		return err
	}
	return errDraining()
}

// sendFrame blocks while the subscriber does not read.
func (st *stream) sendFrame(kind string, frame any) error {
	if err := st.send(frame); err != nil {
		return err // a status, and nobody to read it
	}
	st.lastSent = time.Now()
	st.metrics.frames.WithLabelValues(kind).Inc()
	return nil
}
