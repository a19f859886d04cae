package server

import (
	"path/filepath"

	"github.com/webhook-gateway/webhook-gateway/server/eventlog/pebblelog"
	"github.com/webhook-gateway/webhook-gateway/server/refusals"
	"github.com/webhook-gateway/webhook-gateway/server/webhook"
)

// keepRefusals opens what keeps the deliveries that are refused: within the folder of the
// event log, which nobody else has open and whose privacy is looked at.
func (s *Server) keepRefusals() webhook.Refusals {
	path := ""
	if s.inMemory == nil {
		path = filepath.Join(s.config.Store.Pebble.Path, pebblelog.GatewayFolder)
	}
	s.refusals = refusals.Open(path, s.logger)
	s.closeLater("store the refusals", func() error { s.refusals.Close(); return nil })
	return refusalRecorder{s.refusals}
}

type refusalRecorder struct{ ring *refusals.Ring }

// Record implements webhook.Refusals.
func (r refusalRecorder) Record(refused webhook.Refused) { r.ring.Record(refusals.Delivery(refused)) }
