package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/webhook-gateway/webhook-gateway/server/ephemeral"
)

// pages are the documents whose commands are run.
var pages = []string{"*.md", "docs/*.md", "docs/adr/*.md", "examples/*/README.md"}

const testingPage = "../../docs/testing.md"

// block is a fenced block with the comment in the line before it, or a comment that holds
// commands. A reader of the page sees no comment.
var block = regexp.MustCompile("(?ms)^<!-- sh\n(?P<hidden>.*?)^-->$|(?:^<!-- (?P<note>[^\n]*) -->\n)?^ *```(?P<language>\\w*)\n(?P<text>.*?)^ *```$")

// typed is how a line begins that a reader would type.
var typed = regexp.MustCompile(`(?m)^(bin/)?(webhook-gateway|curl|make) `)

// TestPages runs the commands that a page shows, as they stand, with the real command. A
// page is one shell, in a folder and a network of its own: there gateways have the usual
// ports. Each block is run to its end, in the order of the page, unless the line before it
// is one of
//
//	<!-- beside -->            it is left running until the page ends
//	<!-- slow: REASON -->      it is run by make clients only
//	<!-- not run: REASON -->   it is not run
//	<!-- file: NAME -->        it is written to a file
//
// and what stands in a comment that begins with `<!-- sh` is run as well, such as
// to wait for what runs beside.
func TestPages(t *testing.T) {
	t.Parallel()
	binary := buildBinary(t)
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	for _, pattern := range pages {
		paths, err := filepath.Glob(filepath.Join(root, pattern))
		if err != nil || len(paths) == 0 {
			t.Fatalf("%s: %v, %v", pattern, paths, err)
		}
		for _, path := range paths {
			name, err := filepath.Rel(root, path)
			if err != nil {
				t.Fatal(err)
			}
			script, err := pageScript(name, string(read(t, path)))
			if err != nil {
				t.Error(err)
			}
			if script == "" {
				continue
			}
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				runPage(t, root, binary, script)
			})
		}
	}
}

// pageScript returns what a shell runs for a page: empty if it shows no commands.
func pageScript(name, text string) (string, error) {
	var script strings.Builder
	for _, at := range block.FindAllStringSubmatchIndex(text, -1) {
		part := func(name string) string {
			return string(block.ExpandString(nil, "${"+name+"}", text, at))
		}
		where := fmt.Sprintf("%s:%d", name, strings.Count(text[:at[0]], "\n")+1)
		commands, note := part("text"), part("note")
		switch language := part("language"); {
		case part("hidden") != "":
			fmt.Fprintf(&script, "echo '== %s'\n%s", where, part("hidden"))
			continue
		case language == "python" && name == "docs/testing.md":
			commands = "python3 - <<'PYTHON'\n" + commands + "PYTHON\n"
		case strings.HasPrefix(note, "file: "):
			fmt.Fprintf(&script, "cat >'%s' <<'CONTENT'\n%sCONTENT\n", strings.TrimPrefix(note, "file: "), commands)
			continue
		case language == "sh":
			commands = refused.ReplaceAllString(commands, "refused $2 $1")
		case language == "" && typed.MatchString(commands) && note == "":
			return "", fmt.Errorf("%s: is this block to be run? Begin it with ```sh", where)
		default:
			continue
		}
		slow := strings.HasPrefix(note, "slow: ")
		switch {
		case strings.HasPrefix(note, "not run: "), slow && os.Getenv("CLIENTS") == "":
		case note == "beside":
			fmt.Fprintf(&script, "echo '== %s, beside'\nbeside() {\n%s}\n(beside || :; kill $$) &\n", where, commands)
		case note == "", slow:
			fmt.Fprintf(&script, "echo '== %s'\n(\n%s)\n", where, commands)
		default:
			return "", fmt.Errorf("%s: the comment before this block is %q: it may be beside, or a reason after `slow: ` or `not run: `", where, note)
		}
	}
	return script.String(), nil
}

