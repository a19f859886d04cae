package rest_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"regexp"
	"strings"
	"testing"
)

// libraryText is what the errors of Go's packages look like.
var libraryText = regexp.MustCompile(`proto:|\(line |strconv|parsing|json:|rpc error|grpc|invalid character|int32|unmarshal`)

// refused makes a request that must be refused, and returns the message and the
// field.
func (g *gateway) refused(t *testing.T, method, path, body string) (message, field string) {
	t.Helper()
	contentType := ""
	if body != "" {
		contentType = "application/json"
	}
	resp := g.request(t, method, path, contentType, body)
	text := readAll(t, resp)
	if resp.StatusCode != http.StatusBadRequest {
		t.Fatalf("%s %s %.200s: %d %.500s", method, path, body, resp.StatusCode, text)
	}
	field = checkError(t, text, "INVALID_FIELD")["field"]
	var answer struct{ Error struct{ Message string } }
	if err := json.Unmarshal(text, &answer); err != nil {
		t.Fatal(err)
	}
	if found := libraryText.FindString(answer.Error.Message); found != "" {
		t.Errorf("%s %s %.200s: the message is of a library (%q): %s", method, path, body, found, answer.Error.Message)
	}
	return answer.Error.Message, field
}

func TestQueryRefused(t *testing.T) {
	t.Parallel()
	g := newGateway(t)
	for _, tc := range []struct{ method, path, field, message string }{
		{http.MethodGet, "/v1/events?customerId=7", "customerId", "there is no such key of the query: known here are startTime, endTime, newestFirst, view, pageSize, pageToken; everything else, such as filters, is given in the body of POST /v1/events:list"},
		{http.MethodGet, "/v1/events?filters=x", "filters", "given in the body of POST /v1/events:list"},
		{http.MethodGet, "/v1/events?filters.client_ids=x", `"filters.client_ids"`, "given in the body of POST /v1/events:list"},
		{http.MethodGet, "/v1/events?view[x]=1", `"view[x]"`, "there is no such key"},
		{http.MethodGet, "/v1/events?pageSize=x", "page_size", "must be a whole number"},
		{http.MethodGet, "/v1/events?pageSize=1&pageSize=2", "page_size", "given once"},
		{http.MethodGet, "/v1/events?pageSize=1&page_size=2", "page_size", "is given twice"},
		{http.MethodGet, "/v1/events?newestFirst=maybe", "newest_first", "must be true or false"},
		{http.MethodGet, "/v1/events?view=SOME", "view", "must be one of EVENT_VIEW_METADATA, EVENT_VIEW_FULL, EVENT_VIEW_RAW"},
		{http.MethodGet, "/v1/events?startTime=yesterday", "start_time", "must be a time such as 2026-"},
		{http.MethodGet, "/v1/events?pageToken=%zz", "", "write key=value"},
		{http.MethodGet, "/v1/events?a;b", "", "write key=value"},
		{http.MethodGet, "/v1/events?" + strings.Repeat("x", 5000) + "=1", `"` + strings.Repeat("x", 64) + `…"`, "there is no such key"},
		{http.MethodGet, "/v1/events:subscribe?heartbeatInterval=5", "heartbeat_interval", "must be a duration in seconds such as 30s"},
		{http.MethodGet, "/v1/events:subscribe?startAgo=5s&startCursor=x", "start_cursor", "cannot be given beside startAgo"},
		{http.MethodGet, "/v1/events:subscribe?startCursor=x&position=1", "position", "known here are startCursor"},
		{http.MethodGet, "/v1/events/x?id=y", "id", "is a part of the path"},
		{http.MethodGet, "/v1/events/x?full=1", "full", "known here are view"},
		{http.MethodGet, "/v1/log?x=1", "x", "this call takes none"},
		{http.MethodGet, "/v1/subscriptions?pageToken=%ff", "page_token", "is not UTF-8"},
		{http.MethodGet, "/v1/events/%ff", "id", "is not UTF-8"},
		{http.MethodDelete, "/v1/subscriptions/a%c3", "name", "is not UTF-8"},
		{http.MethodPost, "/v1/events:list?pageSize=5", "page_size", "everything is given in the body"},
		{http.MethodPost, "/v1/subscriptions?name=x", "name", "the subscription is given in the body"},
		{http.MethodPatch, "/v1/subscriptions/x?mask=filters", "mask", "known here are updateMask; the subscription is given in the body"},
		{http.MethodPatch, "/v1/subscriptions/x?subscription.name=y", `"subscription.name"`, "there is no such key"},
		{http.MethodPost, "/v1/subscriptions/x:consume?maxBatchSize=1", "max_batch_size", "everything is given in the body"},
		{http.MethodDelete, "/v1/subscriptions/x?force=true", "force", "this call takes none"},
	} {
		message, field := g.refused(t, tc.method, tc.path, "")
		if field != tc.field || !strings.Contains(message, tc.message) {
			t.Errorf("%s %.80s: field %q, %s\nwant %q, %s", tc.method, tc.path, field, message, tc.field, tc.message)
		}
	}
}

