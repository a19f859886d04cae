package subscriptionservice

import (
	"context"
	"errors"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	webhookgatewayv1 "github.com/webhook-gateway/webhook-gateway/gen/webhookgateway/v1"
	"github.com/webhook-gateway/webhook-gateway/server/access"
	"github.com/webhook-gateway/webhook-gateway/server/fielderr"
	"github.com/webhook-gateway/webhook-gateway/server/filter"
	"github.com/webhook-gateway/webhook-gateway/server/logapi"
	"github.com/webhook-gateway/webhook-gateway/server/stream"
	"github.com/webhook-gateway/webhook-gateway/server/subscription"
)

// maxDeliveries is the most deliveries that a stream takes at a time, and the most
// in a frame.
const maxDeliveries = 1000

// worker is one Consume call.
type worker struct {
	*Service
	*stream.Sender

	ctx context.Context //nolint:containedctx // a stream lives as long as its call
	// ending is done when the stream is to say goodbye.
	ending context.Context //nolint:containedctx // the same
	reach  *access.Reach
	// dismissed: the worker may not consume the subscription any more.
	dismissed bool
	// caughtUp: it was told that everything is delivered, so that what comes is new.
	caughtUp  bool
	share     share
	batch     *stream.Batch
	maxBatch  int
	heartbeat time.Duration
	token     []byte // of the delivery being added
}

// Consume implements SubscriptionService.
func (s *Service) Consume(req *webhookgatewayv1.ConsumeRequest, call grpc.ServerStreamingServer[webhookgatewayv1.ConsumeResponse]) error {
	return s.consume(req, call, s.attach)
}

// attacher attaches a worker to a subscription. Its errors are those of
// subscription.Manager, and statuses.
type attacher func(ctx context.Context, name string, options subscription.StreamOptions) (share, error)

// consume serves a worker that is attached by a function.
func (s *Service) consume(
	req *webhookgatewayv1.ConsumeRequest, call grpc.ServerStreamingServer[webhookgatewayv1.ConsumeResponse], attach attacher,
) error {
	if err := s.streams.Enter(); err != nil {
		return err
	}
	defer s.streams.Leave()
	ctx := call.Context()
	w, opened, err := s.open(req, call, attach)
	if err != nil {
		return s.fail(ctx, "open a worker's stream", err)
	}
	ending, release := s.streams.Ending(ctx)
	defer release()
	w.ending = ending
	defer w.leave()
	defer s.streams.List(ctx, w.describe(req.GetSubscription(), opened.GetView()), w.Sender)()
	if err := w.Send("subscribed", &webhookgatewayv1.ConsumeResponse{
		Frame: &webhookgatewayv1.ConsumeResponse_Subscribed{Subscribed: opened},
	}); err != nil {
		return err
	}
	return w.run()
}

// open validates a request and attaches the worker.
func (s *Service) open(
	req *webhookgatewayv1.ConsumeRequest, call grpc.ServerStream, attach attacher,
) (_ *worker, _ *webhookgatewayv1.Subscribed, err error) {
	reach, view, err := s.reach(call.Context(), req)
	if err != nil {
		return nil, nil, err
	}
	maxBatch, err := stream.BatchSize(req.GetMaxBatchSize(), maxDeliveries)
	if err != nil {
		return nil, nil, err
	}
	heartbeat, err := s.streams.Heartbeat(req.GetHeartbeatInterval())
	if err != nil {
		return nil, nil, err
	}
	if n := req.GetMaxInFlight(); n < 0 {
		return nil, nil, fielderr.New("max_in_flight", "%d is negative: give 0 for the limit of the subscription, or a lower one", n)
	}
	share, err := attach(call.Context(), req.GetSubscription(), subscription.StreamOptions{MaxInFlight: int(req.GetMaxInFlight())})
	if err != nil {
		return nil, nil, err
	}
	defer func() {
		if err != nil {
			share.Leave(false)
		}
	}()
	inForce, err := covers(reach, share.Filter)
	if err != nil {
		return nil, nil, err
	}
	w := &worker{
		Service: s, Sender: s.streams.Sender(call.SendMsg),
		ctx: call.Context(), reach: reach, share: share, batch: s.streams.Batch(view), maxBatch: maxBatch, heartbeat: heartbeat,
	}
	if reach.Masks() {
		w.batch.MaskBy(reach.Mask)
	}
	bounds := s.log.Bounds()
	return w, &webhookgatewayv1.Subscribed{
		StartCursor:       s.api.Cursor(share.Progress().Cursor),
		EarliestCursor:    s.api.Cursor(bounds.Trimmed),
		HeadCursor:        s.api.Cursor(bounds.Head),
		Filters:           inForce.Normal(),
		HeartbeatInterval: durationpb.New(heartbeat),
		View:              view,
	}, nil
}

