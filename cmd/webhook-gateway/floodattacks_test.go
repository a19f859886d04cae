package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// TestFloods: whatever strangers do to a port, its neighbours and those of the other ports
// are served, the memory of the gateway is bounded, and nothing is left when they go.
func TestFloods(t *testing.T) {
	if testing.Short() {
		t.Skip("builds and runs the binary")
	}
	binary := buildBinary(t)
	for name, secured := range map[string]bool{plain: false, overTLS: true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			gateway := startAttacked(t, binary, secured)
			gateway.neighbours(t)
			for _, flood := range floods {
				if secured != (flood.on == overTLS) {
					continue
				}
				t.Run(flood.name, func(t *testing.T) {
					before := gateway.metric(t, "go_goroutines")
					a := &attacker{attacked: gateway, t: t}
					defer a.end()
					flood.attack(a)
					gateway.neighbours(t)
					a.end()
					gateway.calm(t, before)
				})
			}
			gateway.terminate(t)
		})
	}
}

// Each is tried once: over TLS what comes before a request, for there internal HTTP speaks
// HTTP/2 too; the others make no difference there.
const plain, overTLS = "plain", "TLS"

// floods are what strangers do.
var floods = []struct {
	name, on string
	attack   func(a *attacker)
}{
	{"10,000 connections to webhooks", plain, func(a *attacker) { connections(a, a.webhooks) }},
	{"10,000 connections to gRPC", plain, func(a *attacker) { connections(a, a.grpc) }},
	{"10,000 connections to internal HTTP", plain, func(a *attacker) { connections(a, a.internal) }},

	{"silent after TLS on all ports", overTLS, func(a *attacker) {
		for range crowd {
			a.open(a.webhooks, "http/1.1")
			a.open(a.grpc, "h2")
			a.open(a.internal, "http/1.1")
		}
	}},
	{"TLS that never ends", overTLS, func(a *attacker) {
		for range crowd {
			for _, address := range []string{a.webhooks, a.grpc, a.internal} {
				// The start of a ClientHello; without TLS, of nothing.
				send(a.dial(address), func(w *bufio.Writer) error { return second(w.WriteString("\x16\x03\x01\x02\x00\x01\x00")) })
			}
		}
	}},
	{"silent after the preface", overTLS, func(a *attacker) {
		for range few {
			a.both(nil)
		}
	}},
	{"a head that never ends", plain, func(a *attacker) {
		for _, address := range []string{a.webhooks, a.internal} {
			for range crowd {
				send(a.open(address, "http/1.1"), func(w *bufio.Writer) error {
					return second(w.WriteString("GET /readyz HTTP/1.1\r\nHost: 127.0.0.1\r\nX: " + strings.Repeat("x", 32<<10)))
				})
			}
		}
	}},
	{"one header without end", plain, func(a *attacker) {
		for _, address := range []string{a.webhooks, a.internal} {
			send(a.open(address, "http/1.1"), func(w *bufio.Writer) error {
				_, err := w.WriteString("GET /readyz HTTP/1.1\r\nHost: 127.0.0.1\r\nX: ")
				for range 64 << 10 {
					err = errors.Join(err, second(w.WriteString(strings.Repeat("x", 1<<10))))
				}
				return err
			})
		}
	}},
	{"10,000 headers", plain, func(a *attacker) {
		for _, address := range []string{a.webhooks, a.internal} {
			send(a.open(address, "http/1.1"), func(w *bufio.Writer) error {
				_, err := w.WriteString("GET /readyz HTTP/1.1\r\nHost: 127.0.0.1\r\n")
				for i := range 10_000 {
					err = errors.Join(err, second(fmt.Fprintf(w, "X-%d: %s\r\n", i, strings.Repeat("x", 100))))
				}
				return err
			})
		}
	}},
	{"bodies that never come", plain, func(a *attacker) {
		for range few {
			for _, head := range []string{"POST /v1/events:list", "GET /healthz"} {
				send(a.open(a.internal, "http/1.1"), func(w *bufio.Writer) error {
					return second(w.WriteString(head + " HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n"))
				})
			}
		}
	}},
	{"answers nobody reads", plain, func(a *attacker) {
		for range few {
			send(a.open(a.internal, "http/1.1"), func(w *bufio.Writer) error {
				return second(w.WriteString(strings.Repeat("GET /readyz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n", 200)))
			})
		}
	}},
	{"CONTINUATION without end", overTLS, func(a *attacker) {
		a.both(func(f *http2.Framer) error {
			err := f.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: head(healthService + "Check")})
			block := literal("x", strings.Repeat("x", 16<<10-100))
			for i := 0; err == nil && i < 10_000; i++ {
				err = f.WriteContinuation(1, false, block)
			}
			return err
		})
	}},
	{"a head of HTTP/2 that never ends", overTLS, func(a *attacker) {
		for range few {
			a.both(func(f *http2.Framer) error {
				return f.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: head(healthService + "Check")})
			})
		}
	}},
	{"PING without end", overTLS, func(a *attacker) {
		a.both(func(f *http2.Framer) error {
			return repeat(1_000_000, func(uint32) error { return f.WritePing(false, [8]byte{}) })
		})
	}},
	{"SETTINGS without end", overTLS, func(a *attacker) {
		a.both(func(f *http2.Framer) error {
			return repeat(1_000_000, func(uint32) error {
				return f.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 1})
			})
		})
	}},
	{"WINDOW_UPDATE without end", overTLS, func(a *attacker) {
		a.both(func(f *http2.Framer) error {
			return repeat(1_000_000, func(uint32) error { return f.WriteWindowUpdate(0, 1) })
		})
	}},
	{"rapid reset", overTLS, func(a *attacker) {
		a.both(func(f *http2.Framer) error {
			return repeat(1_000_000, func(id uint32) error {
				return errors.Join(open(f, id, head(healthService+"Check")), f.WriteRSTStream(id, http2.ErrCodeCancel))
			})
		})
	}},
	{"calls without a request", plain, func(a *attacker) { calls(a, "/webhookgateway.v1.EventService/GetLogInfo") }},
	{"streams without credentials", plain, func(a *attacker) { calls(a, "/webhookgateway.v1.EventService/Subscribe") }},
	{"watches of health", plain, func(a *attacker) { requests(a, "Watch", true) }},
	{"answers without a window", plain, func(a *attacker) { requests(a, "Check", false) }},
}

