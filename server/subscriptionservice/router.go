package subscriptionservice

import (
	"context"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	clusterv1 "github.com/webhook-gateway/webhook-gateway/gen/webhookgateway/cluster/v1"
	webhookgatewayv1 "github.com/webhook-gateway/webhook-gateway/gen/webhookgateway/v1"
	"github.com/webhook-gateway/webhook-gateway/server/cluster"
	"github.com/webhook-gateway/webhook-gateway/server/rpcerr"
)

const (
	// moveTimeout is how long a call waits while its subscription is taken over, and
	// moveRetry how often it looks.
	moveTimeout = 2 * time.Second
	moveRetry   = 100 * time.Millisecond
)

// Router is SubscriptionService of a gateway that shares its log with others. It answers
// calls on the subscriptions that this gateway owns, and passes others on to their
// owners, which never pass them on.
type Router struct {
	webhookgatewayv1.UnimplementedSubscriptionServiceServer

	own     *Service
	cluster *cluster.Cluster
	calls   *prometheus.CounterVec
}

// NewRouter returns the router in front of the service of a gateway. It registers its
// metrics.
func NewRouter(own *Service, members *cluster.Cluster, registerer prometheus.Registerer) (*Router, error) {
	calls := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "webhook_gateway_cluster_forwarded_calls_total",
		Help: "Calls that were passed on to the gateway that owns the subscription, by result: ok, refused (it answered with an error), moving (it does not own it), unreachable. Those whose caller has given up are not counted.",
	}, []string{"result"})
	for _, result := range []string{resultOK, resultRefused, resultMoving, resultUnreachable} {
		calls.WithLabelValues(result)
	}
	return &Router{own: own, cluster: members, calls: calls}, registerer.Register(calls)
}

// Results of calls that are passed on.
const (
	resultOK          = "ok"
	resultRefused     = "refused"
	resultMoving      = "moving"
	resultUnreachable = "unreachable"
)

// passOn makes a call at another gateway.
type passOn func(context.Context, cluster.Member, *grpc.ClientConn) error

// atOwner makes a call where a subscription is owned: own here, or other at another gateway.
// While no gateway takes it, it waits and looks again, for moveTimeout at most. If another
// gateway does not answer, the call may have been made: it is made again only if twice says
// that this does no harm.
func (r *Router) atOwner(ctx context.Context, name string, twice bool, own func() error, other passOn) error {
	waiting, cancel := context.WithTimeout(ctx, moveTimeout)
	defer cancel()
	var owner cluster.Member
	err := r.persist(ctx, waiting, func(view *cluster.View) (again bool, err error) {
		var known bool
		owner, known = view.Owner(name)
		switch {
		case !known:
			return true, errMoving("no gateway is known to run the subscription: try again")
		case owner.ID == r.cluster.ID():
			err := own()
			return isMoving(err), err
		}
		again, err = r.call(ctx, waiting, owner, other)
		return again || twice && isUnreachable(err), err
	})
	if cluster.IsRefused(err) {
		r.own.api.Logger.WarnContext(ctx, "another gateway of the cluster refuses the calls of this one", "gateway", owner.Address, "error", err)
	}
	return err
}

// persist makes a call again as long as the call says so, and until waiting ends: when the view
// changes, and every moveRetry.
func (r *Router) persist(ctx, waiting context.Context, call func(*cluster.View) (again bool, err error)) error {
	for {
		view := r.cluster.View()
		again, err := call(view)
		if !again {
			return err
		}
		timer := time.NewTimer(moveRetry)
		select {
		case <-view.Changed():
		case <-timer.C:
		case <-waiting.Done():
		}
		timer.Stop()
		switch {
		case ctx.Err() != nil:
			return rpcerr.Ended(ctx.Err())
		case waiting.Err() != nil:
			return err
		}
	}
}

// isMoving reports whether an error says that a call was not made, as its subscription is
// owned elsewhere.
func isMoving(err error) bool {
	return rpcerr.Reason(err) == webhookgatewayv1.ErrorReason_ERROR_REASON_SUBSCRIPTION_MOVING
}

// call makes a call at another gateway. Again says that it was not made, and that it may be
// tried again.
func (r *Router) call(
	ctx, waiting context.Context, owner cluster.Member, other passOn,
) (again bool, err error) {
	conn, err := r.cluster.Conn(owner)
	// NOTE A call that fails on its way may have been made. One that waits was not.
	if err != nil || !cluster.Ready(waiting, conn) {
		if ctx.Err() != nil {
			return false, rpcerr.Ended(ctx.Err())
		}
		r.calls.WithLabelValues(resultUnreachable).Inc()
		if err == nil && waiting.Err() != nil {
			why := whyNotReady(ctx, conn)
			r.cluster.NoteReached(owner, why)
			r.own.api.Logger.WarnContext(ctx, "another gateway of the cluster cannot be reached", "gateway", owner.Address, "error", why,
				"check", "the network and, at both, cluster.advertise, cluster.tls and cluster.secret")
		}
		return true, errMoving("the gateway that runs the subscription cannot be reached: try again")
	}
	passing, err := cluster.Passing(ctx)
	if err != nil {
		return false, err
	}
	err = other(passing, owner, conn)
	switch {
	case cluster.IsRefused(err):
		r.cluster.NoteReached(owner, err)
	case err == nil || rpcerr.Reason(err) != webhookgatewayv1.ErrorReason_ERROR_REASON_UNSPECIFIED:
		r.cluster.NoteReached(owner, nil)
	}
	err = r.outcome(ctx, owner.Address, err)
	return isMoving(err) && !isUnreachable(err), err
}

