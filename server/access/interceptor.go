package access

import (
	"context"
	"strings"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"
)

// UnaryInterceptor refuses calls without credentials, and puts the callers of the others
// into their contexts.
func (c *Control) UnaryInterceptor() grpc.UnaryServerInterceptor {
	return func(ctx context.Context, req any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
		rule := ruleOf(info.FullMethod)
		if rule == ruleOpen {
			return handler(ctx, req)
		}
		call, err := c.admit(ctx, info.FullMethod, rule)
		if err != nil {
			return nil, err
		}
		resp, err := handler(NewContext(ctx, call.caller), req)
		switch {
		case isRefusal(err):
			c.audit.refused(ctx, call, info.FullMethod, call.remote, subscriptionOf(req), err)
		case rule == ruleManaged && !onlyAsks(req):
			c.audit.called(ctx, call, info.FullMethod, subscriptionOf(req), err)
		}
		return resp, err
	}
}

// onlyAsks reports whether a request asks what would be done, and has nothing done.
func onlyAsks(req any) bool {
	r, ok := req.(interface{ GetValidateOnly() bool })
	return ok && r.GetValidateOnly()
}

// CutKey is the key of a context.CancelCauseFunc, in the context of a stream, that ends
// that context. Only the context that gRPC itself has of a stream ends a send that is
// blocked: so it has to be made in a tap.ServerInHandle.
type CutKey struct{}

// StreamInterceptor is UnaryInterceptor for streams. One whose access ends while it is
// open ends soon after: see Ended. One that is blocked in a send by then, since its client
// has ceased to read, is cut by what its context has for CutKey: gRPC gives it the status
// CANCELLED.
func (c *Control) StreamInterceptor() grpc.StreamServerInterceptor {
	return func(srv any, stream grpc.ServerStream, info *grpc.StreamServerInfo, handler grpc.StreamHandler) error {
		rule := ruleOf(info.FullMethod)
		if rule == ruleOpen {
			return handler(srv, stream)
		}
		ctx := stream.Context()
		call, err := c.admit(ctx, info.FullMethod, rule)
		if err != nil {
			return err
		}
		session, closeIt := c.open(ctx, call, func() {
			if cut, ok := ctx.Value(CutKey{}).(context.CancelCauseFunc); ok {
				cut(nil)
			}
		})
		defer closeIt()
		s := &callerStream{ServerStream: stream, session: session, audit: streamAudit{audit: c.audit, call: call, method: info.FullMethod}}
		err = session.failed(handler(srv, s))
		s.audit.ended(ctx, err)
		return err
	}
}

// admit finds out who makes a call over gRPC.
func (c *Control) admit(ctx context.Context, method string, rule rule) (*call, error) {
	from, _ := peer.FromContext(ctx)
	if from == nil || from.Addr == nil {
		from = &peer.Peer{Addr: nowhere{}}
	}
	call, err := c.callOf(ctx, from)
	if err == nil && rule == ruleUndecided {
		err = errUndecided(method)
	}
	if err != nil {
		c.audit.refused(ctx, call, method, from.Addr.String(), "", err)
		return nil, err
	}
	return call, nil
}

func (c *Control) callOf(ctx context.Context, from *peer.Peer) (*call, error) {
	headers, _ := metadata.FromIncomingContext(ctx)
	if from.Addr.Network() == inProcess {
		call := c.tickets.take(headers.Get(ticketHeader))
		if call == nil {
			return nil, errMissing()
		}
		return c.again(call)
	}
	given := presented{authorization: headers.Get("authorization")}
	if info, ok := from.AuthInfo.(credentials.TLSInfo); ok {
		given.certificate = shown(&info.State, c.roots.GRPC)
	}
	return c.identify(ctx, given, from.Addr.String(), strings.Join(headers.Get("user-agent"), " "))
}

// nowhere is the address of a peer that has none.
type nowhere struct{}

func (nowhere) Network() string { return "" }
func (nowhere) String() string  { return "" }

// A callerStream is a stream of a known caller.
type callerStream struct {
	grpc.ServerStream
	session *session
	audit   streamAudit
}

// Context implements grpc.ServerStream.
func (s *callerStream) Context() context.Context { return s.session.cut }

// RecvMsg implements grpc.ServerStream.
func (s *callerStream) RecvMsg(m any) error {
	err := s.ServerStream.RecvMsg(m)
	if err == nil {
		err = s.session.refusal()
	}
	if err == nil {
		s.audit.received(m)
	}
	return err
}

// SendMsg implements grpc.ServerStream. After the access has ended it sends for a moment
// more, in which a stream says goodbye.
func (s *callerStream) SendMsg(m any) error {
	if err := s.session.refusal(); err != nil {
		return err
	}
	s.audit.sending(s.session.cut, m)
	return s.ServerStream.SendMsg(m)
}
