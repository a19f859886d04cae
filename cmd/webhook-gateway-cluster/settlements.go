package main

import "time"

// A settlement is an acknowledgement that was answered OK.
type settlement struct {
	attempt int32
	at      time.Time
	by      string
}

// delivered notes that a worker was given an event, on a stream that was opened at a time.
func (v *verdicts) delivered(worker, key string, attempt int32, opened time.Time) {
	v.mu.Lock()
	defer v.mu.Unlock()
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

// unsettled returns how many events nobody has acknowledged.
func (v *verdicts) unsettled() int {
	v.mu.Lock()
	defer v.mu.Unlock()
	n := 0
	for _, e := range v.log {
		if _, ok := v.settled[e.key]; !ok {
			n++
		}
	}
	return n
}
