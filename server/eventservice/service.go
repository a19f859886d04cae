// Package eventservice is EventService: it streams and lists the events of the
// log.
//
// A stream is the goroutine of its gRPC handler and nothing else. It follows the
// log at its own pace: nobody writes to a stream, so a slow subscriber can
// neither slow others nor lose events, and what it costs is at most two frames
// and what the log reads ahead.
package eventservice

import (
	"log/slog"

	webhookgatewayv1 "github.com/webhook-gateway/webhook-gateway/gen/webhookgateway/v1"
	"github.com/webhook-gateway/webhook-gateway/server/eventlog"
	"github.com/webhook-gateway/webhook-gateway/server/logapi"
	"github.com/webhook-gateway/webhook-gateway/server/stream"
)

// Service implements EventService on an event log.
type Service struct {
	webhookgatewayv1.UnimplementedEventServiceServer

	api     logapi.API
	log     eventlog.Log
	streams *stream.Streams
}

// New returns the service of a log. Its streams are counted among others.
func New(log eventlog.Log, streams *stream.Streams, logger *slog.Logger) *Service {
	return &Service{api: logapi.API{Log: log, Logger: logger}, log: log, streams: streams}
}
