package main

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"sync/atomic"
	"time"
)

// dialTLS returns how an HTTP transport connects with TLS, so that a refused client
// certificate is called one. With TLS 1.3 the server refuses it after the client is done
// with the handshake, and the transport would report whichever fails first: the read, which
// knows why, or the write of the request, which does not.
func dialTLS(config *tls.Config) func(ctx context.Context, network, addr string) (net.Conn, error) {
	dialer := &tls.Dialer{NetDialer: &net.Dialer{Timeout: 10 * time.Second}, Config: config}
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		conn, err := dialer.DialContext(ctx, network, addr)
		if err != nil {
			return nil, err
		}
		return &alertConn{Conn: conn}, nil
	}
}

// alertConn is a TLS connection whose writes fail with what the server said, if it said so.
type alertConn struct {
	net.Conn

	alert atomic.Pointer[net.OpError]
}

func (c *alertConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if alert, ok := alertOf(err); ok {
		c.alert.Store(alert)
	}
	return n, err
}

func (c *alertConn) Write(b []byte) (int, error) {
	n, err := c.Conn.Write(b)
	if alert := c.alert.Load(); err != nil && alert != nil {
		return n, alert
	}
	return n, err
}

// alertOf returns why the other side of a TLS connection refused it, if that is what err is.
func alertOf(err error) (*net.OpError, bool) {
	var alert *net.OpError
	if errors.As(err, &alert) && alert.Op == "remote error" { // so does crypto/tls call it
		return alert, true
	}
	return nil, false
}
