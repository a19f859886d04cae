// Package refusals keeps which deliveries were refused: a bounded number, in memory and in a
// file, so that a restart forgets none.
//
// Whoever can reach the gateway can have it refuse something. So deliveries that differ only
// in their time, size and trace are one entry; there are so many entries for each reason; and
// when there would be more, the one that has to go is of the network with the most. Taking
// note of a refusal touches no disk.
package refusals

import (
	"cmp"
	"container/list"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"google.golang.org/protobuf/types/known/timestamppb"

	webhookgatewayv1 "github.com/webhook-gateway/webhook-gateway/gen/webhookgateway/v1"
)

const (
	// MaxPerReason is how many entries there are for each reason.
	MaxPerReason = 256
	// Longest texts of an entry, in bytes. Stored client ids have 255 at most.
	maxClientID = 255
	maxMessage  = 1024
)

// Delivery is a delivery that was refused.
type Delivery struct {
	Reason     webhookgatewayv1.ErrorReason
	HTTPStatus int
	// Message is what was answered for people.
	Message string
	// Provider is PROVIDER_UNSPECIFIED if there is none that is known.
	Provider webhookgatewayv1.Provider
	ClientID string
	// Source is where it came from; the zero Addr if that is not known.
	Source netip.Addr
	// BodyBytes is the size of the body, -1 if it is not known.
	BodyBytes int64
	// Trace may be nil. It must not be changed.
	Trace *webhookgatewayv1.TraceContext
}

// key is what deliveries that are refused alike have in common.
type key struct {
	reason   webhookgatewayv1.ErrorReason
	provider webhookgatewayv1.Provider
	clientID string
	source   netip.Addr
	message  string
}

// entry is deliveries that were refused alike.
type entry struct {
	key
	status      int
	count       int64
	first, last time.Time
	bodyBytes   int64
	trace       *webhookgatewayv1.TraceContext
	// changed is the number of its last change: the order of all entries.
	changed uint64
	stored  bool

	network *network
	element *list.Element // in those of the network
}

// Ring keeps refusals. Its methods are safe for concurrent use.
type Ring struct {
	store *store // nil: in memory only

	mu      sync.Mutex
	entries map[key]*entry
	reasons map[webhookgatewayv1.ErrorReason]*networks
	// changed is the number of the last change. It begins with the time, so that it rises
	// over restarts.
	changed uint64

	// unsaved has a token when there is something to be stored.
	unsaved chan struct{}
	closing sync.Once
	end     chan struct{}
	ended   chan struct{}

	saveInterval, retryInterval time.Duration
}

// loadPatience and savePatience are how long opening and closing wait for the disk.
const (
	loadPatience = time.Second
	savePatience = time.Second
)

// Open returns the refusals that are stored in a folder, which is made if it does not exist;
// with an empty path they are in memory only. A disk that fails or hangs is no error: they
// stay in memory until it works. The ring must be closed.
func Open(path string, logger *slog.Logger) *Ring {
	return open(vfs.Default, path, logger, saveInterval, retryInterval)
}

func open(disk vfs.FS, path string, logger *slog.Logger, saveInterval, retryInterval time.Duration) *Ring {
	r := &Ring{
		saveInterval: saveInterval, retryInterval: retryInterval,
		entries: make(map[key]*entry), reasons: make(map[webhookgatewayv1.ErrorReason]*networks),
		changed: uint64(time.Now().UnixNano()),
		unsaved: make(chan struct{}, 1), end: make(chan struct{}), ended: make(chan struct{}),
	}
	if path == "" {
		close(r.ended)
		return r
	}
	r.store = newStore(disk, path, logger)
	loaded := make(chan struct{})
	go func() {
		defer close(r.ended)
		r.restore(r.store.load())
		close(loaded)
		if r.store.damaged {
			r.changedSome()
		}
		r.keep()
	}()
	within(loadPatience, loaded)
	return r
}

// within waits for something, and not for long.
func within(patience time.Duration, done <-chan struct{}) {
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case <-done:
	case <-timer.C:
	}
}

// Close stores what is not stored yet. It does not wait long for a disk that hangs. A second
// call does nothing.
func (r *Ring) Close() {
	r.closing.Do(func() { close(r.end) })
	within(savePatience, r.ended)
}

// Err returns why refusals are in memory only although they should be stored, nil if they are
// stored.
func (r *Ring) Err() error {
	if r.store == nil {
		return nil
	}
	return r.store.err()
}

