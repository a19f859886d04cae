package webhook

import (
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net/http"
	"time"
)

// maxMaxBodyBytes keeps a stored event far below the 2 GiB that an event log
// entry can hold.
const maxMaxBodyBytes = 256 << 20

// Config is the configuration of the public listener.
type Config struct {
	// MaxBodyBytes is the largest body that is accepted.
	MaxBodyBytes int64 `yaml:"max_body_bytes"`
	// MaxBufferedBytes bounds the memory of all bodies that are being handled at
	// the same time, of each of which the first 64 KiB do not count. A delivery
	// that finds it used up is answered 503. Decoding and storing take two to three
	// times the size of a body for a short time on top.
	MaxBufferedBytes int64 `yaml:"max_buffered_bytes"`
	// MaxHeaderBytes is the largest request head that is accepted, about.
	MaxHeaderBytes int `yaml:"max_header_bytes"`
	// ReadHeaderTimeout bounds the time in which the head of a request arrives.
	ReadHeaderTimeout time.Duration `yaml:"read_header_timeout"`
	// ReadTimeout bounds the time in which a whole request arrives, head and body.
	ReadTimeout time.Duration `yaml:"read_timeout"`
	// IdleTimeout is how long a connection is kept open between two requests.
	IdleTimeout time.Duration `yaml:"idle_timeout"`
	// AppendTimeout bounds the wait for the event log. After it the delivery is
	// answered 503.
	AppendTimeout time.Duration `yaml:"append_timeout"`
	// TrustedProxies are the addresses and networks (CIDR) whose X-Forwarded-For is
	// believed. Without one, a delivery comes from the address of its connection.
	TrustedProxies []string `yaml:"trusted_proxies"`
	// RateLimit bounds the deliveries of each client. Off by default.
	RateLimit RateLimit `yaml:"rate_limit"`
}

// RateLimit bounds the authentic deliveries of each client of each provider.
// What exceeds it is answered 429. A provider's probes (Finicity's ping) are
// never limited.
type RateLimit struct {
	// RequestsPerSecond in the long run. 0: no limit.
	RequestsPerSecond float64 `yaml:"requests_per_second"`
	// Burst is how many may come at once. 0: as many as in one second.
	Burst int `yaml:"burst"`
}

// DefaultConfig returns the configuration that is in force where nothing else is
// given.
func DefaultConfig() Config {
	return Config{
		MaxBodyBytes:      16 << 20,
		MaxBufferedBytes:  256 << 20,
		MaxHeaderBytes:    64 << 10,
		ReadHeaderTimeout: 10 * time.Second,
		ReadTimeout:       30 * time.Second,
		IdleTimeout:       2 * time.Minute,
		AppendTimeout:     10 * time.Second,
	}
}

// Validate returns all that is wrong with the configuration.
func (c Config) Validate() error {
	var errs []error
	require := func(ok bool, format string, args ...any) {
		if !ok {
			errs = append(errs, fmt.Errorf(format, args...))
		}
	}
	require(c.MaxBodyBytes > 0 && c.MaxBodyBytes <= maxMaxBodyBytes,
		"max_body_bytes is %d: give 1 to %d", c.MaxBodyBytes, maxMaxBodyBytes)
	require(c.MaxBufferedBytes >= c.MaxBodyBytes,
		"max_buffered_bytes is %d: give at least max_body_bytes (%d), or no body of that size can ever be taken",
		c.MaxBufferedBytes, c.MaxBodyBytes)
	require(c.MaxHeaderBytes >= 1<<10, "max_header_bytes is %d: give at least 1024", c.MaxHeaderBytes)
	for _, d := range []struct {
		key   string
		value time.Duration
	}{
		{"read_header_timeout", c.ReadHeaderTimeout},
		{"read_timeout", c.ReadTimeout},
		{"idle_timeout", c.IdleTimeout},
		{"append_timeout", c.AppendTimeout},
	} {
		require(d.value > 0, "%s is %s: give a positive duration such as 30s", d.key, d.value)
	}
	require(c.ReadTimeout >= c.ReadHeaderTimeout,
		"read_timeout is %s: it includes the head of the request, so give at least read_header_timeout (%s)",
		c.ReadTimeout, c.ReadHeaderTimeout)
	if _, err := parseProxies(c.TrustedProxies); err != nil {
		errs = append(errs, err)
	}
	rps := c.RateLimit.RequestsPerSecond
	require(rps >= 0 && !math.IsInf(rps, 1),
		"rate_limit.requests_per_second is %v: give a positive number, or 0 for no limit", rps)
	require(c.RateLimit.Burst >= 0, "rate_limit.burst is %d: give a positive number, or 0 for the default", c.RateLimit.Burst)
	require(rps > 0 || c.RateLimit.Burst <= 0,
		"rate_limit.burst is %d without rate_limit.requests_per_second: give both, or neither", c.RateLimit.Burst)
	return errors.Join(errs...)
}

// NewServer returns the server of the public listener for a handler that New
// returned, with the limits of the configuration.
//
// ReadTimeout is also what ends a slow body: the handler then answers 408.
func NewServer(cfg Config, handler http.Handler, logger *slog.Logger) *http.Server {
	return &http.Server{
		Handler:           handler,
		ReadHeaderTimeout: cfg.ReadHeaderTimeout,
		ReadTimeout:       cfg.ReadTimeout,
		// It counts from the end of the head: the answer to the slowest body and the
		// slowest append must still be written.
		WriteTimeout:   cfg.ReadTimeout + cfg.AppendTimeout + 10*time.Second,
		IdleTimeout:    cfg.IdleTimeout,
		MaxHeaderBytes: cfg.MaxHeaderBytes,
		ErrorLog:       slog.NewLogLogger(logger.Handler(), slog.LevelWarn),
	}
}
