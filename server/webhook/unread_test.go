package webhook_test

import (
	"bufio"
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/webhook-gateway/webhook-gateway/server/connlimit"
	"github.com/webhook-gateway/webhook-gateway/server/webhook"
)

// unread are requests that are refused while a part of their body is still to come.
var unread = map[string]struct {
	request string
	want    answer
}{
	"of nobody":  {strings.Replace(head, "fake", "nobody", 1) + "Content-Length: 100\r\n\r\n", answer{404, "PROVIDER_UNKNOWN"}},
	"of no path": {strings.Replace(head, "fake", "fake/too/deep", 1) + "Content-Length: 100\r\n\r\n", answer{404, "PATH_UNKNOWN"}},
	"too large":  {head + "Transfer-Encoding: chunked\r\n\r\n11\r\n" + strings.Repeat("x", 17) + "\r\n", answer{413, "BODY_TOO_LARGE"}},
	"malformed":  {head + "Transfer-Encoding: chunked\r\n\r\nzz\r\n", answer{400, "BODY_INCOMPLETE"}},
}

// Who is refused and never sends the rest of a body is told at once, and holds no
// connection: it makes room for others, and holds up no shutdown.
func TestUnreadBodiesHoldNothing(t *testing.T) {
	t.Parallel()
	for name, test := range unread {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			const limit = 2
			f := newFixture(t, func(f *fixture) { f.cfg.MaxBodyBytes, f.cfg.ReadTimeout = 16, time.Hour })
			inner, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			server := webhook.NewServer(f.cfg, f.handler, slog.New(slog.DiscardHandler))
			served := make(chan error, 1)
			go func() { served <- server.Serve(connlimit.New(inner, limit, func() {})) }()
			for range limit {
				conn := dialSoon(t, inner.Addr().String())
				write(t, conn, test.request)
				if got := readResponse(t, bufio.NewReader(conn), http.MethodPost); got.answer != test.want || !got.close {
					t.Errorf("reply = %+v, want %+v, and that the connection ends", got, test.want)
				}
			}
			conn := dialSoon(t, inner.Addr().String())
			write(t, conn, head+"Content-Length: 2\r\n\r\n{}")
			if got := readResponse(t, bufio.NewReader(conn), http.MethodPost); got.answer.Code != http.StatusOK {
				t.Errorf("answer to a delivery beside them = %+v", got)
			}
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			if err := server.Shutdown(ctx); err != nil {
				t.Errorf("shut down: %v", err)
				_ = server.Close()
			}
			if err := <-served; !errors.Is(err, http.ErrServerClosed) {
				t.Error(err)
			}
		})
	}
}

// dialSoon is dial with a limit to the wait for answers.
func dialSoon(t *testing.T, addr string) net.Conn {
	t.Helper()
	conn := dial(t, addr)
	if err := conn.SetDeadline(time.Now().Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	return conn
}
