package ephemeral

import (
	"net"
	"sync"
)

// readers are the connections of readers.
type readers struct {
	mu    sync.Mutex
	conns map[*conn]struct{}
	// thawed is closed while nothing is frozen.
	thawed chan struct{}
	frozen bool
}

func newReaders() *readers {
	r := &readers{conns: make(map[*conn]struct{}), thawed: make(chan struct{})}
	close(r.thawed)
	return r
}

// wrap returns a listener whose connections are among the readers.
func (r *readers) wrap(inner net.Listener) net.Listener { return listener{inner, r} }

type listener struct {
	net.Listener
	readers *readers
}

// Accept implements net.Listener.
func (l listener) Accept() (net.Conn, error) {
	inner, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	c := &conn{Conn: inner, readers: l.readers, closed: make(chan struct{})}
	l.readers.mu.Lock()
	defer l.readers.mu.Unlock()
	l.readers.conns[c] = struct{}{}
	return c, nil
}

// freeze holds up what passes over the connections, or lets it pass.
func (r *readers) freeze(frozen bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case frozen && !r.frozen:
		r.thawed = make(chan struct{})
	case !frozen && r.frozen:
		close(r.thawed)
	}
	r.frozen = frozen
}

// cut resets all connections.
func (r *readers) cut() {
	r.mu.Lock()
	var open []*conn
	for c := range r.conns {
		open = append(open, c)
	}
	r.mu.Unlock()
	for _, c := range open {
		if tcp, ok := c.Conn.(*net.TCPConn); ok {
			_ = tcp.SetLinger(0) // a reset, not an end; it may be closed already
		}
		_ = c.Close() // the same
	}
}

// conn is a connection of a reader.
type conn struct {
	net.Conn
	readers *readers
	once    sync.Once
	closed  chan struct{}
}

// Read implements net.Conn.
func (c *conn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	c.wait() // afterwards: a read that is under way is held up too
	return n, err
}

// Write implements net.Conn.
func (c *conn) Write(b []byte) (int, error) {
	c.wait()
	return c.Conn.Write(b)
}

// wait waits until nothing is frozen, or the connection is closed.
func (c *conn) wait() {
	c.readers.mu.Lock()
	thawed := c.readers.thawed
	c.readers.mu.Unlock()
	select {
	case <-thawed:
	case <-c.closed:
	}
}

// Close implements net.Conn.
func (c *conn) Close() error {
	c.once.Do(func() { close(c.closed) })
	c.readers.mu.Lock()
	delete(c.readers.conns, c)
	c.readers.mu.Unlock()
	return c.Conn.Close()
}
