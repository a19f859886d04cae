package server

import (
	"context"
	"net"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/test/bufconn"
)

// A call whose request does not come ends. One whose request came stays for as long as
// it likes.
func TestRequestThatDoesNotCome(t *testing.T) {
	ending, end := context.WithCancel(t.Context())
	defer end()
	call := func(within time.Duration) (*health.Server, *grpc.ClientConn) {
		t.Helper()
		server := grpc.NewServer(
			grpc.InTapHandle(requestLimit{within: within, ending: ending}.begin),
			grpc.UnaryInterceptor(arrivedUnary), grpc.StreamInterceptor(arrivedStream),
		)
		state := health.NewServer()
		healthpb.RegisterHealthServer(server, state)
		listener := bufconn.Listen(1 << 10)
		served := make(chan error, 1)
		go func() { served <- server.Serve(listener) }()
		conn, err := grpc.NewClient("passthrough:///here", grpc.WithTransportCredentials(insecure.NewCredentials()),
			grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return listener.DialContext(ctx) }))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			_ = conn.Close()
			server.Stop()
			if err := <-served; err != nil {
				t.Error(err)
			}
		})
		return state, conn
	}
	silent := func(conn *grpc.ClientConn, method string) grpc.ClientStream {
		t.Helper()
		stream, err := conn.NewStream(t.Context(), &grpc.StreamDesc{ClientStreams: true, ServerStreams: true}, method)
		if err != nil {
			t.Fatal(err)
		}
		return stream
	}
	ends := func(stream grpc.ClientStream) {
		t.Helper()
		if err := stream.RecvMsg(&healthpb.HealthCheckResponse{}); status.Code(err) != codes.DeadlineExceeded {
			t.Errorf("ended with %v", err)
		}
	}

	state, conn := call(100 * time.Millisecond)
	watch, err := healthpb.NewHealthClient(conn).Watch(t.Context(), &healthpb.HealthCheckRequest{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := watch.Recv(); err != nil {
		t.Fatal(err)
	}
	for _, method := range []string{healthpb.Health_Check_FullMethodName, healthpb.Health_Watch_FullMethodName} {
		ends(silent(conn, method))
	}
	state.SetServingStatus("", healthpb.HealthCheckResponse_NOT_SERVING)
	if answer, err := watch.Recv(); err != nil || answer.GetStatus() != healthpb.HealthCheckResponse_NOT_SERVING {
		t.Errorf("a call whose request came: %v, %v", answer, err)
	}

	_, conn = call(time.Hour)
	waiting := silent(conn, healthpb.Health_Check_FullMethodName)
	end()
	ends(waiting)
}
