package eventservice

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"slices"

	"google.golang.org/protobuf/proto"

	webhookgatewayv1 "github.com/webhook-gateway/webhook-gateway/gen/webhookgateway/v1"
	"github.com/webhook-gateway/webhook-gateway/server/eventlog"
	"github.com/webhook-gateway/webhook-gateway/server/filter"
	"github.com/webhook-gateway/webhook-gateway/server/logapi"
)

// A page token is a position and a hash of the cursor there, of the fields of the request
// that must not change between two pages, and of the filters in force, in URL-safe base64.
// So it belongs to whom the same events are granted. It hides nothing: positions are no secret.
const pageTokenBytes = 8 + 16

func formatPageToken(history *eventlog.History, position eventlog.Position, req *webhookgatewayv1.ListEventsRequest, inForce *filter.Filter) string {
	b := binary.BigEndian.AppendUint64(make([]byte, 0, pageTokenBytes), uint64(position))
	return base64.RawURLEncoding.EncodeToString(append(b, pageTokenHash(history, position, req, inForce)...))
}

// parsePageToken returns the position of the page token of a request, and
// refuses one that was not made for it.
func parsePageToken(history *eventlog.History, req *webhookgatewayv1.ListEventsRequest, inForce *filter.Filter) (eventlog.Position, error) {
	b, err := base64.RawURLEncoding.Strict().DecodeString(req.GetPageToken())
	if err == nil && len(b) == pageTokenBytes {
		position := eventlog.Position(binary.BigEndian.Uint64(b))
		if string(b[8:]) == string(pageTokenHash(history, position, req, inForce)) {
			return position, nil
		}
	}
	return 0, logapi.ErrPageToken()
}

func pageTokenHash(history *eventlog.History, position eventlog.Position, req *webhookgatewayv1.ListEventsRequest, inForce *filter.Filter) []byte {
	same := &webhookgatewayv1.ListEventsRequest{
		Filters:     slices.Concat(req.GetFilters(), inForce.Normal()),
		StartTime:   req.GetStartTime(),
		EndTime:     req.GetEndTime(),
		NewestFirst: req.GetNewestFirst(),
		View:        req.GetView(),
	}
	// The cursor has log, epoch and position: a token of a part that was lost fits no request.
	b := history.AppendCursor(nil, position)
	b, err := proto.MarshalOptions{Deterministic: true}.MarshalAppend(b, same)
	if err != nil {
		return nil // a client id that is not UTF-8: gRPC has refused the request
	}
	sum := sha256.Sum256(b)
	return sum[:pageTokenBytes-8]
}
