package stream

import (
	"sync/atomic"
	"time"
)

// meterSeconds is over how many seconds a meter shows what was.
const meterSeconds = 10

// meter keeps what one stream did in each of the last seconds. Its stream writes it,
// without locks; anybody may read it.
type meter struct {
	begun   time.Time
	seconds [meterSeconds]meterSecond
}

type meterSecond struct {
	// number counts the seconds since the meter began, from 1; 0 is none.
	number, events, waited atomic.Int64
}

// at returns the second that a time is in. Only the stream calls it: it may clear one that is
// over.
func (m *meter) at(number int64) *meterSecond {
	s := &m.seconds[number%meterSeconds]
	if s.number.Load() != number {
		s.number.Store(0)
		s.events.Store(0)
		s.waited.Store(0)
		s.number.Store(number)
	}
	return s
}

// numberOf returns the number of the second that a time is in.
func (m *meter) numberOf(t time.Time) int64 { return int64(t.Sub(m.begun)/time.Second) + 1 }

// sent notes that events were sent.
func (m *meter) sent(now time.Time, events int) { m.at(m.numberOf(now)).events.Add(int64(events)) }

// waited notes that the stream waited for its reader.
func (m *meter) waited(from, to time.Time) {
	last := m.numberOf(to)
	for n := max(m.numberOf(from), last-meterSeconds+1); n <= last; n++ {
		m.at(n).waited.Add(int64(m.partOf(n, from, to)))
	}
}

// partOf returns how much of a second lies between two times.
func (m *meter) partOf(number int64, from, to time.Time) time.Duration {
	begin := m.begun.Add(time.Duration(number-1) * time.Second)
	if end := begin.Add(time.Second); to.After(end) {
		to = end
	}
	if from.Before(begin) {
		from = begin
	}
	return max(to.Sub(from), 0)
}

// read returns how many events were sent a second, and which part of the time the stream
// waited, over the last seconds; waitsSince is when the wait began that goes on, or zero.
func (m *meter) read(now, waitsSince time.Time) (eventsPerSecond, waitedRatio float64) {
	current := m.numberOf(now)
	oldest := max(current-meterSeconds+1, 1)
	begin := m.begun.Add(time.Duration(oldest-1) * time.Second)
	var events int64
	var waited time.Duration
	for i := range m.seconds {
		s := &m.seconds[i]
		number := s.number.Load()
		count, wait := s.events.Load(), s.waited.Load()
		if number >= oldest && number <= current && s.number.Load() == number { // else it was cleared meanwhile
			events += count
			waited += time.Duration(wait)
		}
	}
	if !waitsSince.IsZero() {
		if waitsSince.Before(begin) {
			waitsSince = begin
		}
		waited += now.Sub(waitsSince)
	}
	span := max(now.Sub(begin), time.Second) // less tells no rate
	return float64(events) / span.Seconds(), min(waited.Seconds()/span.Seconds(), 1)
}
