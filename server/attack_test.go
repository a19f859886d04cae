package server_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
	"google.golang.org/grpc"

	webhookgatewayv1 "github.com/webhook-gateway/webhook-gateway/gen/webhookgateway/v1"
	"github.com/webhook-gateway/webhook-gateway/server"
	"github.com/webhook-gateway/webhook-gateway/server/servertest"
)

// A client that opens and resets streams as fast as it can is sent away, and nobody
// else feels it.
func TestRapidReset(t *testing.T) {
	g := servertest.Start(t)
	stream, err := webhookgatewayv1.NewEventServiceClient(g.Conn()).Subscribe(t.Context(), &webhookgatewayv1.SubscribeRequest{})
	if err != nil {
		t.Fatal(err)
	}
	next(t, stream, (*webhookgatewayv1.SubscribeResponse).GetSubscribed)

	conn, err := net.Dial("tcp", g.GRPCAddr())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	if err := conn.SetDeadline(time.Now().Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	framer := http2.NewFramer(conn, conn)
	sent := make(chan int, 1)
	go func() {
		const most = 1_000_000
		streams, err := 0, errors.Join(second(io.WriteString(conn, http2.ClientPreface)), framer.WriteSettings())
		for head := callHead(); err == nil && streams < most; streams++ {
			id := uint32(2*streams + 1)
			err = errors.Join(
				framer.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: head, EndHeaders: true}),
				framer.WriteRSTStream(id, http2.ErrCodeCancel),
			)
		}
		sent <- streams
	}()
	away := false
	for err == nil {
		var frame http2.Frame
		if frame, err = framer.ReadFrame(); err == nil {
			goAway, ok := frame.(*http2.GoAwayFrame)
			away = away || ok && goAway.ErrCode == http2.ErrCodeEnhanceYourCalm
		}
	}
	var timeout net.Error
	if errors.As(err, &timeout) && timeout.Timeout() {
		t.Fatal("the connection was not closed")
	}
	// Of what the client has sent until it noticed, the gateway has not read most.
	t.Logf("%d streams were sent, told to go away: %t", <-sent, away)

	g.Deliver(t, syncAccount)
	next(t, stream, (*webhookgatewayv1.SubscribeResponse).GetEvents)
	if _, body := get(t, g, "/metrics"); !strings.Contains(body, `webhook_gateway_connections_refused_total{listener="grpc"} 1`) {
		t.Error("the connection is not counted")
	}
}

