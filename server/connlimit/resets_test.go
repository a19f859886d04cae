package connlimit_test

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
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

// resets is a connection of LimitResets, and the client's end of it.
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
	limited := connlimit.LimitResets(pipe{conn: inPieces{inner, most}}, func(net.Addr) { r.exceeded++ })
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

// Who cancels calls now and then is never sent away.
func TestResetsNowAndThen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newResets(t, 1<<20)
		for n := range uint32(10 * allowed) {
			r.must(t, r.reset(2*n+1))
			<-time.After(time.Second / 50)
		}
		r.must(t, r.client.Close())
		if err := <-r.readErr; err != nil && !errors.Is(err, io.EOF) {
			t.Errorf("reading ended with %v", err)
		}
		if r.exceeded != 0 {
			t.Error("the client was sent away")
		}
		r.must(t, r.server.Close())
	})
}

// On a strict listener one more connection is closed, however idle the others are.
func TestStrict(t *testing.T) {
	t.Parallel()
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	refused := make(chan struct{}, 1)
	listener := connlimit.NewStrict(inner, 1, func() { refused <- struct{}{} })
	accepted := make(chan net.Conn, 2)
	go func() {
		defer close(accepted)
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			accepted <- conn
		}
	}()
	dial := func() net.Conn {
		conn, err := net.Dial("tcp", inner.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		if err := conn.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
			t.Fatal(err)
		}
		return conn
	}
	first := dial()
	server := <-accepted
	more := dial()
	<-refused
	if _, err := more.Read(make([]byte, 1)); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("one more connection: %v, want that it ends", err)
	}
	if _, err := server.Write([]byte("x")); err != nil {
		t.Errorf("the first connection: %v", err)
	}
	if _, err := first.Read(make([]byte, 1)); err != nil {
		t.Errorf("the first connection: %v", err)
	}
	if err := errors.Join(first.Close(), more.Close(), server.Close(), listener.Close()); err != nil {
		t.Error(err)
	}
	if conn, ok := <-accepted; ok {
		t.Errorf("one more was accepted: %v", conn.RemoteAddr())
	}
}
