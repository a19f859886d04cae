package connlimit_test

import (
	"errors"
	"io"
	"net"
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/webhook-gateway/webhook-gateway/server/connlimit"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fixture is an HTTP server with a limit of two connections. A request to /work holds
// its connection until it is told to end.
type fixture struct {
	addr    string
	refused atomic.Int32
	working chan struct{}
	end     chan struct{}
	// Answering, if there is one, is told of each write of an answer, which waits for
	// answer.
	answering, answer chan struct{}
	// idle is told of each connection that is idle again.
	idle chan struct{}
}

// stalling is a listener whose connections may be slow to send.
type stalling struct {
	net.Listener
	f *fixture
}

func (l stalling) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	return stallingConn{c, l.f}, err
}

type stallingConn struct {
	net.Conn
	f *fixture
}

func (c stallingConn) Write(b []byte) (int, error) {
	if c.f.answering != nil {
		c.f.answering <- struct{}{}
		<-c.f.answer
	}
	return c.Conn.Write(b)
}

func newFixture(t *testing.T) *fixture {
	t.Helper()
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	f := &fixture{addr: inner.Addr().String(), working: make(chan struct{}), end: make(chan struct{}), idle: make(chan struct{}, 16)}
	server := &http.Server{
		ReadHeaderTimeout: time.Minute,
		Handler: http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/work" {
				f.working <- struct{}{}
				<-f.end
			}
		}),
	}
	connlimit.Serve(server)
	limited := server.ConnState
	server.ConnState = func(c net.Conn, state http.ConnState) {
		limited(c, state)
		if state == http.StateIdle {
			f.idle <- struct{}{}
		}
	}
	served := make(chan error, 1)
	go func() {
		served <- server.Serve(connlimit.New(stalling{inner, f}, 2, func() { f.refused.Add(1) }))
	}()
	t.Cleanup(func() {
		if err := server.Close(); err != nil {
			t.Error(err)
		}
		if err := <-served; !errors.Is(err, http.ErrServerClosed) {
			t.Error(err)
		}
	})
	return f
}

func (f *fixture) dial(t *testing.T) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", f.addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	if err := c.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	return c
}

func request(t *testing.T, c net.Conn, path string) {
	t.Helper()
	if _, err := io.WriteString(c, "GET "+path+" HTTP/1.1\r\nHost: a\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
}

func answered(t *testing.T, c net.Conn) {
	t.Helper()
	answer := make([]byte, 12)
	if _, err := io.ReadFull(c, answer); err != nil || string(answer) != "HTTP/1.1 200" {
		t.Fatalf("answer %q, %v", answer, err)
	}
}

func closed(t *testing.T, c net.Conn) {
	t.Helper()
	n, err := c.Read(make([]byte, 1))
	var timeout net.Error
	if n != 0 || err == nil || errors.As(err, &timeout) && timeout.Timeout() {
		t.Fatalf("read %d bytes, %v: want that the connection is closed", n, err)
	}
}

// Connections that say nothing push out each other, and nobody who does.
func TestTheLongestIdleGoes(t *testing.T) {
	f := newFixture(t)
	var silent []net.Conn
	for range 4 {
		silent = append(silent, f.dial(t))
	}
	closed(t, silent[0])
	closed(t, silent[1])
	worker := f.dial(t)
	request(t, worker, "/work")
	<-f.working
	closed(t, silent[2])
	for range 4 {
		silent = append(silent, f.dial(t))
	}
	for _, c := range silent[3:7] {
		closed(t, c)
	}
	close(f.end)
	answered(t, worker)
}

// With all connections at work a further one is refused, and taken when one is idle.
func TestBusyConnectionsStay(t *testing.T) {
	f := newFixture(t)
	workers := []net.Conn{f.dial(t), f.dial(t)}
	for _, c := range workers {
		request(t, c, "/work")
		<-f.working
	}
	closed(t, f.dial(t))
	if n := f.refused.Load(); n != 1 {
		t.Errorf("%d connections were refused, want 1", n)
	}
	close(f.end)
	for _, c := range workers {
		answered(t, c)
		<-f.idle // it is so a moment after its answer
	}
	third := f.dial(t)
	request(t, third, "/")
	answered(t, third)
}

// A connection whose answer is on its way is at work, although its handler has returned.
func TestAnswersAreSent(t *testing.T) {
	f := newFixture(t)
	f.answering, f.answer = make(chan struct{}), make(chan struct{})
	waiting := []net.Conn{f.dial(t), f.dial(t)}
	for _, c := range waiting {
		request(t, c, "/")
		<-f.answering
	}
	closed(t, f.dial(t))
	close(f.answer)
	for _, c := range waiting {
		answered(t, c)
	}
}

func TestDivide(t *testing.T) {
	for descriptors, want := range map[uint64]connlimit.Shares{
		0:       {Webhooks: 4, GRPC: 4, InternalHTTP: 4, Cluster: 8, StoreFiles: 16},
		200:     {Webhooks: 100, GRPC: 25, InternalHTTP: 12, Cluster: 8, StoreFiles: 50},
		1 << 40: {Webhooks: 10_000, GRPC: 10_000, InternalHTTP: 1_000, Cluster: 256, StoreFiles: 1_000},
	} {
		if got := connlimit.Divide(descriptors); got != want {
			t.Errorf("Divide(%d) = %+v, want %+v", descriptors, got, want)
		}
	}
	if n, err := connlimit.Descriptors(); n == 0 || err != nil {
		t.Errorf("Descriptors() = %d, %v", n, err)
	}
}
