package connlimit_test

import (
	"bytes"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/net/http2"

	"github.com/webhook-gateway/webhook-gateway/server/connlimit"
)

// allowed is how many resets a client may send at once.
const allowed = 200

// pipe is a listener with one connection. What is written to it is read in pieces of at
// most so many bytes.
type pipe struct {
	net.Listener
	conn net.Conn
}

func (p pipe) Accept() (net.Conn, error) { return p.conn, nil }

type inPieces struct {
	net.Conn
	most int
}

func (c inPieces) Read(p []byte) (int, error) { return c.Conn.Read(p[:min(len(p), c.most)]) }

// resets is a connection of LimitStreams, and the client's end of it.
type resets struct {
	client, server net.Conn
	framer         *http2.Framer
	exceeded       int
	readErr        chan error
}

// newResets begins to read from a connection, in pieces of at most so many bytes.
func newResets(t *testing.T, most int) *resets {
	t.Helper()
	client, inner := net.Pipe()
	r := &resets{client: client, framer: http2.NewFramer(client, client), readErr: make(chan error, 1)}
	limited := connlimit.LimitStreams(pipe{conn: inPieces{inner, most}}, func(net.Addr, error) { r.exceeded++ })
	var err error
	if r.server, err = limited.Accept(); err != nil {
		t.Fatal(err)
	}
	go func() {
		_, err := io.Copy(io.Discard, r.server)
		r.readErr <- err
	}()
	r.must(t, second(io.WriteString(client, http2.ClientPreface)))
	r.must(t, r.framer.WriteSettings())
	return r
}

func (r *resets) must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// reset opens a stream with a body, and resets it.
func (r *resets) reset(id uint32) error {
	// What looks like a frame in a body, or in the head of a call, is none.
	looksLike := bytes.Repeat([]byte{0, 0, 4, byte(http2.FrameRSTStream), 0, 0, 0, 0, 1, 0, 0, 0, 8}, 2)
	return errors.Join(
		r.framer.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: looksLike, EndHeaders: true}),
		r.framer.WriteData(id, false, looksLike),
		r.framer.WriteData(id, false, nil),
		r.framer.WriteRSTStream(id, http2.ErrCodeCancel),
	)
}

func second[T any](_ T, err error) error { return err }

// A client that resets streams too often is told to go away, is counted once, and is
// kept waiting before its connection ends. However the bytes arrive, nothing but a reset
// counts.
func TestTooManyResets(t *testing.T) {
	for _, most := range []int{1, 5, 1 << 20} {
		synctest.Test(t, func(t *testing.T) {
			r := newResets(t, most)
			for n := range uint32(allowed) {
				r.must(t, r.reset(2*n+1))
			}
			synctest.Wait()
			if r.exceeded != 0 {
				t.Fatalf("pieces of %d: the client was sent away within its limit", most)
			}
			began := time.Now()
			sent := make(chan struct{})
			go func() {
				defer close(sent)
				_ = r.reset(2*allowed + 1) // what the server does not read any more fails
			}()
			frame, err := r.framer.ReadFrame()
			if goAway, ok := frame.(*http2.GoAwayFrame); !ok || goAway.ErrCode != http2.ErrCodeEnhanceYourCalm {
				t.Errorf("pieces of %d: the client was told %v, (%v), want GOAWAY with ENHANCE_YOUR_CALM", most, frame, err)
			}
			if _, err := r.client.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
				t.Errorf("pieces of %d: the connection did not end: %v", most, err)
			}
			if err := <-r.readErr; err == nil {
				t.Errorf("pieces of %d: the server reads on", most)
			}
			if waited := time.Since(began); waited != 2*time.Second || r.exceeded != 1 {
				t.Errorf("pieces of %d: the connection ended after %v, told %d times; want 2s, once", most, waited, r.exceeded)
			}
			r.must(t, r.client.Close())
			<-sent
		})
	}
}

// endsUnharmed has the client close its connection, which it was not sent away from.
func (r *resets) endsUnharmed(t *testing.T) {
	t.Helper()
	r.must(t, r.client.Close())
	if err := <-r.readErr; err != nil && !errors.Is(err, io.EOF) {
		t.Errorf("reading ended with %v", err)
	}
	if r.exceeded != 0 {
		t.Error("the client was sent away")
	}
	r.must(t, r.server.Close())
}

