package sessions

import (
	"math/bits"
	"slices"
	"time"

	webhookgatewayv1 "github.com/webhook-gateway/webhook-gateway/gen/webhookgateway/v1"
	"github.com/webhook-gateway/webhook-gateway/server/eventlog"
)

type (
	eventType = webhookgatewayv1.EventType
	state     = webhookgatewayv1.SessionState
)

const (
	stateOpen    = webhookgatewayv1.SessionState_SESSION_STATE_OPEN
	stateDone    = webhookgatewayv1.SessionState_SESSION_STATE_DONE
	stateFailed  = webhookgatewayv1.SessionState_SESSION_STATE_FAILED
	stateStalled = webhookgatewayv1.SessionState_SESSION_STATE_STALLED

	started = webhookgatewayv1.EventType_EVENT_TYPE_FINICITY_STARTED
	done    = webhookgatewayv1.EventType_EVENT_TYPE_FINICITY_DONE
)

// whole are the types that a whole OAuth session has, in their order.
var whole = []eventType{
	started,
	webhookgatewayv1.EventType_EVENT_TYPE_FINICITY_INSTITUTION_SUPPORTED,
	webhookgatewayv1.EventType_EVENT_TYPE_FINICITY_ADDING,
	webhookgatewayv1.EventType_EVENT_TYPE_FINICITY_PROCESSING,
	webhookgatewayv1.EventType_EVENT_TYPE_FINICITY_ADDED,
	done,
}

// types are those of the events that sessions have.
var types = append(slices.Clone(whole),
	webhookgatewayv1.EventType_EVENT_TYPE_FINICITY_CREDENTIALS_UPDATED,
	webhookgatewayv1.EventType_EVENT_TYPE_FINICITY_DISCOVERED,
	webhookgatewayv1.EventType_EVENT_TYPE_FINICITY_INSTITUTION_NOT_FOUND,
	webhookgatewayv1.EventType_EVENT_TYPE_FINICITY_INSTITUTION_NOT_SUPPORTED,
	webhookgatewayv1.EventType_EVENT_TYPE_FINICITY_INVALID_CREDENTIALS,
	webhookgatewayv1.EventType_EVENT_TYPE_FINICITY_MFA,
	webhookgatewayv1.EventType_EVENT_TYPE_FINICITY_MFA_UPDATED,
	webhookgatewayv1.EventType_EVENT_TYPE_FINICITY_UNABLE_TO_CONNECT,
)

// failures are the types that tell of a failure.
var failures = setOf(
	webhookgatewayv1.EventType_EVENT_TYPE_FINICITY_UNABLE_TO_CONNECT,
	webhookgatewayv1.EventType_EVENT_TYPE_FINICITY_INSTITUTION_NOT_SUPPORTED,
	webhookgatewayv1.EventType_EVENT_TYPE_FINICITY_INSTITUTION_NOT_FOUND,
	webhookgatewayv1.EventType_EVENT_TYPE_FINICITY_INVALID_CREDENTIALS,
)

var ofSessions = setOf(types...)

// Types returns the types of the events that sessions have.
func Types() []webhookgatewayv1.EventType { return slices.Clone(types) }

// typeSet has a bit for each type of Finicity.
type typeSet uint64

const firstType = webhookgatewayv1.EventType_EVENT_TYPE_FINICITY_ACCOUNTS_DELETED

func setOf(types ...eventType) (set typeSet) {
	for _, t := range types {
		set |= bitOf(t)
	}
	return set
}

// bitOf returns no bit for the types of others.
func bitOf(t eventType) typeSet {
	if n := t - firstType; n >= 0 && n < bits.UintSize {
		return 1 << n
	}
	return 0
}

func (s typeSet) has(t eventType) bool { return s&bitOf(t) != 0 }

// maxEvents is how many events of a session are kept.
const maxEvents = 50

// Event is an event of a session.
type Event struct {
	Position eventlog.Position
	Type     eventType
	// Received is the receive time in Unix nanoseconds.
	Received int64
}

// session is what a customer did from one start to the next.
type session struct {
	// key is that of the customer.
	key string
	// events are at most maxEvents, of count.
	events []Event
	count  int64
	seen   typeSet
	newest Event
	state  state
	// cut: there may be earlier events of it that were not read.
	cut bool
	// The neighbours among those that go on, by their newest events.
	quieter, livelier *session
}

func (s *session) first() eventlog.Position { return s.events[0].Position }

// missing returns what a whole session has and this one lacks.
func (s *session) missing() []eventType {
	var missing []eventType
	for _, t := range whole {
		if !s.seen.has(t) {
			missing = append(missing, t)
		}
	}
	return missing
}