func TestBodyRefused(t *testing.T) {
	t.Parallel()
	g := newGateway(t)
	const list, subscriptions = "/v1/events:list", "/v1/subscriptions"
	for _, tc := range []struct{ path, body, field, message string }{
		{list, `{`, "", "not valid JSON: it ends too early"},
		{list, `{"pageSize": 1,}`, "", "not valid JSON: look at byte 16"},
		{list, `{} {}`, "", "something follows it"},
		{list, `[]`, "", "must be a JSON object"},
		{list, `null`, "", "must be a JSON object"},
		{list, `{"pageSize": 1, "pageSize": 2}`, "", "a key is there twice"},
		{list, "{\"pageToken\": \"\xff\"}", "", "a text is not UTF-8"},
		{list, `{"pageSize": 1, "page_size": 2}`, "page_size", "is given twice"},
		{list, `{"pagesize": 1}`, "pagesize", "there is no such field: known here are"},
		{list, `{"pageSize": "many"}`, "page_size", "must be a whole number"},
		{list, `{"pageSize": 1.5}`, "page_size", "must be a whole number"},
		{list, `{"pageSize": 3000000000}`, "page_size", "must be a whole number"},
		{list, `{"newestFirst": "yes"}`, "newest_first", "must be true or false"},
		{list, `{"startTime": "2026"}`, "start_time", "must be a time such as"},
		{list, `{"filters": {}}`, "filters", "must be a list, of each element a JSON object"},
		{list, `{"filters": [{}, 7]}`, "filters[1]", "must be a JSON object"},
		{list, `{"filters": [{}, {"clientIds": "x"}]}`, "filters[1].client_ids", "must be a list, of each element a text"},
		{list, `{"filters": [{"clientIds": ["x", 7]}]}`, "filters[0].client_ids[1]", "must be a text"},
		{list, `{"filters": [{"verdicts": ["GOOD"]}]}`, "filters[0].verdicts[0]", "must be one of VERIFICATION_VERDICT_VERIFIED"},
		{list, `{"filters": [{"customerId": "7"}]}`, "filters[0].customerId", "known here are providers"},
		{"/v1/events:subscribe", `{"startAgo": "5s", "startCursor": "x"}`, "start_cursor", "cannot be given beside startAgo"},
		{"/v1/events:subscribe", `{"heartbeatInterval": 5}`, "heartbeat_interval", "must be a duration in seconds"},
		{subscriptions, `{"name": 7}`, "name", "must be a text"},
		{subscriptions, `{"subscription": {"name": "x"}}`, "subscription", "there is no such field"},
		{subscriptions, `{"name": "x", "settings": {"ackDeadline": "1m"}}`, "settings.ack_deadline", "must be a duration in seconds"},
		{subscriptions + "/a:seek", `{"name": "b"}`, "name", `the body says "b" and the path "a"`},
		{subscriptions + "/a:consume", `{"subscription": "b"}`, "subscription", `the body says "b" and the path "a"`},
		{subscriptions + "/a:acknowledge", `{"subscription": "b", "ackTokens": ["x"]}`, "subscription", "leave it out of the body"},
		{subscriptions + "/a/parkedEvents:replay", `{"subscription": "b", "all": true}`, "subscription", "leave it out of the body"},
	} {
		message, field := g.refused(t, http.MethodPost, tc.path, tc.body)
		if field != tc.field || !strings.Contains(message, tc.message) {
			t.Errorf("%s %s: field %q, %s\nwant %q, %s", tc.path, tc.body, field, message, tc.field, tc.message)
		}
	}
	message, field := g.refused(t, http.MethodPatch, subscriptions+"/a", `{"name": "b", "settings": {"maxAttempts": 3}}`)
	if field != "subscription.name" || !strings.Contains(message, `the body says "b" and the path "a"`) {
		t.Errorf("update: field %q, %s", field, message)
	}
	g.call(t, http.MethodPost, subscriptions, `{"name": "a"}`, http.StatusOK)
	g.call(t, http.MethodPatch, subscriptions+"/a", `{"name": "a", "settings": {"maxAttempts": 3}}`, http.StatusOK)
	g.call(t, http.MethodPost, subscriptions+"/a:acknowledge", `{"subscription": "a", "ackTokens": ["x"]}`, http.StatusOK)
}

// TestBodyTooLarge: of what is too large for gRPC, or for the mirror, the caller is
// told the same.
func TestBodyTooLarge(t *testing.T) {
	t.Parallel()
	g := newGateway(t)
	for _, size := range []int{5 << 20, 17 << 20} {
		body := fmt.Sprintf(`{"pageToken": "%s"}`, strings.Repeat("x", size))
		checkError(t, g.call(t, http.MethodPost, "/v1/events:list", body, http.StatusRequestEntityTooLarge), "BODY_TOO_LARGE")
	}
}
