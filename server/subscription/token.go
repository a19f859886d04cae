package subscription

import (
	"crypto/rand"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"hash/crc32"

	"github.com/webhook-gateway/webhook-gateway/server/eventlog"
)

// subscriptionID tells apart subscriptions that had the same name one after the
// other.
type subscriptionID [8]byte

func newSubscriptionID() subscriptionID {
	var id subscriptionID
	_, _ = rand.Read(id[:]) // never fails: see crypto/rand
	return id
}

func (id subscriptionID) String() string { return hex.EncodeToString(id[:]) }

// An ack token is the text form of a lease: kind, subscription, position, number,
// slot and a checksum, in URL-safe base64. 33 bytes make 44 characters without
// padding. The kind is chosen so that the text begins with a.
const (
	tokenKind  = 0x68
	tokenBytes = 1 + 8 + 8 + 8 + 4 + 4

	// TokenLen is the length of an ack token.
	TokenLen = tokenBytes / 3 * 4
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func appendToken(b []byte, id subscriptionID, l lease) []byte {
	var t [tokenBytes]byte
	t[0] = tokenKind
	copy(t[1:], id[:])
	binary.BigEndian.PutUint64(t[9:], uint64(l.position))
	binary.BigEndian.PutUint64(t[17:], l.number)
	binary.BigEndian.PutUint32(t[25:], uint32(l.slot))
	binary.BigEndian.PutUint32(t[29:], crc32.Checksum(t[:29], castagnoli))
	return base64.RawURLEncoding.AppendEncode(b, t[:])
}

// parseToken returns false for a token that no gateway made.
func parseToken(s string) (subscriptionID, lease, bool) {
	var t [tokenBytes]byte
	if len(s) != TokenLen {
		return subscriptionID{}, lease{}, false
	}
	if n, err := base64.RawURLEncoding.Strict().Decode(t[:], []byte(s)); err != nil || n != tokenBytes {
		return subscriptionID{}, lease{}, false
	}
	if t[0] != tokenKind || binary.BigEndian.Uint32(t[29:]) != crc32.Checksum(t[:29], castagnoli) {
		return subscriptionID{}, lease{}, false
	}
	return subscriptionID(t[1:9]), lease{
		position: eventlog.Position(binary.BigEndian.Uint64(t[9:])),
		number:   binary.BigEndian.Uint64(t[17:]),
		slot:     slot(binary.BigEndian.Uint32(t[25:])),
	}, true
}
