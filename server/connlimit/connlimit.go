// Package connlimit bounds the connections of a listener, so that one that is flooded
// takes no file descriptors from the others, nor from the store.
package connlimit

import (
	"container/list"
	"context"
	"net"
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
	case !c.open || l.strict || c.working > 0:
		return
	case c.reading > 0:
		c.in = &l.reading
	default:
		c.in = &l.idle
	}
	c.place = c.in.PushBack(c)
}

// conn is a connection of a Listener.
type conn struct {
	net.Conn
	listener *Listener

	// Guarded by the listener's mutex.
	open             bool
	reading, working int
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

// count changes how many requests do something on the connection.
func (c *conn) count(what *int, by int) {
	c.listener.mu.Lock()
	defer c.listener.mu.Unlock()
	*what += by
	c.listener.put(c)
}

type contextKey struct{}

// Context is the ConnContext of an http.Server that serves a Listener, or one with TLS
// above it.
func Context(ctx context.Context, c net.Conn) context.Context {
	if outer, ok := c.(interface{ NetConn() net.Conn }); ok {
		c = outer.NetConn()
	}
	if c, ok := c.(*conn); ok {
		return context.WithValue(ctx, contextKey{}, c)
	}
	return ctx
}

// Read says that a request is being read from its connection, until the function that
// it returns is called. Who sends slowly makes room when no connection is idle.
func Read(ctx context.Context) (end func()) {
	return during(ctx, func(c *conn) *int { return &c.reading })
}

// Begin says that a request is worked on, until the function that it returns is called.
// Its connection makes room for nobody.
func Begin(ctx context.Context) (end func()) {
	return during(ctx, func(c *conn) *int { return &c.working })
}

func during(ctx context.Context, what func(*conn) *int) (end func()) {
	c, ok := ctx.Value(contextKey{}).(*conn)
	if !ok {
		return func() {}
	}
	c.count(what(c), 1)
	return func() { c.count(what(c), -1) }
}
