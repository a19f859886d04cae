// Package jetstreamtest runs NATS servers for tests, each in a process of its own, which can
// be killed, paused and started again.
package jetstreamtest

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	natsjs "github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nuid"
)

// nodeVariable has the path of the configuration of the server that a process is to run.
const nodeVariable = "JETSTREAMTEST_NODE"

// patience is far more than any step takes, elections on a busy machine among them.
const patience = 3 * time.Minute

// Main is for the TestMain of a package that calls Start, before anything else: the
// test's own program, started once more, is the server.
func Main() {
	path := os.Getenv(nodeVariable)
	if path == "" {
		return
	}
	options, err := server.ProcessConfigFile(path)
	if err == nil {
		var s *server.Server
		if s, err = server.NewServer(options); err == nil {
			go func() { // the test has ended
				_, _ = io.Copy(io.Discard, os.Stdin)
				os.Exit(1) //nolint:forbidigo // this process is a server
			}()
			s.ConfigureLogger()
			s.Start() // it handles SIGTERM
			s.WaitForShutdown()
			os.Exit(0) //nolint:forbidigo // this process is a server
		}
	}
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1) //nolint:forbidigo // this process is a server
}

// Cluster is servers that have a stream in common, or one alone.
type Cluster struct {
	t     testing.TB
	Nodes []*Node
}

// Node is a server.
type Node struct {
	// Name is that of the server; URL is without credentials.
	Name, URL string

	t       testing.TB
	folder  string
	base    string // the configuration that it has in any case
	mu      sync.Mutex
	process *exec.Cmd // nil: not running
	exited  chan struct{}
	input   io.Closer
	paused  bool
}

// Start starts a cluster of as many servers, which sync always, and waits until they take
// requests. more is added to their configuration.
func Start(t testing.TB, n int, more string) *Cluster {
	t.Helper()
	c := &Cluster{t: t}
	clients, routes := addresses(t, n), addresses(t, n)
	name := nuid.Next() // nobody else's servers join this cluster
	for i := range n {
		node := &Node{Name: fmt.Sprintf("n%d-%s", i+1, name), URL: "nats://" + clients[i], t: t, folder: t.TempDir()}
		node.base = fmt.Sprintf("server_name: %s\nlisten: %q\nlog_file: %q\nstore_dir: %q\njetstream { sync_interval: always }\n",
			node.Name, clients[i], node.log(), node.folder)
		if n > 1 {
			node.base += fmt.Sprintf("cluster { name: %s, listen: %q, routes: [ %s ] }\n", name, routes[i], "nats://"+strings.Join(routes, ", nats://"))
		}
		node.configure(more)
		c.Nodes = append(c.Nodes, node)
		t.Cleanup(func() {
			node.Kill()
			if t.Failed() {
				log, _ := os.ReadFile(node.log())
				t.Logf("the log of %s ends with:\n%s", node.Name, log[max(0, len(log)-4000):])
			}
		})
		node.Start()
	}
	return c
}

// addresses returns addresses that are free, and not of the ports that the system gives to whoever connects: a
// server that is started again has to get its own.
func addresses(t testing.TB, n int) (free []string) {
	t.Helper()
	for len(free) < n {
		listener, err := net.Listen("tcp", fmt.Sprint("127.0.0.1:", 10_000+rand.IntN(20_000))) //nolint:noctx,gosec // a test
		if err != nil {
			continue
		}
		defer func() { _ = listener.Close() }() // all at the end: each is another
		free = append(free, listener.Addr().String())
	}
	return free
}

func (n *Node) config() string { return filepath.Join(n.folder, "server.conf") }

func (n *Node) log() string { return filepath.Join(n.folder, "server.log") }

// Start starts the server, if it does not run, and waits until it takes connections.
func (n *Node) Start() {
	n.t.Helper()
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.process != nil {
		return
	}
	program, err := os.Executable()
	if err != nil {
		n.t.Fatal(err)
	}
	process := exec.Command(program) //nolint:gosec,noctx // this program
	process.Env = append(os.Environ(), nodeVariable+"="+n.config())
	process.Stderr = os.Stderr
	if n.input, err = process.StdinPipe(); err == nil {
		err = process.Start()
	}
	if err != nil {
		n.t.Fatal(err)
	}
	n.process, n.exited = process, make(chan struct{})
	go func(exited chan struct{}) {
		_ = process.Wait()
		close(exited)
	}(n.exited)
	for end := time.Now().Add(patience); ; <-time.After(10 * time.Millisecond) {
		conn, err := net.DialTimeout("tcp", strings.TrimPrefix(n.URL, "nats://"), time.Second) //nolint:noctx // a test
		if err == nil {
			_ = conn.SetDeadline(time.Now().Add(time.Second))
			var greeting string
			greeting, err = bufio.NewReader(conn).ReadString('\n')
			_ = conn.Close()
			if strings.Contains(greeting, n.Name) {
				return
			}
		}
		select {
		case <-n.exited:
			n.t.Fatalf("the NATS server %s does not start", n.Name)
		default:
		}
		if time.Now().After(end) {
			n.t.Fatalf("the NATS server %s does not listen: %v", n.Name, err)
		}
	}
}

