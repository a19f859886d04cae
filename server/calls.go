package server

import (
	"context"
	"errors"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/tap"

	"github.com/webhook-gateway/webhook-gateway/server/access"
	"github.com/webhook-gateway/webhook-gateway/server/connlimit"
)

// requestTimeout is how long the request of a call may take to arrive after its headers.
const requestTimeout = 30 * time.Second

// requestLimit ends calls whose request does not come: they are not yet in the hands of a
// service, nor of who decides about access, and would stay for as long as their client.
type requestLimit struct {
	within time.Duration
	// ending is done when the server ends, which waits for no request.
	ending context.Context //nolint:containedctx // the life of a server
}

// arrivedKey is the key of the function that says, in the context of a call, that its
// request is here.
type arrivedKey struct{}

// begin is told of the headers of a call. It is a tap.ServerInHandle, because no
// interceptor sees a unary call before its request.
func (l requestLimit) begin(ctx context.Context, _ *tap.Info) (context.Context, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	end := func() { cancel(errNoRequest) }
	timer := time.AfterFunc(l.within, end)
	stop := context.AfterFunc(l.ending, end)
	var ended func() bool
	arrived := func() {
		timer.Stop()
		stop()
		ended()
	}
	ended = context.AfterFunc(ctx, func() {
		timer.Stop()
		stop()
	})
	return context.WithValue(requestContext{ctx}, arrivedKey{}, arrived), nil
}

var errNoRequest = errors.New("the request of the call did not come")

// requestContext is the context of a call. gRPC makes the status of one that ended of what
// Err returns: DEADLINE_EXCEEDED where no request came.
type requestContext struct {
	context.Context //nolint:containedctx // a context
}

func (c requestContext) Err() error {
	err := c.Context.Err()
	if err != nil && errors.Is(context.Cause(c.Context), errNoRequest) {
		return context.DeadlineExceeded
	}
	return err
}

func arrived(ctx context.Context) {
	if arrived, ok := ctx.Value(arrivedKey{}).(func()); ok {
		arrived()
	}
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
