package cluster

import (
	"context"
	"sync"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/tap"
	"google.golang.org/protobuf/proto"

	clusterv1 "github.com/webhook-gateway/webhook-gateway/gen/webhookgateway/cluster/v1"
	webhookgatewayv1 "github.com/webhook-gateway/webhook-gateway/gen/webhookgateway/v1"
	"github.com/webhook-gateway/webhook-gateway/server/access"
	"github.com/webhook-gateway/webhook-gateway/server/rpcerr"
	"github.com/webhook-gateway/webhook-gateway/server/secret"
)

const (
	secretHeader = "webhook-gateway-peer-secret"
	callerHeader = "webhook-gateway-caller-bin"

	// maxCallers is how many callers a Guard remembers: what their grants say is compiled
	// once.
	maxCallers = 1000
)

// bearer sends the secret of the cluster with each call.
type bearer struct{ secret secret.Secret }

// GetRequestMetadata implements credentials.PerRPCCredentials.
func (b bearer) GetRequestMetadata(context.Context, ...string) (map[string]string, error) {
	return map[string]string{secretHeader: b.secret.Reveal()}, nil
}

// RequireTransportSecurity implements credentials.PerRPCCredentials. Whether there is TLS is
// for the configuration to say.
func (bearer) RequireTransportSecurity() bool { return false }

// Passing returns the context of a call that is passed on to another gateway, which learns
// who makes it.
func Passing(ctx context.Context) (context.Context, error) {
	value, err := proto.Marshal(access.From(ctx).Carry())
	if err != nil {
		return nil, err
	}
	return metadata.AppendToOutgoingContext(ctx, callerHeader, string(value)), nil
}

// Guard refuses who is no gateway of the cluster, and knows who makes a call that another
// gateway passes on.
type Guard struct {
	// Secret is what all gateways of the cluster know.
	Secret secret.Secret

	mu sync.Mutex
	// callers by how they were carried.
	callers map[string]*access.Caller
}

// check refuses a call that comes from no gateway of the cluster.
func (g *Guard) check(headers metadata.MD) error {
	given := headers.Get(secretHeader)
	if len(given) != 1 || g.Secret.IsZero() || !g.Secret.Equal(given[0]) {
		return rpcerr.Error(webhookgatewayv1.ErrorReason_ERROR_REASON_CREDENTIALS_INVALID,
			"only the gateways of the cluster call here: they have its secret (cluster.secret)")
	}
	return nil
}

// Tap refuses strangers by their headers. It is a tap.ServerInHandle: gRPC reads the request
// of a unary call before any interceptor sees it, and waits for it as long as it takes.
func (g *Guard) Tap(ctx context.Context, info *tap.Info) (context.Context, error) {
	return ctx, g.check(info.Header)
}

// admit returns the context of a call.
func (g *Guard) admit(ctx context.Context) (context.Context, error) {
	headers, _ := metadata.FromIncomingContext(ctx)
	if err := g.check(headers); err != nil {
		return nil, err
	}
	carried := headers.Get(callerHeader)
	if len(carried) != 1 {
		return ctx, nil // nobody: no grants
	}
	caller, err := g.caller(carried[0])
	if err != nil {
		return nil, err
	}
	return access.NewContext(ctx, caller), nil
}

func (g *Guard) caller(carried string) (*access.Caller, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if caller, ok := g.callers[carried]; ok {
		return caller, nil
	}
	var c clusterv1.Caller
	if err := proto.Unmarshal([]byte(carried), &c); err != nil {
		return nil, rpcerr.Error(webhookgatewayv1.ErrorReason_ERROR_REASON_CREDENTIALS_INVALID, "the caller of the call is not readable")
	}
	if g.callers == nil || len(g.callers) >= maxCallers {
		g.callers = make(map[string]*access.Caller)
	}
	caller := access.Carried(&c)
	g.callers[carried] = caller
	return caller, nil
}

// UnaryInterceptor is for the listener of the other gateways.
func (g *Guard) UnaryInterceptor() grpc.UnaryServerInterceptor {
	return func(ctx context.Context, req any, _ *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
		ctx, err := g.admit(ctx)
		if err != nil {
			return nil, err
		}
		return handler(ctx, req)
	}
}

// StreamInterceptor is UnaryInterceptor for streams.
func (g *Guard) StreamInterceptor() grpc.StreamServerInterceptor {
	return func(srv any, stream grpc.ServerStream, _ *grpc.StreamServerInfo, handler grpc.StreamHandler) error {
		ctx, err := g.admit(stream.Context())
		if err != nil {
			return err
		}
		return handler(srv, guarded{stream, ctx})
	}
}

// guarded is a stream with its caller in its context.
type guarded struct {
	grpc.ServerStream
	ctx context.Context //nolint:containedctx // what a stream has
}

// Context implements grpc.ServerStream.
func (s guarded) Context() context.Context { return s.ctx }
