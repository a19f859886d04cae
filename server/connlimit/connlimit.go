// Package connlimit bounds the connections of a listener, so that one that is flooded
// takes no file descriptors from the others, nor from the store.
package connlimit

import (
	"container/list"
	"context"
	"net"
	"net/http"
	"sync"
)

// Listener accepts at most a number of connections. One more takes the place of the
// one that has been idle for longest, or else of the one whose request has been read for
// longest, and is closed at once if all are at work. So those who hold connections open
// push out each other, and not who has something to say.
type Listener struct {
	net.Listener

	limit   int
	strict  bool
	refused func()

	mu    sync.Mutex
	conns int
	// idle and reading have the connections that may be closed, the one that is so for
	// longest in front.
	idle, reading list.List
}

// New returns a listener that accepts at most limit connections of another. refused is
// called for each connection that was closed for that.
func New(inner net.Listener, limit int, refused func()) *Listener {
	return &Listener{Listener: inner, limit: limit, refused: refused}
}

// NewStrict is New for a protocol whose connections are at work although they say
// nothing: one more than the limit is closed, whatever the others do.
func NewStrict(inner net.Listener, limit int, refused func()) *Listener {
	return &Listener{Listener: inner, limit: limit, strict: true, refused: refused}
}

// Accept implements net.Listener.
func (l *Listener) Accept() (net.Conn, error) {
	for {
		inner, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		c := &conn{Conn: inner, listener: l}
		ok, evicted := l.add(c)
		if evicted != nil {
			l.refused()
			_ = evicted.Close() // nobody waits for it
		}
		if ok {
			return c, nil
		}
		l.refused()
		_ = inner.Close() // it was never used
	}
}

// add makes room for a connection. It reports whether there is some, and which
// connection has to be closed for that.
func (l *Listener) add(c *conn) (ok bool, evicted *conn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.conns >= l.limit {
		front := l.idle.Front()
		if front == nil {
			front = l.reading.Front()
		}
		if front == nil {
			return false, nil
		}
		evicted = front.Value.(*conn)
		l.drop(evicted)
	}
	l.conns++
	c.open = true
	l.put(c)
	return true, evicted
}

// drop forgets a connection.
func (l *Listener) drop(c *conn) {
	if !c.open {
		return
	}
	c.open = false
	l.conns--
	l.put(c)
}

// put gives a connection its place by what it does.
func (l *Listener) put(c *conn) {
	if c.place != nil {
		c.in.Remove(c.place)
		c.in, c.place = nil, nil
	}
	switch {
	case !c.open || l.strict || c.does == working:
		return
	case c.does == reading:
		c.in = &l.reading
	default:
		c.in = &l.idle
	}
	c.place = c.in.PushBack(c)
}

// doing is what a connection does.
type doing int

const (
	idle doing = iota
	reading
	working
)

// conn is a connection of a Listener.
type conn struct {
	net.Conn
	listener *Listener

	// Guarded by the listener's mutex.
	open bool
	does doing
	// place is where the connection stands among those that may be closed, in the list
	// in; nil if it is not among them.
	in    *list.List
	place *list.Element
}

// Close implements net.Conn.
func (c *conn) Close() error {
	c.listener.mu.Lock()
	c.listener.drop(c)
	c.listener.mu.Unlock()
	return c.Conn.Close()
}

func (c *conn) do(what doing) {
	c.listener.mu.Lock()
	defer c.listener.mu.Unlock()
	c.does = what
	c.listener.put(c)
}

type contextKey struct{}

// Serve has an http.Server tell a Listener, or one with TLS above it, what its
// connections do: one is at work from the end of the head of a request until its answer
// was sent.
func Serve(server *http.Server) {
	server.ConnContext = func(ctx context.Context, c net.Conn) context.Context {
		return context.WithValue(ctx, contextKey{}, below(c))
	}
	server.ConnState = func(c net.Conn, state http.ConnState) {
		if c, ok := below(c).(*conn); ok && state == http.StateActive {
			c.do(working)
		} else if ok && state == http.StateIdle {
			c.do(idle)
		}
	}
}

// below returns the connection below TLS.
func below(c net.Conn) net.Conn {
	if secured, ok := c.(interface{ NetConn() net.Conn }); ok {
		return secured.NetConn()
	}
	return c
}

// Reading says that the body of a request is being read from its connection, and no work
// was done for it yet. Who sends slowly makes room when no connection is idle.
func Reading(ctx context.Context) { does(ctx, reading) }

// Working says that the body of a request is here: its connection makes room for nobody.
func Working(ctx context.Context) { does(ctx, working) }

func does(ctx context.Context, what doing) {
	if c, ok := ctx.Value(contextKey{}).(*conn); ok {
		c.do(what)
	}
}
