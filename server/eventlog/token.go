package eventlog

import (
	"crypto/rand"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"hash/crc32"
)

// ID names a log.
type ID [8]byte

// NewID makes the name of a new log.
func NewID() ID {
	var id ID
	_, _ = rand.Read(id[:]) // never fails: see crypto/rand
	return id
}

func (id ID) String() string { return hex.EncodeToString(id[:]) }

// ErrMalformed is returned for a cursor or an event id that no gateway made.
var ErrMalformed = errors.New("malformed")

// A token is the text form of a position: kind, log, position and a checksum, in
// URL-safe base64. 21 bytes make 28 characters without padding. The kind is
// chosen so that the text of a cursor begins with c and that of an event id with
// e.
type tokenKind byte

const (
	kindCursor tokenKind = 0x70
	kindEvent  tokenKind = 0x78

	tokenBytes = 1 + 8 + 8 + 4
	tokenLen   = tokenBytes / 3 * 4
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func appendToken(b []byte, kind tokenKind, log ID, p Position) []byte {
	var t [tokenBytes]byte
	t[0] = byte(kind)
	copy(t[1:], log[:])
	binary.BigEndian.PutUint64(t[9:], uint64(p))
	binary.BigEndian.PutUint32(t[17:], crc32.Checksum(t[:17], castagnoli))
	return base64.RawURLEncoding.AppendEncode(b, t[:])
}

func parseToken(kind tokenKind, s string) (ID, Position, error) {
	var t [tokenBytes]byte
	if len(s) != tokenLen {
		return ID{}, 0, ErrMalformed
	}
	if n, err := base64.RawURLEncoding.Strict().Decode(t[:], []byte(s)); err != nil || n != tokenBytes {
		return ID{}, 0, ErrMalformed
	}
	if t[0] != byte(kind) || binary.BigEndian.Uint32(t[17:]) != crc32.Checksum(t[:17], castagnoli) {
		return ID{}, 0, ErrMalformed
	}
	return ID(t[1:9]), Position(binary.BigEndian.Uint64(t[9:])), nil
}

// FormatCursor returns the cursor of a position of a log: an opaque URL-safe
// string. It does not depend on any filter.
func FormatCursor(log ID, p Position) string {
	return string(appendToken(make([]byte, 0, tokenLen), kindCursor, log, p))
}

// ParseCursor returns the log and position that a cursor names, or ErrMalformed.
func ParseCursor(cursor string) (ID, Position, error) { return parseToken(kindCursor, cursor) }

// FormatEventID returns the gateway's id of the event at a position of a log.
func FormatEventID(log ID, p Position) string {
	return string(appendToken(make([]byte, 0, tokenLen), kindEvent, log, p))
}

// ParseEventID returns the log and position of an event, or ErrMalformed.
func ParseEventID(id string) (ID, Position, error) { return parseToken(kindEvent, id) }