// describe says what the stream is to those who see the streams that are open.
func (w *worker) describe(name string, view webhookgatewayv1.EventView) stream.Description {
	share := w.share
	return stream.Description{
		Subscription: name, View: view, InFlight: share.InFlight,
		Filters: func() []*webhookgatewayv1.EventFilter {
			inForce, err := share.Filter()
			if err != nil {
				return nil // it was deleted: the stream ends
			}
			return inForce.Normal()
		},
	}
}

// reach returns what the caller of a request may read of a subscription that it may use,
// and in which view. Its errors are of fielderr, and statuses.
func (s *Service) reach(ctx context.Context, req interface {
	GetSubscription() string
	GetView() webhookgatewayv1.EventView
},
) (*access.Reach, webhookgatewayv1.EventView, error) {
	caller := access.From(ctx)
	if err := caller.Use("subscription", req.GetSubscription()); err != nil {
		return nil, 0, err
	}
	view, err := logapi.View(req.GetView())
	if err != nil {
		return nil, 0, err
	}
	reach, err := caller.Reach(view)
	return reach, view, err
}

// coveredBy returns the filter of a subscription, and an error unless a caller may read
// everything that it matches.
func (s *Service) coveredBy(reach *access.Reach, name string) (*filter.Filter, error) {
	return covers(reach, func() (*filter.Filter, error) { return s.subscriptions.Filter(name) })
}

// covers is coveredBy for a filter that is yet to be asked for.
func covers(reach *access.Reach, ask func() (*filter.Filter, error)) (*filter.Filter, error) {
	inForce, err := ask()
	if err != nil {
		return nil, err
	}
	return inForce, reach.Covers("subscription", inForce)
}

// run delivers until the call ends.
func (w *worker) run() error {
	ctx, cancel := context.WithCancel(w.ctx)
	defer cancel()
	defer context.AfterFunc(w.ending, cancel)()
	for {
		batch, err := w.next(ctx)
		switch {
		case err == nil:
			err = w.send(batch)
		case w.ctx.Err() != nil:
			err = w.fail(w.ctx, "wait for deliveries", err)
		case w.ending.Err() != nil:
			err = w.goodbye()
		case errors.Is(err, context.DeadlineExceeded):
			err = w.sendHeartbeat()
		default:
			err = w.fail(w.ctx, "wait for deliveries", err)
		}
		if err != nil {
			return err
		}
	}
}

// leave ends the worker's share. What it holds has failed, or is suspect, unless
// it is the gateway that ends it.
func (w *worker) leave() { w.share.Leave(!w.dismissed && w.ending.Err() == nil) }

// next waits for deliveries until a heartbeat is due.
func (w *worker) next(ctx context.Context) (subscription.Batch, error) {
	ctx, cancel := context.WithDeadline(ctx, w.Last().Add(w.heartbeat))
	defer cancel()
	return w.share.Next(ctx, w.maxBatch)
}

func (w *worker) send(batch subscription.Batch) error {
	for _, gap := range batch.Gaps {
		if err := w.sendGap(gap); err != nil {
			return err
		}
	}
	for deliveries := batch.Deliveries; len(deliveries) > 0; {
		rest, err := w.sendFrameOf(deliveries)
		if err != nil {
			return err
		}
		deliveries = rest
	}
	if !batch.CaughtUp {
		return nil
	}
	w.caughtUp = true
	progress := w.progress()
	return w.Send("caught_up", &webhookgatewayv1.ConsumeResponse{
		Frame: &webhookgatewayv1.ConsumeResponse_CaughtUp{CaughtUp: &webhookgatewayv1.CaughtUp{
			Cursor: w.api.Cursor(progress.Cursor), LeftOutEvents: progress.LeftOut,
		}},
	})
}

