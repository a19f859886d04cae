package server

import (
	"google.golang.org/grpc"

	"github.com/webhook-gateway/webhook-gateway/server/eventlog"
)

// Log returns the event log.
func (s *Server) Log() eventlog.Log { return s.log }

// Services returns what the gRPC server serves.
func (s *Server) Services() map[string]grpc.ServiceInfo { return s.grpcServer.GetServiceInfo() }
