package subscription

import (
	"context"
	"errors"
	"time"

	"github.com/webhook-gateway/webhook-gateway/server/eventlog"
	"github.com/webhook-gateway/webhook-gateway/server/filter"
)

const (
	// previewTime is how long the log is searched, and previewCheck after how many events the
	// clock is looked at, and it is the turn of another preview.
	previewTime  = time.Second
	previewCheck = 256
)

// Preview says what a subscription would deliver after it was moved.
type Preview struct {
	// Events are those of the log after the place, matching or not.
	Events uint64
	// Matching are those of them that match the filters, of which Repeated come before where
	// the subscription stands; at least so many unless Exact.
	Matching, Repeated int64
	// Exact: every event was looked at.
	Exact bool
}

// PreviewSeek says what would be delivered if the subscription were moved to after a
// position, as Seek does. It changes nothing, and searches the log for a second at most.
// Previews at the same time take turns: all together use no more than one core.
func (m *Manager) PreviewSeek(ctx context.Context, name string, after eventlog.Position) (Preview, error) {
	s, err := m.find(name)
	if err != nil {
		return Preview{}, err
	}
	s.mu.Lock()
	cursor, inForce, ended := s.machine.cursor, s.def.filter, s.ended
	s.mu.Unlock()
	if ended != nil {
		return Preview{}, ended
	}
	head := m.Log.Bounds().Head
	search := search{
		log: m.Log, filter: inForce, cursor: cursor, head: head,
		until: time.Now().Add(previewTime), turn: m.searching,
	}
	return search.run(ctx, after)
}

// search counts events.
type search struct {
	log    eventlog.Log
	filter *filter.Filter
	// cursor is where the subscription stands, and head where the search ends.
	cursor, head eventlog.Position
	until        time.Time
	// turn has a token while nobody searches.
	turn  chan struct{}
	found Preview
}

// run counts the events after a position.
func (s *search) run(ctx context.Context, after eventlog.Position) (Preview, error) {
	s.found = Preview{Events: uint64(s.head - min(after, s.head)), Exact: true}
	for at := after; at < s.head; {
		var err error
		if at, err = s.from(ctx, at); err != nil {
			return Preview{}, err
		}
	}
	return s.found, nil
}

// from counts the events after a position, and returns the one after which it is to go on: the
// head if it is not.
func (s *search) from(ctx context.Context, at eventlog.Position) (eventlog.Position, error) {
	mine, err := s.wait(ctx)
	if !mine {
		return s.head, err
	}
	defer func() {
		if mine {
			s.turn <- struct{}{}
		}
	}()
	n := 0
	for record, err := range s.log.Read(ctx, at) {
		var trimmed *eventlog.TrimmedError
		var damaged *eventlog.DamagedError
		switch {
		case errors.As(err, &trimmed) && trimmed.Trimmed > at: // it would not be delivered
			return trimmed.Trimmed, nil
		case errors.As(err, &damaged) && damaged.UpTo > at:
			s.found.Exact = false
			return damaged.UpTo, nil
		case err != nil:
			return at, readError(at+1, err)
		case record.Position > s.head:
			return s.head, nil
		}
		at = record.Position
		if s.filter.Match(record) == filter.Match {
			s.found.Matching++
			if at <= s.cursor {
				s.found.Repeated++
			}
		}
		if n++; n%previewCheck > 0 || at >= s.head {
			continue
		}
		if time.Now().After(s.until) {
			s.found.Exact = false
			return s.head, nil
		}
		s.turn <- struct{}{}
		if mine, err = s.wait(ctx); !mine {
			return s.head, err
		}
	}
	return s.head, nil
}

// wait waits for the turn of this search, and reports whether it came. If it did not, the
// time is over, or ctx is done, which is an error.
func (s *search) wait(ctx context.Context) (mine bool, err error) {
	select {
	case <-s.turn:
		return true, nil
	default:
	}
	over := time.NewTimer(time.Until(s.until))
	defer over.Stop()
	select {
	case <-s.turn:
		return true, nil
	case <-over.C:
		s.found.Exact = false
		return false, nil
	case <-ctx.Done():
		return false, context.Cause(ctx)
	}
}
