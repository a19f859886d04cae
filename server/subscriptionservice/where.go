package subscriptionservice

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"google.golang.org/grpc"

	clusterv1 "github.com/webhook-gateway/webhook-gateway/gen/webhookgateway/cluster/v1"
	webhookgatewayv1 "github.com/webhook-gateway/webhook-gateway/gen/webhookgateway/v1"
	"github.com/webhook-gateway/webhook-gateway/server/access"
	"github.com/webhook-gateway/webhook-gateway/server/cluster"
	"github.com/webhook-gateway/webhook-gateway/server/eventlog"
	"github.com/webhook-gateway/webhook-gateway/server/subscription"
)

const (
	// maxStates is of how many subscriptions is told where they stand with an event.
	maxStates = 1000
	// statesTimeout is how long another gateway has to say so.
	statesTimeout = time.Second
)

// EventStates returns where the subscriptions that the caller may use stand with an event, by
// their names: the first maxStates, and whether there are more. Its errors are statuses.
func (s *Service) EventStates(ctx context.Context, _ string, record eventlog.Record) (states []*webhookgatewayv1.EventState, more bool, err error) {
	names, more, err := s.usable(ctx)
	if err == nil {
		states, err = s.where(ctx, names, record)
	}
	if err != nil {
		return nil, false, s.fail(ctx, "look where subscriptions stand with an event", err)
	}
	return states, more, nil
}

// usable returns the names of the first subscriptions that the caller may use.
func (s *Service) usable(ctx context.Context) (names []string, more bool, err error) {
	names, err = s.subscriptions.Names(ctx)
	if err != nil {
		return nil, false, err
	}
	caller := access.From(ctx)
	names = slices.DeleteFunc(names, func(name string) bool { return !caller.MayUse(name) })
	slices.Sort(names)
	return names[:min(len(names), maxStates)], len(names) > maxStates, nil
}

// where returns where subscriptions of this gateway stand with an event. Those that it does
// not have are left out.
func (s *Service) where(ctx context.Context, names []string, record eventlog.Record) ([]*webhookgatewayv1.EventState, error) {
	var states []*webhookgatewayv1.EventState
	for _, name := range names {
		w, err := s.subscriptions.Where(ctx, name, record)
		switch {
		case errors.Is(err, subscription.ErrNotFound), errors.Is(err, subscription.ErrMoved):
			continue
		case errors.Is(err, subscription.ErrClosed), ctx.Err() != nil:
			return nil, err
		case err != nil && !errors.As(err, new(*subscription.UnusableError)):
			s.api.Logger.WarnContext(ctx, "it is not known where a subscription stands with an event", "subscription", name, "error", err)
		}
		states = append(states, &webhookgatewayv1.EventState{
			Subscription: name, State: w.State, Attempts: int32(w.Attempts), //nolint:gosec // at most 65,535
		})
	}
	return states, nil
}

// Where implements PeerService.
func (p *Peer) Where(ctx context.Context, req *clusterv1.WhereRequest) (*clusterv1.WhereResponse, error) {
	caller, resp := access.From(ctx), &clusterv1.WhereResponse{}
	names := slices.DeleteFunc(req.GetSubscriptions(), func(name string) bool { return !caller.MayUse(name) })
	err := p.own.api.ReadEvent(ctx, "event_id", req.GetEventId(), func(record eventlog.Record) (err error) {
		resp.States, err = p.own.where(ctx, names, record)
		return err
	})
	if err != nil {
		return nil, p.own.fail(ctx, "tell another gateway where subscriptions stand with an event", err)
	}
	return resp, nil
}

// EventStates is that of Service. Of a subscription whose gateway cannot be asked in
// statesTimeout the state is not known.
func (r *Router) EventStates(ctx context.Context, id string, record eventlog.Record) (states []*webhookgatewayv1.EventState, more bool, err error) {
	names, more, err := r.own.usable(ctx)
	if err != nil {
		return nil, false, r.own.fail(ctx, "look where subscriptions stand with an event", err)
	}
	known := r.askOwners(ctx, id, record, names)
	for _, name := range names {
		state, ok := known[name]
		if !ok {
			state = &webhookgatewayv1.EventState{Subscription: name}
		}
		states = append(states, state)
	}
	return states, more, nil
}

// askOwners asks the gateways that run subscriptions, and returns what they say by name.
func (r *Router) askOwners(ctx context.Context, id string, record eventlog.Record, names []string) map[string]*webhookgatewayv1.EventState {
	ctx, cancel := context.WithTimeout(ctx, statesTimeout)
	defer cancel()
	view := r.cluster.View()
	owned := make(map[cluster.Member][]string)
	for _, name := range names {
		if owner, ok := view.Owner(name); ok {
			owned[owner] = append(owned[owner], name)
		}
	}
	var asking sync.WaitGroup
	var mu sync.Mutex
	known := make(map[string]*webhookgatewayv1.EventState)
	for owner, names := range owned {
		asking.Go(func() {
			states, err := r.ask(ctx, owner, id, record, names)
			if err != nil {
				r.own.api.Logger.DebugContext(ctx, "another gateway does not say where its subscriptions stand with an event", "gateway", owner.Address, "error", err)
			}
			mu.Lock()
			defer mu.Unlock()
			for _, state := range states {
				known[state.GetSubscription()] = state
			}
		})
	}
	asking.Wait()
	return known
}

// ask asks one gateway, which may be this one.
func (r *Router) ask(
	ctx context.Context, owner cluster.Member, id string, record eventlog.Record, names []string,
) (states []*webhookgatewayv1.EventState, err error) {
	if owner.ID == r.cluster.ID() {
		return r.own.where(ctx, names, record)
	}
	_, err = r.call(ctx, ctx, owner, func(ctx context.Context, _ cluster.Member, conn *grpc.ClientConn) error {
		resp, err := clusterv1.NewPeerServiceClient(conn).Where(ctx, &clusterv1.WhereRequest{EventId: id, Subscriptions: names})
		states = resp.GetStates()
		return err
	})
	return states, err
}
