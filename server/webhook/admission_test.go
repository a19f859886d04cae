package webhook_test

import (
	"bufio"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	webhookgatewayv1 "github.com/webhook-gateway/webhook-gateway/gen/webhookgateway/v1"
	"github.com/webhook-gateway/webhook-gateway/server/provider"
	"github.com/webhook-gateway/webhook-gateway/server/webhook"
)

// sentry is a body of which nothing must be read.
type sentry struct{ t *testing.T }

func (s sentry) Read([]byte) (int, error) {
	s.t.Error("the body of a delivery that was not admitted was read")
	return 0, io.EOF
}

// Whom admission refuses costs no more than the head of the request. Every refusal says
// whose it was, as far as the path tells.
func TestRefusedBeforeTheBody(t *testing.T) {
	t.Parallel()
	refused := &provider.Refusal{Reason: webhookgatewayv1.ErrorReason_ERROR_REASON_SIGNATURE_MISSING, Message: "what to do"}
	for name, test := range map[string]struct {
		method, path string
		header       http.Header
		length       int64
		refusal      error
		want         answer
		whose        string
	}{
		"unknown provider": {path: "/v1/webhooks/nobody", want: answer{404, "PROVIDER_UNKNOWN"}, whose: "provider=unknown"},
		"the head shows that it is not authentic": {
			path: "/v1/webhooks/fake/client-1", refusal: refused, want: answer{401, "SIGNATURE_MISSING"}, whose: "provider=fake client_id=client-1",
		},
		"too large": {path: "/v1/webhooks/fake/client-1", length: 1 << 40, want: answer{413, "BODY_TOO_LARGE"}, whose: "provider=fake client_id=client-1"},
		"XML": {
			path: "/v1/webhooks/fake/client-1", header: http.Header{"Content-Type": {"text/xml"}},
			want: answer{415, "CONTENT_TYPE_UNSUPPORTED"}, whose: "provider=fake client_id=client-1",
		},
		"GET":                  {method: http.MethodGet, path: "/v1/webhooks/fake/client-1", want: answer{405, "METHOD_NOT_ALLOWED"}, whose: "level=WARN provider=fake client_id=client-1"},
		"GET of nobody's path": {method: http.MethodGet, path: "/v1/webhooks/", want: answer{405, "METHOD_NOT_ALLOWED"}, whose: "level=DEBUG provider=unknown"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFixture(t, func(f *fixture) { f.provider.admission = test.refusal })
			method := http.MethodPost
			if test.method != "" {
				method = test.method
			}
			request := httptest.NewRequestWithContext(t.Context(), method, test.path, sentry{t})
			request.ContentLength = max(test.length, 100)
			request.Header = test.header
			recorder := httptest.NewRecorder()
			f.handler.ServeHTTP(recorder, request)
			response := recorder.Result()
			defer func() { _ = response.Body.Close() }()
			if got := readReply(t, response).answer; got != test.want {
				t.Errorf("answer = %+v, want %+v", got, test.want)
			}
			for _, want := range strings.Fields(test.whose) {
				if !strings.Contains(f.logged.String(), want) {
					t.Errorf("the log lacks %q:\n%s", want, f.logged)
				}
			}
			_, whose, _ := strings.Cut(test.whose, "provider=")
			whose, _, _ = strings.Cut(whose, " ")
			f.wantMetric(t, fmt.Sprintf(`webhook_gateway_deliveries_total{outcome=%q,provider=%q,verdict="none"}`, strings.ToLower(test.want.Reason), whose), 1)
		})
	}
}

// Who is refused is told at once, and not after a body that may never come.
func TestRefusedWithoutWaitingForTheBody(t *testing.T) {
	t.Parallel()
	f := newFixture(t, func(f *fixture) { f.cfg.ReadTimeout = time.Hour })
	addr := f.listen(t)
	for path, want := range map[string]answer{"nobody": {404, "PROVIDER_UNKNOWN"}, "fake/too/deep": {404, "PATH_UNKNOWN"}} {
		for _, length := range []string{"Content-Length: 1000", "Transfer-Encoding: chunked"} {
			conn := dial(t, addr)
			write(t, conn, strings.Replace(head, "fake", path, 1)+length+"\r\n\r\n")
			if got := readResponse(t, bufio.NewReader(conn), http.MethodPost); got.answer != want || !got.close {
				t.Errorf("%s, %s: reply = %+v, want %+v, and that the connection ends", path, length, got, want)
			}
		}
	}
}

// holder is a delivery whose sender has not sent its last byte yet.
type holder struct {
	f        *fixture
	recorder *httptest.ResponseRecorder
	send     *io.PipeWriter
	done     chan struct{}
}

// hold delivers all of a body but for its last byte.
func (f *fixture) hold(t *testing.T, path, source string, length int, sent string) *holder {
	t.Helper()
	body, send := io.Pipe()
	request := httptest.NewRequest(http.MethodPost, path, body)
	request.ContentLength = int64(length)
	request.RemoteAddr = source + ":1"
	h := &holder{f: f, recorder: httptest.NewRecorder(), send: send, done: make(chan struct{})}
	go func() {
		defer close(h.done)
		f.handler.ServeHTTP(h.recorder, request)
	}()
	if _, err := io.WriteString(send, sent); err != nil { // returns when it was read
		t.Fatal(err)
	}
	return h
}

