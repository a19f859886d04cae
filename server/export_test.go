package server

import (
	"fmt"
	"net/http"

	"google.golang.org/grpc"

	"github.com/webhook-gateway/webhook-gateway/server/eventlog"
)

// Log returns the event log.
func (s *Server) Log() eventlog.Log { return s.log }

// Services returns what the gRPC server serves.
func (s *Server) Services() map[string]grpc.ServiceInfo { return s.grpcServer.GetServiceInfo() }

// Settled reports whether so many gateways know each other, as far as this one does, and whether it is
// certain of what it owns.
func (s *Server) Settled(gateways int) bool {
	for i := range 100 {
		if s.peers.cluster.Certain(fmt.Sprint("anything ", i)) {
			return len(s.peers.cluster.View().Members) == gateways
		}
	}
	return false
}

// Internal answers the requests of the internal HTTP listener.
func (s *Server) Internal() http.Handler { return s.internalServer.Handler }
