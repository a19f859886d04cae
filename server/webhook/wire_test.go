package webhook_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/webhook-gateway/webhook-gateway/server/eventlog"
	"github.com/webhook-gateway/webhook-gateway/server/webhook"
)

// exchange sends raw bytes over a new connection and returns the answers to
// them. hangUp closes the sending side after them.
func exchange(t *testing.T, addr, request string, hangUp bool) reply {
	t.Helper()
	conn := dial(t, addr)
	write(t, conn, request)
	if hangUp {
		if err := conn.CloseWrite(); err != nil {
			t.Fatal(err)
		}
	}
	return readResponse(t, bufio.NewReader(conn), http.MethodPost)
}

func dial(t *testing.T, addr string) *net.TCPConn {
	t.Helper()
	conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn.(*net.TCPConn)
}

func write(t *testing.T, w io.Writer, s string) {
	t.Helper()
	if _, err := io.WriteString(w, s); err != nil {
		t.Fatal(err)
	}
}

func readResponse(t *testing.T, r *bufio.Reader, method string) reply {
	t.Helper()
	response, err := http.ReadResponse(r, &http.Request{Method: method})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	return readReply(t, response)
}

const head = "POST /v1/webhooks/fake HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"

func chunked(chunks ...string) string {
	var b strings.Builder
	b.WriteString(head + "Transfer-Encoding: chunked\r\n\r\n")
	for _, chunk := range chunks {
		fmt.Fprintf(&b, "%x\r\n%s\r\n", len(chunk), chunk)
	}
	return b.String() + "0\r\n\r\n"
}

func TestBodiesOnTheWire(t *testing.T) {
	t.Parallel()
	const limit = 200_000
	f := newFixture(t, func(f *fixture) { f.cfg.MaxBodyBytes, f.cfg.MaxBufferedBytes = limit, 6*limit })
	addr := f.listen(t)
	large := strings.Repeat("0123456789", limit/10)
	withLength := func(length int, body string) string {
		return fmt.Sprintf("%sContent-Length: %d\r\n\r\n%s", head, length, body)
	}
	tests := []struct {
		name    string
		request string
		hangUp  bool
		want    answer
		body    string
	}{
		{name: "small", request: withLength(2, "{}"), want: answer{Code: 200}, body: "{}"},
		{name: "empty", request: withLength(0, ""), want: answer{Code: 200}},
		{name: "no length", request: head + "\r\n", want: answer{Code: 200}},
		{name: "at the limit", request: withLength(limit, large), want: answer{Code: 200}, body: large},
		{name: "over the limit", request: withLength(limit+1, large+"x"), want: answer{413, "BODY_TOO_LARGE"}},
		{name: "announces too much and sends nothing", request: withLength(1<<60, ""), want: answer{413, "BODY_TOO_LARGE"}},
		{name: "announces more than it sends", request: withLength(1000, "{}"), hangUp: true, want: answer{400, "BODY_INCOMPLETE"}},
		{name: "announces much more than it sends", request: withLength(limit, "{}"), hangUp: true, want: answer{400, "BODY_INCOMPLETE"}},
		{name: "sends nothing of it", request: withLength(1000, ""), hangUp: true, want: answer{400, "BODY_INCOMPLETE"}},
		{name: "chunked", request: chunked(`{"a"`, ":1", "}"), want: answer{Code: 200}, body: `{"a":1}`},
		{name: "chunked and empty", request: chunked(), want: answer{Code: 200}},
		{name: "chunked at the limit", request: chunked(large[:1000], large[1000:]), want: answer{Code: 200}, body: large},
		{name: "chunked over the limit", request: chunked(large, "x"), want: answer{413, "BODY_TOO_LARGE"}},
		{name: "chunked and cut off", request: head + "Transfer-Encoding: chunked\r\n\r\n5\r\n{}", hangUp: true, want: answer{400, "BODY_INCOMPLETE"}},
		{name: "chunked and malformed", request: head + "Transfer-Encoding: chunked\r\n\r\nzz\r\n{}\r\n", want: answer{400, "BODY_INCOMPLETE"}},
		{name: "gzip", request: head + "Content-Encoding: gzip\r\nContent-Length: 2\r\n\r\n{}", want: answer{415, "CONTENT_ENCODING_UNSUPPORTED"}},
		{name: "unknown path with a large body", request: strings.Replace(withLength(1<<60, ""), "fake", "fake/a/b", 1), want: answer{404, "PATH_UNKNOWN"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			before := f.provider.count()
			got := exchange(t, addr, test.request, test.hangUp).answer
			if got != test.want {
				t.Errorf("answer = %+v, want %+v", got, test.want)
			}
			if got.Code != http.StatusOK {
				if f.provider.count() != before {
					t.Error("a refused body reached the provider")
				}
				return
			}
			if body := string(f.provider.last(t).Body); body != test.body {
				t.Errorf("the provider got %d bytes, want %d, or other ones", len(body), len(test.body))
			}
		})
	}
}

