package cluster

import (
	"context"
	"sync"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/tap"
	"google.golang.org/protobuf/proto"

	clusterv1 "github.com/webhook-gateway/webhook-gateway/gen/webhookgateway/cluster/v1"
	webhookgatewayv1 "github.com/webhook-gateway/webhook-gateway/gen/webhookgateway/v1"
	"github.com/webhook-gateway/webhook-gateway/server/access"
	"github.com/webhook-gateway/webhook-gateway/server/rpcerr"
	"github.com/webhook-gateway/webhook-gateway/server/secret"
	"github.com/webhook-gateway/webhook-gateway/server/unknownfields"
)

const (
	secretHeader   = "webhook-gateway-peer-secret"
	previousHeader = "webhook-gateway-peer-previous-secret"
	memberHeader   = "webhook-gateway-peer-member"
	callerHeader   = "webhook-gateway-caller-bin"

	// maxCallers is how many callers a Guard remembers: what their grants say is compiled
	// once.
	maxCallers = 1000
)

// Secrets are what the gateways of a cluster know each other by. Two gateways that have one
// in common do: so the secret is changed at one after the other.
type Secrets struct {
	Current secret.Secret
	// Previous is the one before, while not all gateways have Current. It may be none.
	Previous secret.Secret
}

// include reports whether a text is one of the secrets.
func (s Secrets) include(given string) bool {
	is := func(one secret.Secret) bool { return !one.IsZero() && one.Equal(given) }
	return is(s.Current) || is(s.Previous)
}

// bearer sends the secrets of the cluster with each call, and whom the call is for.
type bearer struct {
	secrets func() Secrets
	member  string
}

// GetRequestMetadata implements credentials.PerRPCCredentials.
func (b bearer) GetRequestMetadata(context.Context, ...string) (map[string]string, error) {
	s := b.secrets()
	headers := map[string]string{secretHeader: s.Current.Reveal(), memberHeader: b.member}
	if !s.Previous.IsZero() {
		headers[previousHeader] = s.Previous.Reveal()
	}
	return headers, nil
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

// Guard refuses who is no gateway of the cluster, and calls that are for another one. It
// knows who makes a call that another gateway passes on.
type Guard struct {
	secrets func() Secrets
	member  string

	mu sync.Mutex
	// callers by how they were carried.
	callers map[string]*access.Caller
}

// Guard returns the guard of what this gateway serves to the others.
func (c *Cluster) Guard() *Guard { return &Guard{secrets: c.Dial.Secrets, member: c.id} }

// check refuses a call that comes from no gateway of the cluster, or is for another one.
func (g *Guard) check(headers metadata.MD) error {
	secrets, known := g.secrets(), false
	for _, header := range [...]string{secretHeader, previousHeader} {
		given := headers.Get(header)
		known = (known || len(given) == 1 && secrets.include(given[0])) && len(given) <= 1
	}
	if !known {
		return rpcerr.Error(webhookgatewayv1.ErrorReason_ERROR_REASON_CREDENTIALS_INVALID,
			"only the gateways of the cluster call here: they have its secret (cluster.secret)", refused)
	}
	if meant := headers.Get(memberHeader); len(meant) > 0 && meant[0] != g.member {
		return rpcerr.Error(webhookgatewayv1.ErrorReason_ERROR_REASON_SUBSCRIPTION_MOVING,
			"this is another gateway than the one that is meant, which was just started again, or has a wrong cluster.advertise",
			refused)
	}
	return nil
}

// keyRefused is the metadata key of what a Guard answers.
const keyRefused = "refused_by_gateway"

var refused = rpcerr.WithMetadata(keyRefused, "true")

// IsRefused reports whether the Guard of another gateway refused a call: nothing was done.
func IsRefused(err error) bool { return rpcerr.Metadata(err)[keyRefused] != "" }

// Refusal returns what whose call was passed on is told if it was refused. It is no fault of
// theirs.
func Refusal(err error) error {
	return rpcerr.Error(webhookgatewayv1.ErrorReason_ERROR_REASON_SUBSCRIPTION_MOVING,
		"the gateway that runs the subscription refuses this one: "+status.Convert(err).Message()+": try again", refused)
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
	if err := CheckKnown(&c); err != nil { // a grant says what may not be read, too
		return nil, err
	}
	if g.callers == nil || len(g.callers) >= maxCallers {
		g.callers = make(map[string]*access.Caller)
	}
	caller := access.Carried(&c)
	g.callers[carried] = caller
	return caller, nil
}

// CheckKnown refuses what a gateway of a later version says, if this one does not know all of it.
// The status is UNIMPLEMENTED, as for a call that is not known.
func CheckKnown(m proto.Message) error {
	if err := unknownfields.Check(m); err != nil {
		return status.Error(codes.Unimplemented, err.Error())
	}
	return nil
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
