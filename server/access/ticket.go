package access

import (
	"context"
	"crypto/rand"
	"sync"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
)

const (
	// inProcess is the network of connections within the process (bufconn). The address
	// of a connection is of the listener that accepted it: no client can choose it.
	inProcess = "bufconn"

	ticketHeader = "webhook-gateway-ticket"
)

// tickets carry calls from the HTTP listener to the gRPC server within the process. A
// ticket is random, is good for one call, and only on a connection within the process.
type tickets struct {
	mu      sync.Mutex
	waiting map[string]*call
}

type ownKey struct{}

// callerOf returns as which call a context's outgoing call is made: that of its HTTP
// request, or that of a part of the gateway itself; nil if there is none.
func callerOf(ctx context.Context) *call {
	if made, ok := ctx.Value(requestKey{}).(*request); ok {
		return made.call
	}
	own, _ := ctx.Value(ownKey{}).(*call)
	return own
}

// attach returns a context whose outgoing call is made as callerOf says, and a function that takes the ticket back if it was not used.
func (t *tickets) attach(ctx context.Context) (context.Context, func()) {
	caller := callerOf(ctx)
	if caller == nil {
		return ctx, func() {}
	}
	id := rand.Text()
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.waiting == nil {
		t.waiting = make(map[string]*call)
	}
	t.waiting[id] = caller
	return metadata.AppendToOutgoingContext(ctx, ticketHeader, id), func() { t.take([]string{id}) }
}

// take returns the call of a ticket, nil if there is none.
func (t *tickets) take(ids []string) *call {
	if len(ids) != 1 {
		return nil
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	made := t.waiting[ids[0]]
	delete(t.waiting, ids[0])
	return made
}

// AsOwn returns a context whose calls on a connection within the process, see DialOptions, are
// made by a caller that is a part of the gateway itself. Whatever the configuration is, it
// may what its grants say, and its streams are not in the audit.
func AsOwn(ctx context.Context, caller *Caller) context.Context {
	return context.WithValue(ctx, ownKey{}, &call{caller: caller, proof: proof{own: caller}, remote: inProcess})
}

// DialOptions are those of a connection within the process, whose calls are made by the
// callers that Handler has found, or AsOwn was given.
func (c *Control) DialOptions() []grpc.DialOption {
	unary := func(ctx context.Context, method string, req, reply any, conn *grpc.ClientConn, invoke grpc.UnaryInvoker, options ...grpc.CallOption) error {
		ctx, takeBack := c.tickets.attach(ctx)
		defer takeBack()
		return invoke(ctx, method, req, reply, conn, options...)
	}
	stream := func(ctx context.Context, desc *grpc.StreamDesc, conn *grpc.ClientConn, method string, open grpc.Streamer, options ...grpc.CallOption) (grpc.ClientStream, error) {
		if made, ok := ctx.Value(requestKey{}).(*request); ok {
			made.streams.Store(true)
		}
		ctx, takeBack := c.tickets.attach(ctx)
		context.AfterFunc(ctx, takeBack)
		return open(ctx, desc, conn, method, options...)
	}
	return []grpc.DialOption{grpc.WithChainUnaryInterceptor(unary), grpc.WithChainStreamInterceptor(stream)}
}
