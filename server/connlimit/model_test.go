package connlimit

import (
	"bytes"
	"errors"
	"io"
	"maps"
	"math/rand/v2"
	"net"
	"slices"
	"testing"

	"golang.org/x/net/http2"
)

// scripted is a listener of connections that a test reads and writes for both sides.
type scripted struct {
	net.Listener
	next *script
}

func (s scripted) Accept() (net.Conn, error) { return s.next, nil }

// script is a connection whose client has sent some bytes.
type script struct {
	net.Conn
	sent   []byte
	random *rand.Rand
	closed bool
}

// Read reads as many bytes as chance has it.
func (s *script) Read(p []byte) (int, error) {
	if len(s.sent) == 0 {
		return 0, io.EOF
	}
	n := copy(p[:min(len(p), 1+s.random.IntN(40))], s.sent)
	s.sent = s.sent[n:]
	return n, nil
}

func (s *script) Write(p []byte) (int, error) { return len(p), nil }

func (s *script) Close() error {
	s.closed = true
	return nil
}

// modelled is a connection, and what is true of it.
type modelled struct {
	*script
	server *streamConn
	open   map[uint32]bool
	next   uint32
	known  bool
}

// TestCountsDoNotDrift: whatever happens to streams and connections, in whatever order and
// however the bytes arrive, those are counted that are open.
func TestCountsDoNotDrift(t *testing.T) {
	for seed := range uint64(50) {
		random := rand.New(rand.NewPCG(seed, 0))
		source := &scripted{}
		listener := New(source, 8, func() {})
		streams := LimitStreams(listener, func(net.Addr, error) {})
		var conns []*modelled
		for range 300 {
			if len(conns) < 3 || random.IntN(20) == 0 && len(conns) < 8 {
				conns = append(conns, connect(t, streams, source, random))
			}
			m := conns[random.IntN(len(conns))]
			m.step(t)
			if random.IntN(30) == 0 {
				if err := m.server.Close(); err != nil {
					t.Fatal(err)
				}
				conns = slices.DeleteFunc(conns, func(other *modelled) bool { return other == m })
			}
			strange := 0
			for _, m := range conns {
				if m.server.limited.streams != len(m.open) || m.server.limited.known != m.known {
					t.Fatalf("seed %d: %d streams counted, of %d", seed, m.server.limited.streams, len(m.open))
				}
				if idle := m.server.limited.does == idle; idle != (len(m.open) == 0) {
					t.Fatalf("seed %d: idle is %v with %d streams", seed, idle, len(m.open))
				}
				if !m.known {
					strange += len(m.open)
				}
			}
			if listener.strange != strange || listener.conns != len(conns) {
				t.Fatalf("seed %d: %d streams of strangers counted on %d connections, of %d on %d", seed, listener.strange, listener.conns, strange, len(conns))
			}
		}
	}
}

func connect(t *testing.T, streams net.Listener, source *scripted, random *rand.Rand) *modelled {
	t.Helper()
	source.next = &script{random: random}
	conn, err := streams.Accept()
	if err != nil {
		t.Fatal(err)
	}
	server, ok := conn.(*streamConn)
	if !ok {
		t.Fatalf("a %T", conn)
	}
	m := &modelled{script: source.next, server: server, open: make(map[uint32]bool), next: 1}
	m.sent = []byte(clientPreface)
	return m
}

