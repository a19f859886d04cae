package subscriptionservice

import (
	"context"
	"errors"
	"io"
	"iter"
	"maps"
	"slices"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"

	clusterv1 "github.com/webhook-gateway/webhook-gateway/gen/webhookgateway/cluster/v1"
	webhookgatewayv1 "github.com/webhook-gateway/webhook-gateway/gen/webhookgateway/v1"
	"github.com/webhook-gateway/webhook-gateway/server/cluster"
	"github.com/webhook-gateway/webhook-gateway/server/eventlog"
	"github.com/webhook-gateway/webhook-gateway/server/filter"
	"github.com/webhook-gateway/webhook-gateway/server/subscription"
)

const (
	// answerTimeout is how long another gateway has for an answer that it can give at once.
	answerTimeout = 5 * time.Second
	// behindTimeout is how long deliveries wait for the copy of this gateway to have their
	// events.
	behindTimeout = 5 * time.Second
)

// Consume implements SubscriptionService. The events of a subscription that another
// gateway owns are read here.
func (r *Router) Consume(req *webhookgatewayv1.ConsumeRequest, call grpc.ServerStreamingServer[webhookgatewayv1.ConsumeResponse]) error {
	return r.own.consume(req, call, r.attach)
}

// attach attaches a worker to a subscription, wherever it is owned.
func (r *Router) attach(ctx context.Context, name string, options subscription.StreamOptions) (attached share, err error) {
	// It may be opened twice: the first has asked for no delivery.
	err = r.atOwner(ctx, name, true,
		func() error {
			attached, err = r.own.attach(ctx, name, options)
			if err != nil {
				return r.own.fail(ctx, "open a worker's stream", err)
			}
			return nil
		},
		func(ctx context.Context, owner cluster.Member, conn *grpc.ClientConn) error {
			p, err := r.open(ctx, owner, conn, name, options)
			attached = p
			return err
		})
	if err != nil {
		return nil, err
	}
	return attached, nil
}

// peerShare is a share in a subscription that another gateway owns. It is for one
// goroutine.
type peerShare struct {
	router *Router
	owner  cluster.Member
	name   string
	conn   *grpc.ClientConn
	ctx    context.Context //nolint:containedctx // of the call of the worker, with who makes it
	call   grpc.BidiStreamingClient[peerRequest, peerResponse]
	cancel context.CancelFunc

	answers  chan peerAnswer
	over     context.Context //nolint:containedctx // ends when answers is closed
	end      error           // why it was closed
	waiting  bool            // a want is not answered yet
	progress subscription.Progress
	filter   atomic.Pointer[filter.Filter]
	// unsent are the tokens of deliveries that were not sent to the worker yet.
	unsent map[string]struct{}
	// failed: it is not the worker that ends the share.
	failed bool
}

// peerAnswer is an answer with when it came.
type peerAnswer struct {
	*peerResponse
	came time.Time
}

// open attaches a worker at another gateway.
func (r *Router) open(
	ctx context.Context, owner cluster.Member, conn *grpc.ClientConn, name string, options subscription.StreamOptions,
) (*peerShare, error) {
	// NOTE It outlives the call of the worker, by what tells the other gateway of its end.
	calling, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer context.AfterFunc(ctx, cancel)() // while it opens
	call, err := clusterv1.NewPeerServiceClient(conn).Consume(calling)
	if err != nil {
		cancel()
		return nil, err
	}
	p := &peerShare{
		router: r, owner: owner, name: name, conn: conn, ctx: ctx, call: call, cancel: cancel,
		answers: make(chan peerAnswer, 1), unsent: make(map[string]struct{}),
	}
	open := &clusterv1.Open{Subscription: name, MaxInFlight: int32(options.MaxInFlight)} //nolint:gosec // it came as one
	_ = p.call.Send(&peerRequest{Step: &clusterv1.ConsumeRequest_Open{Open: open}})      // why it fails is received
	first, err := call.Recv()
	if err == nil {
		err = p.note(first)
	}
	if err != nil {
		cancel()
		return nil, err
	}
	over, ended := context.WithCancel(context.WithoutCancel(ctx))
	p.over = over
	go func() {
		defer ended()
		p.receive()
	}()
	return p, nil
}

