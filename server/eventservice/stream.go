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
	"github.com/webhook-gateway/webhook-gateway/server/filter"
	"github.com/webhook-gateway/webhook-gateway/server/stream"
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

// subscriber is one Subscribe call.
type subscriber struct {
	*Service
	*plan
	*stream.Sender

	ctx    context.Context //nolint:containedctx // a stream lives as long as its call
	ending context.Context //nolint:containedctx // the same: done when it is to say goodbye
	batch  *stream.Batch
	// read is how far the log was read. Everything up to it was sent, or skipped by
	// the filters, or is in the batch. last is the last event of the batch.
	read, last eventlog.Position
	// told is where the subscriber knows the stream to be.
	told     eventlog.Position
	leftOut  int64
	caughtUp bool
	stopped  bool
}

// Subscribe implements EventService.
func (s *Service) Subscribe(req *webhookgatewayv1.SubscribeRequest, call grpc.ServerStreamingServer[webhookgatewayv1.SubscribeResponse]) error {
	if err := s.streams.Enter(); err != nil {
		return err
	}
	defer s.streams.Leave()
	ctx := call.Context()
	p, err := s.plan(ctx, req)
	if err != nil {
		return s.api.Fail(ctx, "open a stream", err)
	}
	ending, release := s.streams.Ending(ctx)
	defer release()
	st := &subscriber{
		Service: s, plan: p, Sender: s.streams.Sender(call.SendMsg),
		ctx: ctx, ending: ending, batch: s.streams.Batch(p.view), read: p.start, told: p.start,
	}
	if p.reach.Masks() {
		st.batch.MaskBy(p.reach.Mask)
	}
	st.HasRead(st.read)
	defer s.streams.List(ctx, stream.Description{View: p.view, Filters: p.filter.Normal}, st.Sender)()
	if err := st.opened(); err != nil {
		return err
	}
	return st.run()
}

// opened sends what comes before everything else.
func (st *subscriber) opened() error {
	err := st.Send("subscribed", &webhookgatewayv1.SubscribeResponse{
		Frame: &webhookgatewayv1.SubscribeResponse_Subscribed{Subscribed: &webhookgatewayv1.Subscribed{
			StartCursor:       st.cursor(st.start),
			EarliestCursor:    st.api.Cursor(st.bounds.Trimmed),
			HeadCursor:        st.api.Cursor(st.bounds.Head),
			Filters:           st.filter.Normal(),
			HeartbeatInterval: durationpb.New(st.heartbeat),
			View:              st.view,
		}},
	})
	if err == nil && st.gap {
		err = st.sendGap(st.bounds.Trimmed, webhookgatewayv1.GapReason_GAP_REASON_RETENTION)
	}
	return err
}

// run delivers until the stream ends.
func (st *subscriber) run() error {
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
		case <-st.ending.Done():
		case <-st.ctx.Done():
		}
	}
}