// step has a client and the server send some frames.
func (m *modelled) step(t *testing.T) {
	t.Helper()
	var client, server bytes.Buffer
	from, to := http2.NewFramer(&client, nil), http2.NewFramer(&server, nil)
	var errs []error
	some := func() uint32 {
		if len(m.open) == 0 {
			return 1
		}
		return slices.Sorted(maps.Keys(m.open))[m.random.IntN(len(m.open))]
	}
	for range m.random.IntN(8) {
		// What looks like a frame in a block is none.
		block := bytes.Repeat([]byte{0, 0, 0, frameHeaders, flagEndStream, 0, 0, 0, byte(m.random.IntN(256))}, m.random.IntN(4))
		switch m.random.IntN(10) {
		case 0, 1, 2, 3:
			errs = append(errs, from.WriteHeaders(http2.HeadersFrameParam{
				StreamID: m.next, BlockFragment: block, EndHeaders: len(block) == 0, EndStream: m.random.IntN(2) == 0,
				PadLength: uint8(m.random.IntN(9)),
				Priority:  http2.PriorityParam{Weight: uint8(m.random.IntN(2))},
			}))
			if len(block) > 0 {
				errs = append(errs, from.WriteContinuation(m.next, true, block))
			}
			m.open[m.next] = true
			m.next += 2
		case 4: // trailers of a client, and half of the end
			errs = append(errs, from.WriteHeaders(http2.HeadersFrameParam{StreamID: some(), EndHeaders: true, EndStream: true}))
			if m.next == 1 {
				m.open[1], m.next = true, 3
			}
		case 5: // before anything of it is served
			if id := some(); m.next > 1 {
				errs = append(errs, from.WriteRSTStream(id, http2.ErrCodeCancel))
				delete(m.open, id)
			}
		case 6:
			errs = append(errs, from.WriteRawFrame(http2.FrameType(16+m.random.IntN(200)), http2.Flags(m.random.IntN(256)), some(), block))
		case 7:
			errs = append(errs, from.WriteData(some(), m.random.IntN(2) == 0, block), from.WritePing(false, [8]byte{}),
				from.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 1}), from.WriteWindowUpdate(0, 1), from.WriteGoAway(0, http2.ErrCodeNo, block))
		}
	}
	m.sent = append(m.sent, client.Bytes()...)
	for { // until all was read
		if _, err := m.server.Read(make([]byte, 1+m.random.IntN(64))); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
	}
	if m.random.IntN(4) == 0 && !m.known {
		m.known = true
		Addr{conn: m.server.limited}.Know()
	}
	for range m.random.IntN(6) {
		id := some()
		switch m.random.IntN(5) {
		case 0: // no more than trailers
			errs = append(errs, to.WriteHeaders(http2.HeadersFrameParam{StreamID: id, EndHeaders: true, EndStream: true}))
			delete(m.open, id)
		case 1:
			errs = append(errs, to.WriteHeaders(http2.HeadersFrameParam{StreamID: id, EndHeaders: true}), to.WriteData(id, true, []byte("x")))
			delete(m.open, id)
		case 2:
			errs = append(errs, to.WriteRSTStream(id, http2.ErrCodeCancel), to.WriteRSTStream(id, http2.ErrCodeCancel))
			delete(m.open, id)
		case 3: // nothing ends, whatever the flags of other frames say
			errs = append(errs, to.WriteHeaders(http2.HeadersFrameParam{StreamID: id, EndHeaders: true}), to.WriteData(id, false, []byte("x")),
				to.WritePing(true, [8]byte{}), to.WriteSettingsAck(), to.WriteWindowUpdate(id, 1))
		}
	}
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
	for out := server.Bytes(); len(out) > 0; {
		n := min(len(out), 1+m.random.IntN(40))
		if _, err := m.server.Write(out[:n]); err != nil {
			t.Fatal(err)
		}
		out = out[n:]
	}
}

// FuzzFrames: however bytes arrive, the same frames are seen, as who has all bytes at once
// sees them.
func FuzzFrames(f *testing.F) {
	f.Add([]byte("\x00\x00\x02\x01\x05\x80\x00\x00\x01xx\x00\x00\x00\x03\x00\x00\x00\x00\x01"), uint8(1))
	f.Add([]byte("\xff\xff\xff\x09\x00\x00\x00\x00\x01"), uint8(3))
	f.Fuzz(func(t *testing.T, sent []byte, piece uint8) {
		var want []frame
		for rest := sent; len(rest) >= frameHeaderLen; {
			length := int(rest[0])<<16 + int(rest[1])<<8 + int(rest[2])
			id := uint32(rest[5]&0x7f)<<24 + uint32(rest[6])<<16 + uint32(rest[7])<<8 + uint32(rest[8])
			want = append(want, frame{rest[3], rest[4], id})
			rest = rest[min(len(rest), frameHeaderLen+length):]
		}
		var got []frame
		all := frames{skip: len(clientPreface)}
		for part := range slices.Chunk(append([]byte(clientPreface), sent...), 1+int(piece)) {
			if err := all.look(part, func(f frame) error { got = append(got, f); return nil }); err != nil {
				t.Fatal(err)
			}
		}
		if !slices.Equal(got, want) {
			t.Errorf("saw %v, want %v", got, want)
		}
	})
}
