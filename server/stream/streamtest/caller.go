package streamtest

import (
	"context"
	"strconv"
	"sync"
	"sync/atomic"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"

	"github.com/webhook-gateway/webhook-gateway/server/access"
)

const callerKey = "streamtest-caller"

var (
	callers    sync.Map
	lastCaller atomic.Int64
)

// As returns the context of a client's calls that a caller makes. Other calls are made
// by anybody.
func As(ctx context.Context, caller *access.Caller) context.Context {
	id := strconv.FormatInt(lastCaller.Add(1), 10)
	callers.Store(id, caller)
	return metadata.AppendToOutgoingContext(ctx, callerKey, id)
}

// withCaller returns the context of a call at the server with who makes it.
func withCaller(ctx context.Context) context.Context {
	if ids := metadata.ValueFromIncomingContext(ctx, callerKey); len(ids) > 0 {
		stored, _ := callers.Load(ids[0])
		if caller, ok := stored.(*access.Caller); ok {
			return access.NewContext(ctx, caller)
		}
	}
	return access.NewContext(ctx, access.Anybody())
}

func unaryCaller(ctx context.Context, req any, _ *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
	return handler(withCaller(ctx), req)
}

func streamCaller(srv any, stream grpc.ServerStream, _ *grpc.StreamServerInfo, handler grpc.StreamHandler) error {
	return handler(srv, callerStream{stream})
}

// callerStream is a stream with its caller in its context.
type callerStream struct{ grpc.ServerStream }

func (s callerStream) Context() context.Context { return withCaller(s.ServerStream.Context()) }
