package main

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"strconv"
	"sync"
	"syscall"
	"time"
)

// endTimeout is how long a process may take to end in order.
const endTimeout = 20 * time.Second

// A process is one that is killed and started again. It has a process group of its own, so
// that Ctrl-C does not reach it, and a log that all its lives write to.
type process struct {
	name string
	args []string
	env  []string
	log  string
	// as is the user that it runs as. Nil: that of this process.
	as *syscall.Credential
	// machine is what it believes to run on. Nil: this one, as it is.
	machine *machine

	mu    sync.Mutex
	cmd   *exec.Cmd
	ended chan struct{} // closed when this life has ended
	// meant tells that this life was ended by us.
	meant bool
	began time.Time
}

func (p *process) start() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	file, err := os.OpenFile(p.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer file.Close()                            // the process has its own
	cmd := exec.Command(p.args[0], p.args[1:]...) //nolint:gosec,noctx // our own programs; it is ended by stop or kill
	cmd.Env = append(os.Environ(), p.env...)
	if p.machine != nil {
		cmd.Env = append(cmd.Env, machineEnv+"="+p.machine.file.Name())
	}
	cmd.Stdout, cmd.Stderr = file, file
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Credential: p.as}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start %s: %w", p.name, err)
	}
	ended := make(chan struct{})
	p.cmd, p.ended, p.meant, p.began = cmd, ended, false, time.Now()
	go func() {
		_ = cmd.Wait() // how it ended does not matter: see meant
		close(ended)
	}()
	return nil
}

// life returns what is closed when the process ends, and whether that was meant to be.
func (p *process) life() (ended <-chan struct{}, meant func() bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	cmd := p.cmd
	return p.ended, func() bool {
		p.mu.Lock()
		defer p.mu.Unlock()
		return p.meant || p.cmd != cmd
	}
}

func (p *process) pid() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.cmd.Process.Pid
}

// kill ends the process, and all that it has started, at once.
func (p *process) kill() { p.end(syscall.SIGKILL) }

// stop ends the process in order, or else at once.
func (p *process) stop(order syscall.Signal) { p.end(order) }

func (p *process) end(order syscall.Signal) {
	p.mu.Lock()
	cmd, ended := p.cmd, p.ended
	p.meant = true
	p.mu.Unlock()
	if cmd == nil {
		return
	}
	if order == syscall.SIGKILL {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) // it may have ended
	} else {
		_ = cmd.Process.Signal(order)
	}
	select {
	case <-ended:
	case <-time.After(endTimeout):
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		<-ended
	}
}

// pause stops the process, and all that it has started, until resume.
func (p *process) pause() { p.unlessEnded(func(pid int) { halt(-pid) }) }

func (p *process) resume() {
	p.unlessEnded(func(pid int) { _ = syscall.Kill(-pid, syscall.SIGCONT) }) // it may end just now
}

func (p *process) unlessEnded(do func(pid int)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	select {
	case <-p.ended:
	default:
		do(p.cmd.Process.Pid)
	}
}

// tail returns the end of what the process has written.
func (p *process) tail(n int) string {
	text, err := os.ReadFile(p.log)
	if err != nil {
		return err.Error()
	}
	lines := bytes.Split(bytes.TrimSpace(text), []byte("\n"))
	return string(bytes.Join(lines[max(0, len(lines)-n):], []byte("\n")))
}

// crashed returns the lines with which a Go program says that it has crashed, if it has.
func (p *process) crashed() string {
	text, err := os.ReadFile(p.log)
	if err != nil {
		return ""
	}
	for _, sign := range []string{"\npanic: ", "\nfatal error: ", "WARNING: DATA RACE"} {
		if i := bytes.Index(text, []byte(sign)); i >= 0 {
			return string(text[i:min(len(text), i+3000)])
		}
	}
	return ""
}

// Ports for what is restarted are below those that outgoing connections get.
const (
	firstPort = 20000
	lastPort  = 32000
)

var errNoPort = errors.New("no free port was found")

// ports are addresses that nothing listens on.
func ports(n int) ([]string, error) {
	taken := make(map[int]bool)
	var addresses []string
	for range 1000 {
		if len(addresses) == n {
			return addresses, nil
		}
		port := firstPort + rand.IntN(lastPort-firstPort) //nolint:gosec // any port will do
		address := "127.0.0.1:" + strconv.Itoa(port)
		l, err := net.Listen("tcp", address) //nolint:noctx // closed at once
		if taken[port] || err != nil {
			continue
		}
		_ = l.Close()
		taken[port] = true
		addresses = append(addresses, address)
	}
	return nil, errNoPort
}
