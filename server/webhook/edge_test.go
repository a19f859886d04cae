package webhook_test

import (
	"encoding/json"
	"errors"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"

	finicityv1 "github.com/webhook-gateway/webhook-gateway/gen/finicity/connect/v1"
	webhookgatewayv1 "github.com/webhook-gateway/webhook-gateway/gen/webhookgateway/v1"
	"github.com/webhook-gateway/webhook-gateway/server/eventlog"
	"github.com/webhook-gateway/webhook-gateway/server/provider"
	"github.com/webhook-gateway/webhook-gateway/server/webhook"
)

// answer is a response as a provider sees it.
type answer struct {
	Code   int
	Reason string
}

// reply is an answer with what goes along with it.
type reply struct {
	answer  answer
	message string
	header  http.Header
	close   bool
}

// post delivers a body.
func (f *fixture) post(t *testing.T, target, body string, header http.Header) reply {
	t.Helper()
	return f.do(t, http.MethodPost, target, body, header)
}

func (f *fixture) do(t *testing.T, method, target, body string, header http.Header) reply {
	t.Helper()
	request := httptest.NewRequestWithContext(t.Context(), method, target, strings.NewReader(body))
	request.Header.Set("Content-Type", "application/json")
	maps.Copy(request.Header, header)
	recorder := httptest.NewRecorder()
	f.handler.ServeHTTP(recorder, request)
	response := recorder.Result()
	defer func() { _ = response.Body.Close() }()
	return readReply(t, response)
}

// readReply checks the form of every answer: `{}`, or a reason and a message.
func readReply(t *testing.T, response *http.Response) reply {
	t.Helper()
	got := reply{answer: answer{Code: response.StatusCode}, header: response.Header, close: response.Close}
	body := readAll(t, response.Body)
	if got := response.Header.Get("Content-Type"); got != "application/json" {
		t.Errorf("Content-Type = %q", got)
	}
	if response.StatusCode == http.StatusOK {
		if body != "{}" {
			t.Errorf("body = %q, want {}", body)
		}
		return got
	}
	var refusal struct {
		Error struct{ Reason, Message string }
	}
	if err := json.Unmarshal([]byte(body), &refusal); err != nil || refusal.Error.Message == "" {
		t.Errorf("body = %q (%v), want a reason and a message", body, err)
	}
	retry := response.StatusCode == http.StatusServiceUnavailable || response.StatusCode == http.StatusTooManyRequests
	if after := response.Header.Get("Retry-After"); retry != (after != "") {
		t.Errorf("%d with Retry-After %q", response.StatusCode, after)
	}
	got.answer.Reason, got.message = refusal.Error.Reason, refusal.Error.Message
	return got
}

