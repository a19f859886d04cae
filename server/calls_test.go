package server

import (
	"context"
	"errors"
	"net"
	"testing"
	"testing/synctest"
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
// it likes. When the server ends, no call waits for long, and none is cut whose request
// is on its way.
func TestRequestThatDoesNotCome(t *testing.T) {
	ending, end := context.WithCancel(t.Context())
	defer end()
	call := func(within time.Duration) (*health.Server, *grpc.ClientConn) {
		t.Helper()
		server := grpc.NewServer(
			grpc.InTapHandle(newRequestLimit(ending, within).begin),
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

	state, conn := call(2 * time.Second) // in which a busy machine, too, sends a request after its headers
	watch, err := healthpb.NewHealthClient(conn).Watch(t.Context(), &healthpb.HealthCheckRequest{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := watch.Recv(); err != nil {
		t.Fatal(err)
	}
	check, silentWatch := silent(conn, healthpb.Health_Check_FullMethodName), silent(conn, healthpb.Health_Watch_FullMethodName)
	ends(check)
	ends(silentWatch)
	state.SetServingStatus("", healthpb.HealthCheckResponse_NOT_SERVING)
	if answer, err := watch.Recv(); err != nil || answer.GetStatus() != healthpb.HealthCheckResponse_NOT_SERVING {
		t.Errorf("a call whose request came: %v, %v", answer, err)
	}

	_, conn = call(time.Hour)
	waiting := silent(conn, healthpb.Health_Check_FullMethodName)
	end()
	for range 200 { // what is on its way is served
		if _, err := healthpb.NewHealthClient(conn).Check(t.Context(), &healthpb.HealthCheckRequest{}); err != nil {
			t.Fatalf("a call while the server ends: %v", err)
		}
	}
	ends(waiting)
}

// Nothing is kept of a call whose request came, and nothing for long of one that ended
// before that.
func TestCallsThatEndAreForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		limit := newRequestLimit(t.Context(), 30*time.Second)
		waiting := func() int {
			limit.mu.Lock()
			defer limit.mu.Unlock()
			return len(limit.waiting)
		}
		begin := func(ctx context.Context) context.Context {
			t.Helper()
			ctx, err := limit.begin(ctx, nil)
			if err != nil {
				t.Fatal(err)
			}
			return ctx
		}
		for range 3 { // the timer rests in between
			arrived(begin(t.Context()))
			if n := waiting(); n != 0 {
				t.Errorf("%d wait whose request came", n)
			}
			ctx, cancel := context.WithCancel(t.Context())
			begin(ctx)
			slow := begin(t.Context())
			cancel()
			<-time.After(3 * time.Second)
			if n := waiting(); n != 1 || slow.Err() != nil {
				t.Errorf("%d wait, the slow one ended with %v; want 1, nil", n, slow.Err())
			}
			<-time.After(30 * time.Second)
			if n := waiting(); n != 0 || !errors.Is(slow.Err(), context.DeadlineExceeded) {
				t.Errorf("%d wait, the slow one ended with %v", n, slow.Err())
			}
		}
	})
}
