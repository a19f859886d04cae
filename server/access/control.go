package access

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"

	"github.com/prometheus/client_golang/prometheus"
)

// Control is the access control of a gateway. Its methods are safe for concurrent use.
type Control struct {
	audit   audit
	tickets tickets
	roots   Roots

	mu       sync.RWMutex
	current  *authenticator
	sessions map[*session]struct{}
}

// New returns the access control of a configuration. Client certificates count as long as
// roots vouch for them. It registers its metrics. The audit goes to a logger.
func New(config Config, roots Roots, logger *slog.Logger, registerer prometheus.Registerer) (*Control, error) {
	current, err := newAuthenticator(config, nil, logger)
	if err != nil {
		return nil, err
	}
	c := &Control{roots: roots, current: current, sessions: make(map[*session]struct{})}
	if c.audit, err = newAudit(logger, registerer); err != nil {
		return nil, fmt.Errorf("register the metrics of access: %w", err)
	}
	return c, nil
}

// Prepare returns a function that puts another configuration in force, or what is wrong
// with it. Then the streams of callers who are not who they were, or may not exactly what
// they might, end; all others go on. Other roots have to be in force before. One is prepared
// at a time.
func (c *Control) Prepare(config Config) (replace func(), err error) {
	c.mu.RLock()
	current := c.current
	c.mu.RUnlock()
	next, err := newAuthenticator(config, current, c.audit.logger)
	if err != nil {
		return nil, err
	}
	return func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.current = next
		for s := range c.sessions {
			if caller, err := next.caller(s.proof); err != nil || !same(caller, s.caller) {
				s.end(errChanged())
			}
		}
	}, nil
}

// A call is a call whose caller is known.
type call struct {
	caller *Caller
	proof  proof
	// remote is the address of the client, and userAgent what it calls itself.
	remote, userAgent string
}

// identify finds out who makes a call. Its errors are statuses.
func (c *Control) identify(ctx context.Context, given presented, remote, userAgent string) (*call, error) {
	c.mu.RLock()
	current := c.current
	c.mu.RUnlock()
	proof, err := current.prove(ctx, given)
	if err != nil {
		return nil, err
	}
	caller, err := current.caller(proof)
	if err != nil {
		return nil, err
	}
	return &call{caller: caller, proof: proof, remote: remote, userAgent: userAgent}, nil
}

// again returns a call that was identified some time ago as it is by now: the body of a
// request may have taken long. Its errors are statuses.
func (c *Control) again(before *call) (*call, error) {
	c.mu.RLock()
	current := c.current
	c.mu.RUnlock()
	caller, err := current.caller(before.proof)
	if err != nil {
		return nil, err
	}
	return &call{caller: caller, proof: before.proof, remote: before.remote, userAgent: before.userAgent}, nil
}

// bearer returns the token in a header.
func bearer(authorization string) (token string, ok bool) {
	scheme, token, ok := strings.Cut(authorization, " ")
	return strings.TrimSpace(token), ok && strings.EqualFold(scheme, "bearer")
}
