package rest_test

import (
	"bufio"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/webhook-gateway/webhook-gateway/server/rest"
)

// oneConn is a listener that accepts one connection, and is closed once.
type oneConn chan net.Conn

func (l oneConn) Accept() (net.Conn, error) {
	c, ok := <-l
	if !ok {
		return nil, net.ErrClosed
	}
	return c, nil
}

func (l oneConn) Close() error {
	close(l)
	return nil
}

func (l oneConn) Addr() net.Addr { return &net.TCPAddr{} }

// A body that does not come is not waited for for ever, whether or not the call takes one.
func TestSlowBody(t *testing.T) {
	t.Parallel()
	for head, want := range map[string]string{
		"POST /v1/events:list":   "did not arrive within 30s",
		"GET /v1/events?x=1":     "there is no such key",
		"POST /v1/no-such-thing": "there is nothing at this path",
	} {
		t.Run(head, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				conn, err := grpc.NewClient("passthrough:///nobody", grpc.WithTransportCredentials(insecure.NewCredentials()))
				if err != nil {
					t.Fatal(err)
				}
				handler, err := rest.New(t.Context(), conn)
				if err != nil {
					t.Fatal(err)
				}
				server, listener := &http.Server{Handler: handler}, make(oneConn, 1)
				served := make(chan error, 1)
				go func() { served <- server.Serve(listener) }()
				client, accepted := net.Pipe()
				listener <- accepted

				began := time.Now()
				if _, err := io.WriteString(client, head+" HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: 9\r\n\r\n{"); err != nil {
					t.Fatal(err)
				}
				answer, err := io.ReadAll(bufio.NewReader(client)) // until it is closed
				if err != nil || !strings.Contains(string(answer), want) {
					t.Errorf("answer %q, %v", answer, err)
				}
				if took := time.Since(began); took > time.Minute {
					t.Errorf("the connection was held for %v", took)
				}
				_ = server.Close()
				if err := <-served; !errors.Is(err, http.ErrServerClosed) {
					t.Error(err)
				}
				if err := conn.Close(); err != nil {
					t.Error(err)
				}
			})
		})
	}
}
