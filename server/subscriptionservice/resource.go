package subscriptionservice

import (
	"context"
	"encoding/base64"

	"google.golang.org/protobuf/proto"

	webhookgatewayv1 "github.com/webhook-gateway/webhook-gateway/gen/webhookgateway/v1"
	"github.com/webhook-gateway/webhook-gateway/server/access"
	"github.com/webhook-gateway/webhook-gateway/server/eventlog"
	"github.com/webhook-gateway/webhook-gateway/server/fielderr"
	"github.com/webhook-gateway/webhook-gateway/server/filter"
	"github.com/webhook-gateway/webhook-gateway/server/logapi"
	"github.com/webhook-gateway/webhook-gateway/server/subscription"
	"github.com/webhook-gateway/webhook-gateway/server/unknownfields"
)

// CreateSubscription implements SubscriptionService.
func (s *Service) CreateSubscription(ctx context.Context, req *webhookgatewayv1.CreateSubscriptionRequest) (*webhookgatewayv1.CreateSubscriptionResponse, error) {
	created, err := s.create(ctx, req)
	if err != nil {
		return nil, s.fail(ctx, "create a subscription", err)
	}
	return &webhookgatewayv1.CreateSubscriptionResponse{Subscription: s.shown(ctx, created)}, nil
}

func (s *Service) create(ctx context.Context, req *webhookgatewayv1.CreateSubscriptionRequest) (*webhookgatewayv1.Subscription, error) {
	in := req.GetSubscription()
	if err := access.From(ctx).Manage("subscription.name", in.GetName()); err != nil {
		return nil, err
	}
	if err := checkKnownItself(req); err != nil {
		return nil, err
	}
	if asked, err := filter.Compile(in.GetFilters()); err == nil { // otherwise it is refused below, with all that is wrong
		if err := covered(ctx, asked); err != nil {
			return nil, err
		}
	}
	// NOTE: a worker creates its subscription whenever it starts. The place where it
	// began long ago may be gone from the log by now: only a new one needs it.
	return s.subscriptions.Create(ctx, in, func() (eventlog.Position, error) {
		if in.GetStart() == nil {
			err := s.api.Sync(ctx)
			return s.log.Bounds().Head, err
		}
		return s.start(ctx, "subscription.start", in.GetStart())
	})
}

// GetSubscription implements SubscriptionService.
func (s *Service) GetSubscription(ctx context.Context, req *webhookgatewayv1.GetSubscriptionRequest) (*webhookgatewayv1.GetSubscriptionResponse, error) {
	err := access.From(ctx).Use("name", req.GetName())
	if err != nil {
		return nil, s.fail(ctx, "get a subscription", err)
	}
	got, err := s.subscriptions.Get(ctx, req.GetName())
	if err != nil {
		return nil, s.fail(ctx, "get a subscription", err)
	}
	return &webhookgatewayv1.GetSubscriptionResponse{Subscription: s.shown(ctx, got)}, nil
}

// ListSubscriptions implements SubscriptionService. It lists those that the caller may
// use. A page token is the last name of the page before.
func (s *Service) ListSubscriptions(ctx context.Context, req *webhookgatewayv1.ListSubscriptionsRequest) (*webhookgatewayv1.ListSubscriptionsResponse, error) {
	caller := access.From(ctx)
	err := caller.UseAny()
	if err != nil {
		return nil, s.fail(ctx, "list subscriptions", err)
	}
	size, err := logapi.PageSize(req.GetPageSize())
	if err != nil {
		return nil, s.fail(ctx, "list subscriptions", err)
	}
	after, err := base64.RawURLEncoding.Strict().DecodeString(req.GetPageToken())
	if err != nil || len(after) > 0 && !subscription.ValidName(string(after)) {
		return nil, logapi.ErrPageToken()
	}
	list, err := s.subscriptions.List(ctx, string(after), size+1, caller.MayUse)
	if err != nil {
		return nil, s.fail(ctx, "list subscriptions", err)
	}
	for _, one := range list {
		s.shown(ctx, one)
	}
	resp := &webhookgatewayv1.ListSubscriptionsResponse{Subscriptions: list}
	if n := pageOf(list, size); n < len(list) {
		resp.Subscriptions = list[:n]
		resp.NextPageToken = base64.RawURLEncoding.EncodeToString([]byte(list[n-1].GetName()))
	}
	return resp, nil
}

