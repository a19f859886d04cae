package sessions

import (
	"context"
	"errors"
	"slices"
	"time"

	webhookgatewayv1 "github.com/webhook-gateway/webhook-gateway/gen/webhookgateway/v1"
	"github.com/webhook-gateway/webhook-gateway/server/eventlog"
)

// syncTimeout is how long is waited for what is in the log and not yet in the index.
const syncTimeout = 500 * time.Millisecond

// Session is a session as it stood at a moment.
type Session struct {
	ClientID, Subject string
	// Verified: its events are. Otherwise they were not checked.
	Verified bool
	State    webhookgatewayv1.SessionState
	// Events are the first of Count, one at least. They must not be changed.
	Events []Event
	Count  int64
	// Newest is its newest event.
	Newest Event
	// Missing are the types that a whole session has and this one lacks.
	Missing []webhookgatewayv1.EventType
}

// First returns the position of its first event, which no other session has.
func (s Session) First() eventlog.Position { return s.Events[0].Position }

// Sync brings the index up to the head of the log, and returns the time since when all
// sessions that began are known. That is now if the log could not be read so far in a
// moment. Its errors are those of ctx, and eventlog.ErrClosed after Close.
func (x *Index) Sync(ctx context.Context) (completeSince time.Time, err error) {
	bounded, cancel := context.WithTimeout(ctx, syncTimeout)
	defer cancel()
	err = x.pass(bounded)
	switch {
	case ctx.Err() != nil:
		return time.Time{}, context.Cause(ctx)
	case x.ctx.Err() != nil, errors.Is(err, eventlog.ErrClosed):
		return time.Time{}, eventlog.ErrClosed
	}
	now := x.log.Clock().Now
	x.mu.Lock()
	defer x.mu.Unlock()
	if err != nil || !x.live || !x.known || !x.config.Enabled() {
		return now, nil
	}
	since := max(x.from+int64(x.config.StalledAfter), now.Add(-x.config.Window).UnixNano())
	for _, b := range x.books {
		since = max(since, b.completeSince)
	}
	return time.Unix(0, since), nil
}

// Before returns up to n sessions that began before a position, the newest first. None is
// returned only if there are no others.
func (x *Index) Before(p eventlog.Position, n int) []Session {
	now, trimmed := x.log.Clock().Now.UnixNano(), x.log.Bounds().Trimmed
	x.mu.Lock()
	defer x.mu.Unlock()
	for x.live {
		verified, others := x.books[0].before(p, n), x.books[1].before(p, n)
		var list []Session
		found := 0
		for ; found < n && len(verified)+len(others) > 0; found++ {
			from, isVerified := &verified, true
			if len(verified) == 0 || len(others) > 0 && others[0].first() > verified[0].first() {
				from, isVerified = &others, false
			}
			s := (*from)[0]
			*from = (*from)[1:]
			p = s.first()
			if !s.cut && x.books[0].isKept(s, now, trimmed) {
				list = append(list, shown(s, isVerified))
			}
		}
		if len(list) > 0 || found == 0 {
			return list
		}
	}
	return nil
}

func shown(s *session, verified bool) Session {
	client, subject := splitKey(s.key)
	return Session{
		ClientID: client, Subject: subject, Verified: verified, State: s.state,
		Events: slices.Clip(s.events), Count: s.count, Newest: s.newest, Missing: s.missing(),
	}
}
