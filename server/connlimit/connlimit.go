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
// one that has been idle for longest, and is closed at once if all are busy. So those
// who hold connections open push out each other, and not who has something to say.
type Listener struct {
	net.Listener

	limit   int
	strict  bool
	refused func()

	mu    sync.Mutex
	conns int
	// idle has the connections without work, the one that is idle for longest in front.
	idle list.List
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
			return false, nil
		}
		evicted = front.Value.(*conn)
		l.drop(evicted)
	}
	l.conns++
	c.open = true
	if !l.strict {
		c.place = l.idle.PushBack(c)
	}
	return true, evicted
}

// drop forgets a connection.
func (l *Listener) drop(c *conn) {
	if !c.open {
		return
	}
	c.open = false
	l.conns--
	if c.place != nil {
		l.idle.Remove(c.place)
		c.place = nil
	}
}

// conn is a connection of a Listener.
type conn struct {
	net.Conn
	listener *Listener

	// Guarded by the listener's mutex.
	open bool
	busy int
	// place is where the connection stands among those that are idle.
	place *list.Element
}

// Close implements net.Conn.
func (c *conn) Close() error {
	c.listener.mu.Lock()
	c.listener.drop(c)
	c.listener.mu.Unlock()
	return c.Conn.Close()
}

func (c *conn) begin() {
	c.listener.mu.Lock()
	defer c.listener.mu.Unlock()
	c.busy++
	if c.place != nil {
		c.listener.idle.Remove(c.place)
		c.place = nil
	}
}

func (c *conn) end() {
	c.listener.mu.Lock()
	defer c.listener.mu.Unlock()
	if c.busy--; c.busy == 0 && c.open {
		c.place = c.listener.idle.PushBack(c)
	}
}

type contextKey struct{}

// Context is the ConnContext of an http.Server that serves a Listener.
func Context(ctx context.Context, c net.Conn) context.Context {
	if c, ok := c.(*conn); ok {
		return context.WithValue(ctx, contextKey{}, c)
	}
	return ctx
}

// Begin says that the connection of a request has work from now on, and is not idle
// until the function that it returns is called.
func Begin(ctx context.Context) (end func()) {
	c, ok := ctx.Value(contextKey{}).(*conn)
	if !ok {
		return func() {}
	}
	c.begin()
	return c.end
}
