// Package examples_test checks that the documents quote the examples as they are, and
// that their links lead somewhere.
package examples_test

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode"
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

var (
	// link is a link to something in the repository: a file, or a heading, or both.
	link = regexp.MustCompile(`\]\(([^):#]*)(?:#([^)]*))?\)`)
	// fence is a block of code: no link, and no heading, is one there.
	fence   = regexp.MustCompile("(?ms)^ *```.*?^ *```$")
	heading = regexp.MustCompile(`(?m)^#+ (.*)$`)
)

// TestLinks: every link within the repository leads somewhere.
func TestLinks(t *testing.T) {
	for _, path := range documents(t) {
		for _, match := range link.FindAllStringSubmatch(fence.ReplaceAllString(read(t, path), ""), -1) {
			to := path
			if match[1] != "" {
				to = filepath.Join(filepath.Dir(path), match[1])
			}
			if _, err := os.Stat(to); err != nil {
				t.Errorf("%s links to %s: %v", path, match[1], err)
			} else if match[2] != "" && !slices.Contains(anchors(read(t, to)), match[2]) {
				t.Errorf("%s links to %s#%s: there is no such heading", path, match[1], match[2])
			}
		}
	}
}

// anchors returns what leads to the headings of a document, as forges make it of them.
func anchors(text string) []string {
	var all []string
	seen := make(map[string]int)
	for _, match := range heading.FindAllStringSubmatch(fence.ReplaceAllString(text, ""), -1) {
		anchor := strings.Map(func(r rune) rune {
			switch {
			case r == ' ':
				return '-'
			case r == '-' || r == '_' || unicode.IsLetter(r) || unicode.IsDigit(r):
				return unicode.ToLower(r)
			}
			return -1
		}, match[1])
		if seen[anchor]++; seen[anchor] > 1 {
			anchor = fmt.Sprintf("%s-%d", anchor, seen[anchor]-1)
		}
		all = append(all, anchor)
	}
	return all
}

// TestIndex: the index of a folder links to each of its documents, and a page begins with
// for whom it is.
func TestIndex(t *testing.T) {
	for pattern, index := range map[string]string{
		"../docs/*.md": "../docs/README.md", "../docs/reference/*.md": "../docs/README.md", "../docs/adr/*.md": "../docs/adr/README.md",
	} {
		text := read(t, index)
		for _, path := range glob(t, pattern) {
			name, err := filepath.Rel(filepath.Dir(index), path)
			if err != nil {
				t.Fatal(err)
			}
			if _, text, _ := strings.Cut(read(t, path), "\n\n"); !strings.HasPrefix(text, "For ") && !strings.Contains(path, "/adr/") {
				t.Errorf("%s does not begin with for whom it is", path)
			}
			if path != index && !strings.Contains(text, "]("+name) {
				t.Errorf("%s does not link to %s", index, name)
			}
		}
	}
}

func documents(t *testing.T) []string {
	t.Helper()
	var paths []string
	for _, pattern := range []string{"../*.md", "../docs/*.md", "../docs/*/*.md", "*/README.md"} {
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
