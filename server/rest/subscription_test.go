package rest_test

import (
	"bufio"
	"encoding/json"
	"net/http"
	"testing"

	"google.golang.org/protobuf/encoding/protojson"

	webhookgatewayv1 "github.com/webhook-gateway/webhook-gateway/gen/webhookgateway/v1"
)

// TestSubscription takes a subscription through its life over HTTP.
func TestSubscription(t *testing.T) {
	g := newGateway(t)
	call := func(method, path, body string, want int) []byte {
		t.Helper()
		resp := g.request(t, method, path, "application/json", body)
		text := readAll(t, resp)
		if resp.StatusCode != want {
			t.Fatalf("%s %s: %d %s, want %d", method, path, resp.StatusCode, text, want)
		}
		return text
	}
	call(http.MethodPost, "/v1/subscriptions", `{"subscription": {"name": "team"}, "start": {"position": "START_POSITION_EARLIEST"}}`, http.StatusOK)
	checkError(t, call(http.MethodPost, "/v1/subscriptions", `{"subscription": {"name": "team", "settings": {"maxAttempts": 3}}}`, http.StatusConflict), "SUBSCRIPTION_EXISTS")
	checkError(t, call(http.MethodGet, "/v1/subscriptions/none", "", http.StatusNotFound), "SUBSCRIPTION_NOT_FOUND")
	checkError(t, call(http.MethodPost, "/v1/subscriptions/team:commit", `{"cursor": "`+g.cursor(1)+`"}`, http.StatusBadRequest), "SUBSCRIPTION_NOT_STRICT")

	stream := g.request(t, http.MethodGet, "/v1/events:subscribe?subscription=team", "", "")
	lines := bufio.NewScanner(stream.Body)
	lines.Buffer(nil, 1<<20)
	var events []*webhookgatewayv1.Event
	for len(events) == 0 && lines.Scan() {
		frame := &webhookgatewayv1.SubscribeResponse{}
		if err := protojson.Unmarshal(lines.Bytes(), frame); err != nil {
			t.Fatal(err)
		}
		events = frame.GetEvents().GetEvents()
	}
	if len(events) != 3 {
		t.Fatalf("%d events came, want the 3 that are retained", len(events))
	}
	settle := func(path, extra string, event *webhookgatewayv1.Event) {
		t.Helper()
		var answer struct{ Results []string }
		text := call(http.MethodPost, path, `{"ackTokens": ["`+event.GetAckToken()+`"]`+extra+`}`, http.StatusOK)
		if err := json.Unmarshal(text, &answer); err != nil || len(answer.Results) != 1 || answer.Results[0] != "TOKEN_RESULT_OK" {
			t.Errorf("POST %s: %s", path, text)
		}
	}
	settle("/v1/events:extendDeadline", "", events[0])
	settle("/v1/events:acknowledge", "", events[0])
	settle("/v1/events:reject", `, "action": "REJECT_ACTION_PARK"`, events[1])
	settle("/v1/events:reject", `, "action": "REJECT_ACTION_SKIP"`, events[2])

	var parked struct {
		ParkedEvents []struct{ Event struct{ ID string } }
	}
	if err := json.Unmarshal(call(http.MethodGet, "/v1/subscriptions/team/parked", "", http.StatusOK), &parked); err != nil ||
		len(parked.ParkedEvents) != 1 || parked.ParkedEvents[0].Event.ID != events[1].GetId() {
		t.Errorf("parked: %v, %v", parked, err)
	}
	call(http.MethodPost, "/v1/subscriptions/team/parked:replay", `{"all": true}`, http.StatusOK)
	call(http.MethodPost, "/v1/subscriptions/team/parked:discard", `{"all": true}`, http.StatusOK)
	call(http.MethodPut, "/v1/subscriptions/team", `{"subscription": {"filters": [{"providers": ["PROVIDER_VEZGO"]}]}}`, http.StatusOK)
	call(http.MethodPost, "/v1/subscriptions/team:seek", `{"start": {"position": "START_POSITION_LATEST"}}`, http.StatusOK)
	var list struct{ Subscriptions []struct{ Name string } }
	if err := json.Unmarshal(call(http.MethodGet, "/v1/subscriptions", "", http.StatusOK), &list); err != nil || len(list.Subscriptions) != 1 {
		t.Errorf("list: %v, %v", list, err)
	}
	call(http.MethodDelete, "/v1/subscriptions/team", "", http.StatusOK)
	checkError(t, call(http.MethodGet, "/v1/subscriptions/team", "", http.StatusNotFound), "SUBSCRIPTION_NOT_FOUND")
}
