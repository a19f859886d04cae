package server_test

import (
	"bytes"
	"crypto/tls"
	"io"
	"maps"
	"net"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/webhook-gateway/webhook-gateway/server"
	"github.com/webhook-gateway/webhook-gateway/server/access"
	"github.com/webhook-gateway/webhook-gateway/server/tlsfiles/tlstest"
)

// TestRevokedReaderOverHTTP2WhoDoesNotRead: a client of HTTP/2 that gives the gateway all
// windows, and then reads nothing, cannot even be told that its stream was reset. Neither
// its request nor a shutdown waits for it.
func TestRevokedReaderOverHTTP2WhoDoesNotRead(t *testing.T) {
	t.Parallel()
	ca := tlstest.NewCA(t)
	token, sum := access.NewToken()
	_, otherSum := access.NewToken() // who is left
	var config server.Config
	g := secured(t, ca, ca.Issue(t, time.Now().AddDate(1, 0, 0), ""), func(c *server.Config) {
		c.TLS.InternalHTTP.ClientCA, c.TLS.InternalHTTP.RequireClientCertificate = "", false
		c.Access.Tokens = map[string]access.Token{"reader": {SHA256: sum, Grants: []string{"read"}}, "other": {SHA256: otherSum, Grants: []string{"read"}}}
		c.Access.Grants = map[string]access.GrantConfig{"read": {Filters: []access.FilterConfig{{}}, Views: []string{"raw"}}}
		c.Shutdown.Timeout = time.Minute
		c.Log.Level = 12 // the end of the connection is expected
		config = *c
	})
	storeLarge(t, g)
	inner, err := new(net.Dialer).DialContext(t.Context(), "tcp", strings.TrimPrefix(g.InternalURL(), "http://"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = inner.Close() })
	trust := &tls.Config{RootCAs: ca.Pool(), MinVersion: tls.VersionTLS13, NextProtos: []string{"h2"}, ServerName: "127.0.0.1"}
	conn := tls.Client(inner, trust)
	if err := conn.HandshakeContext(t.Context()); err != nil {
		t.Fatal(err)
	}
	var head bytes.Buffer
	encoder := hpack.NewEncoder(&head)
	for _, field := range [][2]string{
		{":method", "GET"},
		{":scheme", "https"},
		{":authority", "127.0.0.1"},
		{":path", "/v1/events:subscribe?view=EVENT_VIEW_RAW&startPosition=START_POSITION_EARLIEST"},
		{"authorization", "Bearer " + token},
	} {
		if err := encoder.WriteField(hpack.HeaderField{Name: field[0], Value: field[1]}); err != nil {
			t.Fatal(err)
		}
	}
	const window = 1<<31 - 1
	framer := http2.NewFramer(conn, conn)
	for _, err := range []error{
		second(io.WriteString(conn, http2.ClientPreface)),
		framer.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: window}),
		framer.WriteWindowUpdate(0, window-1<<16),
		framer.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: head.Bytes(), EndHeaders: true, EndStream: true}),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	for frame, err := framer.ReadFrame(); ; frame, err = framer.ReadFrame() {
		if err != nil {
			t.Fatal(err)
		}
		if frame.Header().Type == http2.FrameData {
			break // and nothing more
		}
	}
	config.Access.Tokens = maps.Clone(config.Access.Tokens)
	delete(config.Access.Tokens, "reader")
	if err := reload(g, config); err != nil {
		t.Fatal(err)
	}
	if err := g.Stop(); err != nil {
		t.Error(err)
	}
}
