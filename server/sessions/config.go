package sessions

import (
	"errors"
	"time"

	"github.com/webhook-gateway/webhook-gateway/server/fielderr"
)

// Config says which sessions are known, and when one is stalled.
type Config struct {
	// StalledAfter is how long a session is quiet before it has ended: 1m to 24h.
	StalledAfter time.Duration `yaml:"stalled_after"`
	// Window is how long a session is known after its newest event: at least StalledAfter,
	// and at most 720h. A gateway that starts reads back so far.
	Window time.Duration `yaml:"window"`
	// MaxSessions is how many are known at most, of verified events and, apart from them, of
	// events that were not checked: at most 1,000,000. The oldest are forgotten first. 0: none
	// is looked for.
	MaxSessions int `yaml:"max_sessions"`
}

const (
	minStalledAfter = time.Minute
	maxStalledAfter = 24 * time.Hour
	maxWindow       = 720 * time.Hour
	maxMaxSessions  = 1_000_000
)

// DefaultConfig returns the configuration where nothing else is given.
func DefaultConfig() Config {
	return Config{StalledAfter: 30 * time.Minute, Window: 24 * time.Hour, MaxSessions: 100_000}
}

// Enabled reports whether sessions are looked for.
func (c Config) Enabled() bool { return c.MaxSessions > 0 }

// Validate returns all that is wrong with the configuration.
func (c Config) Validate() error {
	var errs []error
	if c.StalledAfter < minStalledAfter || c.StalledAfter > maxStalledAfter {
		errs = append(errs, fielderr.New("stalled_after", "must be 1m to 24h, not %v", c.StalledAfter))
	}
	if c.Window < c.StalledAfter || c.Window > maxWindow {
		errs = append(errs, fielderr.New("window", "must be sessions.stalled_after (%v) to 720h, not %v", c.StalledAfter, c.Window))
	}
	if c.MaxSessions < 0 || c.MaxSessions > maxMaxSessions {
		errs = append(errs, fielderr.New("max_sessions", "must be 1 to %d, or 0 to look for none; not %d", maxMaxSessions, c.MaxSessions))
	}
	return errors.Join(errs...)
}
