// Command overlay writes what `go build -overlay` needs to build programs whose clock and disk the
// lab can spoil while they run. Only the standard library of that build differs: neither the gateway
// nor the NATS server knows.
//
//	overlay FOLDER    # writes FOLDER/overlay.json
package main

import (
	"bytes"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "overlay:", err)
		defer os.Exit(1) //nolint:forbidigo // main is where the process ends
	}
}

var errUsage = errors.New("say which folder to write to")

func run(args []string) error {
	if len(args) != 1 {
		return errUsage
	}
	root, err := exec.Command("go", "env", "GOROOT").Output() //nolint:noctx // it ends by itself
	if err != nil {
		return fmt.Errorf("go env GOROOT: %w", err)
	}
	return write(args[0], filepath.Join(strings.TrimSpace(string(root)), "src"))
}

// machine is added to the package syscall. It is no Go file here, as nothing else could build it.
//
//go:embed machine.go.txt
var machine []byte

// An edit is a line of the standard library, and what is added directly after it.
type edit struct{ line, added string }

// edits are by file. All that the programs do to their files goes through these places: the
// methods of os.File, and the calls of syscall and golang.org/x/sys/unix.
var edits = map[string][]edit{
	"time/time.go": {
		{"import (", `	"syscall"`},
		{"	sec, nsec, mono := runtimeNow()", "	sec += syscall.LabClock() // mono goes on: it is what timers go by"},
	},
	"syscall/syscall_linux.go": {
		{"func Syscall(trap, a1, a2, a3 uintptr) (r1, r2 uintptr, err Errno) {", "	if trap == SYS_FSYNC || trap == SYS_FDATASYNC {\n\t\tLabDisk()\n\t}"},
	},
	"internal/poll/fd_unix.go": {
		{"func (fd *FD) Write(p []byte) (int, error) {", "	if fd.isFile && fd.Sysfd > 2 {\n\t\tsyscall.LabDisk()\n\t}"},
		{"func (fd *FD) Pwrite(p []byte, off int64) (int, error) {", "	syscall.LabDisk()"},
	},
}

// write writes the overlay of a standard library to a folder.
func write(folder, library string) error {
	folder, err := filepath.Abs(folder)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(folder, 0o755); err != nil { //nolint:gosec // as all that is built
		return err
	}
	replace := make(map[string]string)
	put := func(name string, text []byte) error {
		to := filepath.Join(folder, strings.ReplaceAll(name, "/", "_"))
		replace[filepath.Join(library, filepath.FromSlash(name))] = to
		return os.WriteFile(to, text, 0o644) //nolint:gosec // as all that is built
	}
	errs := []error{put("syscall/lab_linux.go", machine)}
	for name, all := range edits {
		text, err := os.ReadFile(filepath.Join(library, filepath.FromSlash(name))) //nolint:gosec // one of those above
		for _, e := range all {
			before := []byte(e.line + "\n")
			if err == nil && bytes.Count(text, before) != 1 {
				err = fmt.Errorf("%s of this release of Go has no single line %q: look where that is done now", name, e.line)
			}
			text = bytes.Replace(text, before, []byte(e.line+"\n"+e.added+"\n"), 1)
		}
		errs = append(errs, err, put(name, text))
	}
	text, err := json.MarshalIndent(map[string]any{"Replace": replace}, "", "\t")
	errs = append(errs, err, os.WriteFile(filepath.Join(folder, "overlay.json"), text, 0o644)) //nolint:gosec // as all that is built
	return errors.Join(errs...)
}