// sendFrameOf sends the first of some deliveries, as many as fit into a frame, and
// returns the others. Sending a frame may take long if the worker does not read:
// so the deadline of a delivery begins when it is put into a frame, and one that
// is no longer the worker's by then is left out.
func (w *worker) sendFrameOf(deliveries []subscription.Delivery) ([]subscription.Delivery, error) {
	done := 0
	for event, err := range w.share.Read(w.ctx, deliveries) {
		if err != nil {
			return nil, w.fail(w.ctx, "read deliveries", err)
		}
		if w.batch.Full(event.Record) {
			return deliveries[done:], w.SendBatch("deliveries", w.batch, w.caughtUp)
		}
		for deliveries[done].Position != event.Position {
			done++ // its event is gone
		}
		if !w.reach.Allows(event.Record) {
			if err := w.withhold(event.Delivery); err != nil {
				return nil, w.fail(w.ctx, "withhold a delivery", err)
			}
			done++
			continue
		}
		for _, d := range w.share.Sending(deliveries[done : done+1]) {
			w.token = d.AppendAckToken(w.token[:0])
			w.batch.AddDelivery(event.Record, w.log.History(), stream.Delivery{
				Attempt: d.Attempt, First: d.First, AckToken: w.token, Deadline: d.Deadline,
			}, len(deliveries) == 1)
		}
		done++
	}
	return nil, w.SendBatch("deliveries", w.batch, w.caughtUp)
}

// withhold deals with a delivery that the worker may not read: the filters of the
// subscription are other ones than when the worker came, and then it may not stay, or
// than when the event did. Such an event is parked for somebody who may read it, so that
// those behind it are not held up.
func (w *worker) withhold(d subscription.Delivery) error {
	if _, err := covers(w.reach, w.share.Filter); err != nil {
		w.dismissed = true
		return err
	}
	return w.share.Park(w.ctx, d.AckToken(), "it came before the filters changed, and its worker is not granted to read it")
}

func (w *worker) sendGap(gap subscription.Gap) error {
	return w.Send("gap", &webhookgatewayv1.ConsumeResponse{
		Frame: &webhookgatewayv1.ConsumeResponse_Gap{Gap: &webhookgatewayv1.Gap{
			FromCursor: w.api.Cursor(gap.From), ToCursor: w.api.Cursor(gap.To), Reason: gap.Reason,
		}},
	})
}

func (w *worker) sendHeartbeat() error {
	progress := w.progress()
	head := max(progress.Head, progress.Cursor)
	return w.Send("heartbeat", &webhookgatewayv1.ConsumeResponse{
		Frame: &webhookgatewayv1.ConsumeResponse_Heartbeat{Heartbeat: &webhookgatewayv1.Heartbeat{
			Cursor:        w.api.Cursor(progress.Cursor),
			HeadCursor:    w.api.Cursor(head),
			LagEvents:     int64(head - progress.Cursor), //nolint:gosec // a number of events
			ServerTime:    timestamppb.Now(),
			LeftOutEvents: progress.LeftOut,
		}},
	})
}

// progress returns how far the subscription is, as far as the worker may know by the
// filters that are in force now.
func (w *worker) progress() subscription.Progress {
	progress := w.share.Progress()
	if progress.LeftOut == 0 {
		return progress
	}
	if inForce, err := w.share.Filter(); err != nil || !countsLeftOut(w.reach, inForce) {
		progress.LeftOut = 0
	}
	return progress
}

// goodbye announces the end of the stream and returns its status.
func (w *worker) goodbye() error {
	goodbye := stream.Goodbye(w.ending)
	goodbye.Cursor = w.api.Cursor(w.share.Progress().Cursor)
	err := w.Send("goodbye", &webhookgatewayv1.ConsumeResponse{
		Frame: &webhookgatewayv1.ConsumeResponse_Goodbye{Goodbye: goodbye},
	})
	if err != nil {
		return err
	}
	return context.Cause(w.ending)
}
