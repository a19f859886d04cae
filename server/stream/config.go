package stream

import (
	"errors"
	"time"

	"github.com/webhook-gateway/webhook-gateway/server/fielderr"
)

// The bounds of a heartbeat interval.
const (
	MinHeartbeat = time.Second
	MaxHeartbeat = 10 * time.Minute
)

// Config bounds the streams of both services.
type Config struct {
	// MaxStreams is how many streams may be open at the same time, of both services
	// together. One more is refused with RESOURCE_EXHAUSTED.
	MaxStreams int `yaml:"max_streams"`
	// DefaultHeartbeat is the heartbeat interval of a stream whose request names
	// none: 1s to 10m.
	DefaultHeartbeat time.Duration `yaml:"default_heartbeat"`
}

// DefaultConfig returns the configuration that is in force where nothing else is
// given.
func DefaultConfig() Config {
	return Config{MaxStreams: 10_000, DefaultHeartbeat: 20 * time.Second}
}

// Validate returns all that is wrong with the configuration.
func (c Config) Validate() error {
	var errs []error
	if c.MaxStreams < 1 {
		errs = append(errs, fielderr.New("max_streams", "must be at least 1, not %d", c.MaxStreams))
	}
	if c.DefaultHeartbeat < MinHeartbeat || c.DefaultHeartbeat > MaxHeartbeat {
		errs = append(errs, fielderr.New("default_heartbeat", "must be %s to %s, not %s", MinHeartbeat, MaxHeartbeat, c.DefaultHeartbeat))
	}
	return errors.Join(errs...)
}
