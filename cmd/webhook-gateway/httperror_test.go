package main

import (
	"context"
	"errors"
	"net"
	"net/http"
	"strings"
	"testing"
)

// refusedConn is a connection whose client certificate is refused before the request could
// be sent: with TLS 1.3 the server says so after the client is done with the handshake.
type refusedConn struct{ net.Conn }

func (refusedConn) Read([]byte) (int, error) {
	return 0, &net.OpError{Op: "remote error", Err: errors.New("tls: unknown certificate authority")}
}

// TestRefusedBeforeTheRequest: a refused certificate is called one, however early the
// server said it.
func TestRefusedBeforeTheRequest(t *testing.T) {
	for range 100 { // with the request begun, or not yet
		here, there := net.Pipe() // nobody reads: the request is never sent
		transport := &http.Transport{DialContext: func(context.Context, string, string) (net.Conn, error) {
			return &alertConn{Conn: refusedConn{here}}, nil
		}}
		request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://gateway.example", http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		_, err = transport.RoundTrip(request) //nolint:bodyclose // there is none
		if err == nil || !strings.Contains(plainHTTPError(err), "unknown certificate authority") {
			t.Fatalf("%v is told as %q", err, plainHTTPError(err))
		}
		_ = there.Close()
	}
}
