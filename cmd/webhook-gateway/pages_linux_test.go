package main

import (
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// alone has a command run in a network and a process group of its own.
func alone(c *exec.Cmd) error {
	c.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Cloneflags: unix.CLONE_NEWNET}
	if os.Geteuid() != 0 { // in a space of users of its own anybody may make a network
		c.SysProcAttr.Cloneflags |= unix.CLONE_NEWUSER
		c.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{HostID: os.Getuid(), Size: 1}}
		c.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{HostID: os.Getgid(), Size: 1}}
	}
	try := exec.Command("true")
	try.SysProcAttr = c.SysProcAttr
	if err := try.Run(); err != nil {
		return fmt.Errorf("this machine gives no network of its own: %w", err)
	}
	return nil
}

// bePage becomes a shell, once localhost can be reached.
func bePage(script string) {
	if err := localhost(); err != nil {
		_, _ = fmt.Fprintln(os.Stderr, "bring up localhost:", err) // the exit code tells as well
		os.Exit(1)                                                 //nolint:forbidigo // it is the process
	}
	environ := slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, envPage+"=") })
	err := syscall.Exec("/bin/sh", []string{"sh", "-c", script}, environ)
	_, _ = fmt.Fprintln(os.Stderr, "become a shell:", err)
	os.Exit(1) //nolint:forbidigo // it is the process
}

// localhost brings up the loopback interface of a new network.
func localhost() error {
	socket, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM, 0)
	if err != nil {
		return err
	}
	defer func() { _ = unix.Close(socket) }() // nothing is left to lose
	lo, err := unix.NewIfreq("lo")
	if err != nil {
		return err
	}
	lo.SetUint16(unix.IFF_UP | unix.IFF_RUNNING)
	return unix.IoctlIfreq(socket, unix.SIOCSIFFLAGS, lo)
}
