package canary

import (
	"errors"
	"net/url"
	"strings"
	"time"

	"github.com/webhook-gateway/webhook-gateway/server/fielderr"
)

// Config is the configuration of the canary.
type Config struct {
	// Interval is the time from one delivery to the next: at least 1s. 0: there is no canary.
	Interval time.Duration `yaml:"interval"`
	// Timeout bounds the way of a delivery, from opening the stream to its event: at most 1m.
	Timeout time.Duration `yaml:"timeout"`
	// URL is the base URL under which providers reach this gateway, and no other: each signs
	// with a secret of its own. Empty: the gateway's own listener, on this machine.
	URL string `yaml:"url"`
}

const (
	minInterval = time.Second
	maxTimeout  = time.Minute
)

// DefaultConfig has no canary.
func DefaultConfig() Config { return Config{Timeout: 10 * time.Second} }

// Enabled reports whether there is a canary.
func (c Config) Enabled() bool { return c.Interval != 0 }

// Validate returns all that is wrong with the configuration.
func (c Config) Validate() error {
	var errs []error
	if c.Enabled() && c.Interval < minInterval {
		errs = append(errs, fielderr.New("interval", "must be 1s or more, or 0s for no canary; not %v", c.Interval))
	}
	if c.Timeout <= 0 || c.Timeout > maxTimeout {
		errs = append(errs, fielderr.New("timeout", "must be a positive duration such as 10s, and at most 1m; not %v", c.Timeout))
	}
	if !validURL(c.URL) {
		errs = append(errs, fielderr.New("url", "%q is no base URL: give one such as https://hooks.example.com, without user, query and fragment, or leave it out", c.URL))
	}
	return errors.Join(errs...)
}

func validURL(text string) bool {
	if text == "" {
		return true
	}
	u, err := url.Parse(text)
	return err == nil && (u.Scheme == "https" || u.Scheme == "http") && u.Hostname() != "" && u.User == nil &&
		!strings.ContainsAny(text, "?#")
}
