package server_test

import (
	"bytes"
	"encoding/base64"
	"errors"
	"io"
	"net"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
	"google.golang.org/protobuf/proto"

	webhookgatewayv1 "github.com/webhook-gateway/webhook-gateway/gen/webhookgateway/v1"
	"github.com/webhook-gateway/webhook-gateway/server"
	"github.com/webhook-gateway/webhook-gateway/server/access"
	"github.com/webhook-gateway/webhook-gateway/server/servertest"
)

// TestOnlyWhoHasTheSecretIsAGateway: who shows a gateway the secret of the cluster may reset as many calls
// as it likes. Who shows none, or another one, is no gateway, whatever else it says of itself: its connection is closed.
func TestOnlyWhoHasTheSecretIsAGateway(t *testing.T) {
	option := shares(t)
	quiet := func(c *server.Config) { c.Log.Level = 12 } // connections are closed
	a, b := servertest.Start(t, option, quiet), servertest.Start(t, option, quiet)
	_, address := theirs(t, a, b)
	secret := servertest.Secret(webhookgatewayv1.Provider_PROVIDER_FINICITY).Reveal()
	carried, err := proto.Marshal((&access.Caller{Name: "all", Method: "token"}).Carry())
	if err != nil {
		t.Fatal(err)
	}
	caller := hpack.HeaderField{Name: "webhook-gateway-caller-bin", Value: base64.RawStdEncoding.EncodeToString(carried)}
	header := func(name, value string) hpack.HeaderField { return hpack.HeaderField{Name: name, Value: value} }
	for name, test := range map[string]struct {
		headers []hpack.HeaderField
		known   bool
	}{
		"the secret":       {[]hpack.HeaderField{header("webhook-gateway-peer-secret", secret), caller}, true},
		"none":             {nil, false},
		"a wrong one":      {[]hpack.HeaderField{header("webhook-gateway-peer-secret", secret+"x"), caller}, false},
		"an empty one":     {[]hpack.HeaderField{header("webhook-gateway-peer-secret", ""), header("webhook-gateway-peer-previous-secret", "")}, false},
		"two of them":      {[]hpack.HeaderField{header("webhook-gateway-peer-secret", secret), header("webhook-gateway-peer-secret", secret+"x")}, false},
		"a caller of none": {[]hpack.HeaderField{caller, header("authorization", "Bearer "+secret)}, false},
	} {
		t.Run(name, func(t *testing.T) {
			before := metric(t, b, `webhook_gateway_connections_refused_total{listener="cluster"}`)
			err := resets(t, address, test.headers)
			if closed := metric(t, b, `webhook_gateway_connections_refused_total{listener="cluster"}`) - before; (closed == 0) != test.known || (err == nil) != test.known {
				t.Errorf("%v connections were sent away: %v", closed, err)
			}
		})
	}
}

// resets makes a call, waits until it is answered, and then makes and resets many. It returns when the connection
// answers a ping behind them, or why it was closed.
func resets(t *testing.T, address string, headers []hpack.HeaderField) error {
	t.Helper()
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	if err := conn.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	var block bytes.Buffer
	encoder := hpack.NewEncoder(&block)
	encoder.SetMaxDynamicTableSize(0) // each call has the same bytes
	for _, h := range append([]hpack.HeaderField{
		{Name: ":method", Value: "POST"},
		{Name: ":scheme", Value: "http"},
		{Name: ":path", Value: webhookgatewayv1.SubscriptionService_GetSubscription_FullMethodName},
		{Name: ":authority", Value: address},
		{Name: "content-type", Value: "application/grpc"},
		{Name: "te", Value: "trailers"},
	}, headers...) {
		h.Sensitive = true
		if err := encoder.WriteField(h); err != nil {
			t.Fatal(err)
		}
	}
	framer := http2.NewFramer(conn, conn)
	call := func(stream uint32, end bool) error {
		return framer.WriteHeaders(http2.HeadersFrameParam{StreamID: stream, BlockFragment: block.Bytes(), EndHeaders: true, EndStream: end})
	}
	_, err = io.WriteString(conn, http2.ClientPreface)
	err = errors.Join(err, framer.WriteSettings(), call(1, false), framer.WriteData(1, true, make([]byte, 5)))
	if err != nil {
		t.Fatal(err)
	}
	answered := make(chan struct{})
	ended := make(chan error, 1)
	go func() {
		first := answered
		for {
			frame, err := framer.ReadFrame()
			if err != nil {
				ended <- err
				return
			}
			switch frame := frame.(type) {
			case *http2.MetaHeadersFrame, *http2.HeadersFrame, *http2.RSTStreamFrame:
				if first != nil && frame.Header().StreamID == 1 {
					close(first)
					first = nil
				}
			case *http2.PingFrame:
				if frame.IsAck() && frame.Data == [8]byte{1} {
					ended <- nil
					return
				}
			case *http2.GoAwayFrame:
				ended <- errors.New(frame.ErrCode.String())
				return
			}
		}
	}()
	select {
	case <-answered:
	case err := <-ended:
		return err
	}
	for n := uint32(1); err == nil && n < 600; n++ {
		err = errors.Join(call(2*n+1, false), framer.WriteRSTStream(2*n+1, http2.ErrCodeCancel))
	}
	_ = framer.WritePing(false, [8]byte{1}) // it may be closed
	return <-ended
}