// tell sends the frames that depend on the clock and on where the stream is, and
// reports whether the stream is to end.
func (st *subscriber) tell(now time.Time, head eventlog.Position) (done bool, err error) {
	if st.ctx.Err() != nil {
		return true, st.api.Fail(st.ctx, "stream", st.ctx.Err())
	}
	if err := st.follow(); err != nil {
		return true, err
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
	if st.ending.Err() != nil {
		return true, st.goodbye()
	}
	if now.Sub(st.Last()) >= st.heartbeat {
		return false, st.sendHeartbeat()
	}
	return false, nil
}

func (st *subscriber) nextDue(now time.Time) time.Time {
	due := st.Last().Add(st.heartbeat)
	if end := st.stopTime.Add(stopGrace); !st.stopTime.IsZero() && end.After(now) && end.Before(due) {
		return end
	}
	return due
}

// pass reads the log up to the head, or for a while, and sends what matches as
// frames fill. The last frame is not held back.
func (st *subscriber) pass(head eventlog.Position) error {
	begun, scanned := time.Now(), 0
	var failure error
	fellBehind := false
	for r, err := range st.log.Read(st.ctx, st.read) {
		if err != nil {
			failure = err
			break
		}
		if st.history != st.log.History() {
			break // it may be of another one
		}
		if st.caughtUp && !r.Live {
			fellBehind = true
			break
		}
		if st.pastStop(r) {
			st.stopped = true
			break
		}
		switch st.match(r) {
		case filter.Match:
			if st.batch.Full(r) {
				if err := st.flush(); err != nil {
					return err
				}
			}
			st.batch.Add(r, st.history, r.Position >= head)
			st.last = r.Position
		case filter.LeftOut:
			st.leftOut++
		case filter.Other:
		}
		st.read = r.Position
		if st.batch.Len() >= st.maxBatch {
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
	st.HasRead(st.read)
	switch {
	case failure != nil:
		return st.missing(failure)
	case fellBehind:
		return st.fallBehind()
	}
	return nil
}

// missing goes on after events that cannot be read, if the subscriber asked for
// that.
func (st *subscriber) missing(failure error) error {
	var (
		trimmed *eventlog.TrimmedError
		damaged *eventlog.DamagedError
	)
	switch {
	case !st.skipMissing:
	case errors.As(failure, &trimmed):
		return st.skip(trimmed.Trimmed, webhookgatewayv1.GapReason_GAP_REASON_RETENTION)
	case errors.As(failure, &damaged):
		return st.skip(damaged.UpTo, webhookgatewayv1.GapReason_GAP_REASON_DAMAGED)
	}
	return st.api.Fail(st.ctx, "read a stream", failure)
}

func (st *subscriber) skip(to eventlog.Position, reason webhookgatewayv1.GapReason) error {
	if err := st.follow(); err != nil { // so that it names the end of the gap
		return err
	}
	if st.caughtUp {
		if err := st.fallBehind(); err != nil {
			return err
		}
	}
	return st.sendGap(to, reason)
}

// follow goes over to the history that the log has now. It ends the stream if where the stream is
// has no name there: what it has delivered was lost, and other events are in that place.
func (st *subscriber) follow() error {
	history := st.log.History()
	if history == st.history {
		return nil
	}
	if err := st.api.Renamed("cursor", history, st.cursor(st.read)); err != nil {
		return err
	}
	st.history = history
	return nil
}

func (st *subscriber) cursor(p eventlog.Position) string { return st.history.FormatCursor(p) }

// flush sends the collected events, if any.
func (st *subscriber) flush() error {
	if st.batch.Len() == 0 {
		return nil
	}
	st.HasRead(st.read)
	st.batch.After(st.move(st.last))
	return st.SendBatch("events", st.batch, st.caughtUp)
}

// move returns the cursor of where the subscriber knows the stream to be. The
// frame that it goes into tells that the stream is at a position now.
func (st *subscriber) move(to eventlog.Position) (afterCursor string) {
	afterCursor = st.cursor(st.told)
	st.told = to
	return afterCursor
}

func (st *subscriber) sendCaughtUp() error {
	return st.Send("caught_up", &webhookgatewayv1.SubscribeResponse{
		Frame: &webhookgatewayv1.SubscribeResponse_CaughtUp{CaughtUp: &webhookgatewayv1.CaughtUp{
			Cursor: st.cursor(st.read), AfterCursor: st.move(st.read), LeftOutEvents: st.leftOut,
		}},
	})
}

func (st *subscriber) sendHeartbeat() error {
	head := max(st.log.Bounds().Head, st.read)
	return st.Send("heartbeat", &webhookgatewayv1.SubscribeResponse{
		Frame: &webhookgatewayv1.SubscribeResponse_Heartbeat{Heartbeat: &webhookgatewayv1.Heartbeat{
			Cursor:     st.cursor(st.read),
			HeadCursor: st.api.Cursor(head),
			LagEvents:  int64(head - st.read), //nolint:gosec // a number of events
			ServerTime: timestamppb.Now(),

			AfterCursor:   st.move(st.read),
			LeftOutEvents: st.leftOut,
		}},
	})
}

func (st *subscriber) fallBehind() error {
	st.caughtUp = false
	head := max(st.log.Bounds().Head, st.read)
	return st.Send("fell_behind", &webhookgatewayv1.SubscribeResponse{
		Frame: &webhookgatewayv1.SubscribeResponse_FellBehind{FellBehind: &webhookgatewayv1.FellBehind{
			Cursor:     st.cursor(st.read),
			HeadCursor: st.api.Cursor(head),
			LagEvents:  int64(head - st.read), //nolint:gosec // a number of events

			AfterCursor: st.move(st.read),
		}},
	})
}

// sendGap tells that nothing up to a position can be delivered, and goes on after
// it.
func (st *subscriber) sendGap(to eventlog.Position, reason webhookgatewayv1.GapReason) error {
	st.read = to
	st.HasRead(to)
	return st.Send("gap", &webhookgatewayv1.SubscribeResponse{
		Frame: &webhookgatewayv1.SubscribeResponse_Gap{Gap: &webhookgatewayv1.Gap{
			FromCursor: st.move(to),
			ToCursor:   st.cursor(to),
			Reason:     reason,
		}},
	})
}

// goodbye announces the end of the stream and returns its status.
func (st *subscriber) goodbye() error {
	goodbye := stream.Goodbye(st.ending)
	goodbye.Cursor, goodbye.AfterCursor = st.cursor(st.read), st.move(st.read)
	err := st.Send("goodbye", &webhookgatewayv1.SubscribeResponse{
		Frame: &webhookgatewayv1.SubscribeResponse_Goodbye{Goodbye: goodbye},
	})
	if err != nil {
		return err
	}
	return context.Cause(st.ending)
}
