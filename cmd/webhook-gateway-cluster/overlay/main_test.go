package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestAnotherRelease: a release of Go in which something is done elsewhere is refused, with what to look for.
func TestAnotherRelease(t *testing.T) {
	library := t.TempDir()
	for name, all := range edits {
		text := ""
		for _, e := range all {
			text += e.line + "\n"
		}
		if name == "time/time.go" {
			text = "import (\n"
		}
		path := filepath.Join(library, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	err := write(t.TempDir(), library)
	if err == nil || !strings.Contains(err.Error(), `time/time.go of this release of Go has no single line "\tsec, nsec, mono := runtimeNow()": look where`) {
		t.Errorf("write() = %v", err)
	}
}
