//go:build !linux

package main

import (
	"errors"
	"os/exec"
)

// alone is for a system that has no networks for single processes.
func alone(*exec.Cmd) error { return errors.New("only Linux gives a page a network of its own") }

func bePage(string) {}