// A sender whose body does not come holds up no shutdown. It is told that nothing was
// stored.
func TestSlowBodiesHoldUpNoShutdown(t *testing.T) {
	g := servertest.Start(t, func(config *server.Config) { config.Shutdown.Timeout = time.Minute })
	conn, err := net.Dial("tcp", strings.TrimPrefix(g.WebhookURL(), "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	if err := conn.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	_, err = io.WriteString(conn, "POST /v1/webhooks/vezgo HTTP/1.1\r\nHost: a\r\nX-Client-Id: "+servertest.Client+
		"\r\nContent-Length: 100\r\nExpect: 100-continue\r\n\r\n")
	if err != nil {
		t.Fatal(err)
	}
	r := bufio.NewReader(conn)
	if line, err := r.ReadString('\n'); err != nil || !strings.Contains(line, "100 Continue") {
		t.Fatalf("%q, %v", line, err)
	}
	if _, err := r.ReadString('\n'); err != nil {
		t.Fatal(err)
	}
	stopped := make(chan error, 1)
	go func() { stopped <- g.Stop() }()
	resp, err := http.ReadResponse(r, nil)
	if err != nil {
		t.Fatalf("no answer: %v", err)
	}
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusServiceUnavailable || !strings.Contains(string(text), "DRAINING") {
		t.Errorf("answered %s, %s, %v", resp.Status, text, err)
	}
	if err := <-stopped; err != nil {
		t.Error(err)
	}
}

// A call whose request does not come holds up no shutdown.
func TestCallsWithoutRequestHoldUpNoShutdown(t *testing.T) {
	g := servertest.Start(t)
	stream, err := g.Conn().NewStream(t.Context(), &grpc.StreamDesc{ClientStreams: true}, webhookgatewayv1.EventService_GetLogInfo_FullMethodName)
	if err != nil {
		t.Fatal(err)
	}
	// What comes after it on the same connection is answered, so the gateway has it.
	if _, err := webhookgatewayv1.NewEventServiceClient(g.Conn()).GetLogInfo(t.Context(), &webhookgatewayv1.GetLogInfoRequest{}); err != nil {
		t.Fatal(err)
	}
	if err := g.Stop(); err != nil {
		t.Error(err)
	}
	if err := stream.RecvMsg(&webhookgatewayv1.GetLogInfoResponse{}); err == nil {
		t.Error("the call was answered")
	}
}

// A client that has thousands of calls at once, as one does that connects again, is served
// though the gateway does not know it when they come.
func TestThousandsOfCallsAtOnce(t *testing.T) {
	g, callers, _ := controlled(t)
	events := webhookgatewayv1.NewEventServiceClient(dialAs(t, g, callers.reader))
	const calls = 5_000
	answered := make(chan error, calls)
	for range calls {
		go func() {
			_, err := events.GetLogInfo(t.Context(), &webhookgatewayv1.GetLogInfoRequest{})
			answered <- err
		}()
	}
	for range calls {
		if err := <-answered; err != nil {
			t.Fatal(err)
		}
	}
}

// callHead returns the head of a call, encoded without a table that would have to be
// kept.
func callHead() []byte {
	var head bytes.Buffer
	encoder := hpack.NewEncoder(&head)
	encoder.SetMaxDynamicTableSize(0)
	for _, field := range [][2]string{
		{":method", "POST"},
		{":scheme", "http"},
		{":authority", "a"},
		{":path", "/webhookgateway.v1.EventService/Subscribe"}, // with the others of HTTP/2, or the head is none
		{"content-type", "application/grpc"},
		{"te", "trailers"},
	} {
		_ = encoder.WriteField(hpack.HeaderField{Name: field[0], Value: field[1]}) // into memory
	}
	return head.Bytes()
}

func second[T any](_ T, err error) error { return err }

// A sender that keeps its connection is told that it ends before it does: no request
// is sent into one that is being closed.
func TestKeptConnectionsEndInOrder(t *testing.T) {
	t.Parallel()                                                                                      // it takes as long as the delay
	g := servertest.Start(t, func(config *server.Config) { config.Shutdown.Delay = 3 * time.Second }) // no sender waits for longer between two deliveries
	url := g.WebhookURL() + "/v1/webhooks/vezgo"
	client := &http.Client{Transport: &http.Transport{}}
	defer client.CloseIdleConnections()
	// deliver reports whether a kept connection was used, and whether the answer says that
	// it ends.
	deliver := func() (reused, ends bool, err error) {
		ctx := httptrace.WithClientTrace(context.WithoutCancel(t.Context()), &httptrace.ClientTrace{
			GotConn: func(info httptrace.GotConnInfo) { reused = info.Reused },
		})
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(vezgoBody))
		if err != nil {
			t.Fatal(err)
		}
		req.GetBody = nil // the client must not send it again by itself
		req.Header.Set("X-Client-Id", servertest.Client)
		resp, err := client.Do(req)
		if err != nil {
			return reused, false, err
		}
		defer func() { _ = resp.Body.Close() }()
		if resp.StatusCode != http.StatusOK {
			t.Errorf("answered %s", resp.Status)
		}
		_, err = io.Copy(io.Discard, resp.Body) // so that the connection is used again
		return reused, resp.Close, err
	}
	var stopped atomic.Bool
	ended := make(chan error, 1)
	told, kept := 0, 0
	for {
		reused, ends, err := deliver()
		if err != nil {
			if reused || !stopped.Load() {
				t.Errorf("on a kept connection (%t): %v", reused, err)
			}
			break // a new connection finds nobody any more
		}
		if reused {
			kept++
		}
		if ends {
			told++
		}
		if kept == 10 && stopped.CompareAndSwap(false, true) {
			go func() { ended <- g.Stop() }()
		}
	}
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if told == 0 {
		t.Error("no answer said that the connection ends")
	}
}
