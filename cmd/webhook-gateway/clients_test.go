package main

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// TestClients runs the examples in other languages on the real binary, generated as their
// READMEs say: first their own tests, then a subscriber and a worker of each while the
// gateway is killed twice, and each of them once.
func TestClients(t *testing.T) {
	if os.Getenv("CLIENTS") == "" {
		t.Skip("needs Python and Node.js: make clients")
	}
	binary := buildBinary(t)
	examples := []*example{
		{
			language: "python", generate: "protoc ",
			checks: [][]string{
				{python, "-c", "import pkg_resources; pkg_resources.require(open('requirements.txt'))"},
				{python, "-m", "mypy", "gateway.py", "subscriber.py", "worker.py", "test_clients.py"},
				{python, "-W", "error", "-m", "unittest"},
			},
			program: func(name string) []string { return []string{python, name + ".py"} },
			effects: func(t *testing.T, file string) map[string]int {
				t.Helper()
				out, err := exec.CommandContext(t.Context(), python, "-c", "import json, sqlite3, sys; "+
					"print(json.dumps(dict(sqlite3.connect(sys.argv[1]).execute('SELECT name, count FROM counts'))))", file).Output()
				if err != nil {
					return nil // there is no such table yet
				}
				var effects map[string]int
				unmarshal(t, out, &effects)
				return effects
			},
		},
		{
			language: "typescript", generate: "npm ci\n",
			checks:  [][]string{{"node", "--test", "dist/"}},
			program: func(name string) []string { return []string{"node", "dist/" + name + ".js"} },
			effects: func(t *testing.T, file string) map[string]int {
				t.Helper()
				if info, err := os.Stat(file); err != nil || info.IsDir() {
					return entries(t, file)
				}
				var state struct{ Counts map[string]int }
				unmarshal(t, read(t, file), &state)
				return state.Counts
			},
		},
	}
	root := t.TempDir()
	if t.Run("generated", func(t *testing.T) {
		for _, e := range examples {
			e.folder = filepath.Join(root, e.language, "examples", e.language)
			t.Run(e.language, func(t *testing.T) {
				t.Parallel()
				e.test(t, binary)
			})
		}
	}) {
		t.Run("killed", func(t *testing.T) { testKilledClients(t, binary, examples) })
	}
}

// python has Debian's packages.
const python = "/usr/bin/python3"

// example is the folder of a language.
type example struct {
	language string
	// generate is how the block of its README begins that generates the client.
	generate string
	checks   [][]string
	program  func(name string) []string
	// effects are what a client has stored, by name.
	effects func(t *testing.T, file string) map[string]int

	folder string // a copy
}

// entries counts the files of the ledger in TypeScript by account.
func entries(t *testing.T, folder string) map[string]int {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(folder, "[^.]*"))
	if err != nil {
		t.Fatal(err)
	}
	effects := make(map[string]int)
	for _, path := range paths {
		var entry struct{ Account string }
		unmarshal(t, read(t, path), &entry)
		effects[entry.Account]++
	}
	return effects
}

func unmarshal(t *testing.T, text []byte, into any) {
	t.Helper()
	if err := json.Unmarshal(text, into); err != nil {
		t.Fatalf("%v: %s", err, text)
	}
}

func read(t *testing.T, path string) []byte {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// test does in a fresh copy what the README says, and runs the example's own tests.
func (e *example) test(t *testing.T, binary string) {
	const root = "../.."
	tracked, err := exec.CommandContext(t.Context(), "git", "-C", root, "ls-files", "-z", "proto", "examples/"+e.language).Output()
	if err != nil {
		t.Fatal(err)
	}
	for path := range strings.SplitSeq(strings.TrimSuffix(string(tracked), "\x00"), "\x00") {
		to := filepath.Join(e.folder, "../..", path)
		if err := os.MkdirAll(filepath.Dir(to), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(to, read(t, filepath.Join(root, path)), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	readme := read(t, filepath.Join(e.folder, "README.md"))
	block := regexp.MustCompile("(?ms)^```sh\n(" + regexp.QuoteMeta(e.generate) + ".*?)^```").FindSubmatch(readme)
	if block == nil {
		t.Fatalf("the README has no block that begins with %q", e.generate)
	}
	p := startProcess(t, binary, newKilledGateway(t).environ())
	for _, command := range append([][]string{{"bash", "-e", "-c", string(block[1])}}, e.checks...) {
		began := time.Now()
		c := exec.CommandContext(t.Context(), command[0], command[1:]...)
		c.Dir = e.folder
		c.Env = append(os.Environ(), "GATEWAY_GRPC="+p.grpc, "GATEWAY_WEBHOOKS="+p.webhooks)
		if out, err := c.CombinedOutput(); err != nil {
			t.Fatalf("%v: %v\n%s", command, err, out)
		}
		t.Logf("%.1f s: %q", time.Since(began).Seconds(), command)
	}
	p.terminate(t)
}
