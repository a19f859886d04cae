package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

// halt stops processes where they are, a group of them if the number is negative, until they get
// SIGCONT. It returns once none of their threads runs: on a busy machine some go on for a tenth
// of a second after the signal.
func halt(numbers ...int) {
	for _, n := range numbers {
		_ = syscall.Kill(n, syscall.SIGSTOP) // it may have ended
	}
	for deadline := time.Now().Add(endTimeout); anyRuns(numbers) && time.Now().Before(deadline); {
		<-time.After(time.Millisecond)
	}
}

// anyRuns reports whether any thread of processes is neither stopped nor ended. Of a group it looks
// at the process that leads it.
func anyRuns(numbers []int) bool {
	for _, n := range numbers {
		threads, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", max(n, -n))) // a bad pattern is the only error
		for _, path := range threads {
			stat, err := os.ReadFile(path) //nolint:gosec // of the kernel
			if err != nil {
				continue // it has ended
			}
			// pid (name) state …, and a name may have parentheses.
			_, state, _ := bytes.Cut(stat[bytes.LastIndexByte(stat, ')')+1:], []byte(" "))
			if len(state) > 0 && !bytes.ContainsAny(state[:1], "TtZX") {
				return true
			}
		}
	}
	return false
}
