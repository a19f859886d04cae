package subscriptionservice

import (
	"cmp"
	"context"
	"encoding/base64"
	"slices"
	"sync"

	"google.golang.org/grpc"

	webhookgatewayv1 "github.com/webhook-gateway/webhook-gateway/gen/webhookgateway/v1"
	"github.com/webhook-gateway/webhook-gateway/server/access"
	"github.com/webhook-gateway/webhook-gateway/server/cluster"
	"github.com/webhook-gateway/webhook-gateway/server/logapi"
)

type listResponse = webhookgatewayv1.ListSubscriptionsResponse

// ListSubscriptions implements SubscriptionService. Each gateway lists what it owns, from
// the same name on. None is missing that this gateway knows of: while one is taken over, the
// call waits.
func (r *Router) ListSubscriptions(ctx context.Context, req *webhookgatewayv1.ListSubscriptionsRequest) (*listResponse, error) {
	waiting, cancel := context.WithTimeout(ctx, moveTimeout)
	defer cancel()
	var resp *listResponse
	err := r.persist(ctx, waiting, func(view *cluster.View) (bool, error) {
		parts, again, err := r.listAll(ctx, waiting, view, req)
		if err != nil {
			return again, err
		}
		resp, again, err = r.merge(ctx, req, parts)
		return again, err
	})
	if err != nil {
		return nil, err
	}
	return resp, nil
}

// listAll has all gateways list what they own.
func (r *Router) listAll(
	ctx, waiting context.Context, view *cluster.View, req *webhookgatewayv1.ListSubscriptionsRequest,
) (parts []*listResponse, again bool, err error) {
	if len(view.Members) == 0 {
		return nil, true, errMoving("no gateway is known to run the subscriptions: try again")
	}
	parts = make([]*listResponse, len(view.Members))
	errs := make([]error, len(parts))
	var running sync.WaitGroup
	for i, m := range view.Members {
		running.Go(func() {
			if m.ID == r.cluster.ID() {
				parts[i], errs[i] = r.own.ListSubscriptions(ctx, req)
				return
			}
			_, errs[i] = r.call(ctx, waiting, m, func(ctx context.Context, _ cluster.Member, conn *grpc.ClientConn) (err error) {
				parts[i], err = webhookgatewayv1.NewSubscriptionServiceClient(conn).ListSubscriptions(ctx, req)
				return err
			})
		})
	}
	running.Wait()
	for _, err := range errs {
		if err != nil {
			return nil, isMoving(err), err // nothing was changed, if it was made
		}
	}
	return parts, false, nil
}

// merge makes a page of what the gateways listed. Again is returned if a subscription is
// owned by none of them.
func (r *Router) merge(ctx context.Context, req *webhookgatewayv1.ListSubscriptionsRequest, parts []*listResponse) (_ *listResponse, again bool, err error) {
	var list []*webhookgatewayv1.Subscription
	end, more := "", false // some gateway has more than it listed, after this name
	for _, part := range parts {
		list = append(list, part.GetSubscriptions()...)
		if part.GetNextPageToken() == "" {
			continue
		}
		last := part.GetSubscriptions()[len(part.GetSubscriptions())-1].GetName()
		if !more || last < end {
			end, more = last, true
		}
	}
	byName := func(a, b *webhookgatewayv1.Subscription) int { return cmp.Compare(a.GetName(), b.GetName()) }
	slices.SortStableFunc(list, byName)
	list = slices.CompactFunc(list, func(a, b *webhookgatewayv1.Subscription) bool { return byName(a, b) == 0 })
	if more {
		list = slices.DeleteFunc(list, func(s *webhookgatewayv1.Subscription) bool { return s.GetName() > end })
	}
	size, err := logapi.PageSize(req.GetPageSize())
	if err != nil {
		return nil, false, r.own.fail(ctx, "list subscriptions", err)
	}
	n := pageOf(list, size)
	more = more || n < len(list)
	if list = list[:n]; more {
		end = list[n-1].GetName()
	}
	missing, err := r.missing(ctx, req, list, end, more)
	if err != nil {
		return nil, false, r.own.fail(ctx, "list subscriptions", err)
	}
	if missing != "" {
		return nil, true, errMoving("another gateway is taking over the subscription " + missing + ": try again")
	}
	resp := &listResponse{Subscriptions: list}
	if more {
		resp.NextPageToken = base64.RawURLEncoding.EncodeToString([]byte(end))
	}
	return resp, false, nil
}

// missing returns the name of a subscription that is to be on a page, and is not.
func (r *Router) missing(
	ctx context.Context, req *webhookgatewayv1.ListSubscriptionsRequest, list []*webhookgatewayv1.Subscription, end string, more bool,
) (string, error) {
	names, err := r.own.subscriptions.Names(ctx)
	if err != nil {
		return "", err
	}
	after, _ := base64.RawURLEncoding.DecodeString(req.GetPageToken()) // every gateway has checked it
	caller := access.From(ctx)
	for _, name := range names {
		if name <= string(after) || more && name > end || !caller.MayUse(name) {
			continue
		}
		if _, found := slices.BinarySearchFunc(list, name, func(s *webhookgatewayv1.Subscription, name string) int {
			return cmp.Compare(s.GetName(), name)
		}); !found {
			return name, nil
		}
	}
	return "", nil
}
