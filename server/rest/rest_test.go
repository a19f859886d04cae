package rest_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	webhookgatewayv1 "github.com/webhook-gateway/webhook-gateway/gen/webhookgateway/v1"
	"github.com/webhook-gateway/webhook-gateway/server/eventlog"
	"github.com/webhook-gateway/webhook-gateway/server/eventlog/pebblelog"
	"github.com/webhook-gateway/webhook-gateway/server/eventservice"
	"github.com/webhook-gateway/webhook-gateway/server/rest"
	"github.com/webhook-gateway/webhook-gateway/server/stream"
	"github.com/webhook-gateway/webhook-gateway/server/stream/streamtest"
	"github.com/webhook-gateway/webhook-gateway/server/subscription"
	"github.com/webhook-gateway/webhook-gateway/server/subscriptionservice"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

type gateway struct {
	url     string
	log     eventlog.Log
	streams *stream.Streams
}

// newGateway serves a log of four events, of which the first was trimmed.
func newGateway(t *testing.T) *gateway {
	t.Helper()
	config := pebblelog.DefaultConfig()
	config.Path = t.TempDir()
	log, err := pebblelog.Open(config, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	registry, logger := prometheus.NewRegistry(), slog.New(slog.DiscardHandler)
	manager, err := subscription.New(t.Context(), subscription.Params{Log: log, States: log, Logger: logger, Registerer: registry})
	if err != nil {
		t.Fatal(err)
	}
	streams, err := stream.New(stream.Config{MaxStreams: 2, DefaultHeartbeat: time.Minute}, time.Now, registry)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := manager.Close(context.Background()); err != nil {
			t.Error(err)
		}
		if err := log.Close(); err != nil {
			t.Error(err)
		}
	})
	conn := streamtest.Serve(t, func(server grpc.ServiceRegistrar) {
		webhookgatewayv1.RegisterEventServiceServer(server, eventservice.New(log, streams, logger))
		webhookgatewayv1.RegisterSubscriptionServiceServer(server, subscriptionservice.New(log, manager, streams, logger))
	})
	handler, err := rest.New(t.Context(), conn)
	if err != nil {
		t.Fatal(err)
	}
	web := httptest.NewServer(handler)
	t.Cleanup(func() {
		web.CloseClientConnections()
		web.Close()
	})
	g := &gateway{url: web.URL, log: log, streams: streams}
	for range 4 {
		g.add(t)
	}
	if err := log.Trim(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	return g
}

func (g *gateway) add(t *testing.T) {
	t.Helper()
	entry, err := eventlog.NewEntry(&webhookgatewayv1.Event{
		Provider: webhookgatewayv1.Provider_PROVIDER_VEZGO,
		Type:     webhookgatewayv1.EventType_EVENT_TYPE_VEZGO_SYNC_ACCOUNT,
		ClientId: "client " + strconv.FormatUint(uint64(g.log.Bounds().Head+1), 10),
		Verification: &webhookgatewayv1.Verification{
			Verdict: webhookgatewayv1.VerificationVerdict_VERIFICATION_VERDICT_VERIFIED,
		},
		RawBody: []byte("{}"),
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := g.log.Append(t.Context(), entry); err != nil {
		t.Fatal(err)
	}
}

func (g *gateway) cursor(p eventlog.Position) string { return g.log.History().FormatCursor(p) }

func (g *gateway) request(t *testing.T, method, path, contentType, body string) *response {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, g.url+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if contentType != "" {
		req.Header.Set("Content-Type", contentType)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := resp.Body.Close(); err != nil {
			t.Error(err)
		}
		http.DefaultClient.CloseIdleConnections()
	})
	checkDocumented(t, resp)
	return &response{StatusCode: resp.StatusCode, Header: resp.Header, Body: resp.Body}
}

// response is a response whose body is closed when the test ends.
type response struct {
	StatusCode int
	Header     http.Header
	Body       io.Reader
}

func readAll(t *testing.T, resp *response) []byte {
	t.Helper()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return body
}

// clients are the clients of events, and what other kinds of frames there are.
func clients(t *testing.T, line []byte) []string {
	t.Helper()
	frame := &webhookgatewayv1.SubscribeResponse{}
	if err := protojson.Unmarshal(line, frame); err != nil {
		t.Fatalf("line %s: %v", line, err)
	}
	var got []string
	for _, e := range frame.GetEvents().GetEvents() {
		got = append(got, e.GetClientId())
	}
	if got == nil {
		got = append(got, string(frame.ProtoReflect().WhichOneof(
			frame.ProtoReflect().Descriptor().Oneofs().ByName("frame")).Name()))
	}
	return got
}

func TestStream(t *testing.T) {
	t.Parallel()
	g := newGateway(t) // it takes two streams at a time
	for _, tc := range []struct{ name, method, path, contentType, body string }{
		{"query", http.MethodGet, "/v1/events:subscribe?startPosition=START_POSITION_EARLIEST&stopAtHead=true", "", ""},
		{"query, proto names", http.MethodGet, "/v1/events:subscribe?start_position=START_POSITION_EARLIEST&stop_at_head=true", "", ""},
		{"query, ago", http.MethodGet, "/v1/events:subscribe?startCursor=" + g.cursor(1) + "&stopAtHead=true&heartbeatInterval=5s", "", ""},
		{"body", http.MethodPost, "/v1/events:subscribe", "application/json", `{"startPosition":"START_POSITION_EARLIEST","stopAtHead":true}`},
		{"body with proto names", http.MethodPost, "/v1/events:subscribe", "application/json", `{"start_position":"START_POSITION_EARLIEST","stop_at_head":true}`},
		{
			"body with filters", http.MethodPost, "/v1/events:subscribe", "application/json; charset=utf-8",
			`{"filters":[{"clientIds":["client 2","client 3"]},{"clientIds":["client 4"]}],"startPosition":1,"stopAtHead":true}`,
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			resp := g.request(t, tc.method, tc.path, tc.contentType, tc.body)
			if got := resp.Header.Get("Content-Type"); resp.StatusCode != http.StatusOK || got != "application/x-ndjson" {
				t.Errorf("status %d, content type %s", resp.StatusCode, got)
			}
			var got []string
			for lines := bufio.NewScanner(resp.Body); lines.Scan(); {
				got = append(got, clients(t, lines.Bytes())...)
			}
			want := []string{"subscribed", "client 2", "client 3", "client 4", "caught_up"}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("lines (-want +got):\n%s", diff)
			}
		})
	}
}

