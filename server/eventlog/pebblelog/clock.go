package pebblelog

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"sync"
	"time"

	"github.com/cockroachdb/pebble/v2"

	"github.com/webhook-gateway/webhook-gateway/server/eventlog"
)

const (
	// A clock that is ahead of what is expected by up to maxJump is believed at once:
	// the gateway was off, or the machine slept. If it was wrong nevertheless, receive
	// times stand still for maxJump at most.
	maxJump = 7 * 24 * time.Hour
	// A clock that is further ahead is believed after it has stood for one part in
	// beliefParts of the jump: 14 hours for 60 days, 36 days for ten years.
	beliefParts = 100
)

// earliest is before anything that this gateway has stored. A machine that does not
// know the time often begins with 1970.
var earliest = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// clock is the time of the log.
//
// It goes by the clock of the machine. What that should say is known: it goes on
// from the newest event, or from when the log was last seen in use, and within a
// process as fast as the monotonic clock. A clock that is far ahead of that is not
// believed at first, and time goes on from what is known. Retention has a time of
// its own: it never jumps, but catches up. So a wrong clock can be corrected before
// it has removed what it makes look old, and a gateway that really was off for long
// goes on by itself.
type clock struct {
	wall func() time.Time
	// running is how long the process has been running, by the monotonic clock.
	running func() time.Duration
	logger  *slog.Logger

	mu sync.Mutex
	// read is when, by running, the fields below were true.
	read time.Duration
	// expected is what the clock should say, or later; zero before the first event.
	expected time.Time
	// retention is zero as long as there is no event, nor known how far that of others is: it goes by the clock.
	retention time.Time
	// given is the time of the newest event that was given one.
	given time.Time
	// doubted is since when, by running, the clock is not believed, while doubting.
	doubting bool
	doubted  time.Duration
}

// start makes the clock go on from what a store holds.
func (c *clock) start(s *store) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.read, c.given = c.running(), s.head.receiveTime
	c.retention = time.Time{}
	if s.head.position == 0 {
		return // there is nothing to compare it with, and nothing to lose
	}
	c.expected = later(later(s.head.receiveTime, s.seen), earliest)
	c.retention = s.head.receiveTime
	if !s.retained.IsZero() {
		c.retention = s.retained
	}
	now := c.now()
	if behind := now.Now.Sub(now.Retention); behind > time.Hour {
		c.logger.Info("the clock has gone on since the event log was last in use: retention by age catches up", "behind", behind.Round(time.Second))
	}
}

// gave tells that an event was given a time. No later one gets an earlier time. The first that is known of is
// not old, whatever this machine's clock has said by then, nor is retention behind it because the clock was.
func (c *clock) gave(t time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.retention.IsZero() || c.expected.IsZero() && c.retention.After(t) {
		c.retention = t
	}
	c.given, c.expected = later(c.given, t), later(later(c.expected, t), earliest)
}

// learnRetention tells how far the retention of a gateway is that shares the log. One that knows no event yet, and one
// that is behind, goes on from there.
func (c *clock) learnRetention(retention time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.expected.IsZero() || retention.After(c.retention) {
		c.retention = retention
	}
}

func (c *clock) get() eventlog.Clock {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now()
}

// now brings the fields up to date. The caller holds mu.
func (c *clock) now() eventlog.Clock {
	running := c.running()
	elapsed := running - c.read
	c.read = running
	// NOTE: Round takes the monotonic reading away. Times that have one are compared by
	// it, so that no jump would be seen.
	wall := c.wall().Round(0)
	now := wall
	if !c.expected.IsZero() {
		c.expected = c.expected.Add(elapsed)
		if !c.believe(wall) {
			now = c.expected
		}
		c.expected = later(c.expected, now)
	}
	now = later(now, c.given)
	if c.retention.IsZero() {
		return eventlog.Clock{Now: now, Retention: now, Ahead: wall.Sub(now)}
	}
	c.retention = c.retention.Add(eventlog.RetentionSpeed * elapsed)
	if c.retention.After(now) {
		c.retention = now
	}
	return eventlog.Clock{Now: now, Retention: c.retention, Ahead: wall.Sub(now)}
}

// believe reports whether the clock of the machine is to be gone by.
func (c *clock) believe(wall time.Time) bool {
	ahead := wall.Sub(c.expected)
	switch {
	case ahead <= maxJump:
		if c.doubting {
			c.logger.Info("the clock of this machine agrees with the event log again", "clock", wall)
		}
	case !c.doubting:
		c.doubting, c.doubted = true, c.read
		c.logger.Error("the clock of this machine is far ahead of the event log, and is not believed: events get the time of the log, and retention goes by that. Correct the clock, or let it stand if it is right",
			"clock", wall, "log", c.expected, "believed_after", (ahead / beliefParts).Round(time.Second))
		return false
	case c.read-c.doubted < ahead/beliefParts:
		return false
	default:
		c.logger.Warn("the clock of this machine has stood for long, and is believed from now on", "clock", wall, "log", c.expected)
	}
	c.doubting = false
	return true
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// clockValue is what is stored of a clock, so that a log that is quiet is not taken
// for one that was off.
func clockValue(c eventlog.Clock) []byte {
	b := binary.BigEndian.AppendUint64(make([]byte, 0, 16), uint64(c.Now.UnixNano()))
	return binary.BigEndian.AppendUint64(b, uint64(c.Retention.UnixNano()))
}

func parseClock(value []byte) (now, retention time.Time, ok bool) {
	if len(value) != 16 {
		return time.Time{}, time.Time{}, false // as if it were not there: the newest event says enough
	}
	at := func(b []byte) time.Time { return time.Unix(0, int64(binary.BigEndian.Uint64(b))) } //nolint:gosec // written from an int64
	return at(value), at(value[8:]), true
}

// loadClock reads when the log was last in use, or restored.
func (s *store) loadClock() error {
	s.seen = s.restored()
	value, err := s.meta(metaClock)
	if errors.Is(err, pebble.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	if now, retention, ok := parseClock(value); ok {
		s.seen, s.retained = later(s.seen, now), retention
	}
	return nil
}

// forgetRestored removes the file that says when the log was restored: it has been in use
// since, which says more. It may be of a clock that was far ahead.
func (l *Log) forgetRestored() error {
	err := l.disk.Remove(l.disk.PathJoin(l.config.Path, restoredName))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("forget when the event log was restored: %w", err)
	}
	return nil
}

// restored returns when the log was restored; zero if it was not, or nobody can tell.
func (s *store) restored() time.Time {
	file, err := s.disk.Open(s.disk.PathJoin(s.path, restoredName))
	if err != nil {
		return time.Time{}
	}
	defer func() { _ = file.Close() }() // it was read only
	text, err := io.ReadAll(io.LimitReader(file, 64))
	if err != nil {
		return time.Time{}
	}
	t, _ := time.Parse(time.RFC3339, string(text)) // what is no time is none
	return t
}