func TestAnswers(t *testing.T) {
	t.Parallel()
	type header = http.Header
	tests := []struct {
		name   string
		method string // POST if empty
		target string // the provider's path if empty
		header header
		want   answer
	}{
		{name: "delivery", want: answer{Code: 200}},
		{name: "with a client id", target: "/v1/webhooks/fake/client-1", want: answer{Code: 200}},
		{name: "trailing slash: no client id", target: "/v1/webhooks/fake/", want: answer{Code: 200}},
		{name: "with a query", target: "/v1/webhooks/fake?secret=x", want: answer{Code: 200}},
		{name: "malformed query", target: "/v1/webhooks/fake?a;b=%zz", want: answer{Code: 200}},
		{name: "unknown provider", target: "/v1/webhooks/stripe", want: answer{404, "PROVIDER_UNKNOWN"}},
		{name: "provider in capitals", target: "/v1/webhooks/Fake", want: answer{404, "PROVIDER_UNKNOWN"}},
		{name: "no provider", target: "/v1/webhooks/", want: answer{404, "PROVIDER_UNKNOWN"}},
		{name: "no such path", target: "/v1/webhooks", want: answer{404, "PATH_UNKNOWN"}},
		{name: "root", target: "/", want: answer{404, "PATH_UNKNOWN"}},
		{name: "too deep", target: "/v1/webhooks/fake/client/x", want: answer{404, "PATH_UNKNOWN"}},
		{name: "the path of gRPC", target: "/webhookgateway.v1.WebhookService/ReceiveWebhook", want: answer{404, "PATH_UNKNOWN"}},
		{name: "no dot segments", target: "/v1/webhooks/x/../fake", want: answer{404, "PATH_UNKNOWN"}},
		{name: "GET", method: "GET", want: answer{405, "METHOD_NOT_ALLOWED"}},
		{name: "PUT", method: "PUT", want: answer{405, "METHOD_NOT_ALLOWED"}},
		{name: "OPTIONS", method: "OPTIONS", want: answer{405, "METHOD_NOT_ALLOWED"}},
		{name: "GET of an unknown path", method: "GET", target: "/x", want: answer{404, "PATH_UNKNOWN"}},
		{name: "GET cannot become POST", method: "GET", header: header{"X-Http-Method-Override": {"POST"}}, want: answer{405, "METHOD_NOT_ALLOWED"}},
		{
			name: "POST cannot become GET", want: answer{Code: 200},
			header: header{"X-Http-Method-Override": {"GET"}, "Content-Type": {"application/x-www-form-urlencoded"}},
		},
		{name: "charset", header: header{"Content-Type": {"application/json; charset=utf-8"}}, want: answer{Code: 200}},
		{name: "capitals", header: header{"Content-Type": {"Application/JSON;x=y"}}, want: answer{Code: 200}},
		{name: "malformed parameter", header: header{"Content-Type": {"application/json; charset"}}, want: answer{Code: 200}},
		{name: "no content type", header: header{"Content-Type": nil}, want: answer{Code: 200}},
		{name: "text", header: header{"Content-Type": {"text/plain"}}, want: answer{Code: 200}},
		{name: "garbage content type", header: header{"Content-Type": {";;"}}, want: answer{Code: 200}},
		{name: "gzip", header: header{"Content-Encoding": {"gzip"}}, want: answer{415, "CONTENT_ENCODING_UNSUPPORTED"}},
		{name: "gzip after identity", header: header{"Content-Encoding": {"identity", "gzip"}}, want: answer{415, "CONTENT_ENCODING_UNSUPPORTED"}},
		{name: "identity", header: header{"Content-Encoding": {"Identity"}}, want: answer{Code: 200}},
		{name: "a gRPC timeout is no header of ours", header: header{"Grpc-Timeout": {"garbage"}}, want: answer{Code: 200}},
		{name: "a short gRPC timeout either", header: header{"Grpc-Timeout": {"1n"}}, want: answer{Code: 200}},
		{name: "binary metadata either", header: header{"Grpc-Metadata-X-Bin": {"%%%"}}, want: answer{Code: 200}},
		{name: "Accept does not matter", header: header{"Accept": {"application/xml"}}, want: answer{Code: 200}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			f := newFixture(t, nil)
			method, target := test.method, test.target
			if method == "" {
				method = http.MethodPost
			}
			if target == "" {
				target = "/v1/webhooks/fake"
			}
			replied := f.do(t, method, target, "{}", test.header)
			got := replied.answer
			if got != test.want {
				t.Errorf("answer = %+v, want %+v", got, test.want)
			}
			if got.Code == http.StatusMethodNotAllowed && replied.header.Get("Allow") != http.MethodPost {
				t.Errorf("Allow = %q", replied.header.Get("Allow"))
			}
			if stored := len(f.events(t)); stored != 0 != (got.Code == http.StatusOK) {
				t.Errorf("%d events are stored", stored)
			}
		})
	}
}

func TestXMLSaysWhatToChoose(t *testing.T) {
	t.Parallel()
	for _, contentType := range []string{"application/xml", "text/xml; charset=utf-8", "application/soap+xml"} {
		f := newFixture(t, nil)
		request := httptest.NewRequest(http.MethodPost, "/v1/webhooks/fake", strings.NewReader("<a/>"))
		request.Header.Set("Content-Type", contentType)
		recorder := httptest.NewRecorder()
		f.handler.ServeHTTP(recorder, request)
		if recorder.Code != http.StatusUnsupportedMediaType || !strings.Contains(recorder.Body.String(), "choose application/json") {
			t.Errorf("%s: %d %s", contentType, recorder.Code, recorder.Body)
		}
	}
}

