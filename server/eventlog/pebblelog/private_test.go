//go:build unix

package pebblelog

import (
	"path/filepath"
	"strconv"
	"syscall"
	"testing"

	"github.com/webhook-gateway/webhook-gateway/server/filemode"
)

// Whatever the umask is, nobody else can read the folder of a log, nor a file in it:
// when it is made, used, flushed, opened again, backed up and restored.
func TestFolderIsPrivate(t *testing.T) {
	old := syscall.Umask(0)
	defer syscall.Umask(old)
	path := filepath.Join(t.TempDir(), "log")
	check := func(path, when string) {
		t.Helper()
		problems, err := filemode.CheckFolder(path)
		if err != nil {
			t.Fatal(err)
		}
		for _, problem := range problems {
			t.Errorf("%s: %v", when, problem)
		}
	}
	for range 2 {
		log := mustOpen(t, testConfig(path))
		for i := range 10 {
			mustAppend(t, log, strconv.Itoa(i), "body")
		}
		check(path, "open")
		if err := log.store.db.Flush(); err != nil {
			t.Fatal(err)
		}
		check(path, "with tables")
		restored, _ := mustRestore(t, backUp(t, log))
		check(restored, "restored")
		if err := log.Close(); err != nil {
			t.Fatal(err)
		}
		check(path, "closed")
	}
}
