package webhook

import (
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"time"
)

func TestDefaultConfigIsValid(t *testing.T) {
	t.Parallel()
	if err := DefaultConfig().Validate(); err != nil {
		t.Error(err)
	}
}

func TestConfigValidate(t *testing.T) {
	t.Parallel()
	tests := []struct {
		want   string
		change func(*Config)
	}{
		{"max_body_bytes", func(c *Config) { c.MaxBodyBytes = 0 }},
		{"max_body_bytes", func(c *Config) { c.MaxBodyBytes, c.MaxBufferedBytes = 1<<40, 1<<41 }},
		{"max_buffered_bytes", func(c *Config) { c.MaxBufferedBytes = 6*c.MaxBodyBytes - 1 }},
		{"max_header_bytes", func(c *Config) { c.MaxHeaderBytes = 10 }},
		{"read_header_timeout", func(c *Config) { c.ReadHeaderTimeout = 0 }},
		{"read_timeout", func(c *Config) { c.ReadTimeout = -1 }},
		{"read_timeout", func(c *Config) { c.ReadTimeout = c.ReadHeaderTimeout - 1 }},
		{"idle_timeout", func(c *Config) { c.IdleTimeout = 0 }},
		{"append_timeout", func(c *Config) { c.AppendTimeout = 0 }},
		{"trusted_proxies[1]", func(c *Config) { c.TrustedProxies = []string{"10.0.0.1", "proxy.example"} }},
		{"trusted_proxies[0]", func(c *Config) { c.TrustedProxies = []string{"10.0.0.0/33"} }},
		{"this trusts everybody", func(c *Config) { c.TrustedProxies = []string{"0.0.0.0/0"} }},
		{"this trusts everybody", func(c *Config) { c.TrustedProxies = []string{"::/0"} }},
		{"this trusts everybody", func(c *Config) { c.TrustedProxies = []string{"::ffff:0.0.0.0/90"} }},
		{"stored_headers[1]: \"X Y\" is no name", func(c *Config) { c.StoredHeaders = []string{"X-Y", "X Y"} }},
		{"stored_headers[0]", func(c *Config) { c.StoredHeaders = []string{""} }},
		{"stored_headers[0]", func(c *Config) { c.StoredHeaders = []string{"X-Größe"} }},
		{"rate_limit.requests_per_second", func(c *Config) { c.RateLimit.RequestsPerSecond = -1 }},
		{"rate_limit.burst", func(c *Config) { c.RateLimit = RateLimit{RequestsPerSecond: 1, Burst: -1} }},
		{"rate_limit.burst", func(c *Config) { c.RateLimit.Burst = 5 }},
	}
	for _, test := range tests {
		cfg := DefaultConfig()
		test.change(&cfg)
		if err := cfg.Validate(); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("Validate() = %v, want an error about %s", err, test.want)
		}
	}
}

// The answer to the slowest body and the slowest append is still written: net/http counts
// the time for it from the end of the head.
func TestAnswersAreInTime(t *testing.T) {
	t.Parallel()
	cfg := DefaultConfig()
	cfg.ReadTimeout, cfg.AppendTimeout = time.Minute, time.Hour
	if got := NewServer(cfg, http.NotFoundHandler(), slog.New(slog.DiscardHandler)).WriteTimeout; got <= cfg.ReadTimeout+cfg.AppendTimeout {
		t.Errorf("an answer is cut off after %v", got)
	}
}
