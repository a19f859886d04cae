package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/webhook-gateway/webhook-gateway/server/ephemeral"
)

const testingPage = "../../docs/testing.md"

// commands are the blocks of a document that are run, with what runs them.
var commands = regexp.MustCompile("(?ms)^```(sh|python)\n(.*?)^```")

// What docs/testing.md shows is run as it stands, with the real command.
func TestTestingPage(t *testing.T) {
	text, err := os.ReadFile(testingPage)
	if err != nil {
		t.Fatal(err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	folder := t.TempDir()
	if err := os.Symlink(self, filepath.Join(folder, "webhook-gateway")); err != nil {
		t.Fatal(err)
	}
	environ := append(os.Environ(), envMain+"=1", "PATH="+folder+string(os.PathListSeparator)+os.Getenv("PATH"))
	ran := make(map[string]bool)
	for _, block := range commands.FindAllStringSubmatch(string(text), -1) {
		ran[block[1]] = true
		t.Run(block[1], func(t *testing.T) {
			t.Parallel()
			run := []string{"sh", "-eu", "-c", block[2]}
			if block[1] == "python" {
				run = []string{"python3", "-c", block[2]}
				if _, err := exec.LookPath(run[0]); err != nil {
					t.Skip("python3 is not installed")
				}
			}
			c := exec.CommandContext(t.Context(), run[0], run[1:]...)
			c.Env, c.Dir = environ, t.TempDir()
			c.WaitDelay = 10 * time.Second // for what it left running
			if out, err := c.CombinedOutput(); err != nil {
				t.Errorf("%v:\n%s", err, out)
			}
		})
	}
	if !ran["sh"] || !ran["python"] {
		t.Errorf("only %v was run", ran)
	}
}

// Each fault has its place in the page, and the page has no other.
func TestTestingPageHasEveryFault(t *testing.T) {
	text, err := os.ReadFile(testingPage)
	if err != nil {
		t.Fatal(err)
	}
	there := make(map[string]bool)
	for _, match := range regexp.MustCompile("`fault ([a-z-]+)").FindAllSubmatch(text, -1) {
		there[string(match[1])] = true
	}
	var names []string
	for _, f := range ephemeral.Faults() {
		names = append(names, f.Name)
		if !there[f.Name] {
			t.Errorf("the page lacks %s", f.Name)
		}
	}
	if len(there) != len(names) {
		t.Errorf("the page has %v, and there are %s", there, strings.Join(names, ", "))
	}
}
