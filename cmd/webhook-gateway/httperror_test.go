package main

import (
	"context"
	"errors"
	"net"
	"net/http"
	"strings"
	"syscall"
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
			return newAlertConn(refusedConn{here}), nil
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

// writesFirst is a refusedConn whose writes fail before what the server said is read, as when it
// has closed the connection by then.
type writesFirst struct {
	refusedConn

	wrote chan struct{}
}

func (c writesFirst) Write([]byte) (int, error) {
	close(c.wrote)
	return 0, syscall.EPIPE
}

func (c writesFirst) Read(b []byte) (int, error) {
	<-c.wrote
	return c.refusedConn.Read(b)
}

// TestRefusedAndTheWriteFailsFirst: a refused certificate is called one, also if the write of the request fails before
// the alert is read.
func TestRefusedAndTheWriteFailsFirst(t *testing.T) {
	for range 100 {
		here, there := net.Pipe()
		conn := newAlertConn(writesFirst{refusedConn{here}, make(chan struct{})})
		read := make(chan error, 1)
		go func() {
			_, err := conn.Read(nil)
			read <- err
		}()
		_, err := conn.Write([]byte("a request"))
		if _, ok := alertOf(err); !ok {
			t.Fatalf("the write fails with %v", err)
		}
		if _, ok := alertOf(<-read); !ok {
			t.Fatal("the read does not say why")
		}
		_, _ = here.Close(), there.Close()
	}
}
