package main

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"google.golang.org/grpc/codes"

	webhookgatewayv1 "github.com/webhook-gateway/webhook-gateway/gen/webhookgateway/v1"
	"github.com/webhook-gateway/webhook-gateway/server/rpcerr"
)

const (
	minBackoff = 100 * time.Millisecond
	maxBackoff = 10 * time.Second
)

var errEnough = errors.New("the wanted number of events was printed")

// A follower keeps a stream going over reconnects.
type follower struct {
	addr string
	note func(format string, args ...any)
	// Finite is that the stream has an end, where it ends with OK.
	finite bool
	// Left is how many more events are wanted, 0 for no limit.
	left int

	connected bool          // ever
	asked     bool          // whether the gateway is running
	backoff   time.Duration // before the next connection
	goodbye   bool          // the gateway announced the end of the connection
}

// run opens a stream until ctx is done, its end was reached, or enough was
// printed. Session opens it once and handles its frames.
func (f *follower) run(ctx context.Context, session func(context.Context) error) error {
	for {
		f.goodbye = false
		err := session(ctx)
		switch {
		case ctx.Err() != nil && !isBroken(err), errors.Is(err, errEnough), err == nil && f.finite && !f.goodbye:
			return nil
		case err != nil && !f.retryable(err):
			return explain(f.addr, err)
		}
		delay := f.nextDelay(err)
		if s, ok := grpcStatus(err); ok && !f.goodbye {
			f.note("%s: %s: reconnecting in %s", f.addr, describe(s), delay.Round(time.Millisecond))
			if !f.connected && !f.asked && isUnanswered(s) {
				f.asked = true
				f.note("%s", isItRunning)
			}
		} else {
			f.note("the gateway ended the stream: reconnecting in %s", delay.Round(time.Millisecond))
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(delay):
		}
	}
}

func isBroken(err error) bool {
	var broken *brokenChain
	return errors.As(err, &broken)
}

func (f *follower) opened() {
	if f.connected {
		f.note("connected again to %s", f.addr)
	} else {
		f.note("connected to %s", f.addr)
	}
	f.connected, f.backoff = true, 0
}

func (f *follower) endsWith(goodbye *webhookgatewayv1.Goodbye) {
	f.goodbye = true
	f.backoff = goodbye.GetRetryAfter().AsDuration()
}

func (f *follower) missing(gap *webhookgatewayv1.Gap) {
	why := "are no longer retained"
	if gap.GetReason() == webhookgatewayv1.GapReason_GAP_REASON_DAMAGED {
		why = "are damaged and cannot be read"
	}
	f.note("GAP: events between %s and %s %s", gap.GetFromCursor(), gap.GetToCursor(), why)
}

// retryable reports whether a new connection may go better. One that has an end
// and never began is not waited for: a script wants to know. Nor is an address where
// there never was a gateway and something else is.
func (f *follower) retryable(err error) bool {
	if f.goodbye { // whatever the reason, what the next connection says is news
		return true
	}
	s, ok := grpcStatus(err)
	if !ok || !f.connected && (f.finite || isNoGateway(s) || isPlainText(s) || isNoHost(s)) {
		return false
	}
	return s.Code() == codes.Unavailable || s.Code() == codes.ResourceExhausted
}

func (f *follower) nextDelay(err error) time.Duration {
	if asked := rpcerr.RetryDelay(err); asked > 0 {
		return asked
	}
	if f.goodbye && f.backoff > 0 {
		return f.backoff
	}
	f.backoff = min(max(2*f.backoff, minBackoff), maxBackoff)
	return f.backoff/2 + rand.N(f.backoff/2) //nolint:gosec // spreads reconnects, guards nothing
}

// leftOut counts the events that were left out because they failed verification.
type leftOut struct {
	// Before is the count of earlier streams, now that of this one, told is what the
	// user knows.
	before, now, told int64
}

// opened begins the count of another stream.
func (l *leftOut) opened() {
	l.before += l.now
	l.now = 0
}

// tell notes how many there are, if that is news, and how to see them.
func (l *leftOut) tell(note func(format string, args ...any)) {
	if n := l.before + l.now; n > l.told {
		l.told = n
		note("%d events were left out because they failed verification: `webhook-gateway tail --verdict failed` shows them", n)
	}
}
