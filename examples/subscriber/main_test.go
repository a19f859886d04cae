package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	pb "github.com/webhook-gateway/webhook-gateway/gen/webhookgateway/v1"
	"github.com/webhook-gateway/webhook-gateway/server/servertest"
)

const failedSyncs = servertest.Client + ": syncs failed"

// TestResume runs the example twice: the second run goes on where the first one
// stopped, and what the filter skips is not counted.
func TestResume(t *testing.T) {
	gateway := servertest.Start(t)
	file := filepath.Join(t.TempDir(), "counts.json")
	gateway.Deliver(t, pb.EventType_EVENT_TYPE_VEZGO_SYNC_ERROR, pb.EventType_EVENT_TYPE_VEZGO_SYNC_ACCOUNT)
	for want := 1; want <= 2; want++ {
		s := start(t, gateway.GRPCAddr(), file)
		s.waitFor(t, want)
		s.end(t)
		gateway.Deliver(t, pb.EventType_EVENT_TYPE_VEZGO_SYNC_ERROR)
	}
}

// TestLargeEvent receives an event that is larger than what gRPC receives by
// default.
func TestLargeEvent(t *testing.T) {
	gateway := servertest.Start(t)
	deliverFailedSync(t, gateway, strings.Repeat("x", 6<<20))
	s := start(t, gateway.GRPCAddr(), filepath.Join(t.TempDir(), "counts.json"))
	s.waitFor(t, 1)
	s.end(t)
}

// TestOverTheLimit ends with an error that says why, in place of asking for the
// same event forever.
func TestOverTheLimit(t *testing.T) {
	gateway := servertest.Start(t)
	deliverFailedSync(t, gateway, strings.Repeat("x", 6<<20))
	conn, err := dial(gateway.GRPCAddr())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	limited := withOption{conn, grpc.MaxCallRecvMsgSize(4 << 20)}
	s := &subscriber{client: pb.NewEventServiceClient(limited), file: filepath.Join(t.TempDir(), "counts.json"), heartbeat: time.Second}
	err = s.run(t.Context())
	if status.Code(err) != codes.ResourceExhausted || !strings.Contains(err.Error(), "larger than max") {
		t.Errorf("the subscriber ended with %v", err)
	}
}

// TestCutConnections cuts the connection again and again, also within frames. In
// the end every event is counted, and once.
func TestCutConnections(t *testing.T) {
	gateway := servertest.Start(t)
	wire := newProxy(t, gateway.GRPCAddr())
	s := start(t, wire.addr(), filepath.Join(t.TempDir(), "counts.json"))
	const events = 60
	for i := range events {
		deliverFailedSync(t, gateway, strings.Repeat("x", 100_000))
		if i%15 == 7 {
			wire.cut()
		}
	}
	s.waitFor(t, events)
	s.end(t)
	if got := s.counts(t)[failedSyncs]; got != events {
		t.Errorf("%d failed syncs were counted, want %d", got, events)
	}
}

// TestGatewayRestarts follows the gateway through a restart.
func TestGatewayRestarts(t *testing.T) {
	gateway := servertest.Start(t)
	s := start(t, gateway.GRPCAddr(), filepath.Join(t.TempDir(), "counts.json"))
	for want := 1; want <= 2; want++ {
		gateway.Deliver(t, pb.EventType_EVENT_TYPE_VEZGO_SYNC_ERROR)
		s.waitFor(t, want)
		gateway.Restart(t)
	}
	s.end(t)
}

// TestPermanentErrors ends with what the gateway said, at once.
func TestPermanentErrors(t *testing.T) {
	gateway := servertest.Start(t)
	other := servertest.Start(t)
	info, err := pb.NewEventServiceClient(other.Conn()).GetLogInfo(t.Context(), &pb.GetLogInfoRequest{})
	if err != nil {
		t.Fatal(err)
	}
	for cursor, want := range map[string]codes.Code{
		"nonsense":           codes.InvalidArgument,
		info.GetHeadCursor(): codes.FailedPrecondition,
	} {
		file := filepath.Join(t.TempDir(), "counts.json")
		if err := os.WriteFile(file, []byte(`{"cursor":"`+cursor+`"}`), 0o600); err != nil {
			t.Fatal(err)
		}
		s := start(t, gateway.GRPCAddr(), file)
		if err := <-s.ended; status.Code(err) != want {
			t.Errorf("with the cursor %q the subscriber ended with %v, want %v", cursor, err, want)
		}
	}
}

// TestBrokenChain ends with an error when frames do not follow one another.
func TestBrokenChain(t *testing.T) {
	addr := serve(t, func(_ int, send func(*pb.SubscribeResponse)) {
		send(subscribed("c1"))
		send(heartbeat("c1", "c2"))
		send(heartbeat("c3", "c4"))
	})
	s := start(t, addr, filepath.Join(t.TempDir(), "counts.json"))
	if err := <-s.ended; err == nil || !strings.Contains(err.Error(), "the last cursor was c2, and the next frame begins at c3") {
		t.Errorf("the subscriber ended with %v", err)
	}
}

// TestWatchdog leaves a stream that is open and says nothing.
func TestWatchdog(t *testing.T) {
	addr := serve(t, func(n int, send func(*pb.SubscribeResponse)) {
		send(subscribed("c1"))
		if n > 1 {
			send(&pb.SubscribeResponse{Frame: &pb.SubscribeResponse_Events{Events: &pb.EventBatch{AfterCursor: "c1", Events: []*pb.Event{
				{Cursor: "c2", ClientId: servertest.Client, Type: pb.EventType_EVENT_TYPE_VEZGO_SYNC_ERROR},
			}}}})
		}
	})
	s := start(t, addr, filepath.Join(t.TempDir(), "counts.json"))
	s.waitFor(t, 1)
	s.end(t)
}

