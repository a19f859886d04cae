package webhook

import (
	"math"
	"sync"
	"time"

	"golang.org/x/time/rate"

	webhookgatewayv1 "github.com/webhook-gateway/webhook-gateway/gen/webhookgateway/v1"
)

// maxLimitedClients bounds the memory of the rate limit. Clients beyond it share
// one limit.
const maxLimitedClients = 10_000

type clientKey struct {
	provider webhookgatewayv1.Provider
	clientID string
}

// rateLimits limits each client. The nil rateLimits limits nobody.
type rateLimits struct {
	limit rate.Limit
	burst int

	mu        sync.Mutex
	clients   map[clientKey]*rate.Limiter
	others    *rate.Limiter
	nextSweep time.Time
}

func newRateLimits(cfg RateLimit) *rateLimits {
	if cfg.RequestsPerSecond == 0 {
		return nil
	}
	burst := cfg.Burst
	if burst == 0 {
		burst = int(math.Ceil(min(cfg.RequestsPerSecond, math.MaxInt32)))
	}
	limit := rate.Limit(cfg.RequestsPerSecond)
	return &rateLimits{
		limit:   limit,
		burst:   burst,
		clients: make(map[clientKey]*rate.Limiter),
		others:  rate.NewLimiter(limit, burst),
	}
}

// delay returns 0 if a delivery of the client is within its limit, and otherwise
// after how long the next one is.
func (l *rateLimits) delay(client clientKey, now time.Time) time.Duration {
	if l == nil {
		return 0
	}
	reservation := l.limiter(client, now).ReserveN(now, 1)
	delay := reservation.DelayFrom(now)
	if delay > 0 {
		reservation.CancelAt(now)
	}
	return delay
}

func (l *rateLimits) limiter(client clientKey, now time.Time) *rate.Limiter {
	l.mu.Lock()
	defer l.mu.Unlock()
	limiter, ok := l.clients[client]
	if ok {
		return limiter
	}
	if len(l.clients) >= maxLimitedClients {
		l.sweep(now)
	}
	if len(l.clients) >= maxLimitedClients {
		return l.others
	}
	limiter = rate.NewLimiter(l.limit, l.burst)
	l.clients[client] = limiter
	return limiter
}

// sweep forgets the clients whose limit is unused, since a new limit is the same.
// At most once per second, because it looks at all of them.
func (l *rateLimits) sweep(now time.Time) {
	if now.Before(l.nextSweep) {
		return
	}
	l.nextSweep = now.Add(time.Second)
	for client, limiter := range l.clients {
		if limiter.TokensAt(now) >= float64(l.burst) {
			delete(l.clients, client)
		}
	}
}
