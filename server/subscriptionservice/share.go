package subscriptionservice

import (
	"context"
	"iter"

	"github.com/webhook-gateway/webhook-gateway/server/filter"
	"github.com/webhook-gateway/webhook-gateway/server/subscription"
)

// share is a worker's share in a subscription, which this gateway or another one runs.
// But for leave, its methods are as those of subscription.Stream.
type share interface {
	Next(ctx context.Context, n int) (subscription.Batch, error)
	Read(ctx context.Context, deliveries []subscription.Delivery) iter.Seq2[subscription.Event, error]
	Sending(deliveries []subscription.Delivery) []subscription.Delivery
	Progress() subscription.Progress
	// Filter returns the filter in force, which is not older than the last batch. It may be
	// called from any goroutine, as InFlight.
	Filter() (*filter.Filter, error)
	// InFlight returns how many events the worker holds, and -1 if only another gateway knows.
	InFlight() int
	// Park parks the event of a token.
	Park(ctx context.Context, token, reason string) error
	// Leave ends the share. If the worker broke, what it holds has failed, or is suspect;
	// otherwise it is given back unused.
	Leave(broke bool)
}

// ownShare is a share in a subscription that this gateway runs.
type ownShare struct {
	*subscription.Stream
	manager *subscription.Manager
	name    string
}

// attach attaches a worker to a subscription of this gateway.
func (s *Service) attach(_ context.Context, name string, options subscription.StreamOptions) (share, error) {
	st, err := s.subscriptions.Attach(name, options)
	if err != nil {
		return nil, err
	}
	return ownShare{st, s.subscriptions, name}, nil
}

// Filter implements share.
func (o ownShare) Filter() (*filter.Filter, error) { return o.manager.Filter(o.name) }

// Park implements share.
func (o ownShare) Park(ctx context.Context, token, reason string) error {
	_, err := o.manager.Park(ctx, o.name, []string{token}, reason)
	return err
}

// Leave implements share.
func (o ownShare) Leave(broke bool) {
	if broke {
		o.Close()
	} else {
		o.Release()
	}
}
