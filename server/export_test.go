package server

import "github.com/webhook-gateway/webhook-gateway/server/eventlog"

// Log returns the event log.
func (s *Server) Log() eventlog.Log { return s.log }
