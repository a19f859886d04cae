package eventlog

import (
	"crypto/rand"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"hash/crc32"
	"slices"
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

// Epoch names a run of a log: 48 random bits, never 0. One is begun at every
// start, restore and repair, so that a position given out twice, before and after
// an older copy was put back, has two names.
type Epoch uint64

const epochBits = 48

// Valid reports whether it is an epoch that NewEpoch can draw.
func (e Epoch) Valid() bool { return e > 0 && e < 1<<epochBits }

// NewEpoch draws an epoch.
func NewEpoch() Epoch {
	var b [8]byte
	for {
		_, _ = rand.Read(b[2:]) // never fails: see crypto/rand
		if e := Epoch(binary.BigEndian.Uint64(b[:])); e != 0 {
			return e
		}
	}
}

// A token is the text form of a position in a history: kind, log, epoch, position
// and a checksum, in URL-safe base64. 27 bytes make 36 characters without padding.
// The kind is chosen so that the text of a cursor begins with c and that of an
// event id with e.
type tokenKind byte

const (
	kindCursor tokenKind = 0x70
	kindEvent  tokenKind = 0x78

	tokenBytes = 1 + 8 + 6 + 8 + 4
	tokenLen   = tokenBytes / 3 * 4

	urlAlphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// appendToken allocates nothing if b has room: every event costs every subscriber
// two tokens.
func appendToken(b []byte, kind tokenKind, log ID, epoch Epoch, p Position) []byte {
	n := len(b)
	b = slices.Grow(b, tokenLen)[:n+tokenLen]
	text := b[n:]
	// The bytes are written at the end of the text, which then overtakes them.
	t := text[tokenLen-tokenBytes:]
	binary.BigEndian.PutUint64(t[7:], uint64(epoch)) // its low 48 bits end at 15
	t[0] = byte(kind)
	copy(t[1:], log[:])
	binary.BigEndian.PutUint64(t[15:], uint64(p))
	binary.BigEndian.PutUint32(t[23:], crc32.Checksum(t[:23], castagnoli))
	for len(t) > 0 {
		bits := uint(t[0])<<16 | uint(t[1])<<8 | uint(t[2])
		text[0], text[1] = urlAlphabet[bits>>18], urlAlphabet[bits>>12&63]
		text[2], text[3] = urlAlphabet[bits>>6&63], urlAlphabet[bits&63]
		t, text = t[3:], text[4:]
	}
	return b
}

// parseToken accepts what appendToken makes of a position, and ErrMalformed is for
// all else.
func parseToken(kind tokenKind, s string) (ID, Epoch, Position, error) {
	var t [tokenBytes]byte
	if len(s) != tokenLen {
		return ID{}, 0, 0, ErrMalformed
	}
	if n, err := base64.RawURLEncoding.Strict().Decode(t[:], []byte(s)); err != nil || n != tokenBytes {
		return ID{}, 0, 0, ErrMalformed
	}
	if t[0] != byte(kind) || binary.BigEndian.Uint32(t[23:]) != crc32.Checksum(t[:23], castagnoli) {
		return ID{}, 0, 0, ErrMalformed
	}
	epoch := Epoch(binary.BigEndian.Uint64(t[7:]) & (1<<epochBits - 1))
	p := Position(binary.BigEndian.Uint64(t[15:]))
	if (epoch == 0) != (p == 0) {
		return ID{}, 0, 0, ErrMalformed // a position is in an epoch, and 0 is before all
	}
	return ID(t[1:9]), epoch, p, nil
}
