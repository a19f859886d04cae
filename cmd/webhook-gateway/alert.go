package main

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"sync"
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
		return newAlertConn(conn), nil
	}
}

// alertPatience is how long a write that failed waits for what the server said.
const alertPatience = time.Second

// alertConn is a TLS connection whose writes fail with what the server said, if it said so.
type alertConn struct {
	net.Conn

	ended sync.Once
	alert chan *net.OpError // has what the server said, and is closed, when reads have failed
}

func newAlertConn(conn net.Conn) *alertConn {
	return &alertConn{Conn: conn, alert: make(chan *net.OpError, 1)}
}

func (c *alertConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if err != nil {
		c.ended.Do(func() {
			if alert, ok := alertOf(err); ok {
				c.alert <- alert
			}
			close(c.alert)
		})
	}
	return n, err
}

// Write is called while a Read is under way, which ends if the connection has. What the server said is
// there by then, but may not have been read yet.
func (c *alertConn) Write(b []byte) (int, error) {
	n, err := c.Conn.Write(b)
	if err == nil {
		return n, nil
	}
	timer := time.NewTimer(alertPatience)
	defer timer.Stop()
	select {
	case alert := <-c.alert:
		if alert != nil {
			return n, alert
		}
	case <-timer.C:
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