// A book has the sessions of one kind of events. It is told the time, and does nothing
// else. It is not safe for concurrent use.
type book struct {
	stalledAfter, window time.Duration
	max                  int
	// cutBefore: a session that begins before it without a start may be cut.
	cutBefore int64
	// ended is told of each session that ends, and of when it did.
	ended func(state, int64)

	// newest has the newest session of each customer.
	newest map[string]*session
	// order has all sessions in the order of their first events, after those that are
	// forgotten.
	order     []*session
	forgotten int
	// quietest and liveliest are the ends of the list of those that go on.
	quietest, liveliest *session
	// completeSince is after the start of each session that was forgotten for want of room.
	completeSince int64
}

// keyOf appends the key of a customer: client and subject.
func keyOf(b, client, subject []byte) []byte {
	b = append(b, byte(len(client))) //nolint:gosec // at most eventlog.MaxClientIDLen
	b = append(b, client...)
	return append(b, subject...)
}

// splitKey returns client and subject.
func splitKey(key string) (client, subject string) {
	end := 1 + int(key[0])
	return key[1:end], key[end:]
}

// add takes the next event of a customer.
func (b *book) add(key []byte, e Event) {
	s := b.newest[string(key)]
	first := s == nil
	if !first && s.state == stateOpen && (e.Type == started || b.isQuiet(s, e.Received)) {
		b.end(s, e.Received)
	}
	if first || s.state != stateOpen {
		s = b.begin(string(key), first && e.Type != started && e.Received < b.cutBefore)
	} else {
		b.unlink(s)
	}
	if s.count++; len(s.events) < maxEvents {
		s.events = append(s.events, e)
	}
	s.newest = e
	s.seen |= bitOf(e.Type)
	if e.Type == done {
		s.state = stateDone
		b.ended(stateDone, e.Received)
		return
	}
	b.link(s)
}

func (b *book) begin(key string, cut bool) *session {
	if b.len() >= b.max {
		oldest := b.order[b.forgotten]
		b.completeSince = max(b.completeSince, oldest.events[0].Received+1)
		b.forgetOldest()
	}
	s := &session{key: key, events: make([]Event, 0, len(whole)), state: stateOpen, cut: cut}
	b.newest[key] = s
	b.order = append(b.order, s)
	return s
}

func (b *book) isQuiet(s *session, now int64) bool {
	return now-s.newest.Received >= int64(b.stalledAfter)
}

// end ends a session that is not done.
func (b *book) end(s *session, now int64) {
	b.unlink(s)
	if s.state = stateStalled; failures.has(s.newest.Type) {
		s.state = stateFailed
	}
	b.ended(s.state, min(now, s.newest.Received+int64(b.stalledAfter)))
}

// expire ends what is quiet, and forgets what is old or no longer retained.
func (b *book) expire(now int64, trimmed eventlog.Position) {
	for s := b.quietest; s != nil && b.isQuiet(s, now); s = b.quietest {
		b.end(s, now)
	}
	for b.len() > 0 && !b.isKept(b.order[b.forgotten], now, trimmed) {
		b.forgetOldest()
	}
}

// isKept reports whether a session is still to be shown.
func (b *book) isKept(s *session, now int64, trimmed eventlog.Position) bool {
	return now-s.newest.Received < int64(b.window) && s.newest.Position > trimmed
}

func (b *book) len() int { return len(b.order) - b.forgotten }

func (b *book) forgetOldest() {
	s := b.order[b.forgotten]
	b.order[b.forgotten] = nil
	b.forgotten++
	if s.state == stateOpen {
		b.unlink(s)
	}
	if b.newest[s.key] == s {
		delete(b.newest, s.key)
	}
	if b.forgotten > len(b.order)/2 { // each is moved once, on average
		b.order = slices.Clone(b.order[b.forgotten:])
		b.forgotten = 0
	}
}

// before returns up to n sessions that begin before a position, the newest first.
func (b *book) before(p eventlog.Position, n int) []*session {
	all := b.order[b.forgotten:]
	end, _ := slices.BinarySearchFunc(all, p, func(s *session, p eventlog.Position) int {
		if s.first() < p {
			return -1
		}
		return 1
	})
	list := slices.Clone(all[max(0, end-n):end])
	slices.Reverse(list)
	return list
}

// link puts a session at the lively end.
func (b *book) link(s *session) {
	if s.quieter = b.liveliest; s.quieter == nil {
		b.quietest = s
	} else {
		s.quieter.livelier = s
	}
	s.livelier, b.liveliest = nil, s
}

// unlink takes a session out of the list. One that was just begun is not in it.
func (b *book) unlink(s *session) {
	if s.quieter == nil {
		b.quietest = s.livelier
	} else {
		s.quieter.livelier = s.livelier
	}
	if s.livelier == nil {
		b.liveliest = s.quieter
	} else {
		s.livelier.quieter = s.quieter
	}
	s.quieter, s.livelier = nil, nil
}