// receive passes on what comes, until the call ends.
func (p *peerShare) receive() {
	defer close(p.answers)
	for {
		resp, err := p.call.Recv()
		if err != nil {
			p.end = err
			return
		}
		select {
		case p.answers <- peerAnswer{resp, time.Now()}:
		case <-p.call.Context().Done():
			return
		}
	}
}

// note takes note of what every answer says.
func (p *peerShare) note(resp *peerResponse) error {
	p.progress = subscription.Progress{
		Cursor: eventlog.Position(resp.GetCursor()), Head: eventlog.Position(resp.GetHead()), LeftOut: resp.GetLeftOut(),
	}
	if resp.GetFilters() == nil {
		return nil
	}
	compiled, err := filter.Compile(resp.GetFilters().GetFilters())
	if err != nil {
		return errMoving("this gateway does not know the filters of the subscription, which a later version runs: try again, at another gateway, or upgrade this one: " + err.Error())
	}
	p.filter.Store(compiled)
	return nil
}

// Next implements share.
func (p *peerShare) Next(ctx context.Context, n int) (_ subscription.Batch, err error) {
	defer func() { p.blame(err, context.Cause(ctx)) }()
	for {
		if p.failed {
			return subscription.Batch{}, errMoving("another gateway may have taken over the subscription: try again")
		}
		resp, err := p.answer(ctx, n)
		if err != nil {
			return subscription.Batch{}, err
		}
		batch, err := p.batch(ctx, resp)
		if err != nil || len(batch.Deliveries)+len(batch.Gaps) > 0 || batch.CaughtUp {
			return batch, err
		}
		if ctx.Err() != nil {
			return batch, context.Cause(ctx)
		}
	}
}

// blame takes note of an error. It is not the worker's fault, unless it is that of its stream,
// which has ended, or waits no longer.
func (p *peerShare) blame(err, ended error) {
	p.failed = p.failed || err != nil && p.ctx.Err() == nil && !errors.Is(err, ended)
}

// answer waits for what another gateway has for the worker.
func (p *peerShare) answer(ctx context.Context, n int) (peerAnswer, error) {
	if !p.waiting {
		p.want(n)
		p.waiting = true
	}
	select {
	case a, open := <-p.answers:
		return p.answered(a, open)
	case <-ctx.Done():
		if cause := context.Cause(ctx); !errors.Is(cause, context.DeadlineExceeded) {
			return peerAnswer{}, cause // the worker's stream ends
		}
	}
	// NOTE Nothing is handed out to a worker that does not wait.
	p.want(0)
	late := time.NewTimer(answerTimeout)
	defer late.Stop()
	select {
	case a, open := <-p.answers:
		return p.answered(a, open)
	case <-late.C:
		return peerAnswer{}, errMoving("the gateway that runs the subscription does not answer: try again")
	}
}

func (p *peerShare) answered(a peerAnswer, open bool) (peerAnswer, error) {
	p.waiting = false
	switch {
	case open:
		return a, nil
	case p.end == nil || errors.Is(p.end, io.EOF):
		return a, errMoving("the gateway that runs the subscription has ended the stream: try again")
	}
	return a, p.router.outcome(p.ctx, p.owner.Address, p.end)
}

// want asks for deliveries. If it fails, why is received.
func (p *peerShare) want(n int) {
	_ = p.call.Send(&peerRequest{Step: &clusterv1.ConsumeRequest_Want{Want: &clusterv1.Want{Deliveries: int32(n)}}}) //nolint:gosec // at most maxDeliveries
}

// batch returns what an answer has for the worker, once its events are here. It waits for
// them no longer than the share lasts.
func (p *peerShare) batch(ctx context.Context, a peerAnswer) (subscription.Batch, error) {
	if err := p.note(a.peerResponse); err != nil {
		return subscription.Batch{}, err
	}
	batch := subscription.Batch{CaughtUp: a.GetCaughtUp()}
	for _, gap := range a.GetGaps() {
		batch.Gaps = append(batch.Gaps, subscription.Gap{
			From: eventlog.Position(gap.GetFrom()), To: eventlog.Position(gap.GetTo()), Reason: gap.GetReason(),
		})
	}
	var last eventlog.Position
	for _, d := range a.GetDeliveries() {
		last = max(last, eventlog.Position(d.GetPosition()))
		p.unsent[d.GetAckToken()] = struct{}{}
		batch.Deliveries = append(batch.Deliveries, subscription.Carried{
			Position: eventlog.Position(d.GetPosition()), Attempt: int(d.GetAttempt()), First: d.GetFirst(),
			Deadline: a.came.Add(d.GetDeadline().AsDuration()), Copied: d.GetCopied(), Token: d.GetAckToken(), Sum: d.GetSum(),
		}.Delivery())
	}
	// NOTE Not bounded by when a heartbeat is due: these are the worker's already.
	waiting, cancel := context.WithTimeout(p.ctx, behindTimeout)
	defer cancel()
	defer context.AfterFunc(ctx, func() {
		if !errors.Is(context.Cause(ctx), context.DeadlineExceeded) {
			cancel()
		}
	})()
	defer context.AfterFunc(p.over, cancel)()
	err := p.router.own.subscriptions.WaitFor(waiting, last)
	if err != nil && p.ended() {
		_, err = p.answered(peerAnswer{}, false)
	}
	return batch, err
}