func deliverFailedSync(t *testing.T, gateway *servertest.Gateway, login string) {
	t.Helper()
	gateway.DeliverBody(t, pb.Provider_PROVIDER_VEZGO, fmt.Appendf(nil,
		`{"hook":"SyncError","user":{"id":"u1","loginName":%q},"account":{"id":"a1","provider":"coinbase"},"error":"LoginFailedError"}`, login))
}

// running is a run of the example.
type running struct {
	file  string
	stop  context.CancelFunc
	ended chan error
}

func start(t *testing.T, addr, file string) *running {
	t.Helper()
	conn, err := dial(addr)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	r := &running{file: file, stop: stop, ended: make(chan error, 1)}
	s := &subscriber{client: pb.NewEventServiceClient(conn), file: file, heartbeat: time.Second}
	go func() {
		err := s.run(ctx)
		_ = conn.Close() // nothing is under way
		r.ended <- err
	}()
	t.Cleanup(stop)
	return r
}

// end ends the run as SIGTERM does.
func (r *running) end(t *testing.T) {
	t.Helper()
	r.stop()
	if err := <-r.ended; err != nil {
		t.Errorf("the subscriber ended with %v", err)
	}
}

func (r *running) counts(t *testing.T) map[string]int {
	t.Helper()
	s := &subscriber{file: r.file}
	if err := s.load(); err != nil {
		t.Fatal(err)
	}
	return s.state.Counts
}

// waitFor waits until so many failed syncs are counted.
func (r *running) waitFor(t *testing.T, want int) {
	t.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for limit := time.After(time.Minute); ; {
		select {
		case <-tick.C:
			if r.counts(t)[failedSyncs] >= want {
				return
			}
		case err := <-r.ended:
			t.Fatalf("the subscriber ended with %v", err)
		case <-limit:
			t.Fatalf("%d failed syncs are not counted: %v", want, r.counts(t))
		}
	}
}

// withOption makes calls with one more option.
type withOption struct {
	grpc.ClientConnInterface

	option grpc.CallOption
}

func (w withOption) NewStream(ctx context.Context, desc *grpc.StreamDesc, method string, options ...grpc.CallOption) (grpc.ClientStream, error) {
	return w.ClientConnInterface.NewStream(ctx, desc, method, append(options, w.option)...)
}

// proxy passes connections on to a gateway, until they are cut.
type proxy struct {
	listener net.Listener
	target   string

	mu    sync.Mutex
	conns []net.Conn
}

func newProxy(t *testing.T, target string) *proxy {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{listener: listener, target: target}
	var tasks sync.WaitGroup
	tasks.Go(func() {
		for {
			client, err := listener.Accept()
			if err != nil {
				return
			}
			server, err := net.Dial("tcp", target)
			if err != nil {
				_ = client.Close()
				continue
			}
			p.mu.Lock()
			p.conns = append(p.conns, client, server)
			p.mu.Unlock()
			tasks.Go(func() { pass(client, server) })
			tasks.Go(func() { pass(server, client) })
		}
	})
	t.Cleanup(func() {
		_ = listener.Close()
		p.cut()
		tasks.Wait()
	})
	return p
}

func (p *proxy) addr() string { return p.listener.Addr().String() }

// cut closes all connections, in the middle of whatever passes.
func (p *proxy) cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, conn := range p.conns {
		_ = conn.Close()
	}
	p.conns = nil
}

// pass copies in small pieces, so that a cut falls into a frame.
func pass(to, from net.Conn) {
	defer to.Close()
	buf := make([]byte, 1000)
	for {
		n, err := from.Read(buf)
		if err != nil {
			return
		}
		if _, err := to.Write(buf[:n]); err != nil {
			return
		}
	}
}

// fake is a gateway that sends what a test wants, and then nothing.
type fake struct {
	pb.UnimplementedEventServiceServer

	mu      sync.Mutex
	streams int
	frames  func(n int, send func(*pb.SubscribeResponse))
}

func (f *fake) Subscribe(_ *pb.SubscribeRequest, call grpc.ServerStreamingServer[pb.SubscribeResponse]) error {
	f.mu.Lock()
	f.streams++
	n := f.streams
	f.mu.Unlock()
	f.frames(n, func(frame *pb.SubscribeResponse) { _ = call.Send(frame) })
	<-call.Context().Done()
	return nil
}

// serve starts a fake. Its streams are numbered from 1.
func serve(t *testing.T, frames func(n int, send func(*pb.SubscribeResponse))) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer()
	pb.RegisterEventServiceServer(server, &fake{frames: frames})
	var task sync.WaitGroup
	task.Go(func() { _ = server.Serve(listener) })
	t.Cleanup(func() {
		server.Stop()
		task.Wait()
	})
	return listener.Addr().String()
}

func subscribed(at string) *pb.SubscribeResponse {
	return &pb.SubscribeResponse{Frame: &pb.SubscribeResponse_Subscribed{Subscribed: &pb.Subscribed{StartCursor: at}}}
}

func heartbeat(from, to string) *pb.SubscribeResponse {
	return &pb.SubscribeResponse{Frame: &pb.SubscribeResponse_Heartbeat{Heartbeat: &pb.Heartbeat{AfterCursor: from, Cursor: to}}}
}
