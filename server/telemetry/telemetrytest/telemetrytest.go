// Package telemetrytest has a collector of traces for tests.
package telemetrytest

import (
	"context"
	"net"
	"sync"
	"testing"

	collectorpb "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	resourcepb "go.opentelemetry.io/proto/otlp/resource/v1"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/grpc"
)

// Collector takes traces by OTLP over gRPC, and keeps them.
type Collector struct {
	collectorpb.UnimplementedTraceServiceServer

	addr string

	mu       sync.Mutex
	spans    []*tracepb.Span
	resource *resourcepb.Resource
}

// Start starts a collector on loopback, and stops it when the test ends.
func Start(tb testing.TB) *Collector {
	tb.Helper()
	listener, err := (&net.ListenConfig{}).Listen(tb.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatalf("listen for traces: %v", err)
	}
	c := &Collector{addr: listener.Addr().String()}
	server := grpc.NewServer()
	collectorpb.RegisterTraceServiceServer(server, c)
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	tb.Cleanup(func() {
		server.Stop()
		if err := <-served; err != nil {
			tb.Errorf("serve traces: %v", err)
		}
	})
	return c
}

// Addr is the endpoint, which does not speak TLS.
func (c *Collector) Addr() string { return c.addr }

// Export implements the service of OTLP.
func (c *Collector) Export(_ context.Context, req *collectorpb.ExportTraceServiceRequest) (*collectorpb.ExportTraceServiceResponse, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, resource := range req.GetResourceSpans() {
		c.resource = resource.GetResource()
		for _, scope := range resource.GetScopeSpans() {
			c.spans = append(c.spans, scope.GetSpans()...)
		}
	}
	return &collectorpb.ExportTraceServiceResponse{}, nil
}

// Spans returns what has arrived, in the order in which the spans ended.
func (c *Collector) Spans() []*tracepb.Span {
	c.mu.Lock()
	defer c.mu.Unlock()
	return append([]*tracepb.Span(nil), c.spans...)
}

// ServiceName returns how the newest sender called itself.
func (c *Collector) ServiceName() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, a := range c.resource.GetAttributes() {
		if a.GetKey() == "service.name" {
			return a.GetValue().GetStringValue()
		}
	}
	return ""
}
