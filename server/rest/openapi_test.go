package rest_test

import (
	"encoding/json"
	"mime"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/webhook-gateway/webhook-gateway/gen/openapi"
)

// openAPI is what is looked at in a document.
type openAPI struct {
	Paths map[string]map[string]struct {
		Responses map[string]struct{ Content map[string]any }
	}
}

func TestOpenAPI(t *testing.T) {
	t.Parallel()
	g := newGateway(t)
	for path, want := range map[string][]string{
		"/openapi.json": {
			"/v1/events", "/v1/events:subscribe", "/v1/events:list", "/v1/events/{id}", "/v1/log",
			"/v1/subscriptions", "/v1/subscriptions/{name}", "/v1/subscriptions/{name}:seek",
			"/v1/subscriptions/{subscription}:consume", "/v1/subscriptions/{subscription}:acknowledge", "/v1/subscriptions/{subscription}:reject",
			"/v1/subscriptions/{subscription}:extendDeadline", "/v1/subscriptions/{subscription}:commitCursor",
			"/v1/subscriptions/{subscription}/parkedEvents", "/v1/subscriptions/{subscription}/parkedEvents:replay",
			"/v1/subscriptions/{subscription}/parkedEvents:discard", "/admin/backup",
			"/v1/caller", "/v1/operator/overview", "/v1/operator/history", "/v1/operator/streams", "/v1/operator/refusals",
			"/v1/sessions", "/v1/events/{id}/states",
		},
		"/openapi-webhooks.json": {"/v1/webhooks/{provider}", "/v1/webhooks/{provider}/{client_id}"},
	} {
		var document openAPI
		if err := json.Unmarshal(readAll(t, g.request(t, http.MethodGet, path, "", "")), &document); err != nil {
			t.Fatal(err)
		}
		for _, path := range want {
			if document.Paths[path] == nil {
				t.Errorf("the document lacks %s", path)
			}
		}
		if len(document.Paths) != len(want) {
			t.Errorf("the document has %d paths, want %d", len(document.Paths), len(want))
		}
	}
}

// checkDocumented fails the test if the document of the internal port does not know
// the answer of one of its operations.
func checkDocumented(t *testing.T, resp *http.Response) {
	t.Helper()
	var document openAPI
	if err := json.Unmarshal(openapi.Internal, &document); err != nil {
		t.Fatal(err)
	}
	for path, methods := range document.Paths {
		operation, ok := methods[strings.ToLower(resp.Request.Method)]
		if !ok || !matches(path, resp.Request.URL.EscapedPath()) {
			continue
		}
		documented, ok := operation.Responses[strconv.Itoa(resp.StatusCode)]
		mediaType, _, _ := mime.ParseMediaType(resp.Header.Get("Content-Type"))
		if _, known := documented.Content[mediaType]; !ok || !known {
			t.Errorf("%s %s answers %s with %q, which its OpenAPI document does not know", resp.Request.Method, path, resp.Status, mediaType)
		}
		return
	}
}

var parameter = regexp.MustCompile(`\\\{[^}]*\\\}`)

// matches reports whether a path is one of a template.
func matches(template, path string) bool {
	pattern := parameter.ReplaceAllString(regexp.QuoteMeta(template), `[^/:]+`)
	return regexp.MustCompile("^" + pattern + "$").MatchString(path)
}
