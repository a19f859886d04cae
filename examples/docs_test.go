// Package examples_test checks that the documents quote the examples as they are.
package examples_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// A block of Go in a document.
var block = regexp.MustCompile("(?ms)^```go\n(.*?)^```")

// TestDocuments: every block of Go in a document stands in an example, which is
// compiled and tested.
func TestDocuments(t *testing.T) {
	var code strings.Builder
	for _, path := range glob(t, "*/*.go") {
		code.WriteString(read(t, path))
	}
	quoted := 0
	for _, path := range append(glob(t, "../docs/*.md"), glob(t, "../*.md")...) {
		for _, match := range block.FindAllStringSubmatch(read(t, path), -1) {
			if quoted++; !strings.Contains(code.String(), match[1]) {
				t.Errorf("%s has a block of Go that is in no example:\n%s", path, match[1])
			}
		}
	}
	if quoted == 0 {
		t.Error("no document quotes an example")
	}
}

// link is a link to something in the repository.
var link = regexp.MustCompile(`\]\(([^):#]+)(?:#[^)]*)?\)`)

// TestLinks: every link within the repository leads somewhere.
func TestLinks(t *testing.T) {
	for _, pattern := range []string{"../*.md", "../docs/*.md", "../docs/adr/*.md"} {
		for _, path := range glob(t, pattern) {
			for _, match := range link.FindAllStringSubmatch(read(t, path), -1) {
				if _, err := os.Stat(filepath.Join(filepath.Dir(path), match[1])); err != nil {
					t.Errorf("%s links to %s: %v", path, match[1], err)
				}
			}
		}
	}
}

func glob(t *testing.T, pattern string) []string {
	t.Helper()
	paths, err := filepath.Glob(pattern)
	if err != nil {
		t.Fatal(err)
	}
	return paths
}

func read(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