// finish ends the body, and wants it refused as cut off.
func (h *holder) finish(t *testing.T) {
	t.Helper()
	h.end(t, "BODY_INCOMPLETE")
}

// end ends the body, and wants it refused.
func (h *holder) end(t *testing.T, reason string) {
	t.Helper()
	_ = h.send.Close()
	<-h.done
	if h.recorder.Code == http.StatusOK || !strings.Contains(h.recorder.Body.String(), reason) {
		t.Errorf("answer %d %s to a body that was cut off, want %s", h.recorder.Code, h.recorder.Body, reason)
	}
}

// A body takes memory as its bytes arrive, whatever it announces.
func TestAnnouncedBytesCostNothing(t *testing.T) {
	t.Parallel()
	const limit = 64 << 10
	f := newFixture(t, func(f *fixture) { f.cfg.MaxBodyBytes, f.cfg.MaxBufferedBytes = limit, 8*limit })
	for range 6 {
		defer f.hold(t, "/v1/webhooks/fake/client-1", "192.0.2.1", limit, "{").finish(t)
	}
	if got := f.post(t, "/v1/webhooks/fake/client-1", "{}", nil).answer; got.Code != http.StatusOK {
		t.Errorf("answer beside six senders that announced 64 KiB = %+v", got)
	}
}

// Who crowds one client with large bodies leaves the others their memory, and the client
// that for its small ones; within the crowd, those who are slowest make room. So does one
// source among those that proxies name. A proxy that the gateway was not told of is no
// source: all deliveries come from there.
func TestCrowdsLeaveRoom(t *testing.T) {
	t.Parallel()
	const limit = 1 << 20
	large := strings.Repeat("x", limit/8)
	for name, test := range map[string]struct {
		trusted []string
		path    string
		source  string
		// crowd is how many of the crowd are taken.
		crowd int
		// others are deliveries that are taken all the same.
		others [][2]string
	}{
		"one client": {
			path: "/v1/webhooks/fake/a", source: "192.0.2.1", crowd: 4,
			others: [][2]string{{"/v1/webhooks/fake/a", "192.0.2.1"}, {"/v1/webhooks/fake/b", "192.0.2.1"}},
		},
		"one source": {
			trusted: []string{"10.0.0.0/8"}, path: "/v1/webhooks/fake/a", source: "192.0.2.1", crowd: 2,
			others: [][2]string{{"/v1/webhooks/fake/a", "192.0.2.2"}, {"/v1/webhooks/fake/b", "192.0.2.2"}},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFixture(t, func(f *fixture) {
				f.cfg.MaxBodyBytes, f.cfg.MaxBufferedBytes, f.cfg.TrustedProxies = limit/8, limit, test.trusted
			})
			other := f.hold(t, test.others[0][0], test.others[0][1], 100, "{")
			defer other.finish(t)
			var crowd []*holder
			for range test.crowd {
				crowd = append(crowd, f.hold(t, test.path, test.source, len(large)-4<<10, large[4<<10:][1:]))
			}
			fastest := crowd[len(crowd)-1]
			defer fastest.finish(t)
			f.hold(t, test.path, test.source, len(large)-4<<10, large[4<<10:][1:]).finish(t) // one more
			crowd[0].end(t, "OVERLOADED")
			for _, slow := range crowd[1 : len(crowd)-1] {
				defer slow.finish(t)
			}
			for _, other := range test.others {
				request := httptest.NewRequest(http.MethodPost, other[0], strings.NewReader("{}"))
				request.RemoteAddr = other[1] + ":1"
				recorder := httptest.NewRecorder()
				if f.handler.ServeHTTP(recorder, request); recorder.Code != http.StatusOK {
					t.Errorf("%v beside the crowd: %d %s", other, recorder.Code, recorder.Body)
				}
			}
			if strings.Contains(f.logged.String(), " error=") || strings.Contains(f.logged.String(), "level=ERROR") {
				t.Errorf("a crowd rings the alarm of a log that fails:\n%s", f.logged)
			}
		})
	}
}

// The outcome tells what is stored, and only those who may know.
func TestOutcomeIsNotToldToStrangers(t *testing.T) {
	t.Parallel()
	for verdict, told := range map[webhookgatewayv1.VerificationVerdict]bool{
		webhookgatewayv1.VerificationVerdict_VERIFICATION_VERDICT_VERIFIED:    true,
		webhookgatewayv1.VerificationVerdict_VERIFICATION_VERDICT_NOT_CHECKED: true,
		webhookgatewayv1.VerificationVerdict_VERIFICATION_VERDICT_FAILED:      false,
	} {
		f := newFixture(t, func(f *fixture) { f.provider.verdict = verdict })
		got := f.post(t, "/v1/webhooks/fake", "{}", nil)
		if outcome := got.header.Get(webhook.OutcomeHeader); got.answer.Code != http.StatusOK || (outcome != "") != told {
			t.Errorf("%v: %+v with the outcome %q", verdict, got.answer, outcome)
		}
	}
}
