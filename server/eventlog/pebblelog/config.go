package pebblelog

import (
	"errors"
	"time"

	"github.com/webhook-gateway/webhook-gateway/server/fielderr"
)

// minDedupWindow is longer than providers retry a delivery.
const minDedupWindow = 7 * 24 * time.Hour

// Config configures a log.
type Config struct {
	// Path of the folder of the log. It is created if it does not exist.
	Path string
	// Retention is how long events are kept.
	Retention Retention
	// UnverifiedQuotaBytes bounds the events that failed verification, before
	// compression; 0 is without limit. More are refused until retention has removed
	// some. They do not count for Retention.MaxBytes.
	UnverifiedQuotaBytes uint64
	// DedupWindow is how long the event id of a stored event is remembered at
	// least; at most twice as long. It does not depend on Retention. At least 168h.
	DedupWindow time.Duration
	// MaxOpenFiles is how many files of the log are open at the same time, about; 0 is
	// the default of Pebble.
	MaxOpenFiles int
	// DiskReserve is how many bytes of the disk are kept free: with less, events are
	// refused, so that what removes old ones still fits. 0 is a twentieth of the disk,
	// at least 64 MiB and at most 1 GiB, but never more than a quarter of the disk.
	DiskReserve uint64

	// copy is set for the copy of a shared log, in which nothing is mended: where it begins
	// if it does not exist.
	copy *place
	// moving is set to open a log that is to be moved, or was: see move.go.
	moving bool
}

// Retention is how long events are kept. The limit that is reached first holds.
type Retention struct {
	// MaxAge of an event; 0 is without limit.
	MaxAge time.Duration
	// MaxBytes of all events but those that failed verification, before compression;
	// 0 is without limit. The newest event is always kept.
	MaxBytes uint64
	// Interval between two checks.
	Interval time.Duration
}

// DefaultConfig returns a configuration that lacks only the path.
func DefaultConfig() Config {
	return Config{
		Retention:   Retention{MaxAge: 30 * 24 * time.Hour, Interval: time.Minute},
		DedupWindow: minDedupWindow,

		UnverifiedQuotaBytes: 1 << 30,
	}
}

// Validate returns all that is wrong with the configuration.
func (c Config) Validate() error {
	var errs []error
	if c.Path == "" {
		errs = append(errs, fielderr.New("path", "give the folder that the event log is kept in"))
	}
	if c.Retention.MaxAge < 0 {
		errs = append(errs, fielderr.New("retention.max_age", "must be a positive duration, or 0 to keep events of any age; not %v", c.Retention.MaxAge))
	}
	if c.Retention.Interval <= 0 {
		errs = append(errs, fielderr.New("retention.interval", "must be a positive duration such as 1m, not %v", c.Retention.Interval))
	}
	if c.DedupWindow < minDedupWindow {
		errs = append(errs, fielderr.New("dedup_window", "must be at least %v, as long as providers may retry; not %v", minDedupWindow, c.DedupWindow))
	}
	return errors.Join(errs...)
}
