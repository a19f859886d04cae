package connlimit

import (
	"encoding/binary"
	"errors"
	"net"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// How often a client may reset streams of one connection: now and then, as who cancels
// calls does. A client that opens and resets streams as fast as it can costs the server
// far more than itself (CVE-2023-44487).
const (
	resetsPerSecond = 50
	resetBurst      = 200
	// rapid is the age from which a stream may be reset without being counted: the
	// deadlines of many calls pass at once when the gateway is slow, and a proxy resets
	// all that a client of its own leaves behind.
	rapid = time.Second
	// lingering is how long a client that goes too far is kept waiting: it would only
	// connect again.
	lingering = 2 * time.Second
)

// How many streams may be open of those who did not show who they are, each with some
// KiB of headers: on one connection, as a client that begins may open them before its
// first call was admitted, and on all connections of a listener.
const (
	maxStrangeStreams    = 1_000
	maxAllStrangeStreams = 4_000
	// patience is how long nothing more is read from a connection that has too many: the
	// gateway may be about to know its client, once it has the keys of an issuer.
	patience = 2 * time.Second
)

// LimitStreams returns a listener of HTTP/2 connections that watches their streams, if
// they come from a Listener, and closes those whose client resets streams too often, or
// opens too many and is not known soon after: see Addr. exceeded is called for each. It must see
// the frames: of connections with TLS, what was decrypted.
//
// A connection without streams is idle; one whose client is not known makes room as one
// that keeps the gateway waiting. If all of these have too many streams, the one with
// most of them is closed.
func LimitStreams(inner net.Listener, exceeded func(remote net.Addr, why error)) net.Listener {
	return streamListener{inner, exceeded, false}
}

// LimitStrangers is LimitStreams for a listener whose clients call for clients of their own, which
// they limit: once they are known they may reset streams as often as those want it. If one of these
// connections was closed for what a few do, all would pay.
func LimitStrangers(inner net.Listener, exceeded func(remote net.Addr, why error)) net.Listener {
	return streamListener{inner, exceeded, true}
}

type streamListener struct {
	net.Listener
	exceeded   func(net.Addr, error)
	trustKnown bool
}

// Accept implements net.Listener.
func (l streamListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	limited, _ := below(c).(*conn)
	return &streamConn{
		Conn: c, limited: limited, exceeded: l.exceeded, trustKnown: l.trustKnown,
		in: frames{skip: len(clientPreface)}, resets: rate.NewLimiter(resetsPerSecond, resetBurst),
		open: make(map[uint32]time.Time),
	}, nil
}

// Of RFC 9113.
const (
	clientPreface     = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
	frameHeaderLen    = 9
	frameData         = 0x0
	frameHeaders      = 0x1
	frameRSTStream    = 0x3
	frameGoAway       = 0x7
	flagEndStream     = 0x1
	enhanceYourCalm   = 0xb
	maxStreamID       = 1<<31 - 1
	goAwayPayloadSize = 8
)

// streamConn follows the frames of a connection. The server has one reader, which calls
// Read, and one writer, which calls Write.
type streamConn struct {
	net.Conn
	limited  *conn // nil in tests
	exceeded func(net.Addr, error)
	// trustKnown: its client may reset streams as it likes once it is known.
	trustKnown bool
	in, out    frames
	resets     *rate.Limiter

	mu   sync.Mutex
	open map[uint32]time.Time // when the streams of the client began that have not ended
	last uint32               // the newest of them
}

// NetConn returns the connection below.
func (c *streamConn) NetConn() net.Conn { return c.Conn }

// RemoteAddr implements net.Conn. The address knows its connection: see Addr.
func (c *streamConn) RemoteAddr() net.Addr { return Addr{c.Conn.RemoteAddr(), c.limited} }

// Addr is the remote address of a connection of LimitStreams.
type Addr struct {
	net.Addr
	conn *conn
}

// Know says that who made a call has shown who they are: the connection makes room for
// nobody while it has calls, which it may have as many of as it likes.
func (a Addr) Know() {
	if a.conn != nil {
		a.conn.know()
	}
}

var (
	errResets  = errors.New("its client resets streams too often")
	errStreams = errors.New("its client has too many calls open, and did not show who it is")
)

// Read implements net.Conn.
func (c *streamConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if wrong := c.in.look(b[:n], c.received); wrong != nil {
		c.exceeded(c.Conn.RemoteAddr(), wrong)
		c.goAway()
		if !errors.Is(wrong, errStreams) { // that one was kept waiting before
			<-time.After(lingering)
		}
		_ = c.Close() // the reader fails all the same
		return 0, wrong
	}
	return n, err
}

// Write implements net.Conn.
func (c *streamConn) Write(b []byte) (int, error) {
	_ = c.out.look(b, c.sent) // it finds nothing wrong
	return c.Conn.Write(b)
}

// received is told of each frame of the client.
func (c *streamConn) received(f frame) error {
	switch f.kind {
	case frameRSTStream:
		if began, ok := c.ended(f.stream); ok && time.Since(began) >= rapid || c.trustKnown && c.limited.wasKnown() {
			return nil
		}
		if !c.resets.Allow() {
			return errResets
		}
	case frameHeaders:
		return c.began(f.stream)
	}
	return nil
}

// sent is told of each frame of the server.
func (c *streamConn) sent(f frame) error {
	if f.kind == frameRSTStream || (f.kind == frameHeaders || f.kind == frameData) && f.flags&flagEndStream != 0 {
		c.ended(f.stream)
	}
	return nil
}

func (c *streamConn) began(stream uint32) error {
	err := c.begin(stream)
	if err != nil && c.limited.knownWithin(patience) {
		return nil
	}
	return err
}

func (c *streamConn) begin(stream uint32) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if stream <= c.last {
		return nil // no new one
	}
	c.last = stream
	c.open[stream] = time.Now()
	if c.limited == nil {
		return nil
	}
	return c.limited.opened(len(c.open))
}