// Each frame is on its way at once, and what ends a stream is its last line.
func TestStreamIsLive(t *testing.T) {
	t.Parallel()
	g := newGateway(t)
	resp := g.request(t, http.MethodPost, "/v1/events:subscribe", "", "")
	lines := bufio.NewScanner(resp.Body)
	next := func() []byte {
		if !lines.Scan() {
			t.Fatalf("the stream ended: %v", lines.Err())
		}
		return lines.Bytes()
	}
	expect := func(want string) {
		if got := fmt.Sprint(clients(t, next())); got != want {
			t.Fatalf("line %s, want %s", got, want)
		}
	}
	expect("[subscribed]")
	expect("[caught_up]")
	for n := range 3 {
		g.add(t)
		expect(fmt.Sprintf("[client %d]", n+5))
	}
	if err := g.streams.Drain(t.Context()); err != nil {
		t.Error(err)
	}
	expect("[goodbye]")
	checkError(t, next(), "DRAINING")
	if lines.Scan() {
		t.Errorf("line after the error: %s", lines.Bytes())
	}
}

// A client that goes away ends its stream.
func TestStreamIsCancelled(t *testing.T) {
	t.Parallel()
	g := newGateway(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, g.url+"/v1/events:subscribe", nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	cancel()
	if _, err := io.ReadAll(resp.Body); err == nil {
		t.Error("the stream ended as if it were complete")
	}
	if err := resp.Body.Close(); err != nil {
		t.Error(err)
	}
	// Drain has nothing to wait for, other than for the news to arrive.
	if err := g.streams.Drain(t.Context()); err != nil {
		t.Error(err)
	}
}

func checkError(t *testing.T, body []byte, reason string) map[string]string {
	t.Helper()
	var got struct {
		Error struct {
			Reason, Message string
			Metadata        map[string]string
		}
	}
	if err := json.Unmarshal(body, &got); err != nil || got.Error.Reason != reason || got.Error.Message == "" {
		t.Errorf("error body %s (%v), want the reason %s", body, err, reason)
	}
	return got.Error.Metadata
}

func TestErrors(t *testing.T) {
	t.Parallel()
	g := newGateway(t)
	eventID := g.log.History().FormatEventID(1)
	for _, tc := range []struct {
		name, method, path, contentType, body string
		status                                int
		reason, metadata                      string
	}{
		{"unknown path", http.MethodGet, "/v1/nothing", "", "", 404, "PATH_UNKNOWN", "map[]"},
		{"method", http.MethodDelete, "/v1/log", "", "", 405, "METHOD_NOT_ALLOWED", "map[]"},
		{"content type", http.MethodPost, "/v1/events:subscribe", "text/plain", "{}", 415, "CONTENT_TYPE_UNSUPPORTED", "map[]"},
		{"form", http.MethodPost, "/v1/events:list", "application/x-www-form-urlencoded", "page_size=1", 415, "CONTENT_TYPE_UNSUPPORTED", "map[]"},
		{"no content type", http.MethodPost, "/v1/events:list", "", "{}", 415, "CONTENT_TYPE_UNSUPPORTED", "map[]"},
		{"stream, invalid", http.MethodGet, "/v1/events:subscribe?maxBatchSize=-1", "", "", 400, "INVALID_FIELD", "map[field:max_batch_size]"},
		{"stream, malformed", http.MethodGet, "/v1/events:subscribe?startCursor=c", "", "", 400, "CURSOR_MALFORMED", "map[field:start_cursor]"},
		{"list, invalid", http.MethodGet, "/v1/events?pageSize=-1", "", "", 400, "INVALID_FIELD", "map[field:page_size]"},
		{"list, token", http.MethodGet, "/v1/events?pageToken=x", "", "", 400, "PAGE_TOKEN_INVALID", "map[]"},
		{"event, malformed", http.MethodGet, "/v1/events/x", "", "", 400, "INVALID_FIELD", "map[field:id]"},
		{"event, gone", http.MethodGet, "/v1/events/" + eventID, "", "", 404, "EVENT_NOT_FOUND", "map[]"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			resp := g.request(t, tc.method, tc.path, tc.contentType, tc.body)
			if got := resp.Header.Get("Content-Type"); resp.StatusCode != tc.status || got != "application/json" {
				t.Errorf("status %d, content type %s, want %d", resp.StatusCode, got, tc.status)
			}
			if got := fmt.Sprint(checkError(t, readAll(t, resp), tc.reason)); got != tc.metadata {
				t.Errorf("metadata %s, want %s", got, tc.metadata)
			}
		})
	}
}