func TestMethodsOnTheWire(t *testing.T) {
	t.Parallel()
	f := newFixture(t, nil)
	conn := dial(t, f.listen(t))
	r := bufio.NewReader(conn)
	// All on one connection: a refusal without a body does not cost it.
	for _, method := range []string{"GET", "PUT", "DELETE", "PATCH"} {
		write(t, conn, method+" /v1/webhooks/fake HTTP/1.1\r\nHost: x\r\n\r\n")
		got := readResponse(t, r, method)
		if got.answer != (answer{405, "METHOD_NOT_ALLOWED"}) || got.header.Get("Allow") != "POST" {
			t.Errorf("%s: reply = %+v", method, got)
		}
	}
	write(t, conn, "HEAD /v1/webhooks/fake HTTP/1.1\r\nHost: x\r\n\r\n")
	response, err := http.ReadResponse(r, &http.Request{Method: http.MethodHead})
	if err != nil {
		t.Fatal(err)
	}
	_ = response.Body.Close()
	if response.StatusCode != http.StatusMethodNotAllowed || response.Header.Get("Allow") != "POST" {
		t.Errorf("HEAD: %s, Allow %q", response.Status, response.Header.Get("Allow"))
	}
	write(t, conn, head+"Content-Length: 2\r\n\r\n{}")
	if got := readResponse(t, r, http.MethodPost); got.answer.Code != http.StatusOK {
		t.Errorf("POST: answer = %+v", got)
	}
}

// A sender that asks first does not send what is refused anyway.
func TestExpectContinue(t *testing.T) {
	t.Parallel()
	f := newFixture(t, nil)
	addr := f.listen(t)
	got := exchange(t, addr, fmt.Sprintf("%sExpect: 100-continue\r\nContent-Length: %d\r\n\r\n", head, 17<<20), false)
	if got.answer != (answer{413, "BODY_TOO_LARGE"}) {
		t.Errorf("answer = %+v", got.answer)
	}
	conn := dial(t, addr)
	write(t, conn, head+"Expect: 100-continue\r\nContent-Length: 2\r\n\r\n")
	r := bufio.NewReader(conn)
	if line, err := r.ReadString('\n'); err != nil || line != "HTTP/1.1 100 Continue\r\n" {
		t.Fatalf("got %q, %v", line, err)
	}
	if _, err := r.ReadString('\n'); err != nil {
		t.Fatal(err)
	}
	write(t, conn, "{}")
	if got := readResponse(t, r, http.MethodPost); got.answer.Code != http.StatusOK {
		t.Errorf("answer = %+v", got)
	}
}

// The memory of large bodies is bounded over all deliveries, it is given back, and
// leaves room for small ones.
func TestBufferedBodiesAreBounded(t *testing.T) {
	t.Parallel()
	const limit = 300_000
	f := newFixture(t, func(f *fixture) { f.cfg.MaxBodyBytes, f.cfg.MaxBufferedBytes = limit, 6*limit })
	large := strings.Repeat("x", limit)

	// The first one is being stored.
	storing, store := make(chan struct{}), make(chan struct{})
	first := true
	f.log.append = func(context.Context, eventlog.Entry) (eventlog.Receipt, error) {
		if first {
			first = false
			close(storing)
			<-store
		}
		return eventlog.Receipt{Position: 1}, nil
	}
	var stored reply
	var group sync.WaitGroup
	group.Go(func() { stored = f.post(t, "/v1/webhooks/fake", large, nil) })
	<-storing
	if got := f.post(t, "/v1/webhooks/fake", large, nil).answer; got != (answer{503, "OVERLOADED"}) {
		t.Errorf("answer to a second large body = %+v", got)
	}
	if got := f.post(t, "/v1/webhooks/fake", "{}", nil).answer; got.Code != http.StatusOK {
		t.Errorf("answer to a small body = %+v", got)
	}
	close(store)
	group.Wait()
	if stored.answer.Code != http.StatusOK {
		t.Errorf("answer to the first body = %+v", stored)
	}
	for range 3 {
		if got := f.post(t, "/v1/webhooks/fake", large, nil).answer; got.Code != http.StatusOK {
			t.Errorf("answer after that = %+v", got)
		}
	}
}

// pipeListener accepts one connection.
type pipeListener struct {
	conns  chan net.Conn
	once   sync.Once
	closed chan struct{}
}

func (l *pipeListener) Accept() (net.Conn, error) {
	select {
	case conn := <-l.conns:
		return conn, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *pipeListener) Close() error {
	l.once.Do(func() { close(l.closed) })
	return nil
}

func (l *pipeListener) Addr() net.Addr { return &net.TCPAddr{} }

func TestSlowBody(t *testing.T) {
	t.Parallel()
	for name, request := range map[string]string{
		"with a length": head + "Content-Length: 10\r\n\r\n{",
		"nothing of it": head + "Content-Length: 10\r\n\r\n",
		"chunked":       head + "Transfer-Encoding: chunked\r\n\r\n1\r\n{\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				f := newFixture(t, nil)
				listener := &pipeListener{conns: make(chan net.Conn, 1), closed: make(chan struct{})}
				server := webhook.NewServer(f.cfg, f.handler, slog.New(slog.DiscardHandler))
				served := make(chan error, 1)
				go func() { served <- server.Serve(listener) }()
				client, accepted := net.Pipe()
				listener.conns <- accepted

				write(t, client, request)
				got := readResponse(t, bufio.NewReader(client), http.MethodPost)
				if got.answer != (answer{408, "BODY_TIMEOUT"}) || !got.close {
					t.Errorf("reply = %+v", got)
				}
				if f.provider.count() != 0 {
					t.Error("a refused body reached the provider")
				}
				_ = client.Close()
				_ = server.Close()
				if err := <-served; !errors.Is(err, http.ErrServerClosed) {
					t.Error(err)
				}
			})
		})
	}
}