const healthService = "/grpc.health.v1.Health/"

// manyStreams are so many on each connection: a few times more than the gateway lets one
// have, and so many that all together have.
var manyStreams = append(slices.Repeat([]int{3_000}, 2), slices.Repeat([]int{900}, 28)...)

func connections(a *attacker, address string) {
	for range 10_000 {
		a.dial(address)
	}
}

// calls opens calls on some connections, with nothing after their headers.
func calls(a *attacker, method string) {
	block := head(method)
	for _, streams := range manyStreams {
		a.http2(a.grpc, false, func(f *http2.Framer) error {
			return repeat(streams, func(id uint32) error { return open(f, id, block) })
		})
	}
}

// requests sends whole calls of health, whose answers are not read, or have no window. Their
// headers are small on the wire and large in memory.
func requests(a *attacker, method string, window bool) {
	for _, streams := range manyStreams {
		a.http2(a.grpc, true, func(f *http2.Framer) error {
			if !window {
				if err := f.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 1}); err != nil {
					return err
				}
			}
			return repeat(streams, func(id uint32) error {
				return errors.Join(open(f, id, bomb(healthService+method, id == 1)), f.WriteData(id, true, make([]byte, 5)))
			})
		})
	}
}

// both does the same to both ports that speak HTTP/2 over TLS.
func (a *attacker) both(frames func(*http2.Framer) error) {
	a.t.Helper()
	a.http2(a.grpc, false, frames)
	a.http2(a.internal, false, frames)
}

// http2 opens a connection with HTTP/2, and sends frames until the gateway takes no more.
// What it answers is read, or not.
func (a *attacker) http2(address string, read bool, frames func(*http2.Framer) error) {
	a.t.Helper()
	c := a.open(address, "h2")
	if read {
		drain(c)
	}
	send(c, func(w *bufio.Writer) error {
		f := http2.NewFramer(w, nil)
		err := errors.Join(second(w.WriteString(http2.ClientPreface)), f.WriteSettings())
		if err == nil && frames != nil {
			err = frames(f)
		}
		return err
	})
}

func repeat(most int, frames func(id uint32) error) (err error) {
	for i := uint32(0); err == nil && i < uint32(most); i++ {
		err = frames(2*i + 1)
	}
	return err
}

func open(f *http2.Framer, id uint32, head []byte) error {
	return f.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: head, EndHeaders: true})
}

func second[T any](_ T, err error) error { return err }

// head returns the head of a call, of which nothing is kept in the table.
func head(method string) []byte {
	var b bytes.Buffer
	e := hpack.NewEncoder(&b)
	for _, field := range [][2]string{
		{":method", "POST"},
		{":scheme", "http"},
		{":authority", "127.0.0.1"},
		{":path", method},
		{"content-type", "application/grpc"},
		{"te", "trailers"},
	} {
		_ = e.WriteField(hpack.HeaderField{Name: field[0], Value: field[1], Sensitive: true}) // into memory
	}
	return b.Bytes()
}

// literal returns a header that is not kept in the table.
func literal(name, value string) []byte {
	var b bytes.Buffer
	_ = hpack.NewEncoder(&b).WriteField(hpack.HeaderField{Name: name, Value: value, Sensitive: true}) // into memory
	return b.Bytes()
}

// bomb returns the head of a call with a large binary header, which is in the table after
// the first, many times: some bytes that become 12 KiB for each call.
func bomb(method string, first bool) []byte {
	const newest = 62
	b, times := append([]byte(nil), head(method)...), 4
	if first {
		times--
		b = append(b, 0x40) // a literal that is kept, with a new name
		b = append(b, 5)
		b = append(b, "x-bin"...)
		b = hpackLength(b, 3_900)
		b = append(b, strings.Repeat("A", 3_900)...)
	}
	return append(b, bytes.Repeat([]byte{0x80 | newest}, times)...)
}

// hpackLength appends the length of a string of more than 127 bytes.
func hpackLength(b []byte, n int) []byte {
	b = append(b, 0x7f)
	for n -= 0x7f; n >= 0x80; n >>= 7 {
		b = append(b, byte(n)|0x80)
	}
	return append(b, byte(n))
}
