package webhook

import (
	"errors"
	"log/slog"
	"math"
	"net/http"
	"time"

	"github.com/webhook-gateway/webhook-gateway/server/connlimit"
	"github.com/webhook-gateway/webhook-gateway/server/fielderr"
)

// maxMaxBodyBytes keeps a stored event far below the 2 GiB that an event log
// entry can hold.
const maxMaxBodyBytes = 256 << 20

// bufferedBodies is how many of the largest bodies max_buffered_bytes has room for at
// least.
const bufferedBodies = 6

// Config is the configuration of the public listener.
type Config struct {
	// MaxBodyBytes is the largest body that is accepted.
	MaxBodyBytes int64 `yaml:"max_body_bytes"`
	// MaxBufferedBytes bounds the memory of all deliveries that are being handled at the
	// same time: their bodies, as the bytes arrive, and what they are decoded to. The
	// large deliveries of one client (more than 64 KiB) may use a half of it, its small
	// ones a quarter, and one source a quarter, if TrustedProxies says who that is. When
	// it is used up, the delivery whose body has been waited for for longest is answered
	// 503 OVERLOADED, or else the new one.
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
	// StoredHeaders are the headers of a delivery that are stored with the event,
	// beside those that verification used, Content-Type and User-Agent. Of all
	// together at most 64 values and 8 KiB are stored. None may hold a required secret.
	StoredHeaders []string `yaml:"stored_headers"`
	// LogAccepted logs each accepted delivery at level INFO, not DEBUG.
	LogAccepted bool `yaml:"log_accepted"`
	// RateLimit bounds the deliveries of each client and verdict. Off by default.
	RateLimit RateLimit `yaml:"rate_limit"`
}

// RateLimit bounds the deliveries of each client of each provider. Those of each
// verdict have a limit of their own, so that what is not verified cannot use up that
// of what is.
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
	require := func(ok bool, key, format string, args ...any) {
		if !ok {
			errs = append(errs, fielderr.New(key, format, args...))
		}
	}
	require(c.MaxBodyBytes > 0 && c.MaxBodyBytes <= maxMaxBodyBytes,
		"max_body_bytes", "must be 1 to %d, not %d", maxMaxBodyBytes, c.MaxBodyBytes)
	require(c.MaxBufferedBytes/bufferedBodies >= c.MaxBodyBytes,
		"max_buffered_bytes", "must be at least %d times webhooks.max_body_bytes (%d), so that one body does not keep out all others: "+
			"it takes up to 3 times its size, and the large bodies of one client may take a half; not %d",
		bufferedBodies, c.MaxBodyBytes, c.MaxBufferedBytes)
	require(c.MaxHeaderBytes >= 1<<10, "max_header_bytes", "must be at least 1024, not %d", c.MaxHeaderBytes)
	for _, d := range []struct {
		key   string
		value time.Duration
	}{
		{"read_header_timeout", c.ReadHeaderTimeout},
		{"read_timeout", c.ReadTimeout},
		{"idle_timeout", c.IdleTimeout},
		{"append_timeout", c.AppendTimeout},
	} {
		require(d.value > 0, d.key, "must be a positive duration such as 30s, not %s", d.value)
	}
	require(c.ReadTimeout <= 0 || c.ReadTimeout >= c.ReadHeaderTimeout,
		"read_timeout", "must be at least webhooks.read_header_timeout (%s), because it includes the head of the request; not %s",
		c.ReadHeaderTimeout, c.ReadTimeout)
	if _, err := parseProxies(c.TrustedProxies); err != nil {
		errs = append(errs, err)
	}
	errs = append(errs, c.validateStoredHeaders())
	rps := c.RateLimit.RequestsPerSecond
	require(rps >= 0 && !math.IsInf(rps, 1),
		"rate_limit.requests_per_second", "must be a positive number, or 0 for no limit; not %v", rps)
	require(c.RateLimit.Burst >= 0, "rate_limit.burst", "must be a positive number, or 0 for the default; not %d", c.RateLimit.Burst)
	require(rps != 0 || c.RateLimit.Burst <= 0,
		"rate_limit.burst", "has no meaning without webhooks.rate_limit.requests_per_second: give both, or neither")
	return errors.Join(errs...)
}

func (c Config) acceptedLevel() slog.Level {
	if c.LogAccepted {
		return slog.LevelInfo
	}
	return slog.LevelDebug
}

// NewServer returns the server of the public listener for a handler that New
// returned, with the limits of the configuration.
//
// ReadTimeout is also what ends a slow body: the handler then answers 408.
func NewServer(cfg Config, handler http.Handler, logger *slog.Logger) *http.Server {
	server := &http.Server{
		Handler:           handler,
		ReadHeaderTimeout: cfg.ReadHeaderTimeout,
		ReadTimeout:       cfg.ReadTimeout,
		WriteTimeout:      cfg.writeTimeout(),
		IdleTimeout:       cfg.IdleTimeout,
		MaxHeaderBytes:    cfg.MaxHeaderBytes,
		ErrorLog:          slog.NewLogLogger(logger.Handler(), slog.LevelWarn),
	}
	connlimit.Serve(server)
	return server
}

// writeTimeout counts from the end of the head: the answer to the slowest body and the
// slowest append must still be written.
func (c Config) writeTimeout() time.Duration { return c.ReadTimeout + c.AppendTimeout + 10*time.Second }
