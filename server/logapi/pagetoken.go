package logapi

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"

	"google.golang.org/protobuf/proto"

	"github.com/webhook-gateway/webhook-gateway/server/eventlog"
)

// A page token is a position and a hash of the cursor there, and of what must not change
// between two pages, in URL-safe base64. It hides nothing: positions are no secret.
const pageTokenBytes = 8 + 16

// FormatPageToken returns the page token of a position. The message has what must not change
// between two pages: the fields of the request, and the filters in force, so that the token
// belongs to whom the same events are granted.
func FormatPageToken(history *eventlog.History, position eventlog.Position, same proto.Message) string {
	b := binary.BigEndian.AppendUint64(make([]byte, 0, pageTokenBytes), uint64(position))
	return base64.RawURLEncoding.EncodeToString(append(b, pageTokenHash(history, position, same)...))
}

// ParsePageToken returns the position of a page token, and refuses one that was not made for
// the same. Its error is a status.
func ParsePageToken(history *eventlog.History, token string, same proto.Message) (eventlog.Position, error) {
	b, err := base64.RawURLEncoding.Strict().DecodeString(token)
	if err == nil && len(b) == pageTokenBytes {
		position := eventlog.Position(binary.BigEndian.Uint64(b))
		if string(b[8:]) == string(pageTokenHash(history, position, same)) {
			return position, nil
		}
	}
	return 0, ErrPageToken()
}

func pageTokenHash(history *eventlog.History, position eventlog.Position, same proto.Message) []byte {
	// The cursor has log, epoch and position: a token of a part that was lost fits no request.
	b := history.AppendCursor(nil, position)
	b, err := proto.MarshalOptions{Deterministic: true}.MarshalAppend(b, same)
	if err != nil {
		return nil // a client id that is not UTF-8: gRPC has refused the request
	}
	sum := sha256.Sum256(b)
	return sum[:pageTokenBytes-8]
}