// ended forgets a stream. It returns when it began, if it had not ended already.
func (c *streamConn) ended(stream uint32) (began time.Time, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if began, ok = c.open[stream]; !ok {
		return began, false
	}
	delete(c.open, stream)
	if c.limited != nil {
		c.limited.ended(len(c.open))
	}
	return began, true
}

// knownWithin waits until the client of a connection is known, for a while.
func (c *conn) knownWithin(d time.Duration) bool {
	select {
	case <-c.isKnown:
		return true
	case <-time.After(d):
		return false
	}
}

// wasKnown reports whether the client of a connection is known.
func (c *conn) wasKnown() bool {
	select {
	case <-c.isKnown:
		return true
	default:
		return false
	}
}

// opened says that one more stream was opened, and how many there are.
func (c *conn) opened(streams int) error {
	evicted, err := c.listener.opened(c, streams)
	if evicted != nil {
		c.listener.refused()
		_ = evicted.Close() // nobody waits for it
	}
	return err
}

func (l *Listener) opened(c *conn, streams int) (evicted *conn, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	c.streams = streams
	if streams == 1 {
		c.set(reading)
	}
	if !c.open || c.known {
		return nil, nil
	}
	l.strange++
	if streams > maxStrangeStreams {
		return nil, errStreams
	}
	if l.strange > maxAllStrangeStreams {
		if evicted = l.mostStreams(); evicted != nil {
			l.drop(evicted)
		}
	}
	return evicted, nil
}

// mostStreams returns the connection of a stranger with most streams.
func (l *Listener) mostStreams() (most *conn) {
	for e := l.reading.Front(); e != nil; e = e.Next() {
		if c := e.Value.(*conn); most == nil || c.streams > most.streams {
			most = c
		}
	}
	return most
}

// ended says that a stream has ended, and how many there still are.
func (c *conn) ended(streams int) {
	l := c.listener
	l.mu.Lock()
	defer l.mu.Unlock()
	c.streams = streams
	if c.open && !c.known {
		l.strange--
	}
	if streams == 0 {
		c.set(idle)
	}
}

// frames follows the frames of one direction.
type frames struct {
	// skip is how many bytes are left of the preface or of the payload of a frame.
	skip   int
	header [frameHeaderLen]byte
	have   int // bytes of the header
}

type frame struct {
	kind, flags byte
	stream      uint32
}

// look tells of each frame whose header is complete, until that is an error.
func (f *frames) look(b []byte, tell func(frame) error) error {
	for len(b) > 0 {
		if f.skip > 0 {
			n := min(f.skip, len(b))
			f.skip, b = f.skip-n, b[n:]
			continue
		}
		n := copy(f.header[f.have:], b)
		f.have, b = f.have+n, b[n:]
		if f.have < frameHeaderLen {
			return nil
		}
		f.have = 0
		f.skip = int(f.header[0])<<16 | int(f.header[1])<<8 | int(f.header[2])
		stream := binary.BigEndian.Uint32(f.header[5:]) & maxStreamID
		if err := tell(frame{f.header[3], f.header[4], stream}); err != nil {
			return err
		}
	}
	return nil
}

// goAway tells the client, if it still listens, that its connection ends. The frame may come in the middle of another one, which nobody will read any more.
func (c *streamConn) goAway() {
	frame := append(make([]byte, 0, frameHeaderLen+goAwayPayloadSize), 0, 0, goAwayPayloadSize, frameGoAway, 0, 0, 0, 0, 0)
	frame = binary.BigEndian.AppendUint32(frame, maxStreamID)
	frame = binary.BigEndian.AppendUint32(frame, enhanceYourCalm)
	_ = c.SetWriteDeadline(time.Now().Add(lingering)) // it may not read
	_, _ = c.Conn.Write(frame)                        // a courtesy
}