func TestPageScript(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct{ page, want, err string }{
		"run":           {"```sh\na\n```\n", "echo '== p:1'\n(\na\n)\n", ""},
		"not run":       {"<!-- not run: a reason -->\n```sh\na\n```\n", "", ""},
		"hidden":        {"<!-- sh\na\n-->\n", "echo '== p:1'\na\n", ""},
		"a file":        {"<!-- file: f -->\n```yaml\na\n```\n", "cat >'f' <<'CONTENT'\na\nCONTENT\n", ""},
		"refused":       {"```sh\na b  # NOT_GRANTED\n```\n", "echo '== p:1'\n(\nrefused NOT_GRANTED a b\n)\n", ""},
		"no commands":   {"```\na\n```\n", "", ""},
		"no language":   {"\n```\nwebhook-gateway tail\n```\n", "", "p:2: is this block to be run? Begin it with ```sh"},
		"no reason":     {"<!-- not run: -->\n```sh\na\n```\n", "", `p:1: the comment before this block is "not run:"`},
		"other comment": {"<!-- besides -->\n```sh\na\n```\n", "", `p:1: the comment before this block is "besides"`},
	} {
		script, err := pageScript("p", test.page)
		if script != test.want || (err == nil) != (test.err == "") || err != nil && !strings.Contains(err.Error(), test.err) {
			t.Errorf("%s: %q, %v", name, script, err)
		}
	}
}

// makeDry is make, but that it only looks whether there are such targets. What they make in
// bin/ is there if they were made before.
const makeDry = `#!/bin/sh
case $1 in bin/*) [ ! -e "$PAGE_ROOT/$1" ] || ln -sf "$PAGE_ROOT/$1" "$1" ;; esac
exec /usr/bin/env PATH="$PAGE_PATH" make --dry-run --directory "$PAGE_ROOT" "$@" >/dev/null
`

// pageBegin has whatever the page left running end with it, and the page with whatever
// should run beside it and does not.
const pageBegin = `set -eu
trap 'code=$?; trap "" TERM; kill 0; wait; exit $code' EXIT
trap 'echo "what should run beside has ended"; exit 1' TERM
refused() {
  reason=$1; shift
  if said=$("$@" 2>&1); then echo "not refused with $reason: $*"; exit 1; fi
  case $said in *$reason*) ;; *) echo "not refused with $reason: $said"; exit 1 ;; esac
}
`

// refused is a line with a command that the gateway answers with a reason.
var refused = regexp.MustCompile(`(?m)^(.*\S) +# ([A-Z]+_[A-Z_]+)$`)

// runPage runs a script in a folder that looks like the repository after `make build`.
func runPage(t *testing.T, root, binary, script string) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	folder := t.TempDir()
	bin := filepath.Join(folder, "bin")
	if err := os.Mkdir(bin, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(binary, filepath.Join(bin, "webhook-gateway")); err != nil {
		t.Fatal(err)
	}
	if err := os.CopyFS(filepath.Join(folder, "proto"), os.DirFS(filepath.Join(root, "proto"))); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(bin, "make"), []byte(makeDry), 0o700); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	c := exec.CommandContext(ctx, self)
	c.Dir = folder
	c.Env = append(os.Environ(), envPage+"="+pageBegin+script, "WEBHOOK_GATEWAY_SHUTDOWN_DELAY=0s", "PAGE_ROOT="+root, "PAGE_PATH="+os.Getenv("PATH"),
		"PATH="+bin+string(os.PathListSeparator)+os.Getenv("PATH"))
	if err := alone(c); err != nil {
		t.Skip(err)
	}
	c.Cancel = func() error { return syscall.Kill(-c.Process.Pid, syscall.SIGTERM) }
	c.WaitDelay = 10 * time.Second // for what it left running
	if out, err := c.CombinedOutput(); err != nil {
		t.Errorf("%v, at the end of:\n%s", err, out[max(0, len(out)-4000):])
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