// whyNotReady returns why a connection takes no calls: only a call is told.
func whyNotReady(ctx context.Context, conn *grpc.ClientConn) error {
	ctx, cancel := context.WithTimeout(ctx, moveRetry)
	defer cancel()
	_, err := clusterv1.NewPeerServiceClient(conn).Consume(ctx) // if it can be made by now, its end has no effect
	return err
}

// unreachable is the metadata key of the status of a call that was passed on and not
// answered: it may have been made.
const unreachable = "unreachable"

func isUnreachable(err error) bool { return rpcerr.Metadata(err)[unreachable] != "" }

// outcome counts what another gateway answered to a call, and returns the status that the
// caller gets for it.
func (r *Router) outcome(ctx context.Context, owner string, err error) error {
	switch {
	case err == nil:
		r.calls.WithLabelValues(resultOK).Inc()
		return nil
	case ctx.Err() != nil: // it is not counted: the caller has given up
		return rpcerr.Ended(ctx.Err())
	case status.Code(err) == codes.DeadlineExceeded && rpcerr.Reason(err) == webhookgatewayv1.ErrorReason_ERROR_REASON_UNSPECIFIED:
		// NOTE The deadline is that of the caller, and travels with the call: the other gateway was
		// first to see that it passed.
		return rpcerr.Ended(context.DeadlineExceeded)
	}
	result := resultRefused
	defer func() { r.calls.WithLabelValues(result).Inc() }()
	if cluster.IsRefused(err) {
		result = resultUnreachable
		return cluster.Refusal(err)
	}
	reason := rpcerr.Reason(err)
	if s := status.Convert(err); s.Code() == codes.Unimplemented && reason == webhookgatewayv1.ErrorReason_ERROR_REASON_UNSPECIFIED {
		// Nothing was done. Soon it is upgraded, or another one runs the subscription.
		return errMoving("the gateway that runs the subscription is of an older version, and does not know what is asked for: upgrade all gateways: " + s.Message())
	}
	switch reason {
	case webhookgatewayv1.ErrorReason_ERROR_REASON_SUBSCRIPTION_MOVING:
		result = resultMoving
		return err
	case webhookgatewayv1.ErrorReason_ERROR_REASON_DRAINING:
		result = resultMoving
		return errMoving("the gateway that runs the subscription is shutting down: try again")
	case webhookgatewayv1.ErrorReason_ERROR_REASON_UNSPECIFIED: // of gRPC itself
		result = resultUnreachable
		r.own.api.Logger.WarnContext(ctx, "another gateway of the cluster did not answer a call that was passed on to it", "gateway", owner, "error", err)
		return rpcerr.Error(webhookgatewayv1.ErrorReason_ERROR_REASON_SUBSCRIPTION_MOVING,
			"the gateway that runs the subscription did not answer, and may have done what was asked: try again",
			rpcerr.WithMetadata(unreachable, "true"))
	default:
		return err
	}
}

// read makes a unary call where a subscription is owned. It changes nothing, so it may be
// made twice.
func read[Q, A any](
	ctx context.Context, r *Router, name string, req Q,
	own func(context.Context, Q) (A, error),
	other func(webhookgatewayv1.SubscriptionServiceClient, context.Context, Q, ...grpc.CallOption) (A, error),
) (A, error) {
	return unary(ctx, r, name, true, req, own, other)
}

// write makes a unary call where a subscription is owned. It changes something, so it is made
// once.
func write[Q, A any](
	ctx context.Context, r *Router, name string, req Q,
	own func(context.Context, Q) (A, error),
	other func(webhookgatewayv1.SubscriptionServiceClient, context.Context, Q, ...grpc.CallOption) (A, error),
) (A, error) {
	return unary(ctx, r, name, false, req, own, other)
}

func unary[Q, A any](
	ctx context.Context, r *Router, name string, twice bool, req Q,
	own func(context.Context, Q) (A, error),
	other func(webhookgatewayv1.SubscriptionServiceClient, context.Context, Q, ...grpc.CallOption) (A, error),
) (answer A, err error) {
	err = r.atOwner(ctx, name, twice,
		func() (err error) {
			answer, err = own(ctx, req)
			return err
		},
		func(ctx context.Context, _ cluster.Member, conn *grpc.ClientConn) (err error) {
			answer, err = other(webhookgatewayv1.NewSubscriptionServiceClient(conn), ctx, req)
			return err
		})
	if err != nil {
		var none A
		return none, err
	}
	return answer, nil
}
