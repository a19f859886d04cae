package main

import (
	"slices"
	"time"
)

// A settlement is an acknowledgement of an event of a subscription.
type settlement struct {
	attempt int32
	at      time.Time
	by      string
}

// The keys below are those of an event of a subscription: its name, a slash, and the key of the
// event.

// delivered notes that a worker was given an event, on a stream that was opened at a time.
func (v *verdicts) delivered(worker, key string, attempt int32, opened time.Time) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.handed++
	s, ok := v.settled[key]
	// What was on its way to another worker before it was settled may still arrive.
	if ok && (opened.After(s.at) || attempt > s.attempt) {
		v.breaks("settled once and for all", "%s was acknowledged by %s at %s, and was given to %s again at %s, attempt %d",
			key, s.by, clock(s.at), worker, clock(time.Now()), attempt)
	}
}

// settles notes that the acknowledgement of a worker was answered OK.
func (v *verdicts) settles(worker, key string, attempt int32) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if s, ok := v.settled[key]; ok {
		v.breaks("settled once and for all", "%s was acknowledged by %s and by %s, and both were answered OK", key, s.by, worker)
		return
	}
	v.settled[key] = settlement{attempt: attempt, at: time.Now(), by: worker}
}

// maySettle notes that an acknowledgement was not answered: it may count.
func (v *verdicts) maySettle(key string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.maySettled[key] = true
}

// wasSettled notes that an acknowledgement was answered SETTLED: another one counts, which may be
// answered later.
func (v *verdicts) wasSettled(worker, key string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.wereSettled[key] = worker
}

// finishWork judges the workers of subscriptions at the end, when they had the time to do all.
func (v *verdicts) finishWork(subscriptions []string) {
	for _, name := range subscriptions {
		if n, one := v.unsettled(name); n > 0 {
			v.fails("given out until it is settled", "%d events were not, such as %s", n, one)
		}
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	for key, worker := range v.wereSettled {
		if _, ok := v.settled[key]; !ok && !v.maySettled[key] {
			v.breaks("nothing is settled by itself", "%s is settled, as %s is told, and nobody has acknowledged it", key, worker)
		}
	}
}

// unsettled returns how many events of a subscription nobody has acknowledged.
func (v *verdicts) unsettled(subscription string) (n int, one string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	for _, e := range v.log {
		key := subscription + "/" + e.key
		if _, ok := v.settled[key]; !ok && !v.maySettled[key] && !v.removed[key] {
			n++
			one = key
		}
	}
	return n, one
}

// lacks notes that a worker was told that the events after a cursor, up to another, were removed before all of
// them were settled. They are those that retention may remove by then, also if a clock was a little ahead.
func (v *verdicts) lacks(worker, subscription, after, upTo string, at time.Time) {
	v.mu.Lock()
	defer v.mu.Unlock()
	index := func(cursor string, otherwise int) int {
		if i := slices.IndexFunc(v.log, func(e entry) bool { return e.cursor == cursor }); i >= 0 {
			return i
		}
		return otherwise
	}
	for _, e := range v.log[index(after, -1)+1 : index(upTo, len(v.log)-1)+1] {
		key := subscription + "/" + e.key
		if _, ok := v.settled[key]; ok || v.maySettled[key] || v.removed[key] {
			continue
		}
		v.removed[key] = true
		if a, ok := v.acked[e.key]; ok && at.Sub(a.answered) < retention/2 {
			v.breaks("kept for its time", "%s was answered 200 at %s, and removed before %s was given it at %s", key, clock(a.answered), worker, clock(at))
		}
	}
}
