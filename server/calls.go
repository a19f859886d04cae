package server

import (
	"context"
	"errors"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/tap"

	"github.com/webhook-gateway/webhook-gateway/server/access"
	"github.com/webhook-gateway/webhook-gateway/server/connlimit"
)

const (
	// requestTimeout is how long the request of a call may take to arrive after its headers.
	requestTimeout = 30 * time.Second
	// endingTimeout is the same when the server ends: what is on its way is served.
	endingTimeout = time.Second
)

// requestLimit ends calls whose request does not come: they are not yet in the hands of a
// service, nor of who decides about access, and would stay for as long as their client.
// Nearly all requests come at once: so a call has no timer of its own.
type requestLimit struct {
	mu      sync.Mutex
	within  time.Duration
	waiting map[*waitingCall]struct{}
	timer   *time.Timer // it runs sweep
	armed   bool
}

// newRequestLimit returns the limit of a server, which ends when ending is done.
func newRequestLimit(ending context.Context, within time.Duration) *requestLimit {
	l := &requestLimit{within: within, waiting: make(map[*waitingCall]struct{})}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.armed, l.timer = true, time.AfterFunc(l.interval(), l.sweep)
	context.AfterFunc(ending, l.end)
	return l
}

// end has calls wait for no longer than endingTimeout, those that wait already too.
func (l *requestLimit) end() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.within, l.armed = min(l.within, endingTimeout), true
	now := time.Now()
	for call := range l.waiting {
		call.since = now
	}
	l.timer.Reset(l.interval())
}

// interval is how often the calls that wait are looked at.
func (l *requestLimit) interval() time.Duration { return l.within / 20 }

// begin is told of the headers of a call. It is a tap.ServerInHandle, because no
// interceptor sees a unary call before its request.
func (l *requestLimit) begin(ctx context.Context, _ *tap.Info) (context.Context, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	call := &waitingCall{Context: ctx, limit: l, cancel: cancel, since: time.Now()}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.waiting[call] = struct{}{}
	if !l.armed {
		l.armed = true
		l.timer.Reset(l.interval())
	}
	return call, nil
}

// sweep ends the calls that have waited for too long, and forgets those that have ended.
func (l *requestLimit) sweep() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for call := range l.waiting {
		if time.Since(call.since) >= l.within {
			call.cancel(errNoRequest)
		}
		if call.Err() != nil {
			delete(l.waiting, call)
		}
	}
	if l.armed = len(l.waiting) > 0; l.armed {
		l.timer.Reset(l.interval())
	}
}

var errNoRequest = errors.New("the request of the call did not come")

// waitingCall is the context of a call. gRPC makes the status of one that ended of what
// Err returns: DEADLINE_EXCEEDED where no request came.
type waitingCall struct {
	context.Context //nolint:containedctx // a context

	limit  *requestLimit
	cancel context.CancelCauseFunc
	since  time.Time // guarded by the limit's mutex
}

// waitingKey is the key of a waitingCall in its own context.
type waitingKey struct{}

// Value implements context.Context.
func (c *waitingCall) Value(key any) any {
	switch key {
	case waitingKey{}:
		return c
	case access.CutKey{}:
		return c.cancel
	}
	return c.Context.Value(key)
}

// Err implements context.Context.
func (c *waitingCall) Err() error {
	err := c.Context.Err()
	if err != nil && errors.Is(context.Cause(c.Context), errNoRequest) {
		return context.DeadlineExceeded
	}
	return err
}

// arrived says that the request of a call is here.
func arrived(ctx context.Context) {
	call, ok := ctx.Value(waitingKey{}).(*waitingCall)
	if !ok {
		return
	}
	call.limit.mu.Lock()
	defer call.limit.mu.Unlock()
	delete(call.limit.waiting, call)
}

func arrivedUnary(ctx context.Context, req any, _ *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
	arrived(ctx)
	return handler(ctx, req)
}

func arrivedStream(srv any, stream grpc.ServerStream, _ *grpc.StreamServerInfo, handler grpc.StreamHandler) error {
	return handler(srv, &requestStream{ServerStream: stream})
}

// requestStream is a stream whose first message is its request.
type requestStream struct {
	grpc.ServerStream
	here bool
}

// RecvMsg implements grpc.ServerStream.
func (s *requestStream) RecvMsg(m any) error {
	err := s.ServerStream.RecvMsg(m)
	if err == nil && !s.here {
		s.here = true
		arrived(s.Context())
	}
	return err
}

// knowUnary tells the listener of a connection that its client has shown who it is.
func knowUnary(ctx context.Context, req any, _ *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
	know(ctx)
	return handler(ctx, req)
}

func knowStream(srv any, stream grpc.ServerStream, _ *grpc.StreamServerInfo, handler grpc.StreamHandler) error {
	know(stream.Context())
	return handler(srv, stream)
}

func know(ctx context.Context) {
	from, ok := peer.FromContext(ctx)
	if !ok {
		return
	}
	if addr, ok := from.Addr.(connlimit.Addr); ok && access.From(ctx).Method != "" { // health asks nobody who they are
		addr.Know()
	}
}
