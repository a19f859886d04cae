package webhook

import (
	"bytes"
	"net/netip"
	"sync"

	webhookgatewayv1 "github.com/webhook-gateway/webhook-gateway/gen/webhookgateway/v1"
	"github.com/webhook-gateway/webhook-gateway/server/rpcerr"
)

// Of the memory of all deliveries, one client may use a half and one source a
// quarter, so that a crowd from one side leaves room for the others.
const (
	clientParts = 2
	sourceParts = 4
)

// A budget is the memory that deliveries take while they are handled. What is held
// is counted by client, and by source where that is known.
type budget struct {
	limit int64

	mu      sync.Mutex
	used    int64
	clients map[clientKey]int64
	sources map[netip.Prefix]int64
}

func newBudget(limit int64) *budget {
	return &budget{limit: limit, clients: make(map[clientKey]int64), sources: make(map[netip.Prefix]int64)}
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
	full := func(used, limit int64) bool { return used+n > limit && used > s.held }
	if full(b.used, b.limit) || full(b.clients[s.client], b.limit/clientParts) ||
		s.source.IsValid() && full(b.sources[s.source], b.limit/sourceParts) {
		return overloaded()
	}
	s.add(n)
	return nil
}

// release gives everything back.
func (s *share) release() {
	if s.budget == nil {
		return
	}
	s.budget.mu.Lock()
	defer s.budget.mu.Unlock()
	s.add(-s.held)
}

func (s *share) add(n int64) {
	b := s.budget
	s.held += n
	b.used += n
	if b.clients[s.client] += n; b.clients[s.client] == 0 {
		delete(b.clients, s.client)
	}
	if !s.source.IsValid() {
		return
	}
	if b.sources[s.source] += n; b.sources[s.source] == 0 {
		delete(b.sources, s.source)
	}
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
