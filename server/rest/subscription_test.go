package rest_test

import (
	"bufio"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/durationpb"

	webhookgatewayv1 "github.com/webhook-gateway/webhook-gateway/gen/webhookgateway/v1"
	"github.com/webhook-gateway/webhook-gateway/server/provider"
)

// call makes a call that must be answered with a status, and returns the body.
func (g *gateway) call(t *testing.T, method, path, body string, want int) []byte {
	t.Helper()
	resp := g.request(t, method, path, "application/json", body)
	text := readAll(t, resp)
	if resp.StatusCode != want {
		t.Fatalf("%s %s: %d %s, want %d", method, path, resp.StatusCode, text, want)
	}
	return text
}

// consume opens a worker's stream.
func (g *gateway) consume(t *testing.T, name, body string) *frames {
	t.Helper()
	resp := g.request(t, http.MethodPost, "/v1/subscriptions/"+name+":consume", "application/json", body)
	if got := resp.Header.Get("Content-Type"); resp.StatusCode != http.StatusOK || got != "application/x-ndjson" {
		t.Fatalf("consume: status %d, content type %s, %s", resp.StatusCode, got, readAll(t, resp))
	}
	lines := bufio.NewScanner(resp.Body)
	lines.Buffer(nil, 1<<20)
	return &frames{Scanner: lines}
}

// frames are the lines of a stream.
type frames struct{ *bufio.Scanner }

func (f *frames) next(t *testing.T) *webhookgatewayv1.ConsumeResponse {
	t.Helper()
	if !f.Scan() {
		t.Fatalf("the stream ended: %v", f.Err())
	}
	frame := &webhookgatewayv1.ConsumeResponse{}
	if err := protojson.Unmarshal(f.Bytes(), frame); err != nil {
		t.Fatalf("line %s: %v", f.Bytes(), err)
	}
	return frame
}

// deliveries returns the next n deliveries.
func (f *frames) deliveries(t *testing.T, n int) []*webhookgatewayv1.Delivery {
	t.Helper()
	var list []*webhookgatewayv1.Delivery
	for len(list) < n {
		list = append(list, f.next(t).GetDeliveries().GetDeliveries()...)
	}
	return list
}

