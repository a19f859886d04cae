package webhook

import (
	"strconv"
	"testing"
	"time"
)

func TestRateLimits(t *testing.T) {
	t.Parallel()
	limits := newRateLimits(RateLimit{RequestsPerSecond: 0.5, Burst: 2})
	now := time.Unix(1000, 0)
	a, b := clientKey{1, "a"}, clientKey{2, "a"}
	for range 2 {
		if delay := limits.delay(a, now); delay != 0 {
			t.Fatalf("delay within the burst = %s", delay)
		}
	}
	for range 3 { // a refused delivery uses up nothing
		if delay := limits.delay(a, now); delay != 2*time.Second {
			t.Fatalf("delay beyond the burst = %s, want 2s", delay)
		}
	}
	if delay := limits.delay(b, now); delay != 0 {
		t.Errorf("the client of another provider waits %s", delay)
	}
	if delay := limits.delay(a, now.Add(2*time.Second)); delay != 0 {
		t.Errorf("delay after the delay = %s", delay)
	}
}

func TestRateLimitsDefaults(t *testing.T) {
	t.Parallel()
	if limits := newRateLimits(RateLimit{}); limits.delay(clientKey{}, time.Now()) != 0 {
		t.Error("limited although off")
	}
	if limits := newRateLimits(RateLimit{RequestsPerSecond: 2.5}); limits.burst != 3 {
		t.Errorf("burst = %d, want 3", limits.burst)
	}
}

func TestRateLimitsAreBoundedInMemory(t *testing.T) {
	t.Parallel()
	limits := newRateLimits(RateLimit{RequestsPerSecond: 1, Burst: 1})
	now := time.Unix(1000, 0)
	for i := range maxLimitedClients + 10 {
		limits.delay(clientKey{1, strconv.Itoa(i)}, now)
	}
	if got := len(limits.clients); got != maxLimitedClients {
		t.Errorf("%d clients are remembered, want %d", got, maxLimitedClients)
	}
	// The clients beyond share one limit.
	if delay := limits.delay(clientKey{1, "another"}, now); delay == 0 {
		t.Error("a client beyond the bound is not limited")
	}
	// Later the limits of the others are unused and forgotten.
	if delay := limits.delay(clientKey{1, "another"}, now.Add(time.Minute)); delay != 0 || len(limits.clients) != 1 {
		t.Errorf("delay = %s, %d clients are remembered", delay, len(limits.clients))
	}
}
