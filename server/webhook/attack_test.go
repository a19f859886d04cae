package webhook_test

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	webhookgatewayv1 "github.com/webhook-gateway/webhook-gateway/gen/webhookgateway/v1"
	"github.com/webhook-gateway/webhook-gateway/server/connlimit"
	"github.com/webhook-gateway/webhook-gateway/server/provider"
	"github.com/webhook-gateway/webhook-gateway/server/provider/finicity"
	"github.com/webhook-gateway/webhook-gateway/server/webhook"
)

// Strangers who know the path of one client, and send a byte of a body and then nothing,
// keep out no delivery of another client.
func TestSlowBodiesLeaveConnections(t *testing.T) {
	t.Parallel()
	const limit = 4
	f := newFixture(t, nil)
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := webhook.NewServer(f.cfg, f.handler, slog.New(slog.DiscardHandler))
	served := make(chan error, 1)
	go func() { served <- server.Serve(connlimit.New(inner, limit, func() {})) }()
	t.Cleanup(func() {
		_ = server.Close()
		if err := <-served; !errors.Is(err, http.ErrServerClosed) {
			t.Error(err)
		}
	})
	for range limit {
		conn := dial(t, inner.Addr().String())
		write(t, conn, strings.Replace(head, "fake", "fake/known", 1)+"Content-Length: 100\r\nExpect: 100-continue\r\n\r\n")
		line, err := bufio.NewReader(conn).ReadString('\n') // its body is waited for from now on
		if err != nil || !strings.Contains(line, "100 Continue") {
			t.Fatalf("%q, %v", line, err)
		}
		write(t, conn, "{")
	}
	conn := dial(t, inner.Addr().String())
	_, err = io.WriteString(conn, strings.Replace(head, "fake", "fake/other", 1)+"Content-Length: 2\r\n\r\n{}")
	if err != nil {
		t.Fatalf("send to the gateway: %v", err)
	}
	response, err := http.ReadResponse(bufio.NewReader(conn), &http.Request{Method: http.MethodPost})
	if err != nil {
		t.Fatalf("the delivery of another client was not answered: %v", err)
	}
	defer func() { _ = response.Body.Close() }()
	if response.StatusCode != http.StatusOK {
		t.Errorf("answered %s", response.Status)
	}
}

// Strangers who fill the memory of one client with bodies that never end keep out no
// delivery of that client: they make room for it, and are told at once.
func TestSlowBodiesLeaveMemory(t *testing.T) {
	t.Parallel()
	f := newFixture(t, func(f *fixture) {
		f.cfg.MaxBodyBytes, f.cfg.MaxBufferedBytes = 32<<10, 192<<10
		f.cfg.ReadTimeout = time.Hour
	})
	addr := f.listen(t)
	var slow []*bufio.Reader
	for range 192 / 4 / 4 { // a quarter of the memory, by 4 KiB
		conn := dial(t, addr)
		write(t, conn, head+"Content-Length: 4096\r\nExpect: 100-continue\r\n\r\n")
		r := bufio.NewReader(conn)
		if line, err := r.ReadString('\n'); err != nil || !strings.Contains(line, "100 Continue") {
			t.Fatalf("%q, %v", line, err)
		}
		if _, err := r.ReadString('\n'); err != nil {
			t.Fatal(err)
		}
		write(t, conn, "{")
		slow = append(slow, r)
	}
	if got := exchange(t, addr, head+"Content-Length: 2\r\n\r\n{}", false); got.answer.Code != http.StatusOK {
		t.Errorf("answer to a delivery beside %d slow ones = %+v", len(slow), got)
	}
	if got := readResponse(t, slow[0], http.MethodPost); got.answer != (answer{503, "OVERLOADED"}) || !got.close {
		t.Errorf("answer to the slowest = %+v", got)
	}
}

// Who may name any client does not get the share of many: all of them leave room for
// another provider.
func TestMadeUpClientsShareOneShare(t *testing.T) {
	t.Parallel()
	f := newFixture(t, func(f *fixture) {
		f.provider.anyClient = true
		f.cfg.MaxBodyBytes, f.cfg.MaxBufferedBytes = 32<<10, 192<<10
	})
	other := &fakeProvider{name: "other", verdict: webhookgatewayv1.VerificationVerdict_VERIFICATION_VERDICT_VERIFIED}
	handler, err := newHandler(f.cfg, []provider.Provider{f.provider, other}, &fixture{log: f.log, logged: f.logged, registry: newRegistry()})
	if err != nil {
		t.Fatal(err)
	}
	f.handler = handler
	const each = 16 << 10
	waiting := f.hold(t, "/v1/webhooks/other", "192.0.2.1", each, strings.Repeat("x", each-1))
	var crowd []*holder
	for i := range 192 * 2 / 16 {
		crowd = append(crowd, f.hold(t, fmt.Sprintf("/v1/webhooks/fake/client-%d", i), "192.0.2.1", each, strings.Repeat("x", each-1)))
	}
	crowd[0].end(t, "OVERLOADED")
	waiting.finish(t) // the one that had waited for longest of all
	for _, h := range crowd[1:] {
		_ = h.send.Close()
		<-h.done
	}
}

// A large body that failed verification holds up no large one that is verified.
func TestUnverifiedBodiesHoldUpNoOthers(t *testing.T) {
	t.Parallel()
	decoding, decode := make(chan struct{}), make(chan struct{})
	strange := &fakeProvider{
		name: "strange", verdict: webhookgatewayv1.VerificationVerdict_VERIFICATION_VERDICT_FAILED,
		decoded: func([]byte) (provider.Decoded, error) {
			close(decoding)
			<-decode
			return provider.Decoded{Event: &webhookgatewayv1.Event{}}, nil
		},
	}
	f := newFixture(t, nil)
	handler, err := newHandler(f.cfg, []provider.Provider{f.provider, strange}, &fixture{log: f.log, logged: f.logged, registry: newRegistry()})
	if err != nil {
		t.Fatal(err)
	}
	f.handler = handler
	large := strings.Repeat(" ", 100<<10)
	var group sync.WaitGroup
	group.Go(func() { f.post(t, "/v1/webhooks/strange", large, nil) })
	<-decoding
	if got := f.post(t, "/v1/webhooks/fake", large, nil).answer; got.Code != http.StatusOK {
		t.Errorf("answer = %+v", got)
	}
	close(decode)
	group.Wait()
}

// What Finicity signed is taken whatever content type it names, but for XML.
func TestSignedBodyOfAnotherContentType(t *testing.T) {
	t.Parallel()
	g := newGateway(t)
	g.reopen(t, provider.ModeEnforce, nil)
	for i, contentType := range []string{"text/plain", "application/vnd.finicity+json", "text/json", ";;"} {
		body := fmt.Sprintf(`{"eventType":"added","eventId":"e%d"}`, i)
		got := g.post(t, "/v1/webhooks/finicity/"+testClient, body, http.Header{
			"Content-Type": {contentType}, "X-Finicity-Signature": {finicity.Sign(g.secret, []byte(body))},
		})
		if got != (answer{Code: http.StatusOK}) {
			t.Errorf("%q: answer = %+v", contentType, got)
		}
	}
}
