package server

import (
	"context"
	"crypto/rand"
	"fmt"
	"log/slog"
	"runtime/debug"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/reflection"
	"google.golang.org/grpc/test/bufconn"

	webhookgatewayv1 "github.com/webhook-gateway/webhook-gateway/gen/webhookgateway/v1"
	"github.com/webhook-gateway/webhook-gateway/server/rpcerr"
	"github.com/webhook-gateway/webhook-gateway/server/stream"
)

const (
	// A subscriber sends one small request: there is nothing to buffer.
	grpcReadBuffer = 4 << 10
	// Shared: an idle connection has none. A large frame is written in pieces.
	grpcWriteBuffer = 32 << 10

	loopbackBuffer = 256 << 10

	// maxHeaderBytes is far more than a call has, with the JWT of its caller. A stranger
	// can have the gateway keep so many for each stream: see connlimit.
	maxHeaderBytes = 16 << 10
)

// buildGRPC makes the gRPC server with both services, health and reflection, and
// the connection to it within the process.
func (s *Server) buildGRPC() {
	watches, endWatching := context.WithCancel(context.Background())
	s.endWatches = endWatching
	s.grpcServer = grpc.NewServer(
		grpc.ForceServerCodecV2(stream.Codec{}),
		grpc.Creds(newBelow()),
		// A connection refuses no stream: a caller would wait without a word. How many
		// there may be is for the services to say.
		// On connections of strangers the listener limits them.
		grpc.MaxConcurrentStreams(0),
		grpc.KeepaliveParams(keepalive.ServerParameters{Time: time.Minute, Timeout: 20 * time.Second}),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: 10 * time.Second, PermitWithoutStream: true}),
		// A connection that says nothing would hold up a shutdown for two minutes.
		grpc.ConnectionTimeout(5*time.Second),
		// Of a stranger, too: gRPC takes 16 MiB by default.
		grpc.MaxHeaderListSize(maxHeaderBytes),
		grpc.ReadBufferSize(grpcReadBuffer),
		grpc.WriteBufferSize(grpcWriteBuffer),
		grpc.WaitForHandlers(true), // nothing reads the log after Stop
		grpc.InTapHandle(newRequestLimit(watches, requestTimeout).begin),
		grpc.ChainUnaryInterceptor(arrivedUnary, recoverUnary(s.logger), s.access.UnaryInterceptor(), knowUnary, s.startedUnary),
		grpc.ChainStreamInterceptor(arrivedStream, recoverStream(s.logger), s.access.StreamInterceptor(), knowStream, s.startedStream, endWatches(watches)),
	)
	s.closeLater("end what the gRPC server would wait for", func() error { s.endWatches(); return nil })
	s.closeLater("stop the gRPC server", func() error { s.grpcServer.Stop(); return nil })

	webhookgatewayv1.RegisterEventServiceServer(s.grpcServer, s.events)
	webhookgatewayv1.RegisterSubscriptionServiceServer(s.grpcServer, s.workers)
	webhookgatewayv1.RegisterOperatorServiceServer(s.grpcServer, s.operator)
	s.health = health.NewServer()
	healthpb.RegisterHealthServer(s.grpcServer, s.health)
	s.setHealth(healthpb.HealthCheckResponse_NOT_SERVING) // until Run
	reflection.Register(s.grpcServer)                     // v1 and v1alpha

	s.loopback = bufconn.Listen(loopbackBuffer)
	s.closeLater("close the loopback listener", s.loopback.Close)
}

// healthInterval is how often the health of the gRPC listener is compared with what is so.
const healthInterval = 500 * time.Millisecond

// tellHealth has the health of the gRPC listener say what /readyz does.
func (s *Server) tellHealth() {
	status := healthpb.HealthCheckResponse_SERVING
	if len(s.notReady()) > 0 {
		status = healthpb.HealthCheckResponse_NOT_SERVING
	}
	s.setHealth(status)
}

func (s *Server) setHealth(status healthpb.HealthCheckResponse_ServingStatus) {
	for _, service := range []string{
		"", webhookgatewayv1.EventService_ServiceDesc.ServiceName, webhookgatewayv1.SubscriptionService_ServiceDesc.ServiceName,
		webhookgatewayv1.OperatorService_ServiceDesc.ServiceName,
	} {
		s.health.SetServingStatus(service, status)
	}
}

// dialLoopback connects to the gRPC server within the process.
func (s *Server) dialLoopback() (*grpc.ClientConn, error) {
	conn, err := grpc.NewClient("passthrough:///loopback", append(s.access.DialOptions(),
		grpc.WithContextDialer(s.dialContext),
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(1<<30)), // an event has no other bound here
	)...)
	if err != nil {
		return nil, fmt.Errorf("connect within the process: %w", err)
	}
	s.closeLater("close the connection within the process", conn.Close)
	return conn, nil
}

// endWatches returns an interceptor that ends the watches of health when ctx is
// done: their clients never would, and a shutdown would wait for them.
func endWatches(ctx context.Context) grpc.StreamServerInterceptor {
	return func(srv any, stream grpc.ServerStream, info *grpc.StreamServerInfo, handler grpc.StreamHandler) error {
		if info.FullMethod != healthpb.Health_Watch_FullMethodName {
			return handler(srv, stream)
		}
		watching, cancel := context.WithCancel(stream.Context())
		defer cancel()
		defer context.AfterFunc(ctx, cancel)()
		return handler(srv, watch{stream, watching})
	}
}

// watch is a stream with another context.
type watch struct {
	grpc.ServerStream
	ctx context.Context //nolint:containedctx // what a stream has
}

func (w watch) Context() context.Context { return w.ctx }

// recoverUnary turns a panic of a handler into INTERNAL: a fault in one call does
// not end the process and with it all others.
func recoverUnary(logger *slog.Logger) grpc.UnaryServerInterceptor {
	return func(ctx context.Context, req any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (resp any, err error) {
		defer func() {
			if r := recover(); r != nil {
				err = panicked(ctx, logger, info.FullMethod, r)
			}
		}()
		return handler(ctx, req)
	}
}

func recoverStream(logger *slog.Logger) grpc.StreamServerInterceptor {
	return func(srv any, stream grpc.ServerStream, info *grpc.StreamServerInfo, handler grpc.StreamHandler) (err error) {
		defer func() {
			if r := recover(); r != nil {
				err = panicked(stream.Context(), logger, info.FullMethod, r)
			}
		}()
		return handler(srv, stream)
	}
}

func panicked(ctx context.Context, logger *slog.Logger, method string, value any) error {
	id := rand.Text()[:10]
	logger.ErrorContext(ctx, "a call panicked", "fault", id, "method", method, "panic", value, "stack", string(debug.Stack()))
	return rpcerr.Error(webhookgatewayv1.ErrorReason_ERROR_REASON_INTERNAL, fmt.Sprintf("a fault in the gateway, %s in its log", id))
}
