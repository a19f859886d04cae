// Package canary tries the gateway from one end to the other, again and again: it delivers as
// a provider does, and waits for the event as a reader does. Metrics tell how that went.
//
// Its events are stored like all others, for a client of their own, which filters leave out
// unless they name it.
package canary

import (
	"context"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc"

	"github.com/webhook-gateway/webhook-gateway/server/secret"
)

// maxErrorText writes as much of an error as a line of the log has room for: whoever answers
// at the canary's URL can choose a part of it.
const maxErrorText = "%.500v"

// Params are what a canary works with.
type Params struct {
	// Secret is what the gateway verifies the canary's deliveries by; see finicity.Config.
	Secret secret.Secret
	// Own is the base URL of the gateway's own listener for webhooks on this machine.
	Own string
	// Conn is a connection to the gateway within the process; see access.AsOwn.
	Conn       grpc.ClientConnInterface
	Logger     *slog.Logger
	Registerer prometheus.Registerer
}

// Canary is the canary of a gateway, on or off.
type Canary struct {
	Params
	metrics *metrics
	current atomic.Pointer[setting]
	// failed is the stage that failed last; empty if none did. It is Run's.
	failed stage
}

// setting is a configuration as long as it is in force.
type setting struct {
	Config
	inForce context.Context //nolint:containedctx // done when another configuration is in force
	end     context.CancelFunc
}

// New returns the canary of a configuration. It registers its metrics.
func New(config Config, params Params) (*Canary, error) {
	c := &Canary{Params: params}
	c.Replace(config)
	var err error
	c.metrics, err = newMetrics(c, params.Registerer)
	return c, err
}

// Replace puts another configuration in force, even if it is the same: a delivery under way
// is broken off, and the next is sent at once.
func (c *Canary) Replace(config Config) {
	inForce, end := context.WithCancel(context.Background())
	if last := c.current.Swap(&setting{Config: config, inForce: inForce, end: end}); last != nil {
		last.end()
	}
}

// Run delivers until ctx is done.
func (c *Canary) Run(ctx context.Context) {
	for ctx.Err() == nil {
		s := c.current.Load()
		var due <-chan time.Time
		if s.Enabled() {
			due = time.After(s.Interval)
			c.try(ctx, s)
		}
		select {
		case <-due:
		case <-s.inForce.Done():
		case <-ctx.Done():
		}
	}
}

// try sends a delivery, and counts what became of it. One that was broken off is not counted.
func (c *Canary) try(ctx context.Context, s *setting) {
	bounded, cancel := context.WithTimeout(ctx, s.Timeout)
	defer cancel()
	defer context.AfterFunc(s.inForce, cancel)()
	took, at, err := c.roundTrip(bounded, s.URL)
	switch {
	case err == nil:
		c.metrics.lastSuccess.SetToCurrentTime()
		c.metrics.roundTrip.Observe(took.Seconds())
		if c.failed != "" {
			c.Logger.InfoContext(ctx, "the canary works again", "round_trip", took)
		}
	case ctx.Err() != nil || s.inForce.Err() != nil:
		return
	default:
		c.metrics.failures.WithLabelValues(string(at)).Inc()
		if c.failed != at {
			c.Logger.WarnContext(ctx, "the canary fails", "stage", string(at), "timeout", s.Timeout, "error", fmt.Sprintf(maxErrorText, err))
		}
	}
	c.failed = at
}
