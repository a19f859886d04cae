package server

import (
	"context"

	"google.golang.org/grpc"

	"github.com/webhook-gateway/webhook-gateway/server/access"
)

// anybodyUnary and anybodyStream let everybody call who can reach the port.
func anybodyUnary(ctx context.Context, req any, _ *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
	return handler(access.NewContext(ctx, access.Anybody()), req)
}

func anybodyStream(srv any, stream grpc.ServerStream, _ *grpc.StreamServerInfo, handler grpc.StreamHandler) error {
	return handler(srv, anybodyCalls{stream, access.NewContext(stream.Context(), access.Anybody())})
}

// anybodyCalls is a stream with another context.
type anybodyCalls struct {
	grpc.ServerStream
	ctx context.Context //nolint:containedctx // what a stream has
}

func (s anybodyCalls) Context() context.Context { return s.ctx }
