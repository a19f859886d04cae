package server_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var (
	testFunction = regexp.MustCompile(`(?m)^func (Test\w+)\(`)
	namedTest    = regexp.MustCompile("`(Test\\w+)`")
)

// Each test that docs/threat-model.md names is there.
func TestThreatModel(t *testing.T) {
	there := make(map[string]bool)
	for _, root := range []string{".", "../cmd"} {
		err := filepath.WalkDir(root, func(path string, _ fs.DirEntry, err error) error {
			if err != nil || !strings.HasSuffix(path, "_test.go") {
				return err
			}
			text, err := os.ReadFile(path)
			for _, match := range testFunction.FindAllSubmatch(text, -1) {
				there[string(match[1])] = true
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	named := namedTest.FindAllStringSubmatch(readDocument(t, "../docs/threat-model.md"), -1)
	if len(named) == 0 {
		t.Error("no test is named")
	}
	for _, match := range named {
		if !there[match[1]] {
			t.Errorf("the test %s, which proves a control, does not exist", match[1])
		}
	}
}
