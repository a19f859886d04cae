// Package operatorservice is OperatorService: it shows what the gateway does.
package operatorservice

import (
	"log/slog"

	webhookgatewayv1 "github.com/webhook-gateway/webhook-gateway/gen/webhookgateway/v1"
	"github.com/webhook-gateway/webhook-gateway/server/eventlog"
	"github.com/webhook-gateway/webhook-gateway/server/history"
	"github.com/webhook-gateway/webhook-gateway/server/logapi"
	"github.com/webhook-gateway/webhook-gateway/server/refusals"
	"github.com/webhook-gateway/webhook-gateway/server/sessions"
	"github.com/webhook-gateway/webhook-gateway/server/stream"
)

// Service implements OperatorService.
type Service struct {
	webhookgatewayv1.UnimplementedOperatorServiceServer
	Params
}

// Params are what the service shows.
type Params struct {
	Log    eventlog.Log
	Logger *slog.Logger
	// Overview returns how the gateway is.
	Overview func() *webhookgatewayv1.GetOverviewResponse
	// ConsoleActions reports whether the console offers to change something.
	ConsoleActions func() bool
	History        *history.Recorder
	Sessions       *sessions.Index
	Streams        *stream.Streams
	Refusals       *refusals.Ring
	States         EventStates
}

// New returns the service.
func New(p Params) *Service { return &Service{Params: p} }

// api is the event log as services see it.
func (s *Service) api() logapi.API { return logapi.API{Log: s.Log, Logger: s.Logger} }
