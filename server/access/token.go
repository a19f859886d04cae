package access

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/webhook-gateway/webhook-gateway/server/fielderr"
)

// tokenPrefix begins every bearer token, so that scanners find one where it should not
// be.
const tokenPrefix = "whg_"

const tokenBytes = 32

// tokenFormat is that of every token. A text that somebody made up is none, so no
// token can be guessed.
var tokenFormat = regexp.MustCompile(`^` + tokenPrefix + `[0-9a-f]{64}$`)

// NewToken returns a random bearer token, and the SHA-256 that the configuration has
// of it.
func NewToken() (token, sha256Hex string) {
	random := make([]byte, tokenBytes)
	_, _ = rand.Read(random) // it never fails
	token = tokenPrefix + hex.EncodeToString(random)
	sum := sha256.Sum256([]byte(token))
	return token, hex.EncodeToString(sum[:])
}

// A knownToken is a token of the configuration.
type knownToken struct {
	sum    [sha256.Size]byte
	caller *Caller
}

// findToken returns the caller with a token of a sum, or nil. It takes as long for any.
func findToken(tokens []knownToken, sum [sha256.Size]byte) *Caller {
	var found *Caller
	for i := range tokens {
		if subtle.ConstantTimeCompare(tokens[i].sum[:], sum[:]) == 1 {
			found = tokens[i].caller
		}
	}
	return found
}

// parseSum parses the SHA-256 of a token. Its errors do not repeat the text, which may
// be a token.
func parseSum(text string) (sum [sha256.Size]byte, err error) {
	if strings.HasPrefix(text, tokenPrefix) {
		return sum, fielderr.New("sha256", "this is a token: it is known to whoever reads this file, so make another, and give the SHA-256 that `webhook-gateway token create` prints")
	}
	decoded, err := hex.DecodeString(text)
	if err != nil || len(decoded) != sha256.Size {
		return sum, fielderr.New("sha256", "give the SHA-256 of a token, 64 hexadecimal digits, as `webhook-gateway token create` prints it")
	}
	return [sha256.Size]byte(decoded), nil
}

func (v *validation) tokens(tokens map[string]Token) {
	names := make(map[[sha256.Size]byte]string)
	for _, name := range slices.Sorted(maps.Keys(tokens)) {
		path := "tokens." + fielderr.Key(name)
		if name == "" {
			v.add(path, "give the token a name, by which logs call its caller")
		}
		v.granted(path, tokens[name].Grants)
		sum, err := parseSum(tokens[name].SHA256)
		if err != nil {
			v.errs = append(v.errs, fielderr.In(path, err))
			continue
		}
		if other, ok := names[sum]; ok {
			v.add(path+".sha256", "this is the token of access.tokens.%s too: make one for each", fielderr.Key(other))
			continue
		}
		names[sum] = name
	}
}