// Record takes note of a refusal. It waits for no disk.
func (r *Ring) Record(d Delivery) {
	k := key{d.Reason, d.Provider, clip(d.ClientID, maxClientID), d.Source, clip(d.Message, maxMessage)}
	now := time.Now()
	r.mu.Lock()
	e := r.entries[k]
	if e == nil {
		k.clientID = strings.Clone(k.clientID) // it is a part of a request
		e = r.add(&entry{key: k, first: now})
	}
	e.status, e.last, e.bodyBytes, e.trace = d.HTTPStatus, now, d.BodyBytes, d.Trace
	e.count++
	r.touch(e, now)
	r.mu.Unlock()
	r.changedSome()
}

// clip cuts a text that came from outside, and makes it valid UTF-8.
func clip(text string, most int) string {
	return strings.ToValidUTF8(text[:min(len(text), most)], "")
}

// add adds an entry, for which another one may have to go.
func (r *Ring) add(e *entry) *entry {
	n := r.reasons[e.reason]
	if n == nil {
		n = newNetworks()
		r.reasons[e.reason] = n
	}
	if n.entries >= MaxPerReason {
		delete(r.entries, n.removeOne().key)
	}
	n.add(e)
	r.entries[e.key] = e
	return e
}

// touch has an entry be the newest.
func (r *Ring) touch(e *entry, now time.Time) {
	r.changed = max(r.changed+1, uint64(now.UnixNano()))
	e.changed, e.stored = r.changed, false
	e.network.entries.MoveToBack(e.element)
}

// restore adds the entries that an earlier process has stored, in the order of their changes.
// Some may have come again meanwhile.
func (r *Ring) restore(stored []*entry) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, old := range stored {
		r.changed = max(r.changed, old.changed)
		if e := r.entries[old.key]; e != nil {
			e.count += old.count
			e.first = old.first
		} else {
			old.stored = !r.store.damaged
			r.add(old)
		}
	}
}

// Filter says which refusals to list. What is empty is all.
type Filter struct {
	Reasons   []webhookgatewayv1.ErrorReason
	Providers []webhookgatewayv1.Provider
	ClientIDs []string
}

func (f Filter) match(k key) bool {
	return (len(f.Reasons) == 0 || slices.Contains(f.Reasons, k.reason)) &&
		(len(f.Providers) == 0 || slices.Contains(f.Providers, k.provider)) &&
		(len(f.ClientIDs) == 0 || slices.Contains(f.ClientIDs, k.clientID))
}

// List returns at most n refusals, that which changed last first, and what to give for
// `before` to have those after them; 0 if there are none. A before of 0 begins with the first.
func (r *Ring) List(f Filter, before uint64, n int) (page []*webhookgatewayv1.Refusal, next uint64) {
	var found []entry
	r.mu.Lock()
	for _, e := range r.entries {
		if before == 0 || e.changed < before {
			found = append(found, *e)
		}
	}
	r.mu.Unlock()
	// Deliveries wait for the mutex: what takes longer with a larger filter comes after it.
	found = slices.DeleteFunc(found, func(e entry) bool { return !f.match(e.key) })
	slices.SortFunc(found, func(a, b entry) int { return cmp.Compare(b.changed, a.changed) })
	if len(found) > n {
		found = found[:n]
		next = found[n-1].changed
	}
	for _, e := range found {
		page = append(page, e.proto())
	}
	return page, next
}

func (e *entry) proto() *webhookgatewayv1.Refusal {
	p := &webhookgatewayv1.Refusal{
		Reason: e.reason, HttpStatus: int32(e.status), Message: e.message, //nolint:gosec // three digits
		Provider: e.provider, ClientId: e.clientID, Count: e.count,
		FirstTime: timestamppb.New(e.first), LastTime: timestamppb.New(e.last), BodyBytes: e.bodyBytes, TraceContext: e.trace,
	}
	if e.source.IsValid() {
		p.SourceAddress = e.source.String()
	}
	return p
}

func entryOf(p *webhookgatewayv1.Refusal, changed uint64) *entry {
	source, _ := netip.ParseAddr(p.GetSourceAddress()) // empty: it is not known
	return &entry{
		key:    key{p.GetReason(), p.GetProvider(), p.GetClientId(), source, p.GetMessage()},
		status: int(p.GetHttpStatus()), count: p.GetCount(), first: p.GetFirstTime().AsTime(), last: p.GetLastTime().AsTime(),
		bodyBytes: p.GetBodyBytes(), trace: p.GetTraceContext(), changed: changed,
	}
}
