package stream

import (
	"cmp"
	"context"
	"slices"
	"time"

	webhookgatewayv1 "github.com/webhook-gateway/webhook-gateway/gen/webhookgateway/v1"
	"github.com/webhook-gateway/webhook-gateway/server/access"
	"github.com/webhook-gateway/webhook-gateway/server/eventlog"
)

// Description is what a stream is. Its functions may be called from any goroutine.
type Description struct {
	// Subscription is that of a worker; empty for a stream that is none.
	Subscription string
	View         webhookgatewayv1.EventView
	// Filters returns the filters in force, which must not be changed.
	Filters func() []*webhookgatewayv1.EventFilter
	// InFlight returns how many events a worker holds, and -1 if it is not known. Nil: none.
	InFlight func() int
}

// Listed is a stream that is open, as others see it.
type Listed struct {
	Description

	// ID tells it from all others of this gateway since its start. It rises.
	ID     int64
	Caller *access.Caller
	Origin access.Origin
	// Opened is when it was.
	Opened time.Time

	sender *Sender
}

// List has a stream listed among those that are open, with what its sender counts, until the
// function it returns is called.
func (s *Streams) List(call context.Context, d Description, sender *Sender) (unlist func()) {
	l := &Listed{
		Description: d, Caller: access.From(call), Origin: access.OriginOf(call), Opened: sender.meter.begun, sender: sender,
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lastID++
	l.ID = s.lastID
	s.listed[l.ID] = l
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.listed, l.ID)
	}
}

// Listed returns the streams that are open and have a higher id than one, in the order in
// which they were opened.
func (s *Streams) Listed(after int64) []*Listed {
	s.mu.Lock()
	defer s.mu.Unlock()
	var list []*Listed
	for id, l := range s.listed {
		if id > after {
			list = append(list, l)
		}
	}
	slices.SortFunc(list, func(a, b *Listed) int { return cmp.Compare(a.ID, b.ID) })
	return list
}

// State is what a stream has done.
type State struct {
	// Position is how far it has read; 0 of a worker.
	Position eventlog.Position
	CaughtUp bool
	// SentEvents and SentBytes are of all frames with events.
	SentEvents, SentBytes int64
	// EventsPerSecond is of the last seconds.
	EventsPerSecond float64
	// Delay is that of the oldest event of the newest frame that was sent while the stream had
	// caught up; negative if there was none.
	Delay time.Duration
	// BlockedSince is since when the stream waits for its reader; zero if it does not, or for
	// no longer than a moment. BlockedRatio is the part of the last seconds in which it waited.
	BlockedSince time.Time
	BlockedRatio float64
}

// blockedAfter is how long a frame takes at least of whom it is said that its reader is waited
// for: to hand over any takes a moment.
const blockedAfter = 100 * time.Millisecond

// State returns what a stream has done by a time.
func (l *Listed) State(now time.Time) State {
	s := l.sender
	state := State{
		Position: eventlog.Position(s.position.Load()), CaughtUp: s.caughtUp.Load(),
		SentEvents: s.sentEvents.Load(), SentBytes: s.sentBytes.Load(), Delay: time.Duration(s.delay.Load()),
	}
	var waits time.Time
	if since := s.sendingSince.Load(); since != 0 {
		waits = s.meter.begun.Add(time.Duration(since))
		if now.Sub(waits) >= blockedAfter {
			state.BlockedSince = waits
		}
	}
	state.EventsPerSecond, state.BlockedRatio = s.meter.read(now, waits)
	return state
}
