package main

import (
	"io"
	"net"
	"sync"
)

// A proxy stands between two processes, so that the way between them can be cut: what is on
// the way then waits, as in a network that loses packets, and arrives when it is mended, if
// both ends are still there. New connections wait as well.
type proxy struct {
	listener net.Listener
	to       string

	mu    sync.Mutex
	way   chan struct{} // closed while the way is open
	conns map[net.Conn]struct{}
	tasks sync.WaitGroup
	ended bool
}

// newProxy listens on a free port of this machine.
func newProxy(to string) (*proxy, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // until close
	if err != nil {
		return nil, err
	}
	p := &proxy{listener: l, to: to, way: make(chan struct{}), conns: make(map[net.Conn]struct{})}
	close(p.way)
	p.tasks.Go(p.accept)
	return p, nil
}

func (p *proxy) address() string { return p.listener.Addr().String() }

// cut cuts the way until mend.
func (p *proxy) cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	select {
	case <-p.way:
		p.way = make(chan struct{})
	default: // it is cut already
	}
}

func (p *proxy) mend() {
	p.mu.Lock()
	defer p.mu.Unlock()
	select {
	case <-p.way:
	default:
		close(p.way)
	}
}

// reset breaks all connections off.
func (p *proxy) reset() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for conn := range p.conns {
		_ = conn.Close() // the tasks notice
	}
}

func (p *proxy) close() {
	p.mu.Lock()
	p.ended = true
	p.mu.Unlock()
	_ = p.listener.Close()
	p.mend()
	p.reset()
	p.tasks.Wait()
}

func (p *proxy) open() <-chan struct{} {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.way
}

func (p *proxy) accept() {
	for {
		from, err := p.listener.Accept()
		if err != nil {
			return
		}
		if !p.keep(from) {
			return
		}
		p.tasks.Go(func() { p.carry(from) })
	}
}

// keep notes a connection, so that reset finds it. It reports whether the proxy goes on.
func (p *proxy) keep(conn net.Conn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.ended {
		_ = conn.Close()
		return false
	}
	p.conns[conn] = struct{}{}
	return true
}

func (p *proxy) drop(conn net.Conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.conns, conn)
	_ = conn.Close()
}

func (p *proxy) carry(from net.Conn) {
	defer p.drop(from)
	<-p.open()
	to, err := net.Dial("tcp", p.to) //nolint:noctx // on this machine it is there or not
	if err != nil || !p.keep(to) {
		return
	}
	defer p.drop(to)
	var both sync.WaitGroup
	both.Go(func() { p.pump(to, from) })
	both.Go(func() { p.pump(from, to) })
	both.Wait()
}

// pump carries one direction until it ends, and then ends both.
func (p *proxy) pump(to io.WriteCloser, from io.ReadCloser) {
	defer func() { _, _ = to.Close(), from.Close() }()
	buffer := make([]byte, 64<<10)
	for {
		n, err := from.Read(buffer)
		<-p.open()
		if n > 0 {
			if _, err := to.Write(buffer[:n]); err != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}
