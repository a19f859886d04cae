package server

import (
	"net/http"

	"google.golang.org/grpc"

	"github.com/webhook-gateway/webhook-gateway/server/eventlog"
)

// Log returns the event log.
func (s *Server) Log() eventlog.Log { return s.log }

// Services returns what the gRPC server serves.
func (s *Server) Services() map[string]grpc.ServiceInfo { return s.grpcServer.GetServiceInfo() }

// Internal answers the requests of the internal HTTP listener.
func (s *Server) Internal() http.Handler { return s.internalServer.Handler }
