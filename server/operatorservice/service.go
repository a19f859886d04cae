// Package operatorservice is OperatorService: it shows what the gateway does.
package operatorservice

import (
	webhookgatewayv1 "github.com/webhook-gateway/webhook-gateway/gen/webhookgateway/v1"
)

// Service implements OperatorService.
type Service struct {
	webhookgatewayv1.UnimplementedOperatorServiceServer
}

// Params are what the service shows.
type Params struct{}

// New returns the service.
func New(Params) *Service { return &Service{} }