// Read implements share.
func (p *peerShare) Read(ctx context.Context, deliveries []subscription.Delivery) iter.Seq2[subscription.Event, error] {
	events := p.router.own.subscriptions.ReadCarried(ctx, p.name, deliveries, func(gone subscription.Delivery) error {
		missing := &clusterv1.Missing{AckTokens: []string{gone.AckToken()}}
		_ = p.call.Send(&peerRequest{Step: &clusterv1.ConsumeRequest_Missing{Missing: missing}}) // Next finds out
		delete(p.unsent, gone.AckToken())
		return nil
	})
	return func(yield func(subscription.Event, error) bool) {
		for event, err := range events {
			p.blame(err, context.Cause(ctx))
			if !yield(event, err) {
				return
			}
		}
	}
}

// Sending implements share. The deadlines run since the other gateway has sent the
// deliveries.
func (p *peerShare) Sending(deliveries []subscription.Delivery) []subscription.Delivery {
	if p.ended() { // Next finds out why
		return nil
	}
	if !p.router.cluster.CertainOf(p.name, p.owner.ID) {
		p.failed = true
		return nil // what another gateway may have handed out, and had settled
	}
	now := time.Now()
	return slices.DeleteFunc(deliveries, func(d subscription.Delivery) bool {
		delete(p.unsent, d.AckToken())
		return !now.Before(d.Deadline)
	})
}

// ended reports whether the other gateway has ended the share.
func (p *peerShare) ended() bool { return p.over.Err() != nil }

// Progress implements share.
func (p *peerShare) Progress() subscription.Progress { return p.progress }

// Filter implements share.
func (p *peerShare) Filter() (*filter.Filter, error) { return p.filter.Load(), nil }

// InFlight implements share.
func (*peerShare) InFlight() int { return -1 }

// Park implements share.
func (p *peerShare) Park(ctx context.Context, token, reason string) error {
	passing, err := cluster.Passing(ctx)
	if err != nil {
		return err
	}
	_, err = webhookgatewayv1.NewSubscriptionServiceClient(p.conn).Reject(passing, &webhookgatewayv1.RejectRequest{
		Subscription: p.name, AckTokens: []string{token}, Reason: reason,
		Action: webhookgatewayv1.RejectAction_REJECT_ACTION_PARK,
	})
	delete(p.unsent, token)
	err = p.router.outcome(ctx, p.owner.Address, err)
	p.blame(err, context.Cause(ctx))
	return err
}

// takeBack takes what is on its way to a worker that has ended: it was not sent to it.
func (p *peerShare) takeBack() {
	if !p.waiting {
		return
	}
	p.want(0)
	late := time.NewTimer(answerTimeout)
	defer late.Stop()
	select {
	case a, open := <-p.answers:
		if open {
			for _, d := range a.GetDeliveries() {
				p.unsent[d.GetAckToken()] = struct{}{}
			}
		}
	case <-late.C:
	}
}

// Leave implements share. It waits a little until the other gateway has seen the end.
func (p *peerShare) Leave(broke bool) {
	defer p.cancel()
	p.takeBack()
	end := &clusterv1.End{Broke: broke && !p.failed, Unsent: slices.Collect(maps.Keys(p.unsent))}
	if p.call.Send(&peerRequest{Step: &clusterv1.ConsumeRequest_End{End: end}}) != nil {
		return
	}
	_ = p.call.CloseSend()
	late := time.NewTimer(answerTimeout)
	defer late.Stop()
	for {
		select {
		case _, open := <-p.answers:
			if !open {
				return
			}
		case <-late.C:
			return
		}
	}
}
