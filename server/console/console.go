// Package console serves the web console: pages that show operators what the gateway
// does. They hold no data themselves, and get it from the REST API as the browser's user.
package console

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"fmt"
	"io/fs"
	"mime"
	"net/http"
	"path"
	"slices"
	"strconv"
	"strings"
)

// Path is where the console is.
const Path = "/console/"

//go:embed assets
var embedded embed.FS

// Config configures the console.
type Config struct {
	// Enabled serves it on the internal HTTP listener.
	Enabled bool `yaml:"enabled"`
	// Actions lets it offer to move subscriptions, and to replay and discard parked
	// events, to those who may. It grants nothing.
	Actions bool `yaml:"actions"`
}

// DefaultConfig returns the configuration that is in force where nothing else is given.
func DefaultConfig() Config { return Config{Enabled: true} }

// pages are the paths below Path at which there is a page. One that ends with / has pages
// one level below it.
var pages = []string{"", "live", "find", "events/", "sessions", "refused", "subscriptions", "subscriptions/", "streams"}

// file is a file as it is sent.
type file struct {
	contentType  string
	cacheControl string
	etag         string
	text, gzip   []byte
}

type handler struct {
	page   file
	assets map[string]file // by their paths
	policy string
}

// New returns the handler of the console.
func New() (http.Handler, error) {
	assets, err := fs.Sub(embedded, "assets")
	if err != nil {
		return nil, fmt.Errorf("find the files of the console: %w", err)
	}
	texts := make(map[string][]byte)
	sum := sha256.New()
	if err := fs.WalkDir(assets, ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		text, err := fs.ReadFile(assets, name)
		if err != nil {
			return err
		}
		texts[name] = text
		fmt.Fprintf(sum, "%s %d\n%s", name, len(text), text)
		return nil
	}); err != nil {
		return nil, fmt.Errorf("read the files of the console: %w", err)
	}
	// Files are at a path that no other version has. So a browser may keep them for ever.
	folder := Path + "assets/" + hex.EncodeToString(sum.Sum(nil)[:8]) + "/"
	page, policy, err := makePage(texts, folder)
	if err != nil {
		return nil, err
	}
	h := &handler{assets: make(map[string]file), policy: policy}
	if h.page, err = newFile(indexName, page, "no-cache"); err != nil {
		return nil, err
	}
	for name, text := range texts {
		if h.assets[folder+name], err = newFile(name, text, "public, max-age=31536000, immutable"); err != nil {
			return nil, err
		}
	}
	return h, nil
}

// contentTypes are by the ends of names. What the machine says of them does not count.
var contentTypes = map[string]string{
	".js": "text/javascript; charset=utf-8", ".mjs": "text/javascript; charset=utf-8", ".css": "text/css; charset=utf-8",
	".html": "text/html; charset=utf-8", ".svg": "image/svg+xml", ".txt": "text/plain; charset=utf-8", ".LICENSE": "text/plain; charset=utf-8",
}

func newFile(name string, text []byte, cacheControl string) (file, error) {
	contentType, ok := contentTypes[path.Ext(name)]
	if !ok {
		return file{}, fmt.Errorf("the file %s of the console has no content type", name)
	}
	var packed bytes.Buffer
	w, err := gzip.NewWriterLevel(&packed, gzip.BestCompression)
	if err != nil {
		return file{}, err
	}
	if _, err := w.Write(text); err != nil {
		return file{}, err
	}
	if err := w.Close(); err != nil {
		return file{}, err
	}
	sum := sha256.Sum256(text)
	return file{contentType: contentType, cacheControl: cacheControl, etag: `"` + hex.EncodeToString(sum[:8]) + `"`, text: text, gzip: packed.Bytes()}, nil
}

// ServeHTTP implements http.Handler.
func (h *handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	header := w.Header()
	header.Set("Content-Security-Policy", h.policy)
	header.Set("X-Content-Type-Options", "nosniff")
	header.Set("Referrer-Policy", "no-referrer")
	header.Set("Cross-Origin-Opener-Policy", "same-origin")
	header.Set("Cross-Origin-Resource-Policy", "same-origin")
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		header.Set("Allow", "GET, HEAD")
		http.Error(w, "the console is only read: use GET", http.StatusMethodNotAllowed)
		return
	}
	if found, ok := h.assets[r.URL.Path]; ok {
		found.send(w, r, http.StatusOK)
		return
	}
	switch {
	case isPage(r.URL.Path):
		h.page.send(w, r, http.StatusOK)
	case acceptsHTML(r) && !strings.HasPrefix(r.URL.Path, Path+"assets/"):
		h.page.send(w, r, http.StatusNotFound) // it says so, and leads to those there are
	default:
		http.Error(w, "the console has no such page: it begins at "+Path, http.StatusNotFound)
	}
}

// acceptsHTML reports whether a browser asks for a page.
func acceptsHTML(r *http.Request) bool {
	for _, accepted := range strings.Split(r.Header.Get("Accept"), ",") {
		if mediaType, _, err := mime.ParseMediaType(accepted); err == nil && mediaType == "text/html" {
			return true
		}
	}
	return false
}

func isPage(path string) bool {
	name, ok := strings.CutPrefix(path, Path)
	if !ok {
		return false
	}
	return slices.ContainsFunc(pages, func(page string) bool {
		if !strings.HasSuffix(page, "/") {
			return name == page
		}
		below, ok := strings.CutPrefix(name, page)
		return ok && below != "" && !strings.Contains(below, "/")
	})
}

func (f file) send(w http.ResponseWriter, r *http.Request, status int) {
	header := w.Header()
	header.Set("Content-Type", f.contentType)
	header.Set("Cache-Control", f.cacheControl)
	header.Set("Vary", "Accept-Encoding")
	if status == http.StatusOK {
		header.Set("ETag", f.etag)
	}
	if status == http.StatusOK && r.Header.Get("If-None-Match") == f.etag {
		w.WriteHeader(http.StatusNotModified)
		return
	}
	text := f.text
	if acceptsGzip(r.Header.Get("Accept-Encoding")) {
		header.Set("Content-Encoding", "gzip")
		text = f.gzip
	}
	header.Set("Content-Length", strconv.Itoa(len(text)))
	w.WriteHeader(status)
	_, _ = w.Write(text) // the browser may be gone
}

func acceptsGzip(accept string) bool {
	for _, coding := range strings.Split(accept, ",") {
		name, params, _ := strings.Cut(coding, ";")
		if strings.TrimSpace(name) == "gzip" {
			quality, _ := strings.CutPrefix(strings.TrimSpace(params), "q=")
			return strings.Trim(quality, "0.") != "" || quality == ""
		}
	}
	return false
}

// Redirect sends a browser that asks for the root to the console, and what else asks for it
// to next.
func Redirect(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if acceptsHTML(r) {
			w.Header().Set("Cache-Control", "no-store")
			http.Redirect(w, r, Path, http.StatusFound)
			return
		}
		next.ServeHTTP(w, r)
	})
}
