package main

import (
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"
)

// maxShown bounds how many broken promises of a kind are told one by one.
const maxShown = 5

// An answer is what came of one delivery.
type answer struct {
	// key is the event id.
	key     string
	gateway string
	// sent is when it was sent, answered when the answer came, or was given up.
	sent, answered time.Time
	// code is 0 if there was no answer.
	code int
	// retryAfter tells that a 503 says when to come back.
	retryAfter bool
	// first tells that the event was never sent before.
	first bool
}

// An entry is an event as a reader got it.
type entry struct{ id, cursor, key string }

// A span of time has an end when it is over.
type span struct {
	what     string
	from, to time.Time
}

// within reports whether all of a time lies in the span.
func (s span) within(from, to time.Time) bool {
	return from.After(s.from) && !s.to.IsZero() && to.Before(s.to)
}

// meets reports whether some of a time lies in the span.
func (s span) meets(from, to time.Time) bool {
	return to.After(s.from) && (s.to.IsZero() || from.Before(s.to))
}

// verdicts knows what the gateways promise, and compares it with what was answered and
// streamed. It knows nothing else of them.
type verdicts struct {
	mu sync.Mutex
	// log is what the reader that is ahead has read; everybody reads the same.
	log    []entry
	places map[string]int // by key
	ids    map[string]bool
	// readers are how far each reader is: how many events, and its cursor.
	readers map[string]*reading
	// sent are all keys; acked those that were answered 200.
	sent     map[string]bool
	acked    map[string]answer
	silences []answer
	counts   map[int]int // by code
	// outages are when no commit could be taken; troubles when a gateway was not itself, by
	// its name.
	outages  []*span
	troubles map[string][]*span
	// settled is by subscription and key. What is in maySettled may be settled or not.
	settled    map[string]settlement
	maySettled map[string]bool
	// removed are those that were removed before they were settled, as a worker was told.
	removed map[string]bool
	// wereSettled are those of which a worker was told so.
	wereSettled map[string]string
	// handed counts what workers were given.
	handed int

	broken map[string][]string // by promise
	first  chan struct{}       // closed at the first one
}

type reading struct {
	n  int
	at string
}

func newVerdicts() *verdicts {
	return &verdicts{
		places: make(map[string]int), ids: make(map[string]bool), readers: make(map[string]*reading),
		sent: make(map[string]bool), acked: make(map[string]answer), counts: make(map[int]int),
		troubles: make(map[string][]*span), settled: make(map[string]settlement), maySettled: make(map[string]bool), wereSettled: make(map[string]string), removed: make(map[string]bool),
		broken: make(map[string][]string), first: make(chan struct{}),
	}
}

// breaks notes that a promise was not kept.
func (v *verdicts) breaks(promise, format string, args ...any) {
	if len(v.broken) == 0 {
		close(v.first)
	}
	v.broken[promise] = append(v.broken[promise], fmt.Sprintf(format, args...))
}

// fails is breaks for those who do not hold the lock.
func (v *verdicts) fails(promise, format string, args ...any) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.breaks(promise, format, args...)
}

// sends notes that a key is about to be sent, and returns whether it never was.
func (v *verdicts) sends(key string) (first bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	first = !v.sent[key]
	v.sent[key] = true
	return first
}

func (v *verdicts) answered(a answer) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.counts[a.code]++
	switch a.code {
	case 200:
		if _, ok := v.acked[a.key]; !ok {
			v.acked[a.key] = a
		}
	case 503:
		if !a.retryAfter {
			v.breaks("503 with Retry-After", "%s answered %s 503 without it", a.gateway, a.key)
		}
	case 0:
		v.silences = append(v.silences, a)
	default:
		v.breaks("200 or 503", "%s answered %s %d", a.gateway, a.key, a.code)
	}
}

// follows notes a frame: what moved a reader, from where, to where, with which events.
func (v *verdicts) follows(reader, after, to string, events []entry) {
	v.mu.Lock()
	defer v.mu.Unlock()
	r := v.readers[reader]
	if r == nil {
		r = &reading{at: after}
		v.readers[reader] = r
	}
	if after != r.at {
		v.breaks("a stream without a hole", "%s was at %s, and is told of what comes after %s", reader, r.at, after)
	}
	r.at = to
	for _, e := range events {
		v.reads(reader, r.n, e)
		r.n++
	}
}

