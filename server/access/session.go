package access

import (
	"context"
	"time"
)

// cutGrace is how long a stream whose access has ended may take to say goodbye. What it
// sends then is refused, and who does not read is waited for no longer.
const cutGrace = 2 * time.Second

// A session is a stream, or an HTTP request, that is open.
type session struct {
	*call

	// announced is done when the access has ended; its cause is the status of the
	// stream. cut is done a moment later.
	announced context.Context //nolint:containedctx // the life of a stream
	cut       context.Context //nolint:containedctx // the life of a stream
	end       context.CancelCauseFunc
}

// endedKey is the key of the announced context of a stream in its own.
type endedKey struct{}

// Ended returns a context that is done when the access of a stream ends while it is
// open: its caller's credentials expired or were revoked, or their grants changed. The
// cause is the status that the stream ends with. The stream has a moment to say goodbye.
func Ended(ctx context.Context) context.Context {
	if announced, ok := ctx.Value(endedKey{}).(context.Context); ok {
		return announced
	}
	return context.Background()
}

// open opens the session of a stream, with a context of the stream's. It must be
// closed. If it is still open when it is cut, abandon is called: the stream may be
// blocked in a send.
func (c *Control) open(ctx context.Context, call *call, abandon func()) (s *session, closeIt func()) {
	announced, end := context.WithCancelCause(context.Background())
	cut, cutIt := context.WithCancelCause(NewContext(
		context.WithValue(context.WithValue(ctx, endedKey{}, announced), originKey{}, call.origin()), call.caller))
	s = &session{call: call, announced: announced, cut: cut, end: end}
	var stops []func() bool
	if !call.caller.Expires.IsZero() {
		stops = append(stops, time.AfterFunc(time.Until(call.caller.Expires), func() { end(errExpired()) }).Stop)
	}
	stops = append(stops, context.AfterFunc(announced, func() {
		timer := time.NewTimer(cutGrace)
		defer timer.Stop()
		select {
		case <-timer.C:
			cutIt(context.Cause(announced))
			c.mu.Lock()
			defer c.mu.Unlock()
			if _, open := c.sessions[s]; open {
				abandon()
			}
		case <-cut.Done():
		}
	}))
	c.mu.Lock()
	c.sessions[s] = struct{}{}
	// The configuration may have been replaced since the caller was identified.
	if caller, err := c.current.caller(call.proof); err != nil || !same(caller, call.caller) {
		end(errChanged())
	}
	c.mu.Unlock()
	return s, func() {
		c.mu.Lock()
		delete(c.sessions, s)
		c.mu.Unlock()
		for _, stop := range stops {
			stop()
		}
		cutIt(nil)
		end(nil)
	}
}

// failed returns what a stream ends with whose handler returned an error.
func (s *session) failed(err error) error {
	if cause := context.Cause(s.announced); cause != nil {
		return cause
	}
	return err
}

// refusal returns what a stream is told that goes on after its access has ended, or nil.
func (s *session) refusal() error {
	if s.announced.Err() != nil && s.cut.Err() != nil {
		return context.Cause(s.announced)
	}
	return nil
}
