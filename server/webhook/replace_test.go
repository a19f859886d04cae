package webhook_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/webhook-gateway/webhook-gateway/server/eventlog"
	"github.com/webhook-gateway/webhook-gateway/server/provider"
	"github.com/webhook-gateway/webhook-gateway/server/webhook"
)

// A reload that does not change the rate limit gives nobody a new burst.
func TestReloadsLeaveRateLimits(t *testing.T) {
	t.Parallel()
	f := newFixture(t, func(f *fixture) { f.cfg.RateLimit = webhook.RateLimit{RequestsPerSecond: 0.001, Burst: 1} })
	replace := func() {
		t.Helper()
		if err := f.handler.(*webhook.Handler).Replace(f.cfg, []provider.Provider{f.provider}); err != nil {
			t.Fatal(err)
		}
	}
	deliver := func(want int) {
		t.Helper()
		if got := f.post(t, "/v1/webhooks/fake", "{}", nil).answer; got.Code != want {
			t.Errorf("answer = %+v, want %d", got, want)
		}
	}
	deliver(http.StatusOK)
	f.cfg.LogAccepted = true
	replace()
	deliver(http.StatusTooManyRequests)
	f.cfg.RateLimit.Burst = 2
	replace()
	deliver(http.StatusOK)
}

// A longer append_timeout that came by a reload leaves time to answer after it, although
// the server began with a shorter one.
func TestReloadedAppendTimeoutIsAnswered(t *testing.T) {
	t.Parallel()
	f := newFixture(t, nil)
	f.log.append = func(ctx context.Context, _ eventlog.Entry) (eventlog.Receipt, error) {
		<-ctx.Done()
		return eventlog.Receipt{}, ctx.Err()
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := webhook.NewServer(f.cfg, f.handler, slog.New(slog.DiscardHandler))
	server.WriteTimeout = time.Millisecond // so that nobody has to wait for it
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	defer func() {
		_ = server.Close()
		if err := <-served; !errors.Is(err, http.ErrServerClosed) {
			t.Error(err)
		}
	}()
	f.cfg.AppendTimeout = 100 * time.Millisecond
	if err := f.handler.(*webhook.Handler).Replace(f.cfg, []provider.Provider{f.provider}); err != nil {
		t.Fatal(err)
	}
	conn := dialSoon(t, listener.Addr().String())
	write(t, conn, head+"Content-Length: 2\r\n\r\n{}")
	if got := readResponse(t, bufio.NewReader(conn), http.MethodPost); got.answer != (answer{503, "LOG_UNAVAILABLE"}) {
		t.Errorf("answer = %+v", got)
	}
}

// What is answered 200 is stored, and what is refused for the memory is not: while
// deliveries make room for each other, at whatever moment, and while other limits are put
// in force.
func TestStoredOrRefused(t *testing.T) {
	t.Parallel()
	f := newFixture(t, func(f *fixture) { f.cfg.MaxBodyBytes, f.cfg.MaxBufferedBytes = 16<<10, 96<<10 })
	addr := f.listen(t)
	const senders, each = 24, 12
	var mu sync.Mutex
	answered := make(map[string]answer)
	deliver := func(t *testing.T, body string) answer {
		conn := dialSoon(t, addr)
		defer func() { _ = conn.Close() }()
		write(t, conn, fmt.Sprintf("%sContent-Length: %d\r\n\r\n%s", head, len(body), body[:len(body)-1]))
		// Whether the gateway goes on reading in the meantime is left to it: its answer is there also if it does not.
		_, _ = io.WriteString(conn, body[len(body)-1:])
		response, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil {
			return answer{}
		}
		defer func() { _ = response.Body.Close() }()
		return readReply(t, response).answer
	}
	var group sync.WaitGroup
	for sender := range senders {
		group.Go(func() {
			for i := range each {
				body := fmt.Sprintf(`{"id":"%d-%d","x":"%s"}`, sender, i, strings.Repeat("x", 1+(sender*997+i*4099)%(15<<10)))
				got := deliver(t, body)
				mu.Lock()
				answered[body] = got
				mu.Unlock()
			}
		})
	}
	ended := make(chan struct{})
	go func() { group.Wait(); close(ended) }()
	for reloads := 0; ; reloads++ {
		cfg := f.cfg
		cfg.MaxBufferedBytes *= int64(1 + reloads%2)
		if err := f.handler.(*webhook.Handler).Replace(cfg, []provider.Provider{f.provider}); err != nil {
			t.Fatal(err)
		}
		select {
		case <-ended:
		case <-time.After(time.Millisecond):
			continue
		}
		break
	}
	var stored []string
	for _, event := range f.events(t) {
		stored = append(stored, string(event.GetRawBody()))
	}
	counts := make(map[answer]int)
	for body, got := range answered {
		counts[got]++
		if got != (answer{Code: 200}) && got != (answer{503, "OVERLOADED"}) {
			t.Errorf("answer = %+v", got)
		}
		if slices.Contains(stored, body) != (got.Code == http.StatusOK) {
			t.Errorf("a delivery was answered %+v, stored: %t", got, got.Code != http.StatusOK)
		}
	}
	t.Logf("%d deliveries are stored; answers: %v", len(stored), counts)
}