// TestSubscription takes a subscription through its life over HTTP.
func TestSubscription(t *testing.T) {
	t.Parallel()
	g := newGateway(t)
	call := func(method, path, body string, want int) []byte {
		t.Helper()
		return g.call(t, method, path, body, want)
	}
	const team = "/v1/subscriptions/team"
	call(http.MethodPost, "/v1/subscriptions", `{"name": "team", "start": {"position": "START_POSITION_EARLIEST"}}`, http.StatusOK)
	difference := checkError(t, call(http.MethodPost, "/v1/subscriptions",
		`{"name": "team", "start": {"position": "START_POSITION_EARLIEST"}, "settings": {"maxAttempts": 3}}`, http.StatusConflict), "SUBSCRIPTION_EXISTS")
	if difference["difference"] != "settings.max_attempts" {
		t.Errorf("the difference is %v", difference)
	}
	checkError(t, call(http.MethodGet, "/v1/subscriptions/none", "", http.StatusNotFound), "SUBSCRIPTION_NOT_FOUND")

	stream := g.consume(t, "team", `{"maxBatchSize": 10}`)
	if subscribed := stream.next(t).GetSubscribed(); subscribed.GetStartCursor() != g.cursor(1) {
		t.Errorf("the first frame is %v", subscribed)
	}
	deliveries := stream.deliveries(t, 3)
	if len(deliveries) != 3 || deliveries[0].GetAttempt() != 1 || deliveries[0].GetDeadline() == nil {
		t.Fatalf("came %v, want the 3 that are retained", deliveries)
	}
	settle := func(verb, extra string, delivery *webhookgatewayv1.Delivery, want string) {
		t.Helper()
		var answer struct{ Results []string }
		text := call(http.MethodPost, team+":"+verb, `{"ackTokens": ["`+delivery.GetAckToken()+`"]`+extra+`}`, http.StatusOK)
		if err := json.Unmarshal(text, &answer); err != nil || len(answer.Results) != 1 || answer.Results[0] != want {
			t.Errorf("%s: %s, want %s", verb, text, want)
		}
	}
	settle("extendDeadline", `, "deadline": "60s"`, deliveries[0], "TOKEN_RESULT_OK")
	settle("acknowledge", "", deliveries[0], "TOKEN_RESULT_OK")
	settle("acknowledge", "", deliveries[0], "TOKEN_RESULT_SETTLED")
	settle("reject", `, "action": "REJECT_ACTION_PARK", "reason": "no good"`, deliveries[1], "TOKEN_RESULT_OK")
	settle("reject", `, "action": "REJECT_ACTION_SKIP"`, deliveries[2], "TOKEN_RESULT_OK")
	checkError(t, call(http.MethodPost, team+":commitCursor",
		`{"cursor": "`+g.cursor(4)+`", "ackToken": "`+deliveries[2].GetAckToken()+`"}`, http.StatusBadRequest), "SUBSCRIPTION_NOT_STRICT")

	var parked webhookgatewayv1.ListParkedEventsResponse
	text := call(http.MethodGet, team+"/parkedEvents?view=EVENT_VIEW_METADATA&pageSize=7", "", http.StatusOK)
	if err := protojson.Unmarshal(text, &parked); err != nil || len(parked.GetParkedEvents()) != 1 ||
		parked.GetParkedEvents()[0].GetEvent().GetId() != deliveries[1].GetEvent().GetId() || parked.GetParkedEvents()[0].GetMessage() != "no good" {
		t.Errorf("parked: %s, %v", text, err)
	}
	if text := call(http.MethodPost, team+"/parkedEvents:replay", `{"all": true}`, http.StatusOK); string(text) != `{"replayedEvents":"1"}` {
		t.Errorf("replay: %s", text)
	}
	settle("reject", `, "action": "REJECT_ACTION_PARK"`, stream.deliveries(t, 1)[0], "TOKEN_RESULT_OK")
	if text := call(http.MethodPost, team+"/parkedEvents:discard", `{"eventIds": ["`+deliveries[1].GetEvent().GetId()+`"]}`, http.StatusOK); string(text) != `{"discardedEvents":"1"}` {
		t.Errorf("discard: %s", text)
	}

	call(http.MethodPost, team+":seek", `{"start": {"position": "START_POSITION_EARLIEST"}}`, http.StatusOK)
	if again := stream.deliveries(t, 3); again[0].GetEvent().GetId() != deliveries[0].GetEvent().GetId() {
		t.Errorf("after the seek came %v", again)
	}
	if text := call(http.MethodGet, "/v1/subscriptions?pageSize=1", "", http.StatusOK); !strings.Contains(string(text), `"name":"team"`) {
		t.Errorf("list: %s", text)
	}
	call(http.MethodDelete, team, "", http.StatusOK)
	var last []byte
	for stream.Scan() {
		last = stream.Bytes()
	}
	checkError(t, last, "SUBSCRIPTION_NOT_FOUND")
	checkError(t, call(http.MethodGet, team, "", http.StatusNotFound), "SUBSCRIPTION_NOT_FOUND")
}

