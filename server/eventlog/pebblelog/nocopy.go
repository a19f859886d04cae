package pebblelog

import (
	"context"
	"errors"
	"time"

	"github.com/webhook-gateway/webhook-gateway/server/commitlog"
	"github.com/webhook-gateway/webhook-gateway/server/eventlog"
)

// A gateway that has no copy yet begins it of the commit log, and until that answers it does not
// even know which log it is. Its Log is open all the same, so that the gateway listens, says why
// it is not ready, and answers what needs no log. It has nothing, in memory, behind a raised
// fence: the committer begins the copy as it mends one that cannot be used.

// errNoCopy is why a log without a copy takes nothing.
var errNoCopy = errors.New("there is no copy of the event log yet, and the commit log does not answer")

// patiently returns the context of the first opening of a copy.
func (s *shared) patiently() (context.Context, context.CancelFunc) {
	patience := s.pace.beginPatience
	if errors.Is(s.commits.Err(), commitlog.ErrStarting) { // it was waited for already
		patience = 0
	}
	return context.WithTimeoutCause(s.opening, patience, errNoCopy)
}

// openWithoutCopy opens a log that has nothing, takes nothing, and has no name. The cause is why.
func (l *Log) openWithoutCopy(cause error) (*store, *dedup, error) {
	s, err := openInMemory(l.config, eventlog.ID{}, l.logger, cause)
	if err != nil {
		return nil, nil, err
	}
	d, err := openDedup(s, l.config.DedupWindow)
	if err != nil {
		return nil, nil, errors.Join(err, s.close())
	}
	return s, d, nil
}

// hasCopy reports whether a shared log serves a copy.
func (l *Log) hasCopy() bool { return l.ID() != eventlog.ID{} }

// closingPatience is how long what is under way may wait for the commit log when the log is
// closed.
func (l *Log) closingPatience() time.Duration {
	if !l.hasCopy() {
		return 0
	}
	return l.closeTimeout / 2
}