// pageOf returns how many of a list are a page of at most size: one at least, and no more
// than clients receive.
func pageOf(list []*webhookgatewayv1.Subscription, size int) int {
	n, total := 0, 0
	for n < min(size, len(list)) {
		if total += proto.Size(list[n]); n > 0 && total > logapi.MaxPageBytes {
			break
		}
		n++
	}
	return n
}

// UpdateSubscription implements SubscriptionService.
func (s *Service) UpdateSubscription(ctx context.Context, req *webhookgatewayv1.UpdateSubscriptionRequest) (*webhookgatewayv1.UpdateSubscriptionResponse, error) {
	err := access.From(ctx).Manage("subscription.name", req.GetSubscription().GetName())
	if err == nil {
		err = checkKnownItself(req)
	}
	if err != nil {
		return nil, s.fail(ctx, "update a subscription", err)
	}
	updated, err := s.subscriptions.Update(ctx, req.GetSubscription(), req.GetUpdateMask(),
		func(inForce *filter.Filter) error { return covered(ctx, inForce) })
	if err != nil {
		return nil, s.fail(ctx, "update a subscription", err)
	}
	return &webhookgatewayv1.UpdateSubscriptionResponse{Subscription: s.shown(ctx, updated)}, nil
}

// DeleteSubscription implements SubscriptionService.
func (s *Service) DeleteSubscription(ctx context.Context, req *webhookgatewayv1.DeleteSubscriptionRequest) (*webhookgatewayv1.DeleteSubscriptionResponse, error) {
	err := access.From(ctx).Manage("name", req.GetName())
	if err == nil {
		err = checkKnown(req)
	}
	if err == nil {
		err = s.subscriptions.Delete(ctx, req.GetName())
	}
	if err != nil {
		return nil, s.fail(ctx, "delete a subscription", err)
	}
	return &webhookgatewayv1.DeleteSubscriptionResponse{}, nil
}

// SeekSubscription implements SubscriptionService.
func (s *Service) SeekSubscription(ctx context.Context, req *webhookgatewayv1.SeekSubscriptionRequest) (*webhookgatewayv1.SeekSubscriptionResponse, error) {
	err := access.From(ctx).Manage("name", req.GetName())
	if err == nil {
		err = checkKnown(req)
	}
	if err != nil {
		return nil, s.fail(ctx, "seek a subscription", err)
	}
	after, err := s.start(ctx, "start", req.GetStart())
	if err != nil {
		return nil, s.fail(ctx, "seek a subscription", err)
	}
	if req.GetValidateOnly() {
		resp, err := s.previewSeek(ctx, req.GetName(), after)
		if err != nil {
			return nil, s.fail(ctx, "preview the seek of a subscription", err)
		}
		return resp, nil
	}
	moved, err := s.subscriptions.Seek(ctx, req.GetName(), after)
	if err != nil {
		return nil, s.fail(ctx, "seek a subscription", err)
	}
	return &webhookgatewayv1.SeekSubscriptionResponse{Subscription: s.shown(ctx, moved)}, nil
}

// checkKnown refuses what a client of a later version asks for and this one knows only in part:
// of a seek that was only to be previewed, a deletion that had a condition, or events of a kind that were to be discarded, it
// would do more than was asked, and that cannot be undone.
func checkKnown(req proto.Message) error {
	if err := unknownfields.Check(req); err != nil {
		return fielderr.New("", "%v: leave it out, or upgrade all gateways", err)
	}
	return nil
}