func (v *verdicts) reads(reader string, n int, e entry) {
	if n < len(v.log) {
		if e != v.log[n] {
			v.breaks("one order everywhere", "event %d of %s is %s (%s), another has %s (%s) there", n, reader, e.key, e.id, v.log[n].key, v.log[n].id)
		}
		return
	}
	if at, ok := v.places[e.key]; ok {
		v.breaks("stored once", "%s is event %d (%s) and event %d (%s)", e.key, at, v.log[at].id, n, e.id)
	}
	if v.ids[e.id] {
		v.breaks("an id for one event", "%s is the id of several", e.id)
	}
	if !v.sent[e.key] {
		v.breaks("nothing made up", "event %d (%s) of %s was never sent: %q", n, e.id, reader, e.key)
	}
	v.places[e.key], v.ids[e.id] = n, true
	v.log = append(v.log, e)
}

// begins notes the begin of a time without a quorum, and returns what ends it.
func (v *verdicts) begins() (ends func()) {
	v.mu.Lock()
	defer v.mu.Unlock()
	s := &span{from: time.Now()}
	v.outages = append(v.outages, s)
	return v.ender(s)
}

// disturbs notes that a gateway is not itself from now on, and returns what ends that.
func (v *verdicts) disturbs(gateway, what string) (ends func()) {
	v.mu.Lock()
	defer v.mu.Unlock()
	s := &span{what: what, from: time.Now()}
	v.troubles[gateway] = append(v.troubles[gateway], s)
	return v.ender(s)
}

func (v *verdicts) ender(s *span) func() {
	return func() {
		v.mu.Lock()
		defer v.mu.Unlock()
		s.to = time.Now()
	}
}

// A tally counts events that are in the streams, and answers 503.
type tally struct{ stored, refused int }

func (v *verdicts) tally() tally {
	v.mu.Lock()
	defer v.mu.Unlock()
	return tally{stored: len(v.log), refused: v.counts[503]}
}

// read returns how many events a reader has read.
func (v *verdicts) read(reader string) int {
	v.mu.Lock()
	defer v.mu.Unlock()
	if r := v.readers[reader]; r != nil {
		return r.n
	}
	return 0
}

// missing returns how many of the events that were answered 200 nobody has read yet, and of
// those that anybody has read, how many a reader lacks, by reader.
func (v *verdicts) missing(readers []string) (unread int, behind map[string]int) {
	v.mu.Lock()
	defer v.mu.Unlock()
	behind = make(map[string]int)
	for _, name := range readers {
		n := 0
		if r := v.readers[name]; r != nil {
			n = r.n
		}
		if n < len(v.log) {
			behind[name] = len(v.log) - n
		}
	}
	for key := range v.acked {
		if _, ok := v.places[key]; !ok {
			unread++
		}
	}
	return unread, behind
}

// finish judges what can only be judged at the end, when every reader had the time to read
// everything.
func (v *verdicts) finish(readers []string) {
	_, behind := v.missing(readers)
	v.mu.Lock()
	defer v.mu.Unlock()
	for key, a := range v.acked {
		if _, ok := v.places[key]; !ok {
			v.breaks("what was answered 200 is there", "%s was answered 200 by %s at %s, and is in no stream", key, a.gateway, clock(a.answered))
		}
		for _, s := range v.outages {
			if a.first && s.within(a.sent, a.answered) {
				v.breaks("503 without a quorum", "%s was answered 200 by %s at %s, and there was no quorum from %s to %s", key, a.gateway, clock(a.answered), clock(s.from), clock(s.to))
			}
		}
	}
	for reader, n := range behind {
		v.breaks("the same on all gateways", "%s lacks the last %d of %d events", reader, n, len(v.log))
	}
	for _, a := range v.silences {
		if !slices.ContainsFunc(v.troubles[a.gateway], func(s *span) bool { return s.meets(a.sent, a.answered) }) {
			v.breaks("an answer in time", "%s did not answer %s, sent at %s, within %v", a.gateway, a.key, clock(a.sent), a.answered.Sub(a.sent).Round(time.Millisecond))
		}
	}
}

// report returns what was not kept, and how much was judged.
func (v *verdicts) report() (broken []string, judged string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	for _, promise := range slices.Sorted(maps.Keys(v.broken)) {
		all := v.broken[promise]
		broken = append(broken, fmt.Sprintf("BROKEN: %s (%d times)", promise, len(all)))
		for _, one := range all[:min(len(all), maxShown)] {
			broken = append(broken, "  "+one)
		}
	}
	return broken, fmt.Sprintf("%d events were answered 200, and %d are in the streams, with those that were stored and not answered in time; %d deliveries were answered 503, and %d not at all. Workers got %d deliveries and acknowledged %d events; %d events were removed by retention before that, and workers were told",
		len(v.acked), len(v.log), v.counts[503], v.counts[0], v.handed, len(v.settled), len(v.removed))
}

func clock(t time.Time) string { return t.Format("15:04:05.000") }
