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
// one that has been idle for longest, or else of the one that has kept the gateway waiting
// for longest, and is closed at once if all are at work. So those who hold connections open
// push out each other, and not who has something to say.
type Listener struct {
	net.Listener

	limit   int
	refused func()

	mu    sync.Mutex
	conns int
	// idle and reading have the connections that may be closed, the one that is so for
	// longest in front.
	idle, reading list.List
	// strange are the streams of all connections of strangers: see LimitStreams.
	strange int
}

// New returns a listener that accepts at most limit connections of another. refused is
// called for each connection that was closed for that.
func New(inner net.Listener, limit int, refused func()) *Listener {
	return &Listener{Listener: inner, limit: limit, refused: refused}
}

// Accept implements net.Listener.
func (l *Listener) Accept() (net.Conn, error) {
	for {
		inner, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		c := &conn{Conn: inner, listener: l, isKnown: make(chan struct{})}
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
		if evicted = l.front(); evicted == nil {
			return false, nil
		}
		l.drop(evicted)
	}
	l.conns++
	c.open = true
	l.put(c)
	return true, evicted
}

// front returns the connection that makes room next, or nil if all are at work.
func (l *Listener) front() *conn {
	for _, those := range []*list.List{&l.idle, &l.reading} {
		if front := those.Front(); front != nil {
			return front.Value.(*conn)
		}
	}
	return nil
}

// drop forgets a connection.
func (l *Listener) drop(c *conn) {
	if !c.open {
		return
	}
	c.open = false
	l.conns--
	if !c.known {
		l.strange -= c.streams
	}
	l.put(c)
}

// put gives a connection its place by what it does.
func (l *Listener) put(c *conn) {
	if c.place != nil {
		c.in.Remove(c.place)
		c.in, c.place = nil, nil
	}
	switch {
	case !c.open || c.does == working:
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
	// known says that a caller showed credentials on it: see Know.
	known bool
	// isKnown is closed when it is.
	isKnown chan struct{}
	// streams are those that are open, of HTTP/2 of gRPC.
	streams int
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
	c.set(what)
}

// set is do for who holds the mutex.
func (c *conn) set(what doing) {
	if what == reading && c.known {
		what = working
	}
	c.does = what
	c.listener.put(c)
}

// know says that somebody has shown on the connection who they are.
func (c *conn) know() {
	c.listener.mu.Lock()
	defer c.listener.mu.Unlock()
	if c.known {
		return
	}
	c.known = true
	close(c.isKnown)
	if c.open {
		c.listener.strange -= c.streams
	}
	if c.does == reading {
		c.set(working)
	}
}

type contextKey struct{}

// Serve has an http.Server, which has its handler, tell a Listener, or one with TLS above it, what its
// connections do: one is at work from the end of the head of a request until its answer
// was sent. One whose head is refused is not: its sender may be kept for a moment.
func Serve(server *http.Server) {
	server.ConnContext = func(ctx context.Context, c net.Conn) context.Context {
		return context.WithValue(ctx, contextKey{}, below(c))
	}
	server.ConnState = func(c net.Conn, state http.ConnState) {
		if c, ok := below(c).(*conn); ok && state == http.StateActive {
			c.do(reading)
		} else if ok && state == http.StateIdle {
			c.do(idle)
		}
	}
	handler := server.Handler
	server.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		Working(r.Context())
		handler.ServeHTTP(w, r)
	})
}

// below returns the connection below TLS.
func below(c net.Conn) net.Conn {
	if secured, ok := c.(interface{ NetConn() net.Conn }); ok {
		return secured.NetConn()
	}
	return c
}

// Know says that who sent a request has shown who they are, over HTTP: the connection of
// a context makes room for nobody while it has requests.
func Know(ctx context.Context) {
	if c, ok := ctx.Value(contextKey{}).(*conn); ok {
		c.know()
	}
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