func TestEveryProviderRefusalIsAnswered(t *testing.T) {
	t.Parallel()
	tests := map[webhookgatewayv1.ErrorReason]answer{
		webhookgatewayv1.ErrorReason_ERROR_REASON_BODY_NOT_JSON_OBJECT:   {400, "BODY_NOT_JSON_OBJECT"},
		webhookgatewayv1.ErrorReason_ERROR_REASON_SIGNATURE_MISSING:      {401, "SIGNATURE_MISSING"},
		webhookgatewayv1.ErrorReason_ERROR_REASON_SIGNATURE_MISMATCH:     {401, "SIGNATURE_MISMATCH"},
		webhookgatewayv1.ErrorReason_ERROR_REASON_SHARED_SECRET_MISMATCH: {401, "SHARED_SECRET_MISMATCH"},
		webhookgatewayv1.ErrorReason_ERROR_REASON_SOURCE_NOT_ALLOWED:     {403, "SOURCE_NOT_ALLOWED"},
		webhookgatewayv1.ErrorReason_ERROR_REASON_CLIENT_ID_MISSING:      {403, "CLIENT_ID_MISSING"},
		webhookgatewayv1.ErrorReason_ERROR_REASON_CLIENT_ID_MISMATCH:     {403, "CLIENT_ID_MISMATCH"},
		webhookgatewayv1.ErrorReason_ERROR_REASON_CLIENT_NOT_ALLOWED:     {403, "CLIENT_NOT_ALLOWED"},
		webhookgatewayv1.ErrorReason_ERROR_REASON_CLIENT_UNKNOWN:         {404, "CLIENT_UNKNOWN"},
	}
	for reason, want := range tests {
		f := newFixture(t, func(f *fixture) {
			f.provider.refusal = &provider.Refusal{Reason: reason, Message: "what to do"}
		})
		if got := f.post(t, "/v1/webhooks/fake", "{}", nil).answer; got != want {
			t.Errorf("answer = %+v, want %+v", got, want)
		}
		f = newFixture(t, func(f *fixture) {
			f.provider.decoded = func([]byte) (provider.Decoded, error) {
				return provider.Decoded{}, &provider.Refusal{Reason: reason, Message: "what to do"}
			}
		})
		if got := f.post(t, "/v1/webhooks/fake", "{}", nil).answer; got != want {
			t.Errorf("answer to a body that is refused = %+v, want %+v", got, want)
		}
	}
}

// An error of ours never makes the provider give up.
func TestUnexpectedErrorIs503(t *testing.T) {
	t.Parallel()
	for name, fault := range map[string]func(*fakeProvider){
		"an error":              func(p *fakeProvider) { p.refusal = errors.New("internal detail") },
		"an error of admission": func(p *fakeProvider) { p.admission = errors.New("internal detail") },
		"a panic":               func(p *fakeProvider) { p.decoded = func([]byte) (provider.Decoded, error) { panic("internal detail") } },
	} {
		f := newFixture(t, func(f *fixture) { fault(f.provider) })
		got := f.post(t, "/v1/webhooks/fake/client-1", "{}", nil)
		if got.answer != (answer{503, "INTERNAL"}) || got.header.Get("Retry-After") == "" {
			t.Errorf("%s: answer = %+v", name, got)
		}
		id := regexp.MustCompile(`a fault in the gateway, (\w+) in its log`).FindStringSubmatch(got.message)
		if id == nil || strings.Contains(got.message, "detail") {
			t.Fatalf("%s: the message is %q", name, got.message)
		}
		for _, want := range []string{"internal detail", "fault=" + id[1], "provider=fake", "client_id=client-1"} {
			if !strings.Contains(f.logged.String(), want) {
				t.Errorf("%s: the log lacks %q:\n%s", name, want, f.logged)
			}
		}
	}
}

func TestTheProviderSeesTheRequest(t *testing.T) {
	t.Parallel()
	f := newFixture(t, func(f *fixture) { f.cfg.TrustedProxies = []string{"192.0.2.0/24"} })
	// httptest's requests come from 192.0.2.1.
	header := http.Header{
		"X-Client-Id": {"header-client"}, "X-Forwarded-For": {"1.1.1.1", "203.0.113.9"}, "Authorization": {"Bearer x"},
	}
	body := " {\"a\":\t12345678901234567890, \"b\" :\"\\u00e4\\ud83d\\ude00ä\",\r\n\"a\":1.0e+2}\n\n"
	got := f.post(t, "/v1/webhooks/fake/a%2Fb%20c%252Fd%3A+e?token=s%20x&client_id=q&body=eHg%3D", body, header).answer
	if got.Code != http.StatusOK {
		t.Fatalf("answer = %+v", got)
	}
	want := provider.Delivery{
		ClientID: "a/b c%2Fd:+e",
		Header:   http.Header{"Content-Type": {"application/json"}},
		Query:    url.Values{"token": {"s x"}, "client_id": {"q"}, "body": {"eHg="}},
		Source:   netip.MustParseAddr("203.0.113.9"),
		Body:     []byte(body),
	}
	maps.Copy(want.Header, header)
	if diff := cmp.Diff(want, f.provider.last(t), cmp.Comparer(func(a, b netip.Addr) bool { return a == b })); diff != "" {
		t.Errorf("delivery (-want +got):\n%s", diff)
	}
	events := f.events(t)
	if len(events) != 1 || string(events[0].GetRawBody()) != body {
		t.Errorf("the stored body is not what was sent: %q", events)
	}
}

