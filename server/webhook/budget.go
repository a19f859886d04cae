package webhook

import (
	"bytes"
	"net/netip"
	"runtime/debug"
	"sync"
	"time"

	"golang.org/x/time/rate"

	webhookgatewayv1 "github.com/webhook-gateway/webhook-gateway/gen/webhookgateway/v1"
	"github.com/webhook-gateway/webhook-gateway/server/rpcerr"
)

// Of the memory of all deliveries, one client may use a half for large ones and a
// quarter for small ones, and one source a quarter, so that a crowd from one side
// leaves room for the others, and a crowd of large ones for the small ones of their
// client.
const (
	largeParts  = 2
	smallParts  = 4
	sourceParts = 4
)

// smallDelivery is how much a small delivery takes at most, encoded and decoded.
const smallDelivery = 64 << 10

// Bodies of a client beyond their first readBytes come at most at this many bytes a
// second, together: reading and hashing them, before anything is known of them, must
// not take the processors from the deliveries of others.
const (
	largeRate  = 64 << 20
	largeBurst = 1 << 20
)

// A budget is the memory that deliveries take while they are handled. What is held
// is counted by client, and by source where that is known.
type budget struct {
	limit int64

	mu      sync.Mutex
	used    int64
	clients map[crowd]int64
	sources map[netip.Prefix]int64
	// paces are those of the clients whose large bodies are on their way.
	paces map[clientKey]*rate.Limiter

	// tidy gives the memory of large deliveries back to the system when there were none
	// for a while. The runtime alone takes minutes for that in a gateway that is idle.
	tidy *time.Timer
}

// tidyAfter is how long after the last large delivery memory is given back.
const tidyAfter = 15 * time.Second

// A crowd is the small deliveries of a client, or its large ones.
type crowd struct {
	client clientKey
	large  bool
}

func newBudget(limit int64) *budget {
	b := &budget{
		limit: limit, clients: make(map[crowd]int64), sources: make(map[netip.Prefix]int64), paces: make(map[clientKey]*rate.Limiter),
		tidy: time.AfterFunc(tidyAfter, debug.FreeOSMemory),
	}
	b.tidy.Stop()
	return b
}

func (b *budget) setLimit(limit int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.limit = limit
}

// A share is what one delivery holds of a budget. The zero share holds nothing.
type share struct {
	budget *budget
	client clientKey
	// source is not valid if it is not known.
	source netip.Prefix
	held   int64
}

// take takes more memory, or returns the refusal of the delivery. Where nothing else
// is held a delivery is taken whatever it needs: its size has a limit of its own.
func (s *share) take(n int64) error {
	b := s.budget
	b.mu.Lock()
	defer b.mu.Unlock()
	held := s.held
	s.hold(0) // so that what is counted is of the others
	full := func(others, limit int64) bool { return others > 0 && others+held+n > limit }
	like := s.crowd(held + n)
	parts := int64(smallParts)
	if like.large {
		parts = largeParts
	}
	if full(b.used, b.limit) || full(b.clients[like], b.limit/parts) || s.source.IsValid() && full(b.sources[s.source], b.limit/sourceParts) {
		s.hold(held)
		return overloaded()
	}
	s.hold(held + n)
	return nil
}

// release gives everything back.
func (s *share) release() {
	if s.budget == nil {
		return
	}
	s.budget.mu.Lock()
	defer s.budget.mu.Unlock()
	if s.held > smallDelivery {
		s.budget.tidy.Reset(tidyAfter)
	}
	s.hold(0)
	if s.budget.clients[s.crowd(smallDelivery+1)] == 0 {
		delete(s.budget.paces, s.client)
	}
}

// hold makes n what the delivery holds.
func (s *share) hold(n int64) {
	b := s.budget
	b.used += n - s.held
	add(b.clients, s.crowd(s.held), -s.held)
	add(b.clients, s.crowd(n), n)
	if s.source.IsValid() {
		add(b.sources, s.source, n-s.held)
	}
	s.held = n
}

// crowd returns the crowd of a delivery that takes n.
func (s *share) crowd(n int64) crowd { return crowd{s.client, n > smallDelivery} }

// add adds to what is counted under a key, where zero takes no memory.
func add[K comparable](counts map[K]int64, key K, n int64) {
	if counts[key] += n; counts[key] == 0 {
		delete(counts, key)
	}
}

// pace waits until n more bytes of a large body of the client may be read.
func (s *share) pace(n int) {
	b := s.budget
	b.mu.Lock()
	limiter, ok := b.paces[s.client]
	if !ok {
		limiter = rate.NewLimiter(largeRate, largeBurst)
		b.paces[s.client] = limiter
	}
	delay := limiter.ReserveN(time.Now(), n).Delay()
	b.mu.Unlock()
	<-time.After(delay)
}

// overloaded is the answer to a delivery that finds no memory left.
func overloaded() error {
	return rpcerr.Error(webhookgatewayv1.ErrorReason_ERROR_REASON_OVERLOADED,
		"the gateway is handling as many deliveries as webhooks.max_buffered_bytes allows: try again later", rpcerr.WithRetryDelay(retryDelay))
}

// sourceNetwork returns what counts as one source: an IPv4 address, or an IPv6 network
// as one subscriber of a provider has it. It is not valid for an unknown source.
func sourceNetwork(source netip.Addr) netip.Prefix {
	bits := 32
	if source.Is6() {
		bits = 64
	}
	prefix, err := source.Prefix(bits)
	if err != nil {
		return netip.Prefix{}
	}
	return prefix
}

const (
	// nodeBytes is about what a value of a body takes once decoded, and maxNodes how
	// many are decoded at most: see drift.
	nodeBytes = 256
	maxNodes  = 20_000
)

// decodedBytes returns about how much memory a body takes on top of its own: the
// encoded event, and the decoded one, which has copies of all texts.
func decodedBytes(body []byte) int64 {
	nodes := bytes.Count(body, []byte(",")) + bytes.Count(body, []byte("{")) + bytes.Count(body, []byte("["))
	return 2*int64(len(body)) + nodeBytes*int64(min(nodes, maxNodes))
}
