package subscriptionservice

import (
	"context"
	"errors"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/durationpb"

	clusterv1 "github.com/webhook-gateway/webhook-gateway/gen/webhookgateway/cluster/v1"
	"github.com/webhook-gateway/webhook-gateway/server/cluster"
	"github.com/webhook-gateway/webhook-gateway/server/fielderr"
	"github.com/webhook-gateway/webhook-gateway/server/filter"
	"github.com/webhook-gateway/webhook-gateway/server/subscription"
)

// Peer implements PeerService: it hands deliveries to workers of other gateways.
type Peer struct {
	clusterv1.UnimplementedPeerServiceServer

	own *Service
}

// NewPeer returns the service for other gateways.
func NewPeer(own *Service) *Peer { return &Peer{own: own} }

type (
	peerRequest  = clusterv1.ConsumeRequest
	peerResponse = clusterv1.ConsumeResponse
)

// guest is a worker of another gateway.
type guest struct {
	*Service
	call   grpc.BidiStreamingServer[peerRequest, peerResponse]
	name   string
	stream *subscription.Stream
	// told is the filter that the other gateway knows.
	told *filter.Filter
	// answers has what the worker waits for; nil while it does not. hasten has it come
	// at once.
	answers chan guestAnswer
	hasten  context.CancelFunc
}

// guestAnswer is what Stream.Next returned.
type guestAnswer struct {
	batch subscription.Batch
	err   error
}

// Consume implements PeerService.
func (p *Peer) Consume(call grpc.BidiStreamingServer[peerRequest, peerResponse]) error {
	ctx := call.Context()
	first, err := call.Recv()
	if err != nil {
		return err
	}
	if err := cluster.CheckKnown(first); err != nil {
		return err
	}
	name := first.GetOpen().GetSubscription()
	st, err := p.own.subscriptions.Attach(name, subscription.StreamOptions{MaxInFlight: int(first.GetOpen().GetMaxInFlight())})
	if err != nil {
		return p.own.fail(ctx, "open the stream of a worker of another gateway", err)
	}
	defer st.Release() // unless it has ended
	g := &guest{Service: p.own, call: call, name: name, stream: st, hasten: func() {}}
	defer func() { g.hasten() }()
	if err := g.send(subscription.Batch{}); err != nil {
		return p.own.fail(ctx, "open the stream of a worker of another gateway", err)
	}
	return p.own.fail(ctx, "serve a worker of another gateway", g.run())
}

// run serves a guest until its stream ends.
func (g *guest) run() error {
	requests := g.receive()
	for {
		select {
		case req, open := <-requests:
			if !open {
				return nil
			}
			if err := cluster.CheckKnown(req); err != nil {
				return err
			}
			if end := req.GetEnd(); end != nil {
				return g.end(end)
			}
			if err := g.step(req); err != nil {
				return err
			}
		case a := <-g.answers:
			g.answers = nil
			g.hasten()
			if a.err != nil && !errors.Is(a.err, context.Canceled) {
				return a.err
			}
			if err := g.send(a.batch); err != nil {
				return err
			}
		}
	}
}

// receive returns what the other gateway sends, until the call ends.
func (g *guest) receive() <-chan *peerRequest {
	requests := make(chan *peerRequest)
	go func() {
		defer close(requests)
		for {
			req, err := g.call.Recv()
			if err != nil {
				return
			}
			select {
			case requests <- req:
			case <-g.call.Context().Done():
				return
			}
		}
	}()
	return requests
}

// step does what the other gateway asks for.
func (g *guest) step(req *peerRequest) error {
	ctx := g.call.Context()
	switch step := req.GetStep().(type) {
	case *clusterv1.ConsumeRequest_Want:
		n := int(step.Want.GetDeliveries())
		if n == 0 {
			g.hasten()
			return nil
		}
		if g.answers != nil || n < 0 {
			return fielderr.New("want", "the one before is not answered yet, or it wants less than nothing")
		}
		ctx, cancel := context.WithCancel(ctx)
		answers := make(chan guestAnswer, 1)
		g.answers, g.hasten = answers, cancel
		go func() {
			batch, err := g.stream.Next(ctx, n)
			answers <- guestAnswer{batch, err}
		}()
	case *clusterv1.ConsumeRequest_Missing:
		for _, token := range step.Missing.GetAckTokens() {
			if err := g.stream.Missing(ctx, token); err != nil {
				return err
			}
		}
	}
	return nil
}

// end ends the share of the worker as the other gateway says.
func (g *guest) end(end *clusterv1.End) error {
	if len(end.GetUnsent()) > 0 {
		if _, err := g.subscriptions.Release(g.call.Context(), g.name, end.GetUnsent()); err != nil {
			return err
		}
	}
	if end.GetBroke() {
		g.stream.Close()
	}
	return nil
}

// send answers. The deadlines of deliveries begin to run.
func (g *guest) send(batch subscription.Batch) error {
	inForce, err := g.subscriptions.Filter(g.name)
	if err != nil {
		return err
	}
	answer := &peerResponse{CaughtUp: batch.CaughtUp}
	if inForce != g.told {
		answer.Filters, g.told = &clusterv1.Filters{Filters: inForce.Normal()}, inForce
	}
	for _, gap := range batch.Gaps {
		answer.Gaps = append(answer.Gaps, &clusterv1.MissingEvents{From: uint64(gap.From), To: uint64(gap.To), Reason: gap.Reason})
	}
	g.stream.Sum(g.call.Context(), batch.Deliveries)
	now := time.Now()
	for _, d := range g.stream.Sending(batch.Deliveries) {
		c := d.Carry()
		answer.Deliveries = append(answer.Deliveries, &clusterv1.Delivery{
			Position: uint64(c.Position), Attempt: int32(c.Attempt), First: c.First, AckToken: c.Token, Copied: c.Copied, //nolint:gosec // at most 1,000 attempts
			Deadline: durationpb.New(c.Deadline.Sub(now)), Sum: c.Sum,
		})
	}
	progress := g.stream.Progress()
	answer.Cursor, answer.Head, answer.LeftOut = uint64(progress.Cursor), uint64(progress.Head), progress.LeftOut
	return g.call.Send(answer)
}