// TestUpdateChangesWhatTheBodyNames: the mask of a PATCH is its body, unless the
// query has one.
func TestUpdateChangesWhatTheBodyNames(t *testing.T) {
	t.Parallel()
	g := newGateway(t)
	parse := func(text []byte) *webhookgatewayv1.Subscription {
		t.Helper()
		resp := &webhookgatewayv1.GetSubscriptionResponse{}
		if err := protojson.Unmarshal(text, resp); err != nil {
			t.Fatal(err)
		}
		return resp.GetSubscription()
	}
	const team = "/v1/subscriptions/team"
	want := parse(g.call(t, http.MethodPost, "/v1/subscriptions",
		`{"name": "team", "filters": [{"clientIds": ["acme"]}], "settings": {"maxAttempts": 3, "ackDeadline": "10s"}}`, http.StatusOK))
	for _, tc := range []struct {
		name, query, body string
		change            func(*webhookgatewayv1.Subscription)
	}{
		{"a setting", "", `{"settings": {"ackDeadline": "60s"}}`, func(s *webhookgatewayv1.Subscription) {
			s.Settings.AckDeadline = durationpb.New(60e9)
		}},
		{"proto names", "", `{"settings": {"max_attempts": -1}}`, func(s *webhookgatewayv1.Subscription) {
			s.Settings.MaxAttempts = -1
		}},
		{"the filters", "", `{"filters": [{"clientIds": ["other"]}]}`, func(s *webhookgatewayv1.Subscription) {
			s.Filters[0].ClientIds = []string{"other"}
		}},
		{"a mask", "?updateMask=settings.maxAttempts", `{"settings": {"maxAttempts": 5, "ackDeadline": "7s"}}`, func(s *webhookgatewayv1.Subscription) {
			s.Settings.MaxAttempts = 5
		}},
		{"a mask of what the body lacks", "?updateMask=settings.maxAttempts", `{}`, func(s *webhookgatewayv1.Subscription) {
			s.Settings.MaxAttempts = 10
		}},
		{"a mask in proto names", "?update_mask=filters,settings.max_attempts", `{"settings": {"maxAttempts": 4}}`, func(s *webhookgatewayv1.Subscription) {
			s.Settings.MaxAttempts = 4
			s.Filters = []*webhookgatewayv1.EventFilter{{
				Verdicts: []webhookgatewayv1.VerificationVerdict{1, 3}, ExcludeClientIds: []string{provider.CanaryClientID},
			}}
		}},
		{"a mask without a body", "?updateMask=settings.ackDeadline", ``, func(s *webhookgatewayv1.Subscription) {
			s.Settings.AckDeadline = durationpb.New(30e9)
		}},
	} {
		tc.change(want)
		got := parse(g.call(t, http.MethodPatch, team+tc.query, tc.body, http.StatusOK))
		if diff := cmp.Diff(want, got, protocmp.Transform(), protocmp.IgnoreFields(&webhookgatewayv1.Subscription{}, "status")); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tc.name, diff)
		}
	}
	checkError(t, g.call(t, http.MethodPatch, team, `{"settings": {"ackDeadline": "60h"}}`, http.StatusBadRequest), "INVALID_FIELD")
	checkError(t, g.call(t, http.MethodPatch, team+"?updateMask=nonsense", `{}`, http.StatusBadRequest), "INVALID_FIELD")
	checkError(t, g.call(t, http.MethodPatch, "/v1/subscriptions/none", `{"settings": {"ackDeadline": "60s"}}`, http.StatusNotFound), "SUBSCRIPTION_NOT_FOUND")
	resp := g.request(t, http.MethodPatch, team, "application/x-www-form-urlencoded", "settings.ackDeadline=60s")
	if checkError(t, readAll(t, resp), "CONTENT_TYPE_UNSUPPORTED"); resp.StatusCode != http.StatusUnsupportedMediaType {
		t.Errorf("a form was answered %d", resp.StatusCode)
	}
}

// TestSubscriptionWrittenBack: what was read can be sent back, with a change.
func TestSubscriptionWrittenBack(t *testing.T) {
	t.Parallel()
	g := newGateway(t)
	created := g.call(t, http.MethodPost, "/v1/subscriptions", `{"name": "team", "start": {"position": "START_POSITION_EARLIEST"}}`, http.StatusOK)
	var read struct{ Subscription map[string]any }
	if err := json.Unmarshal(created, &read); err != nil {
		t.Fatal(err)
	}
	read.Subscription["settings"].(map[string]any)["maxAttempts"] = 7
	body, err := json.Marshal(read.Subscription)
	if err != nil {
		t.Fatal(err)
	}
	if got := g.call(t, http.MethodPatch, "/v1/subscriptions/team", string(body), http.StatusOK); !strings.Contains(string(got), `"maxAttempts":7`) {
		t.Errorf("the answer is %s", got)
	}
}

// TestConsumeIsLive: each frame is on its way at once, and what ends a stream is
// its last line.
func TestConsumeIsLive(t *testing.T) {
	t.Parallel()
	g := newGateway(t)
	resp := g.request(t, http.MethodPost, "/v1/subscriptions/none:consume", "", "")
	if checkError(t, readAll(t, resp), "SUBSCRIPTION_NOT_FOUND"); resp.StatusCode != http.StatusNotFound {
		t.Errorf("status %d", resp.StatusCode)
	}
	g.call(t, http.MethodPost, "/v1/subscriptions", `{"name": "team"}`, http.StatusOK)
	stream := g.consume(t, "team", "")
	if stream.next(t).GetSubscribed() == nil || stream.next(t).GetCaughtUp() == nil {
		t.Error("the first frames are not subscribed and caught_up")
	}
	for range 3 {
		g.add(t)
		delivery := stream.deliveries(t, 1)[0]
		g.call(t, http.MethodPost, "/v1/subscriptions/team:acknowledge", `{"ackTokens": ["`+delivery.GetAckToken()+`"]}`, http.StatusOK)
	}
	if err := g.streams.Drain(t.Context()); err != nil {
		t.Error(err)
	}
	if stream.next(t).GetGoodbye() == nil {
		t.Errorf("line %s, want a goodbye", stream.Bytes())
	}
	if !stream.Scan() {
		t.Fatal("the stream ended without an error")
	}
	checkError(t, stream.Bytes(), "DRAINING")
	if stream.Scan() || stream.Err() != nil && !errors.Is(stream.Err(), io.EOF) {
		t.Errorf("after the error came %s, %v", stream.Bytes(), stream.Err())
	}
}