func TestTheStoredEvent(t *testing.T) {
	t.Parallel()
	f := newFixture(t, nil)
	if got := f.post(t, "/v1/webhooks/fake/client-1", `{"x":1}`, nil).answer; got.Code != http.StatusOK {
		t.Fatalf("answer = %+v", got)
	}
	want := []*webhookgatewayv1.Event{{
		Provider: webhookgatewayv1.Provider_PROVIDER_VEZGO,
		Type:     webhookgatewayv1.EventType_EVENT_TYPE_VEZGO_SYNC_ACCOUNT,
		TypeName: "SyncAccount",
		ClientId: "client-1",
		Verification: &webhookgatewayv1.Verification{
			Verdict:       webhookgatewayv1.VerificationVerdict_VERIFICATION_VERDICT_VERIFIED,
			SourceAddress: "192.0.2.1",
		},
		RawBody: []byte(`{"x":1}`),
		Headers: []*webhookgatewayv1.Header{{Name: "Content-Type", Value: "application/json"}},
	}}
	ignored := protocmp.IgnoreFields(&webhookgatewayv1.Event{}, "id", "cursor", "receive_time")
	if diff := cmp.Diff(want, f.events(t), protocmp.Transform(), ignored); diff != "" {
		t.Errorf("events (-want +got):\n%s", diff)
	}
}

// A payload that cannot be encoded does not lose the delivery.
func TestUnencodablePayloadIsStoredRaw(t *testing.T) {
	t.Parallel()
	f := newFixture(t, func(f *fixture) {
		f.provider.decoded = func([]byte) (provider.Decoded, error) {
			return provider.Decoded{Event: &webhookgatewayv1.Event{
				TypeName: "\xff",
				Payload:  &webhookgatewayv1.Event_Finicity{Finicity: &finicityv1.ConnectEvent{CustomerId: proto.String("\xff")}},
			}}, nil
		}
	})
	if got := f.post(t, "/v1/webhooks/fake", `{"x":1}`, nil).answer; got.Code != http.StatusOK {
		t.Fatalf("answer = %+v", got)
	}
	events := f.events(t)
	if len(events) != 1 || string(events[0].GetRawBody()) != `{"x":1}` || events[0].GetDecodeError() == "" ||
		events[0].GetType() != webhookgatewayv1.EventType_EVENT_TYPE_UNRECOGNIZED || events[0].Payload != nil {
		t.Errorf("stored: %v", events)
	}
}

// The canary's client is the canary's alone, whatever a provider makes of a delivery. Its own
// deliveries know no rate, and are counted as its own.
func TestCanaryClientIsTheCanarys(t *testing.T) {
	t.Parallel()
	ofCanary := func(f *fixture) {
		f.provider.clientID, f.provider.verdict = provider.CanaryClientID, webhookgatewayv1.VerificationVerdict_VERIFICATION_VERDICT_VERIFIED
		f.cfg.RateLimit = webhook.RateLimit{RequestsPerSecond: 0.001, Burst: 1}
	}
	f := newFixture(t, ofCanary)
	if got := f.post(t, "/v1/webhooks/fake", "{}", nil).answer; got != (answer{403, "CLIENT_NOT_ALLOWED"}) {
		t.Errorf("of somebody else: %+v", got)
	}
	f = newFixture(t, func(f *fixture) {
		ofCanary(f)
		f.provider.canary = true
	})
	for range 3 {
		if got := f.post(t, "/v1/webhooks/fake", "{}", nil).answer; got.Code != 200 {
			t.Errorf("of the canary: %+v", got)
		}
	}
	if n := len(f.events(t)); n != 3 {
		t.Errorf("%d are stored", n)
	}
	f.wantMetric(t, `webhook_gateway_deliveries_total{outcome="stored",provider="canary",verdict="verified"}`, 3)
	f.wantMetric(t, `webhook_gateway_deliveries_total{outcome="stored",provider="fake",verdict="verified"}`, 0)
}

// A client id that can never be stored is refused for good, not retried.
func TestUnstorableClientIDIsRefused(t *testing.T) {
	t.Parallel()
	for _, clientID := range []string{strings.Repeat("x", eventlog.MaxClientIDLen+1), "\xff"} {
		f := newFixture(t, func(f *fixture) { f.provider.clientID = clientID })
		if got := f.post(t, "/v1/webhooks/fake", "{}", nil).answer; got != (answer{403, "CLIENT_NOT_ALLOWED"}) {
			t.Errorf("answer = %+v", got)
		}
	}
}
