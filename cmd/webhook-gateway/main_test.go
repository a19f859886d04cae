package main

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// envMain has the binary of the tests be the command itself.
const envMain = "TEST_BE_THE_COMMAND"

// envPage has it be a shell that runs the commands of a page.
const envPage = "TEST_BE_A_PAGE"

func TestMain(m *testing.M) {
	if script := os.Getenv(envPage); script != "" {
		bePage(script)
		return
	}
	if os.Getenv(envMain) != "" {
		main()
		return
	}
	silence()
	goleak.VerifyTestMain(m)
}

// Of a server that speaks when it was not asked, as a gRPC port does, a library says so by
// itself. A user sees only what the command says.
func TestOnlyTheCommandSpeaks(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		conn, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		_, _ = io.WriteString(conn, "HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\nunasked") // a client that is gone is seen below
		t.Cleanup(func() { _ = conn.Close() })
	}))
	defer s.Close()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	c := exec.CommandContext(t.Context(), self, "trigger", "ping", "--url", s.URL, "--secret", "env:"+envMain, "--count", "2", "--rate", "5")
	c.Env = append(os.Environ(), envMain+"=1")
	var errOut bytes.Buffer
	c.Stderr = &errOut
	if err := c.Run(); err == nil || errOut.String() != "webhook-gateway: 2 of 2 deliveries were not answered 200\n" {
		t.Errorf("%v, it says\n%s", err, errOut.String())
	}
}

// output collects what a command prints, and lets a test wait for it.
type output struct {
	mu      sync.Mutex
	text    bytes.Buffer
	changed chan struct{}
}

func newOutput() *output { return &output{changed: make(chan struct{})} }

func (o *output) Write(b []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	close(o.changed)
	o.changed = make(chan struct{})
	return o.text.Write(b)
}

func (o *output) String() string {
	text, _ := o.look()
	return text
}

func (o *output) look() (string, <-chan struct{}) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String(), o.changed
}

// waitFor waits until enough is true of the output.
func (o *output) waitFor(t *testing.T, enough func(text string) bool) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for {
		text, changed := o.look()
		if enough(text) {
			return text
		}
		select {
		case <-changed:
		case <-ctx.Done():
			t.Fatalf("waited in vain, there is only:\n%s", text)
		}
	}
}

func has(part string) func(string) bool {
	return func(text string) bool { return strings.Contains(text, part) }
}

func lines(n int) func(string) bool {
	return func(text string) bool { return strings.Count(text, "\n") >= n }
}

// A command that runs beside the test.
type command struct {
	out, err *output
	stop     context.CancelFunc
	code     chan int
}

func begin(t *testing.T, environ []string, args ...string) *command {
	t.Helper()
	ctx, stop := context.WithCancel(context.Background())
	c := &command{out: newOutput(), err: newOutput(), stop: stop, code: make(chan int, 1)}
	go func() { c.code <- run(ctx, args, streams{out: c.out, err: c.err, environ: environ}) }()
	t.Cleanup(func() {
		stop()
		c.code <- <-c.code
	})
	return c
}

// wait returns the exit code.
func (c *command) wait() int {
	code := <-c.code
	c.code <- code
	return code
}

// testEnviron has the secret of the client acme in some tests.
var testEnviron = []string{"TEST_SECRET=partner secret"}

// execute runs a command to its end.
func execute(t *testing.T, args ...string) (code int, out, errOut string) {
	t.Helper()
	return executeIn(t, testEnviron, args...)
}

// executeIn is execute in another environment.
func executeIn(t *testing.T, environ []string, args ...string) (code int, out, errOut string) {
	t.Helper()
	var o, e bytes.Buffer
	code = run(t.Context(), args, streams{out: &o, err: &e, environ: environ})
	return code, o.String(), e.String()
}

// mustExecute runs a command that must go well, and returns what it prints.
func mustExecute(t *testing.T, args ...string) string {
	t.Helper()
	code, out, errOut := execute(t, args...)
	if code != exitOK {
		t.Fatalf("%v ended with %d:\n%s%s", args, code, out, errOut)
	}
	return out
}

// failingWriter is a pipe whose reader has gone.
type failingWriter struct{}

func (failingWriter) Write([]byte) (int, error) { return 0, io.ErrClosedPipe }
