// Package filemode tells who else on this machine can read or change what should be
// private: the folder of the event log, secrets, keys.
package filemode

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
)

const (
	othersWrite = 0o022
	othersAny   = 0o077
)

// Problem is a file that is less private than it should be.
type Problem struct {
	// Text says who can do what.
	Text string
	// Do says what to do about it.
	Do string
	// Write tells that others can change the file, and not only read it.
	Write bool
}

func (p *Problem) Error() string { return p.Text + ": " + p.Do }

// CheckFile returns a *Problem if others than the owner of a file and its group can read
// it, or others than the owner can change it, and another error if it cannot be looked at.
// The group may read: that is how a file of root is given to a gateway. It says nothing on
// systems whose files have no such modes.
func CheckFile(path string) error {
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	const wrong = 0o027
	if _, ok := owner(info); !ok || info.Mode().Perm()&wrong == 0 {
		return nil
	}
	return &Problem{
		Text:  fmt.Sprintf("%s has the mode %04o: %s", path, info.Mode().Perm(), who(info.Mode())),
		Do:    "chmod g-w,o= " + path,
		Write: info.Mode().Perm()&othersWrite != 0,
	}
}

// CheckWritable is like CheckFile, for a file that others may read.
func CheckWritable(path string) error {
	err := CheckFile(path)
	if p := (*Problem)(nil); errors.As(err, &p) {
		if !p.Write {
			return nil
		}
		p.Do = "chmod go-w " + path
	}
	return err
}

// who says who can do something with a file, and what.
func who(mode fs.FileMode) string {
	var whom []string
	everybody, group := right(mode&0o7), right(mode>>3&0o7)
	if everybody != "" {
		whom = append(whom, "everybody on this machine can "+everybody)
	}
	if group != "" && group != everybody {
		whom = append(whom, "its group can "+group)
	}
	return strings.Join(whom, ", ")
}

// right returns the most that three bits of a mode allow.
func right(bits fs.FileMode) string {
	switch {
	case bits&0o2 != 0:
		return "change it"
	case bits&0o4 != 0:
		return "read it"
	case bits != 0:
		return "enter it"
	}
	return ""
}

// CheckFolder returns what is not private in a folder and all that is in it, or belongs
// to somebody else: it should have the mode 0700, its files 0600, and all one owner, who
// runs the gateway.
func CheckFolder(path string) ([]*Problem, error) {
	top, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	uid, ok := owner(top)
	if !ok {
		return nil, nil
	}
	var problems []*Problem
	add := func(write bool, do, format string, args ...any) {
		problems = append(problems, &Problem{Text: fmt.Sprintf(format, args...), Do: do, Write: write})
	}
	if top.Mode().Perm()&othersAny != 0 {
		add(top.Mode().Perm()&othersWrite != 0, "chmod 700 "+path, "%s has the mode %04o: %s", path, top.Mode().Perm(), who(top.Mode()))
	}
	if self := os.Geteuid(); self != 0 && self != int(uid) {
		add(false, "run it as the owner of the folder, or give the folder to that user",
			"%s belongs to the user %s, and this process runs as %s", path, userName(int(uid)), userName(self))
	}
	var open, foreign found
	err = filepath.WalkDir(path, func(name string, entry fs.DirEntry, err error) error {
		if err != nil || name == path {
			return gone(err)
		}
		info, err := entry.Info()
		if err != nil {
			return gone(err)
		}
		if info.Mode()&fs.ModeSymlink == 0 && info.Mode().Perm()&othersAny != 0 {
			open.add(name)
		}
		if u, _ := owner(info); u != uid {
			foreign.add(name)
		}
		return nil
	})
	if open.count > 0 {
		add(false, "chmod -R go= "+path, "%s: others have rights on it that it does not need", open)
	}
	if foreign.count > 0 {
		add(false, fmt.Sprintf("chown -R %d %s", uid, path), "%s: it does not belong to the owner of the folder, the user %s", foreign, userName(int(uid)))
	}
	return problems, err
}

// Owner returns the name of the user that a file belongs to, or the number if there is no
// name, and whether that is known.
func Owner(path string) (name string, ok bool) {
	info, err := os.Stat(path)
	if err != nil {
		return "", false
	}
	uid, ok := owner(info)
	return userName(int(uid)), ok
}

func userName(uid int) string {
	number := strconv.Itoa(uid)
	if u, err := user.LookupId(number); err == nil {
		return u.Username
	}
	return number
}

// gone passes over what is removed while the folder is read.
func gone(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// found counts files and remembers the first one.
type found struct {
	first string
	count int
}

func (f *found) add(name string) {
	if f.count++; f.count == 1 {
		f.first = name
	}
}

func (f found) String() string {
	if f.count == 1 {
		return f.first
	}
	return fmt.Sprintf("%s and %d more", f.first, f.count-1)
}
