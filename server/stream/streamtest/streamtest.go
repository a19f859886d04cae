// Package streamtest serves gRPC services to tests, with the codec of the gateway.
// Of a whole gateway only its listeners, limits and interceptors are missing: for
// those see servertest.
package streamtest

import (
	"context"
	"net"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/test/bufconn"

	"github.com/webhook-gateway/webhook-gateway/server/stream"
)

// maxReceived is the largest message that a connection receives, in bytes.
const maxReceived = 64 << 20

// Serve serves in memory what register registers, and returns a connection to it.
// When the test ends the connection is closed, then the server is stopped; both
// come before the cleanups that were registered earlier.
func Serve(tb testing.TB, register func(grpc.ServiceRegistrar)) *grpc.ClientConn {
	tb.Helper()
	listener := bufconn.Listen(64 << 10)
	return serve(tb, listener, listener.DialContext, register)
}

// ServeTCP is Serve through a port of the loopback interface.
func ServeTCP(tb testing.TB, register func(grpc.ServiceRegistrar)) *grpc.ClientConn {
	tb.Helper()
	listener, err := new(net.ListenConfig).Listen(tb.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatalf("listen: %v", err)
	}
	return serve(tb, listener, func(ctx context.Context) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "tcp", listener.Addr().String())
	}, register)
}

func serve(
	tb testing.TB, listener net.Listener, dial func(context.Context) (net.Conn, error), register func(grpc.ServiceRegistrar),
) *grpc.ClientConn {
	tb.Helper()
	server := grpc.NewServer(grpc.ForceServerCodecV2(stream.Codec{}), grpc.WaitForHandlers(true),
		grpc.UnaryInterceptor(unaryCaller), grpc.StreamInterceptor(streamCaller))
	register(server)
	conn, err := grpc.NewClient("passthrough:///gateway",
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return dial(ctx) }),
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(maxReceived)))
	if err != nil {
		tb.Fatalf("connect: %v", err)
	}
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	tb.Cleanup(func() {
		if err := conn.Close(); err != nil {
			tb.Errorf("close the connection: %v", err)
		}
		server.Stop()
		if err := <-served; err != nil {
			tb.Errorf("serve: %v", err)
		}
	})
	return conn
}