// A stream that was refused says so with an HTTP status.
func TestStreamRefusals(t *testing.T) {
	t.Parallel()
	g := newGateway(t)
	resp := g.request(t, http.MethodGet, "/v1/events:subscribe?startCursor="+g.cursor(0), "", "")
	if resp.StatusCode != http.StatusBadRequest {
		t.Errorf("status %d", resp.StatusCode)
	}
	if metadata := checkError(t, readAll(t, resp), "CURSOR_EXPIRED"); metadata["earliest_cursor"] != g.cursor(1) || metadata["earliest_time"] == "" {
		t.Errorf("metadata %v", metadata)
	}
	for range 2 {
		if open := g.request(t, http.MethodGet, "/v1/events:subscribe", "", ""); open.StatusCode != http.StatusOK {
			t.Errorf("status %d", open.StatusCode)
		}
	}
	resp = g.request(t, http.MethodGet, "/v1/events:subscribe", "", "")
	if resp.StatusCode != http.StatusTooManyRequests || resp.Header.Get("Retry-After") != "1" {
		t.Errorf("status %d, Retry-After %q", resp.StatusCode, resp.Header.Get("Retry-After"))
	}
	checkError(t, readAll(t, resp), "TOO_MANY_STREAMS")
}

func TestHistory(t *testing.T) {
	t.Parallel()
	g := newGateway(t)
	decode := func(resp *response, m proto.Message) {
		t.Helper()
		if resp.StatusCode != http.StatusOK || resp.Header.Get("Content-Type") != "application/json" {
			t.Errorf("status %d, content type %s", resp.StatusCode, resp.Header.Get("Content-Type"))
		}
		if err := protojson.Unmarshal(readAll(t, resp), m); err != nil {
			t.Fatal(err)
		}
	}
	list := &webhookgatewayv1.ListEventsResponse{}
	decode(g.request(t, http.MethodGet, "/v1/events?newestFirst=true&pageSize=2", "", ""), list)
	if got := list.GetEvents(); len(got) != 2 || got[0].GetClientId() != "client 4" || list.GetNextPageToken() == "" {
		t.Errorf("list = %v", list)
	}
	filtered := &webhookgatewayv1.ListEventsResponse{}
	decode(g.request(t, http.MethodPost, "/v1/events:list", "application/json", `{"filters":[{"clientIds":["client 3"]}]}`), filtered)
	if got := filtered.GetEvents(); len(got) != 1 || got[0].GetClientId() != "client 3" {
		t.Errorf("list = %v", filtered)
	}
	event := &webhookgatewayv1.GetEventResponse{}
	decode(g.request(t, http.MethodGet, "/v1/events/"+list.GetEvents()[0].GetId()+"?view=EVENT_VIEW_RAW", "", ""), event)
	if string(event.GetEvent().GetRawBody()) != "{}" {
		t.Errorf("event = %v", event)
	}
	info := &webhookgatewayv1.GetLogInfoResponse{}
	decode(g.request(t, http.MethodGet, "/v1/log", "", ""), info)
	if info.GetHeadCursor() != g.cursor(4) || info.GetEventCount() != 3 {
		t.Errorf("log = %v", info)
	}
}
