package server

import (
	"context"
	"strings"

	"google.golang.org/grpc"

	webhookgatewayv1 "github.com/webhook-gateway/webhook-gateway/gen/webhookgateway/v1"
	"github.com/webhook-gateway/webhook-gateway/server/rpcerr"
)

// A copy of the event log that began in the middle of the commit log is not whole at first:
// it lacks state, and where the log begins. Until it is, the services answer that they are
// starting. A copy that is whole and behind is served: what it has is right, and who asks
// for more waits for it.

func (s *Server) startedUnary(ctx context.Context, req any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
	if err := s.starting(info.FullMethod); err != nil {
		return nil, err
	}
	return handler(ctx, req)
}

func (s *Server) startedStream(srv any, stream grpc.ServerStream, info *grpc.StreamServerInfo, handler grpc.StreamHandler) error {
	if err := s.starting(info.FullMethod); err != nil {
		return err
	}
	return handler(srv, stream)
}

func (s *Server) starting(method string) error {
	if s.store.Whole() || !strings.HasPrefix(method, "/webhookgateway.v1.") {
		return nil
	}
	return rpcerr.Error(webhookgatewayv1.ErrorReason_ERROR_REASON_STARTING,
		"the gateway is starting: its copy of the event log is not whole yet: try again later")
}
