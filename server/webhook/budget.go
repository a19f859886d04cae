package webhook

import (
	"bytes"
	"container/list"
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
// client. Within a crowd, who has kept the gateway waiting for longest makes room.
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

// A budget is the memory that deliveries take while they are handled.
type budget struct {
	limit int64

	mu      sync.Mutex
	tallies map[group]*tally
	// paces are those of the clients whose large bodies are on their way.
	paces    map[clientKey]*rate.Limiter
	draining bool

	// tidy gives the memory of large deliveries back to the system when there were none
	// for a while. The runtime alone takes minutes for that in a gateway that is idle.
	tidy *time.Timer
}

// tidyAfter is how long after the last large delivery memory is given back.
const tidyAfter = 15 * time.Second

// A group is the deliveries that share a limit: the small or the large ones of a client,
// those of a source, or, if it is zero, all.
type group struct {
	client clientKey
	large  bool
	source netip.Prefix
}

// A tally is what the deliveries of a group hold.
type tally struct {
	held int64
	// yielding is what those that wait for their sender hold of it.
	yielding int64
	// waiting has the shares of those that wait for their sender, the one that has for
	// longest in front.
	waiting list.List
}

func newBudget(limit int64) *budget {
	b := &budget{
		limit: limit, tallies: make(map[group]*tally), paces: make(map[clientKey]*rate.Limiter),
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

// drain refuses from now on what waits for its sender.
func (b *budget) drain() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.draining = true
	for all := b.tallies[group{}]; all != nil && all.waiting.Len() > 0; {
		all.waiting.Front().Value.(*share).cut(draining())
	}
}

func (b *budget) limitOf(g group) int64 {
	switch {
	case g == group{}:
		return b.limit
	case g.source.IsValid():
		return b.limit / sourceParts
	case g.large:
		return b.limit / largeParts
	default:
		return b.limit / smallParts
	}
}

// A share is what one delivery holds of a budget. The zero share holds nothing.
type share struct {
	budget *budget
	client clientKey
	// source is not valid if it is not known.
	source netip.Prefix
	// stop ends the reading of the body, nil if that cannot be.
	stop func()

	// Guarded by the mutex of the budget.
	held    int64
	members [3]member
	// waiting says that more of the body is to come from the sender. If not, the
	// delivery makes room for nobody.
	waiting bool
	// progress is what was read of a large body since the delivery began to wait.
	progress int
	// refusal is why the body was cut off.
	refusal error
}

// A member is the place of a share in a tally.
type member struct {
	group group
	tally *tally // nil while nothing is held
	place *list.Element
}

// take takes more memory, or returns the refusal of the delivery. Where nothing else
// is held a delivery is taken whatever it needs: its size has a limit of its own.
func (s *share) take(n int64) error {
	b := s.budget
	b.mu.Lock()
	defer b.mu.Unlock()
	if s.refusal != nil {
		return s.refusal
	}
	if b.draining && s.waiting {
		return draining()
	}
	groups := s.groups(s.held + n)
	for i, g := range groups {
		if !s.fits(i, g, n, true) {
			return overloaded() // and nobody makes room in vain
		}
	}
	for i, g := range groups {
		for !s.fits(i, g, n, false) {
			s.longest(g).cut(overloaded())
		}
	}
	s.hold(s.held + n)
	return nil
}

// fits reports whether n bytes more have room in the share's i-th group, or would have it
// without those that wait for their sender.
func (s *share) fits(i int, g group, n int64, alone bool) bool {
	t := s.budget.tallies[g]
	if t == nil {
		return true
	}
	others := t.held
	if alone {
		others -= t.yielding
	}
	if m := s.members[i]; m.tally == t && (!alone || m.place == nil) {
		others -= s.held
	}
	return others == 0 || others+s.held+n <= s.budget.limitOf(g)
}

// longest returns the other delivery of a group that has waited for its sender for
// longest. There is one.
func (s *share) longest(g group) *share {
	place := s.budget.tallies[g].waiting.Front()
	if place.Value == s {
		place = place.Next()
	}
	return place.Value.(*share)
}

// cut ends a delivery that waits for its sender. Its memory counts as free.
func (s *share) cut(refusal error) {
	s.refusal = refusal
	s.hold(0)
	if s.stop != nil {
		s.stop()
	}
}

// arrived says that the body is here, or will not come. It returns the refusal of a
// delivery that was cut off before.
func (s *share) arrived() error {
	s.budget.mu.Lock()
	defer s.budget.mu.Unlock()
	s.wait(false)
	return s.refusal
}

// wait says whether the delivery waits for its sender.
func (s *share) wait(waiting bool) {
	s.waiting = waiting
	for i := range s.members {
		if m := &s.members[i]; m.tally != nil {
			m.sit(s)
			m.stand(s, s.held)
		}
	}
	if waiting && s.budget.draining && s.refusal == nil {
		s.cut(draining())
	}
}

// release gives everything back.
func (s *share) release() {
	if s.budget == nil {
		return
	}
	s.budget.mu.Lock()
	defer s.budget.mu.Unlock()
	s.hold(0)
	if s.budget.tallies[group{client: s.client, large: true}] == nil {
		delete(s.budget.paces, s.client)
	}
}

// hold makes n what the delivery holds.
func (s *share) hold(n int64) {
	for i, g := range s.groups(n) {
		m := &s.members[i]
		if m.tally != nil && (n == 0 || m.group != g) {
			m.leave(s)
		}
		if n == 0 {
			continue
		}
		if m.tally != nil {
			m.tally.held += n - s.held
			if m.place != nil {
				m.tally.yielding += n - s.held
			}
			continue
		}
		t := s.budget.tallies[g]
		if t == nil {
			t = &tally{}
			s.budget.tallies[g] = t
		}
		t.held += n
		m.group, m.tally = g, t
		m.stand(s, n)
	}
	if n == 0 && s.held > smallDelivery {
		s.budget.tidy.Reset(tidyAfter)
	}
	s.held = n
}

// leave takes a share with all that it holds from a tally.
func (m *member) leave(s *share) {
	m.sit(s)
	if m.tally.held -= s.held; m.tally.held == 0 {
		delete(s.budget.tallies, m.group)
	}
	m.tally = nil
}

// stand puts a share that holds so much behind all others that wait for their senders.
func (m *member) stand(s *share, held int64) {
	if s.waiting {
		m.place = m.tally.waiting.PushBack(s)
		m.tally.yielding += held
	}
}

// sit takes a share from those that wait.
func (m *member) sit(s *share) {
	if m.place != nil {
		m.tally.waiting.Remove(m.place)
		m.tally.yielding -= s.held
		m.place = nil
	}
}

// groups returns the groups of a delivery that holds n.
func (s *share) groups(n int64) []group {
	groups := []group{{}, {client: s.client, large: n > smallDelivery}, {source: s.source}}
	if !s.source.IsValid() {
		return groups[:2]
	}
	return groups
}

// pace waits until n more bytes of a large body of the client may be read. Meanwhile the
// gateway does not wait for the sender, but the sender for it. It begins to wait for the
// sender anew after that, and whenever readBytes have come: not for a byte now and then.
func (s *share) pace(n int) {
	b := s.budget
	b.mu.Lock()
	limiter, ok := b.paces[s.client]
	if !ok {
		limiter = rate.NewLimiter(largeRate, largeBurst)
		b.paces[s.client] = limiter
	}
	delay := limiter.ReserveN(time.Now(), n).Delay()
	s.progress += n
	if delay == 0 && s.progress < readBytes {
		b.mu.Unlock()
		return
	}
	s.progress = 0
	s.wait(false)
	b.mu.Unlock()
	<-time.After(delay)
	b.mu.Lock()
	defer b.mu.Unlock()
	s.wait(true)
}

// draining is the answer to a delivery whose body was not here when the gateway ended.
func draining() error {
	return rpcerr.Error(webhookgatewayv1.ErrorReason_ERROR_REASON_DRAINING,
		"the gateway is shutting down: try again later", rpcerr.WithRetryDelay(retryDelay))
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