// Kill ends the server at once, as kill -9 does. It may be started again.
func (n *Node) Kill() { n.end(syscall.SIGKILL) }

// Stop shuts the server down.
func (n *Node) Stop() { n.end(syscall.SIGTERM) }

func (n *Node) end(signal syscall.Signal) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.process == nil {
		return
	}
	_ = n.process.Process.Signal(signal)
	if n.paused {
		_ = n.process.Process.Signal(syscall.SIGCONT)
		n.paused = false
	}
	<-n.exited
	_ = n.input.Close()
	n.process = nil
}

// Wipe removes what a server that does not run has stored, as a new disk does.
func (n *Node) Wipe() {
	n.t.Helper()
	if err := os.RemoveAll(filepath.Join(n.folder, "jetstream")); err != nil {
		n.t.Fatal(err)
	}
}

// Pause stops the server where it is, as a machine that hangs. Resume lets it go on.
func (n *Node) Pause() { n.signal(syscall.SIGSTOP, true) }

// Resume lets a server go on that was paused.
func (n *Node) Resume() { n.signal(syscall.SIGCONT, false) }

func (n *Node) signal(signal syscall.Signal, paused bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.process != nil {
		_ = n.process.Process.Signal(signal)
		n.paused = paused
	}
}

// Reconfigure has the server read a new configuration while it runs. It returns before the server has.
func (n *Node) Reconfigure(more string) {
	n.configure(more)
	n.signal(syscall.SIGHUP, false)
}

func (n *Node) configure(more string) {
	n.t.Helper()
	if err := os.WriteFile(n.config(), []byte(n.base+more+"\n"), 0o600); err != nil {
		n.t.Fatal(err)
	}
}

// URLs returns those of all servers.
func (c *Cluster) URLs() (urls []string) {
	for _, node := range c.Nodes {
		urls = append(urls, node.URL)
	}
	return urls
}

// Each does something to all servers at the same time.
func (c *Cluster) Each(do func(*Node)) {
	var group sync.WaitGroup
	for _, node := range c.Nodes {
		group.Go(func() { do(node) })
	}
	group.Wait()
}

// Connect connects to the servers that run.
func (c *Cluster) Connect(options ...nats.Option) natsjs.JetStream {
	c.t.Helper()
	conn, err := nats.Connect(strings.Join(c.URLs(), ","), append(options, nats.MaxReconnects(-1), nats.ReconnectWait(50*time.Millisecond), nats.RetryOnFailedConnect(true))...)
	if err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(conn.Close)
	js, err := natsjs.New(conn)
	if err != nil {
		c.t.Fatal(err)
	}
	return js
}

// Leader returns the server that leads a stream. It waits until there is one.
func (c *Cluster) Leader(js natsjs.JetStream, stream string) *Node {
	c.t.Helper()
	var last error
	// Nobody answers to what came too early, and on a busy machine not soon.
	answer := 250 * time.Millisecond
	for end := time.Now().Add(patience); time.Now().Before(end); <-time.After(20 * time.Millisecond) {
		ctx, cancel := context.WithTimeout(c.t.Context(), answer)
		s, err := js.Stream(ctx, stream)
		cancel()
		if err != nil {
			last, answer = err, min(2*answer, 5*time.Second)
			continue
		}
		cluster := s.CachedInfo().Cluster
		if cluster == nil {
			return c.Nodes[0]
		}
		for _, node := range c.Nodes {
			if node.Name == cluster.Leader {
				return node
			}
		}
		last = errors.New("no leader")
	}
	c.t.Fatalf("the stream %s has no leader: %v", stream, last)
	return nil
}

// StepDown makes another server the leader of a stream.
func (c *Cluster) StepDown(js natsjs.JetStream, stream string) {
	c.t.Helper()
	answer, err := js.Conn().Request("$JS.API.STREAM.LEADER.STEPDOWN."+stream, nil, 5*time.Second)
	if err != nil || strings.Contains(string(answer.Data), `"error"`) {
		c.t.Logf("the leader does not step down: %v", err) // it may just have lost its place
	}
}
