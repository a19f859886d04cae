package filemode

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// file makes a file with a mode, whatever the umask is.
func file(t *testing.T, path string, mode os.FileMode) string {
	t.Helper()
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, mode); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestCheckFile(t *testing.T) {
	for _, test := range []struct {
		mode     os.FileMode
		want     string
		write    bool
		writable bool // CheckWritable has something to say
	}{
		{0o600, "", false, false},
		{0o400, "", false, false},
		{0o640, "", false, false},
		{0o604, "has the mode 0604: everybody on this machine can read it", false, false},
		{0o644, "has the mode 0644: everybody on this machine can read it", false, false},
		{0o620, "has the mode 0620: its group can change it", true, true},
		{0o664, "everybody on this machine can read it, its group can change it", true, true},
		{0o666, "has the mode 0666: everybody on this machine can change it", true, true},
	} {
		path := file(t, filepath.Join(t.TempDir(), "secret"), test.mode)
		err := CheckFile(path)
		if test.want == "" {
			if err != nil {
				t.Errorf("%o: %v", test.mode, err)
			}
			continue
		}
		var p *Problem
		if !errors.As(err, &p) || !strings.Contains(p.Text, test.want) || p.Write != test.write || p.Do != "chmod g-w,o= "+path {
			t.Errorf("%o: %v", test.mode, err)
		}
		if err := CheckWritable(path); (err != nil) != test.writable {
			t.Errorf("%o, who can change it: %v", test.mode, err)
		}
	}
	if err := CheckFile(filepath.Join(t.TempDir(), "none")); !os.IsNotExist(err) {
		t.Errorf("a file that is not there: %v", err)
	}
}

func TestCheckFolder(t *testing.T) {
	folder := t.TempDir()
	check := func() string {
		t.Helper()
		problems, err := CheckFolder(folder)
		if err != nil {
			t.Fatal(err)
		}
		var lines []string
		for _, p := range problems {
			lines = append(lines, p.Error())
		}
		return strings.Join(lines, "\n")
	}
	chmod := func(mode os.FileMode) {
		t.Helper()
		if err := os.Chmod(folder, mode); err != nil {
			t.Fatal(err)
		}
	}
	chmod(0o700)
	file(t, filepath.Join(folder, "a"), 0o600)
	if got := check(); got != "" {
		t.Errorf("a private folder: %s", got)
	}
	file(t, filepath.Join(folder, "b"), 0o644)
	if got, want := check(), filepath.Join(folder, "b")+": others have rights on it that it does not need: chmod -R go= "+folder; got != want {
		t.Errorf("one open file: %s", got)
	}
	file(t, filepath.Join(folder, "c"), 0o660)
	if got := check(); !strings.Contains(got, "b and 1 more: others have rights") {
		t.Errorf("two open files: %s", got)
	}
	chmod(0o750)
	if got, want := check(), folder+" has the mode 0750: its group can read it: chmod 700 "+folder+"\n"; !strings.HasPrefix(got, want) {
		t.Errorf("an open folder: %s", got)
	}
	chmod(0o711)
	if got := check(); !strings.Contains(got, "everybody on this machine can enter it") {
		t.Errorf("a folder to pass through: %s", got)
	}
	if _, err := CheckFolder(filepath.Join(folder, "none")); !os.IsNotExist(err) {
		t.Errorf("a folder that is not there: %v", err)
	}
	if _, ok := Owner(filepath.Join(folder, "none")); ok {
		t.Error("a file that is not there has an owner")
	}
	if os.Geteuid() != 0 {
		t.Skip("only root can give files to somebody else")
	}
	if err := os.Lchown(filepath.Join(folder, "a"), 12345, -1); err != nil {
		t.Fatal(err)
	}
	if got := check(); !strings.Contains(got, filepath.Join(folder, "a")+": it does not belong to the owner of the folder, the user root: chown -R 0 "+folder) {
		t.Errorf("a file of somebody else: %s", got)
	}
	if name, ok := Owner(filepath.Join(folder, "a")); !ok || name != "12345" {
		t.Errorf("a user without a name is %q, %v", name, ok)
	}
}
