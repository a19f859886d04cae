package main

import (
	"os/exec"
	"syscall"
	"testing"
)

// TestHalt: what was halted does not run any more, and goes on when it may.
func TestHalt(t *testing.T) {
	cmd := exec.CommandContext(t.Context(), "sh", "-c", "while :; do :; done")
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	pid := cmd.Process.Pid
	t.Cleanup(func() {
		_ = syscall.Kill(-pid, syscall.SIGKILL)
		_ = cmd.Wait() // it was killed
	})
	for range 20 {
		halt(-pid)
		if anyRuns([]int{pid}) {
			t.Fatal("it still runs")
		}
		if err := syscall.Kill(-pid, syscall.SIGCONT); err != nil {
			t.Fatal(err)
		}
		if !anyRuns([]int{pid}) {
			t.Fatal("it does not go on")
		}
	}
}
