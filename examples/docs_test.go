// Package examples_test checks that the documents quote the examples as they are.
package examples_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// languages are those whose blocks in a document are quoted from these files.
var languages = map[string]string{"go": "*/*.go", "python": "python/*.py", "ts": "typescript/src/*.ts"}

// TestDocuments: every block of these languages in a document stands in an example, which
// is tested.
func TestDocuments(t *testing.T) {
	for language, pattern := range languages {
		block := regexp.MustCompile("(?ms)^```" + language + "\n(.*?)^```")
		var code strings.Builder
		for _, path := range glob(t, pattern) {
			code.WriteString(read(t, path))
		}
		quoted := 0
		for _, path := range documents(t) {
			if language == "python" && filepath.Base(path) == "testing.md" {
				continue // the command's own tests run it
			}
			for _, match := range block.FindAllStringSubmatch(read(t, path), -1) {
				if quoted++; !strings.Contains(code.String(), match[1]) {
					t.Errorf("%s has a block of %s that is in no example:\n%s", path, language, match[1])
				}
			}
		}
		if quoted == 0 {
			t.Errorf("no document quotes an example in %s", language)
		}
	}
}

// link is a link to something in the repository.
var link = regexp.MustCompile(`\]\(([^):#]+)(?:#[^)]*)?\)`)

// TestLinks: every link within the repository leads somewhere.
func TestLinks(t *testing.T) {
	for _, path := range documents(t) {
		for _, match := range link.FindAllStringSubmatch(read(t, path), -1) {
			if _, err := os.Stat(filepath.Join(filepath.Dir(path), match[1])); err != nil {
				t.Errorf("%s links to %s: %v", path, match[1], err)
			}
		}
	}
}

func documents(t *testing.T) []string {
	t.Helper()
	var paths []string
	for _, pattern := range []string{"../*.md", "../docs/*.md", "../docs/adr/*.md", "*/README.md"} {
		paths = append(paths, glob(t, pattern)...)
	}
	return paths
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
