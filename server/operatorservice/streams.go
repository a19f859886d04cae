package operatorservice

import (
	"context"
	"encoding/base64"
	"encoding/binary"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	webhookgatewayv1 "github.com/webhook-gateway/webhook-gateway/gen/webhookgateway/v1"
	"github.com/webhook-gateway/webhook-gateway/server/access"
	"github.com/webhook-gateway/webhook-gateway/server/logapi"
	"github.com/webhook-gateway/webhook-gateway/server/rpcerr"
	"github.com/webhook-gateway/webhook-gateway/server/stream"
)

// ListStreams implements OperatorService. A page token is the id of the last stream of the
// page before.
func (s *Service) ListStreams(ctx context.Context, req *webhookgatewayv1.ListStreamsRequest) (*webhookgatewayv1.ListStreamsResponse, error) {
	caller := access.From(ctx)
	if err := caller.Operate(); err != nil {
		return nil, err
	}
	size, err := logapi.PageSize(req.GetPageSize())
	if err != nil {
		return nil, rpcerr.From(err, err)
	}
	after, err := parseNumberToken(req.GetPageToken())
	if err != nil {
		return nil, err
	}
	reach, err := caller.ReachInAnyView()
	if err != nil {
		reach = nil // it may read nothing
	}
	resp := &webhookgatewayv1.ListStreamsResponse{}
	bytes := 0
	for _, listed := range s.Streams.Listed(int64(after)) { //nolint:gosec // what is too much is after all
		one := s.openStream(listed, reach)
		if n := len(resp.GetStreams()); n == size || n > 0 && bytes+proto.Size(one) > logapi.MaxPageBytes {
			resp.NextPageToken = formatNumberToken(uint64(resp.GetStreams()[n-1].GetId())) //nolint:gosec // positive
			break
		}
		bytes += proto.Size(one)
		resp.Streams = append(resp.Streams, one)
	}
	return resp, nil
}

func (s *Service) openStream(listed *stream.Listed, reach *access.Reach) *webhookgatewayv1.OpenStream {
	state := listed.State(time.Now())
	one := &webhookgatewayv1.OpenStream{
		Id: listed.ID, Subscription: listed.Subscription,
		RemoteAddress: listed.Origin.Remote, UserAgent: listed.Origin.UserAgent,
		Filters: reach.Shown(listed.Filters()), View: listed.View, OpenTime: timestamppb.New(listed.Opened),
		CaughtUp: state.CaughtUp, SentEvents: state.SentEvents, SentBytes: state.SentBytes,
		EventsPerSecond: state.EventsPerSecond, BlockedRatio: state.BlockedRatio,
	}
	if listed.Caller.Method != access.MethodNone {
		one.Caller = listed.Caller.Name
	}
	if listed.Subscription == "" {
		one.Cursor = s.Log.History().FormatCursor(state.Position)
		one.LagEvents = int64(max(s.Log.Bounds().Head, state.Position) - state.Position) //nolint:gosec // a number of events
	}
	if listed.InFlight != nil {
		one.InFlightEvents = int64(listed.InFlight())
	}
	if state.Delay >= 0 {
		one.Delay = durationpb.New(state.Delay)
	}
	if !state.BlockedSince.IsZero() {
		one.BlockedSince = timestamppb.New(state.BlockedSince)
	}
	return one
}

// A number token is the page token of a list whose items have numbers. It hides nothing.
func formatNumberToken(number uint64) string {
	return base64.RawURLEncoding.EncodeToString(binary.BigEndian.AppendUint64(nil, number))
}

// parseNumberToken returns the number of a page token, 0 without one.
func parseNumberToken(token string) (uint64, error) {
	if token == "" {
		return 0, nil
	}
	b, err := base64.RawURLEncoding.Strict().DecodeString(token)
	if err != nil || len(b) != 8 {
		return 0, logapi.ErrPageToken()
	}
	return binary.BigEndian.Uint64(b), nil
}
