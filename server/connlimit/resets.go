package connlimit

import (
	"encoding/binary"
	"errors"
	"net"
	"time"

	"golang.org/x/time/rate"
)

// How often a client may reset streams of one connection: now and then, as who cancels
// calls does. A client that opens and resets streams as fast as it can costs the server
// far more than itself (CVE-2023-44487).
const (
	resetsPerSecond = 50
	resetBurst      = 200
	// lingering is how long a client that did is kept waiting: it would only connect
	// again.
	lingering = 2 * time.Second
)

// LimitResets returns a listener of HTTP/2 connections that closes those whose client
// resets streams too often. exceeded is called for each. It must see the frames: of
// connections with TLS, what was decrypted.
func LimitResets(inner net.Listener, exceeded func(remote net.Addr)) net.Listener {
	return resetListener{inner, exceeded}
}

type resetListener struct {
	net.Listener
	exceeded func(net.Addr)
}

// Accept implements net.Listener.
func (l resetListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &resetConn{
		Conn: c, exceeded: l.exceeded, skip: len(clientPreface),
		resets: rate.NewLimiter(resetsPerSecond, resetBurst),
	}, nil
}

// Of RFC 9113.
const (
	clientPreface     = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
	frameHeaderLen    = 9
	frameRSTStream    = 0x3
	frameGoAway       = 0x7
	enhanceYourCalm   = 0xb
	maxStreamID       = 1<<31 - 1
	goAwayPayloadSize = 8
)

// resetConn counts the frames that reset a stream. Only the server's reader calls Read.
type resetConn struct {
	net.Conn
	exceeded func(net.Addr)
	resets   *rate.Limiter

	// skip is how many bytes are left of the preface or of the payload of a frame.
	skip   int
	header [frameHeaderLen]byte
	have   int // bytes of the header
}

// NetConn returns the connection below.
func (c *resetConn) NetConn() net.Conn { return c.Conn }

var errResets = errors.New("the client resets streams too often")

// Read implements net.Conn.
func (c *resetConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if !c.look(b[:n]) {
		c.exceeded(c.RemoteAddr())
		c.goAway()
		return 0, errResets
	}
	return n, err
}

// look follows the frames. It reports whether the client may go on.
func (c *resetConn) look(b []byte) bool {
	for len(b) > 0 {
		if c.skip > 0 {
			n := min(c.skip, len(b))
			c.skip, b = c.skip-n, b[n:]
			continue
		}
		n := copy(c.header[c.have:], b)
		c.have, b = c.have+n, b[n:]
		if c.have < frameHeaderLen {
			return true
		}
		c.have = 0
		c.skip = int(c.header[0])<<16 | int(c.header[1])<<8 | int(c.header[2])
		if c.header[3] == frameRSTStream && !c.resets.Allow() {
			return false
		}
	}
	return true
}

// goAway tells the client, if it still listens, and closes the connection. The frame
// may come in the middle of another one, which nobody will read any more.
func (c *resetConn) goAway() {
	frame := append(make([]byte, 0, frameHeaderLen+goAwayPayloadSize), 0, 0, goAwayPayloadSize, frameGoAway, 0, 0, 0, 0, 0)
	frame = binary.BigEndian.AppendUint32(frame, maxStreamID)
	frame = binary.BigEndian.AppendUint32(frame, enhanceYourCalm)
	_ = c.SetWriteDeadline(time.Now().Add(lingering)) // it may not read
	_, _ = c.Write(frame)                             // a courtesy
	<-time.After(lingering)
	_ = c.Close() // the reader fails all the same
}