// Who cancels calls now and then is never sent away.
func TestResetsNowAndThen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newResets(t, 1<<20)
		for n := range uint32(10 * allowed) {
			r.must(t, r.reset(2*n+1))
			<-time.After(time.Second / 50)
		}
		r.endsUnharmed(t)
	})
}

// Streams that were open for a while may be reset at once: their deadlines have passed, or
// a proxy has lost the client that they were of.
func TestResetsOfOldStreams(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newResets(t, 1<<20)
		for n := range uint32(10 * allowed) {
			r.must(t, r.framer.WriteHeaders(http2.HeadersFrameParam{StreamID: 2*n + 1, EndHeaders: true}))
		}
		<-time.After(time.Second)
		for n := range uint32(10 * allowed) {
			r.must(t, r.framer.WriteRSTStream(2*n+1, http2.ErrCodeCancel))
		}
		r.endsUnharmed(t)
	})
}

// A client that opens too many streams before the gateway knows it is not sent away if
// the gateway knows it soon.
func TestKnownSoonAfterTooManyStreams(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, inner := net.Pipe()
		limited := connlimit.LimitStreams(connlimit.New(pipe{conn: inner}, 2, func() {}),
			func(_ net.Addr, why error) { t.Errorf("the client was sent away: %v", why) })
		server, err := limited.Accept()
		if err != nil {
			t.Fatal(err)
		}
		read := make(chan error, 1)
		go func() {
			_, err := io.Copy(io.Discard, server)
			read <- err
		}()
		sent := make(chan error, 1)
		go func() {
			framer := http2.NewFramer(client, nil)
			_, err := io.WriteString(client, http2.ClientPreface)
			for n := uint32(0); err == nil && n < 5_000; n++ {
				err = framer.WriteHeaders(http2.HeadersFrameParam{StreamID: 2*n + 1, EndHeaders: true})
			}
			sent <- errors.Join(err, client.Close())
		}()
		<-time.After(time.Second) // it waits by then
		know(t, server)
		if err := errors.Join(<-sent, <-read); err != nil {
			t.Error(err)
		}
		if err := server.Close(); err != nil {
			t.Error(err)
		}
	})
}

// Who calls for clients of its own may reset as many streams as they want, once it is known, and no
// more than others before.
func TestResetsOfKnownGateways(t *testing.T) {
	for name, known := range map[string]bool{"known": true, "a stranger": false} {
		t.Run(name, func(t *testing.T) {
			client, inner := net.Pipe()
			exceeded := make(chan error, 1)
			limited := connlimit.LimitStrangers(connlimit.New(pipe{conn: inner}, 2, func() {}), func(_ net.Addr, why error) { exceeded <- why })
			server, err := limited.Accept()
			if err != nil {
				t.Fatal(err)
			}
			if known {
				know(t, server)
			}
			read := make(chan struct{})
			go func() {
				defer close(read)
				_, _ = io.Copy(io.Discard, server)
			}()
			go func() { _, _ = io.Copy(io.Discard, client) }() // what it is told at the end
			framer := http2.NewFramer(client, nil)
			_, err = io.WriteString(client, http2.ClientPreface)
			for n := uint32(0); err == nil && n < 2_000; n++ {
				err = errors.Join(framer.WriteHeaders(http2.HeadersFrameParam{StreamID: 2*n + 1, EndHeaders: true}), framer.WriteRSTStream(2*n+1, http2.ErrCodeCancel))
			}
			_ = client.Close()
			<-read
			if (err == nil) != known || (len(exceeded) == 0) != known {
				t.Errorf("it ends with %v, and %d connections were sent away", err, len(exceeded))
			}
			_ = server.Close()
		})
	}
}

// streams is a listener of HTTP/2 with room for two connections.
type streams struct {
	listener net.Listener
	accepted chan net.Conn
	refused  chan struct{}
	exceeded chan error
}

func newStreams(t *testing.T) *streams {
	t.Helper()
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &streams{accepted: make(chan net.Conn, 8), refused: make(chan struct{}, 8), exceeded: make(chan error, 8)}
	s.listener = connlimit.LimitStreams(connlimit.New(inner, 2, func() { s.refused <- struct{}{} }),
		func(_ net.Addr, why error) { s.exceeded <- why })
	go func() {
		defer close(s.accepted)
		for {
			conn, err := s.listener.Accept()
			if err != nil {
				return
			}
			s.accepted <- conn
		}
	}()
	t.Cleanup(func() {
		_ = s.listener.Close()
		for range s.accepted { // until no more is accepted
			t.Error("one more connection was accepted")
		}
	})
	return s
}

