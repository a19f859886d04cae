package access

import (
	"crypto/sha256"
	"sync"
)

// maxCachedJWTs bounds how many verified tokens are remembered.
const maxCachedJWTs = 1000

// jwtCache remembers tokens that were verified with the keys of one generation: a
// worker acknowledges with the same token a thousand times a second. Only verified
// tokens are in it, so strangers cannot fill it.
type jwtCache struct {
	mu         sync.Mutex
	generation int
	tokens     map[[sha256.Size]byte]*jwt
}

// get returns a token that was verified with the keys of a generation, or nil.
func (c *jwtCache) get(sum [sha256.Size]byte, generation int) *jwt {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.generation != generation {
		return nil
	}
	return c.tokens[sum]
}

// put remembers a token.
func (c *jwtCache) put(sum [sha256.Size]byte, generation int, j *jwt) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.generation != generation || c.tokens == nil || len(c.tokens) >= maxCachedJWTs {
		c.generation, c.tokens = generation, make(map[[sha256.Size]byte]*jwt)
	}
	c.tokens[sum] = j
}
