package eventservice

import (
	"context"
	"errors"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/encoding/protowire"

	webhookgatewayv1 "github.com/webhook-gateway/webhook-gateway/gen/webhookgateway/v1"
	"github.com/webhook-gateway/webhook-gateway/server/eventlog"
	"github.com/webhook-gateway/webhook-gateway/server/subscription"
)

// Numbers of the fields of Event that a delivery adds.
const (
	fieldAttempt  = 11
	fieldAckToken = 12
)

// maxShare is the most events that are taken from a subscription at a time.
const maxShare = 1000

// worker is one Subscribe call that shares in a subscription.
type worker struct {
	*stream
	share *subscription.Stream
	extra []byte // of the event being added
}

// work serves a call with a subscription.
func (s *Service) work(req *webhookgatewayv1.SubscribeRequest, call grpc.ServerStreamingServer[webhookgatewayv1.SubscribeResponse]) error {
	ctx := call.Context()
	p := &plan{heartbeat: s.config.DefaultHeartbeat, maxBatch: maxShare}
	var err error
	if p.view, err = checkView(req.GetView()); err != nil {
		return err
	}
	if err := p.options(req); err != nil {
		return err
	}
	p.maxBatch = min(p.maxBatch, maxShare)
	if err := checkShared(req); err != nil {
		return err
	}
	share, err := s.subscriptions.Attach(req.GetSubscription())
	if err != nil {
		return s.fail(ctx, "share in a subscription", err)
	}
	// What the worker holds is given back at once, however the call ends.
	defer share.Close()
	described, err := s.subscriptions.Get(ctx, req.GetSubscription())
	if err != nil {
		return s.fail(ctx, "share in a subscription", err)
	}
	p.filters = described.GetFilters()
	p.bounds = s.log.Bounds()
	p.start = share.Progress().Cursor
	w := &worker{stream: &stream{Service: s, plan: p, ctx: ctx, send: call.SendMsg, read: p.start}, share: share}
	if err := w.opened(); err != nil {
		return err
	}
	return w.run()
}

// checkShared refuses what a subscription decides.
func checkShared(req *webhookgatewayv1.SubscribeRequest) error {
	const why = "it is decided by the subscription: leave it out, or update or seek the subscription"
	switch {
	case len(req.GetFilters()) > 0:
		return invalid("filters", why)
	case req.GetStart() != nil:
		return invalid("start", why)
	case req.GetStop() != nil:
		return invalid("stop", why)
	case req.GetOnExpired() != webhookgatewayv1.ExpiredPolicy_EXPIRED_POLICY_UNSPECIFIED:
		return invalid("on_expired", why)
	}
	return nil
}

// run delivers until the call ends.
func (w *worker) run() error {
	ctx, cancel := context.WithCancel(w.ctx)
	defer cancel()
	defer context.AfterFunc(w.drain, cancel)()
	for {
		batch, err := w.next(ctx)
		switch {
		case err == nil:
			err = w.deliver(batch)
		case w.ctx.Err() != nil:
			err = w.fail(w.ctx, "share in a subscription", err)
		case w.isDraining():
			w.read = w.share.Progress().Cursor
			err = w.goodbye()
		case errors.Is(err, context.DeadlineExceeded):
			w.read = w.share.Progress().Cursor
			err = w.sendHeartbeat()
		default:
			err = w.fail(w.ctx, "share in a subscription", err)
		}
		if err != nil {
			return err
		}
	}
}

// next waits for deliveries until a heartbeat is due.
func (w *worker) next(ctx context.Context) (subscription.Batch, error) {
	ctx, cancel := context.WithDeadline(ctx, w.lastSent.Add(w.heartbeat))
	defer cancel()
	return w.share.Next(ctx, w.maxBatch)
}

func (w *worker) deliver(batch subscription.Batch) error {
	if batch.Gap != (subscription.Gap{}) {
		if err := w.sendGap(batch.Gap.From, batch.Gap.To); err != nil {
			return err
		}
	}
	for event, err := range w.share.Read(w.ctx, batch.Deliveries) {
		if err != nil {
			return w.fail(w.ctx, "read the events of a subscription", err)
		}
		if w.buffer.full(event.Record) {
			if err := w.flush(); err != nil {
				return err
			}
		}
		w.add(event, len(batch.Deliveries) == 1)
	}
	if err := w.flush(); err != nil {
		return err
	}
	if !batch.CaughtUp {
		return nil
	}
	w.read = w.share.Progress().Cursor
	return w.sendCaughtUp()
}

func (w *worker) add(event subscription.Event, last bool) {
	b := protowire.AppendTag(w.extra[:0], fieldAttempt, protowire.VarintType)
	b = protowire.AppendVarint(b, uint64(event.Attempt)) //nolint:gosec // positive
	b = protowire.AppendTag(b, fieldAckToken, protowire.BytesType)
	b = protowire.AppendVarint(b, subscription.TokenLen)
	w.extra = event.AppendAckToken(b)
	w.buffer.add(event.Record, w.log.ID(), w.view, last, w.extra, w.buffers)
}

// Compile validates filters for subscriptions: see subscription.CompileFunc.
func Compile(filters []*webhookgatewayv1.EventFilter) ([]*webhookgatewayv1.EventFilter, func(eventlog.Record) bool, error) {
	normal, compiled, err := compile(filters)
	return normal, compiled.match, err
}

// retryDelayOf returns the delay that a Reject asks for, negative for the backoff
// of the subscription.
func retryDelayOf(req *webhookgatewayv1.RejectRequest) (time.Duration, error) {
	after := req.GetRetryAfter()
	switch {
	case after == nil:
		return -1, nil
	case req.GetAction() != webhookgatewayv1.RejectAction_REJECT_ACTION_RETRY:
		return 0, invalid("retry_after", "it belongs to REJECT_ACTION_RETRY only: leave it out")
	case after.CheckValid() != nil || after.AsDuration() < 0 || after.AsDuration() > maxRetryAfter:
		return 0, invalid("retry_after", "give 0 to %v", maxRetryAfter)
	}
	return after.AsDuration(), nil
}
