package console_test

import (
	"compress/gzip"
	"io"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"

	"github.com/webhook-gateway/webhook-gateway/server/console"
)

func newHandler(t *testing.T) http.Handler {
	t.Helper()
	handler, err := console.New()
	if err != nil {
		t.Fatal(err)
	}
	return handler
}

// answer is what was answered.
type answer struct {
	code   int
	header http.Header
	body   string
}

func ask(t *testing.T, handler http.Handler, method, path string, header ...string) answer {
	t.Helper()
	request := httptest.NewRequestWithContext(t.Context(), method, path, nil)
	for i := 0; i+1 < len(header); i += 2 {
		request.Header.Set(header[i], header[i+1])
	}
	recorder := httptest.NewRecorder()
	handler.ServeHTTP(recorder, request)
	return answer{recorder.Code, recorder.Header(), recorder.Body.String()}
}

// Each page is the same file, which may load what is in this binary and nothing else.
func TestPages(t *testing.T) {
	handler := newHandler(t)
	for _, path := range []string{"", "live", "find", "events/abc", "events/a%2Fb", "sessions", "refused", "subscriptions", "subscriptions/billing", "streams"} {
		got := ask(t, handler, http.MethodGet, "/console/"+path)
		if path == "events/a%2Fb" { // it has a slash of its own
			if got.code != http.StatusNotFound {
				t.Errorf("%s: got %d", path, got.code)
			}
			continue
		}
		if got.code != http.StatusOK {
			t.Errorf("/console/%s: got %d", path, got.code)
		}
		for name, want := range map[string]string{
			"Content-Type": "text/html; charset=utf-8", "Cache-Control": "no-cache", "X-Content-Type-Options": "nosniff",
			"Referrer-Policy": "no-referrer", "Cross-Origin-Opener-Policy": "same-origin", "Cross-Origin-Resource-Policy": "same-origin",
		} {
			if value := got.header.Get(name); value != want {
				t.Errorf("/console/%s: %s is %q, want %q", path, name, value, want)
			}
		}
		policy := got.header.Get("Content-Security-Policy")
		if !regexp.MustCompile(`^default-src 'self'; script-src 'self'( 'sha256-[A-Za-z0-9+/]{43}='){3}; style-src 'self' 'sha256-[A-Za-z0-9+/]{43}='; object-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'$`).MatchString(policy) {
			t.Errorf("/console/%s: the policy is %s", path, policy)
		}
	}
}

// What the page names is there, under a path that a browser may keep for ever.
func TestFiles(t *testing.T) {
	handler := newHandler(t)
	page := ask(t, handler, http.MethodGet, "/console/").body
	if strings.Contains(page, "{{") {
		t.Errorf("the page has a place that nothing was put into:\n%s", page)
	}
	named := regexp.MustCompile(`/console/assets/[^"]+`).FindAllString(page, -1)
	if len(named) < 20 {
		t.Fatalf("the page names %v", named)
	}
	for _, path := range named {
		got := ask(t, handler, http.MethodGet, path)
		if got.code != http.StatusOK {
			t.Errorf("%s: got %d", path, got.code)
		}
		if value := got.header.Get("Cache-Control"); value != "public, max-age=31536000, immutable" {
			t.Errorf("%s: Cache-Control is %q", path, value)
		}
		if again := ask(t, handler, http.MethodGet, path, "If-None-Match", got.header.Get("ETag")); again.code != http.StatusNotModified {
			t.Errorf("%s, asked again: got %d", path, again.code)
		}
		plain := got.body
		packed := ask(t, handler, http.MethodGet, path, "Accept-Encoding", "br;q=1, gzip;q=0.8")
		if packed.header.Get("Content-Encoding") != "gzip" || packed.header.Get("Vary") != "Accept-Encoding" {
			t.Fatalf("%s is not packed: %v", path, packed.header)
		}
		reader, err := gzip.NewReader(strings.NewReader(packed.body))
		if err != nil {
			t.Fatal(err)
		}
		unpacked, err := io.ReadAll(reader)
		if err != nil {
			t.Fatal(err)
		}
		if string(unpacked) != plain {
			t.Errorf("%s is another file when it is packed", path)
		}
		if refused := ask(t, handler, http.MethodGet, path, "Accept-Encoding", "gzip;q=0"); refused.header.Get("Content-Encoding") != "" {
			t.Errorf("%s is packed for who does not take that", path)
		}
	}
	// Every module that one imports is loaded with the page, so that none waits for another.
	for _, path := range named {
		for _, imported := range regexp.MustCompile(`from '(\.[^']+)'`).FindAllStringSubmatch(ask(t, handler, http.MethodGet, path).body, -1) {
			name := imported[1][strings.LastIndex(imported[1], "/")+1:]
			if !strings.Contains(page, "/"+name+`"`) {
				t.Errorf("%s imports %s, which the page does not load beforehand", path, imported[1])
			}
		}
	}
}

func TestNothingElse(t *testing.T) {
	handler := newHandler(t)
	folder := regexp.MustCompile(`/console/assets/[0-9a-f]+/`).FindString(ask(t, handler, http.MethodGet, "/console/").body)
	for _, path := range []string{
		"/console", "/console/nothing", "/console/events/", "/console/events/a/b", "/console/subscriptions/", "/console/live/", "/console/index.html",
		"/console/assets/", "/console/assets/main.js", "/console/assets/0000000000000000/main.js", folder, folder + "index.html", folder + "lib",
		folder + "../console.go", folder + "..%2fconsole.go",
	} {
		got := ask(t, handler, http.MethodGet, path)
		if got.code != http.StatusNotFound {
			t.Errorf("%s: got %d, want 404", path, got.code)
		}
		if got.header.Get("Content-Security-Policy") == "" || got.header.Get("X-Content-Type-Options") != "nosniff" {
			t.Errorf("%s: the answer has no policy", path)
		}
	}
	for _, method := range []string{http.MethodPost, http.MethodPut, http.MethodDelete, http.MethodOptions, http.MethodTrace} {
		if got := ask(t, handler, method, "/console/"); got.code != http.StatusMethodNotAllowed || got.header.Get("Allow") != "GET, HEAD" {
			t.Errorf("%s: got %d, Allow %q", method, got.code, got.header.Get("Allow"))
		}
	}
}

// A browser that asks for the root gets to the console, a program does not.
func TestRedirect(t *testing.T) {
	handler := console.Redirect(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusTeapot) }))
	for accept, want := range map[string]int{
		"text/html,application/xhtml+xml,*/*;q=0.8": http.StatusFound, "": http.StatusTeapot, "*/*": http.StatusTeapot, "application/json": http.StatusTeapot,
	} {
		if got := ask(t, handler, http.MethodGet, "/", "Accept", accept); got.code != want {
			t.Errorf("Accept %q: got %d, want %d", accept, got.code, want)
		} else if location := got.header.Get("Location"); want == http.StatusFound && location != "/console/" {
			t.Errorf("it leads to %q", location)
		}
	}
}