// checkKnownItself is checkKnown of a request without the subscription within: of that, the definition alone is
// checked, where it is made. Its status may be of a later version.
func checkKnownItself(req proto.Message) error {
	alone := req.ProtoReflect().New()
	alone.SetUnknown(req.ProtoReflect().GetUnknown())
	return checkKnown(alone.Interface())
}

// previewSeek says what a seek would do.
func (s *Service) previewSeek(ctx context.Context, name string, after eventlog.Position) (*webhookgatewayv1.SeekSubscriptionResponse, error) {
	preview, err := s.subscriptions.PreviewSeek(ctx, name, after)
	if err != nil {
		return nil, err
	}
	unmoved, err := s.subscriptions.Get(ctx, name)
	if err != nil {
		return nil, err
	}
	return &webhookgatewayv1.SeekSubscriptionResponse{
		Subscription: s.shown(ctx, unmoved),
		Preview: &webhookgatewayv1.SeekPreview{
			Cursor:    s.api.Cursor(after),
			LogEvents: int64(preview.Events), MatchingEvents: preview.Matching, //nolint:gosec // a number of events
			RepeatedEvents: preview.Repeated, Exact: preview.Exact,
		},
	}, nil
}

// covered returns an error unless the caller may read everything that the filter of a
// subscription matches, in one view or another: a subscription is no way around a grant.
func covered(ctx context.Context, f *filter.Filter) error {
	reach, err := access.From(ctx).ReachInAnyView()
	if err != nil {
		return err
	}
	return reach.Covers("subscription", f)
}

// shown takes out of a subscription what its caller may not know: clients, subjects and
// ids in filters that select what it may not read, and how many events were left out, if
// it may not read them. It returns it.
func (s *Service) shown(ctx context.Context, in *webhookgatewayv1.Subscription) *webhookgatewayv1.Subscription {
	reach, denied := access.From(ctx).ReachInAnyView()
	in.Filters = reach.Shown(in.GetFilters())
	if in.GetStatus().GetLeftOutEvents() == 0 {
		return in
	}
	inForce, err := s.subscriptions.Filter(in.GetName())
	if err != nil || denied != nil || !countsLeftOut(reach, inForce) {
		in.Status.LeftOutEvents = 0
	}
	return in
}

// countsLeftOut reports whether a caller may know how many events a filter leaves out.
func countsLeftOut(reach *access.Reach, inForce *filter.Filter) bool {
	leftOut := inForce.LeftOut()
	return leftOut == nil || reach.Covers("", leftOut) == nil
}

// start returns the position after which a subscription is to begin. Its errors
// are of fielderr, and statuses.
func (s *Service) start(ctx context.Context, field string, start *webhookgatewayv1.SubscriptionStart) (eventlog.Position, error) {
	switch at := start.GetStart().(type) {
	case *webhookgatewayv1.SubscriptionStart_Cursor:
		p, err := s.api.ParseCursor(ctx, field+".cursor", at.Cursor)
		if trimmed := s.log.Bounds().Trimmed; err == nil && p < trimmed {
			return 0, s.api.Expired(ctx, trimmed)
		}
		return p, err
	case *webhookgatewayv1.SubscriptionStart_Time:
		t, err := logapi.Time(field+".time", at.Time)
		if err != nil {
			return 0, err
		}
		return s.log.Seek(ctx, t)
	case *webhookgatewayv1.SubscriptionStart_Position:
		if err := subscription.CheckPosition(field+".position", at.Position); err != nil {
			return 0, err
		}
		if at.Position == webhookgatewayv1.StartPosition_START_POSITION_EARLIEST {
			return s.log.Bounds().Trimmed, nil
		}
		err := s.api.Sync(ctx)
		return s.log.Bounds().Head, err
	}
	return 0, fielderr.New(field, "give a cursor, a time or a position")
}