// dial opens a connection, and so many streams. It returns both ends.
func (s *streams) dial(t *testing.T, streams uint32) (client, server net.Conn) {
	t.Helper()
	client, err := net.Dial("tcp", s.listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	server = <-s.accepted
	t.Cleanup(func() { _, _ = client.Close(), server.Close() })
	for _, c := range []net.Conn{client, server} {
		if err := c.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := io.WriteString(client, http2.ClientPreface); err != nil {
		t.Fatal(err)
	}
	readAll(t, server, len(http2.ClientPreface))
	s.open(t, client, server, 0, streams)
	return client, server
}

// open opens streams, which the server reads.
func (s *streams) open(t *testing.T, client, server net.Conn, already, streams uint32) {
	t.Helper()
	var sent bytes.Buffer
	framer := http2.NewFramer(&sent, nil)
	for n := range streams {
		if err := framer.WriteHeaders(http2.HeadersFrameParam{StreamID: 2*(already+n) + 1, EndHeaders: true}); err != nil {
			t.Fatal(err)
		}
	}
	n := sent.Len()
	if _, err := sent.WriteTo(client); err != nil {
		t.Fatal(err)
	}
	readAll(t, server, n)
}

func readAll(t *testing.T, c net.Conn, n int) {
	t.Helper()
	if _, err := io.ReadFull(c, make([]byte, n)); err != nil {
		t.Fatal(err)
	}
}

func know(t *testing.T, server net.Conn) {
	t.Helper()
	addr, ok := server.RemoteAddr().(connlimit.Addr)
	if !ok {
		t.Fatalf("the address is a %T", server.RemoteAddr())
	}
	addr.Know()
}

// Connections make room in this order: without streams, with streams of strangers. Those
// of callers who are known stay, until their streams have ended.
func TestStrangersMakeRoom(t *testing.T) {
	t.Parallel()
	s := newStreams(t)
	_, known := s.dial(t, 1)
	know(t, known)
	strangerClient, _ := s.dial(t, 1)
	silentClient, _ := s.dial(t, 0) // takes the place of the stranger
	<-s.refused
	closed(t, strangerClient)
	s.dial(t, 1) // takes that of the silent one
	<-s.refused
	closed(t, silentClient)
	_, other := s.dial(t, 1)
	<-s.refused
	know(t, other)
	// All are at work.
	more, err := net.Dial("tcp", s.listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = more.Close() }()
	<-s.refused
	closed(t, more)
	// A stream that ended is none.
	framer := http2.NewFramer(known, nil)
	if err := framer.WriteData(1, true, nil); err != nil {
		t.Fatal(err)
	}
	s.dial(t, 1)
	<-s.refused
	if _, err := known.Read(make([]byte, 1)); err == nil {
		t.Error("a connection without streams did not make room")
	}
	if len(s.exceeded) > 0 {
		t.Error(<-s.exceeded)
	}
}

// The streams of one stranger are limited, those of a known caller are not.
func TestTooManyStrangeStreams(t *testing.T) {
	t.Parallel()
	const most = 1_000
	s := newStreams(t)
	client, server := s.dial(t, most)
	know(t, server)
	s.open(t, client, server, most, 10*most)

	client, server = s.dial(t, most)
	framer := http2.NewFramer(client, client)
	if err := http2.NewFramer(server, nil).WriteRSTStream(1, http2.ErrCodeCancel); err != nil {
		t.Fatal(err)
	}
	if _, err := framer.ReadFrame(); err != nil {
		t.Fatal(err)
	}
	s.open(t, client, server, most, 1) // in the place of the one that ended
	if err := framer.WriteHeaders(http2.HeadersFrameParam{StreamID: 2*most + 3, EndHeaders: true}); err != nil {
		t.Fatal(err)
	}
	if _, err := server.Read(make([]byte, 1<<10)); err == nil {
		t.Error("one more stream was taken")
	}
	if why := <-s.exceeded; !strings.Contains(why.Error(), "too many calls open") {
		t.Error(why)
	}
	if frame, err := framer.ReadFrame(); err != nil || frame.Header().Type != http2.FrameGoAway {
		t.Errorf("the client was told %v, %v", frame, err)
	}
}
