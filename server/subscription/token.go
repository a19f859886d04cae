package subscription

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"hash"
	"sync"

	"github.com/webhook-gateway/webhook-gateway/server/eventlog"
)

// An ack token is the text form of a lease: kind, position, number, slot and a
// seal, in URL-safe base64. 33 bytes make 44 characters without padding. The kind
// is chosen so that the text begins with a.
const (
	tokenKind  = 0x68
	sealAt     = 1 + 8 + 8 + 4
	tokenBytes = sealAt + 12

	// TokenLen is the length of an ack token.
	TokenLen = tokenBytes / 3 * 4
)

// sealKey is the key of a subscription. It tells apart subscriptions that had the
// same name one after the other, too.
type sealKey [32]byte

func newSealKey() sealKey {
	var key sealKey
	_, _ = rand.Read(key[:]) // never fails: see crypto/rand
	return key
}

// A seal makes the tokens of a subscription and knows them again. It is an
// HMAC-SHA256, cut to 96 bits: a worker cannot make up the token of another. Safe
// for concurrent use.
type seal struct {
	key     sealKey
	signers sync.Pool // of *signer
}

// signer is what signing takes, for reuse.
type signer struct {
	mac   hash.Hash
	token [tokenBytes]byte
	sum   [sha256.Size]byte
}

func newSeal(key sealKey) *seal { return &seal{key: key} }

func (s *seal) signer() *signer {
	if g, ok := s.signers.Get().(*signer); ok {
		return g
	}
	return &signer{mac: hmac.New(sha256.New, s.key[:])}
}

// sign returns the seal of the token.
func (g *signer) sign() []byte {
	g.mac.Reset()
	_, _ = g.mac.Write(g.token[:sealAt]) // never fails: see hash.Hash
	return g.mac.Sum(g.sum[:0])[:tokenBytes-sealAt]
}

func (s *seal) appendToken(b []byte, l lease) []byte {
	g := s.signer()
	defer s.signers.Put(g)
	t := g.token[:]
	t[0] = tokenKind
	binary.BigEndian.PutUint64(t[1:], uint64(l.position))
	binary.BigEndian.PutUint64(t[9:], l.number)
	binary.BigEndian.PutUint32(t[17:], uint32(l.slot))
	copy(t[sealAt:], g.sign())
	return base64.RawURLEncoding.AppendEncode(b, t)
}

var strictEncoding = base64.RawURLEncoding.Strict()

// parseToken returns false for a token that was not made with the key.
func (s *seal) parseToken(text string) (lease, bool) {
	if len(text) != TokenLen {
		return lease{}, false
	}
	g := s.signer()
	defer s.signers.Put(g)
	t := g.token[:]
	if n, err := strictEncoding.Decode(t, []byte(text)); err != nil || n != tokenBytes || t[0] != tokenKind {
		return lease{}, false
	}
	if !hmac.Equal(t[sealAt:], g.sign()) {
		return lease{}, false
	}
	return lease{
		position: eventlog.Position(binary.BigEndian.Uint64(t[1:])),
		number:   binary.BigEndian.Uint64(t[9:]),
		slot:     slot(binary.BigEndian.Uint32(t[17:])),
	}, true
}
