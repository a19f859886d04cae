package console

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"path"
	"regexp"
	"slices"
	"strings"
)

const indexName = "index.html"

// worker is a script that the page does not load as a module of its own.
const worker = "live/worker.js"

// standing is where a file stands in the page: what is painted first waits for no other file.
var standing = regexp.MustCompile(`\{\{([a-z/]+\.(?:js|css))\}\}`)

// scripts and styles are those that stand in the page.
var (
	scripts = regexp.MustCompile(`(?s)<script(?: type="importmap")?>(.*?)</script>`)
	styles  = regexp.MustCompile(`(?s)<style>(.*?)</style>`)
)

// makePage makes the page of the files of the console, which are in a folder for a browser. It takes those that stand in
// the page out of them, and returns the policy that lets the page load what it has and nothing else.
func makePage(texts map[string][]byte, folder string) (page []byte, policy string, err error) {
	// Nothing stands between two elements, so that the first drawing finds each where it puts it, and moves none:
	// one that is moved loses the focus, and a menu that is open is closed.
	page = bytes.ReplaceAll(texts[indexName], []byte(">\n<"), []byte("><"))
	delete(texts, indexName)
	for _, found := range standing.FindAllSubmatch(page, -1) {
		text, ok := texts[string(found[1])]
		if !ok {
			return nil, "", fmt.Errorf("the page of the console has %s, which is no file of it", found[0])
		}
		delete(texts, string(found[1]))
		page = bytes.ReplaceAll(page, found[0], text)
	}
	var modules []string
	for name := range texts {
		if ext := path.Ext(name); (ext == ".js" || ext == ".mjs") && name != worker {
			modules = append(modules, fmt.Sprintf("<link rel=\"modulepreload\" href=\"%s%s\">\n", folder, name))
		}
	}
	slices.Sort(modules)
	page = bytes.ReplaceAll(page, []byte("{{preload}}\n"), []byte(strings.Join(modules, "")))
	page = bytes.ReplaceAll(page, []byte("{{assets}}/"), []byte(folder))

	return page, "default-src 'self'; script-src" + sources(page, scripts) + "; style-src" + sources(page, styles) +
		"; object-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'", nil
}

// sources returns the sources of a kind in a policy: the gateway's files, and what stands in the page in such
// elements.
func sources(page []byte, elements *regexp.Regexp) string {
	all := []string{"", "'self'"}
	for _, found := range elements.FindAllSubmatch(page, -1) {
		sum := sha256.Sum256(found[1])
		all = append(all, "'sha256-"+base64.StdEncoding.EncodeToString(sum[:])+"'")
	}
	return strings.Join(all, " ")
}
