package postgresql

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/webhook-gateway/webhook-gateway/server/commitlog"
)

// patience is far more than any step of a test takes, a commit of 40 MiB on a busy machine among them.
const patience = 3 * time.Minute

// program finds a program of PostgreSQL, and skips the test if there is none.
func program(t testing.TB, name string) string {
	t.Helper()
	found, _ := filepath.Glob("/usr/lib/postgresql/*/bin/" + name) // the pattern is right
	if path, err := exec.LookPath(name); err == nil {
		found = append(found, path)
	}
	if len(found) == 0 {
		t.Skip("needs the programs of a PostgreSQL server, such as Debian's package postgresql")
	}
	return slices.Max(found)
}

// testServer is a PostgreSQL server of a test.
type testServer struct {
	t    testing.TB
	dir  string
	port int
	args []string
	cmd  *exec.Cmd
	log  *bytes.Buffer
}

// newServer makes a server that does not run yet, with settings such as "fsync=off". It has
// the user gateway, who may do everything, and the database postgres.
func newServer(t testing.TB, settings ...string) *testServer {
	t.Helper()
	s := makeServer(t, settings...)
	template.Do(func() { s.initialise() })
	if template.dir == "" {
		t.Fatal("there is no server to copy: see the first test that failed")
	}
	s.run("cp", "-R", template.dir, s.data())
	return s
}

// template is a server that was made once, and is copied for each test.
var template struct {
	sync.Once
	dir string
}

func (s *testServer) initialise() {
	s.t.Helper()
	dir, err := os.MkdirTemp("", "postgresql-")
	if err != nil {
		s.t.Fatal(err)
	}
	removeAtEnd = append(removeAtEnd, dir)
	if err := os.Chown(dir, int(s.as().Uid), int(s.as().Gid)); err != nil {
		s.t.Fatal(err)
	}
	data := filepath.Join(dir, "data")
	s.run(program(s.t, "initdb"), "-D", data, "-A", "trust", "-U", "gateway", "--no-sync", "--wal-segsize=1", "--no-instructions")
	template.dir = data
}

var removeAtEnd []string

func TestMain(m *testing.M) {
	code := m.Run()
	for _, dir := range removeAtEnd {
		_ = os.RemoveAll(dir)
	}
	os.Exit(code) //nolint:forbidigo // the end of the tests
}

func makeServer(t testing.TB, settings ...string) *testServer {
	t.Helper()
	program(t, "initdb")
	dir, err := os.MkdirTemp("", "postgresql-") //nolint:usetesting // a folder that the user postgres may enter
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	s := &testServer{t: t, dir: dir, port: freePort(t)}
	for _, setting := range append([]string{"shared_buffers=16MB", "wal_retrieve_retry_interval=100ms"}, settings...) {
		s.args = append(s.args, "-c", setting)
	}
	if err := os.Chown(dir, int(s.as().Uid), int(s.as().Gid)); err != nil {
		t.Fatal(err)
	}
	return s
}

// freePort returns a port that is free, and not one of those that the system gives to whoever connects or listens: a
// server that is started again has to get its own.
func freePort(t testing.TB) int {
	t.Helper()
	for {
		port := 10_000 + rand.IntN(20_000)
		listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", fmt.Sprint("127.0.0.1:", port))
		if err == nil {
			_ = listener.Close()
			return port
		}
		if t.Context().Err() != nil {
			t.Fatal(err)
		}
	}
}

// as returns as whom the server runs: PostgreSQL refuses to run as root.
func (s *testServer) as() *syscall.Credential {
	s.t.Helper()
	uid, gid := os.Getuid(), os.Getgid()
	if uid == 0 {
		as, err := user.Lookup("postgres")
		if err != nil {
			s.t.Skip("PostgreSQL does not run as root, and there is no user postgres")
		}
		uid, _ = strconv.Atoi(as.Uid)
		gid, _ = strconv.Atoi(as.Gid)
	}
	return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
}

func (s *testServer) data() string { return filepath.Join(s.dir, "data") }

// run runs a program to its end.
func (s *testServer) run(name string, args ...string) {
	s.t.Helper()
	cmd := exec.Command(name, args...)
	s.prepare(cmd)
	if out, err := cmd.CombinedOutput(); err != nil {
		s.t.Fatalf("%s: %v\n%s", name, err, out)
	}
}

func (s *testServer) prepare(cmd *exec.Cmd) {
	cmd.Dir = s.dir
	if os.Getuid() == 0 {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: s.as()}
	}
}

// start starts the server, and waits until it can be connected to.
func (s *testServer) start() *testServer {
	s.t.Helper()
	began := time.Now()
	for {
		s.cmd = exec.Command(program(s.t, "postgres"), append([]string{"-D", s.data(), "-p", strconv.Itoa(s.port), "-k", s.dir, "-h", "127.0.0.1"}, s.args...)...)
		s.prepare(s.cmd)
		s.log = new(bytes.Buffer)
		s.cmd.Stdout, s.cmd.Stderr = s.log, s.log
		if err := s.cmd.Start(); err != nil {
			s.t.Fatal(err)
		}
		cmd, ended := s.cmd, make(chan struct{})
		go func() { _ = cmd.Wait(); close(ended) }()
		s.t.Cleanup(func() {
			s.signal(syscall.SIGCONT)
			_ = cmd.Process.Signal(syscall.SIGQUIT)
			<-ended
		})
		for {
			conn, err := pgx.Connect(s.t.Context(), s.url()+"?connect_timeout=5")
			if err == nil {
				_ = conn.Close(s.t.Context())
				return s
			}
			if time.Since(began) > patience {
				s.t.Fatalf("PostgreSQL is not ready: %v\n%s", err, s.log)
			}
			select {
			case <-ended: // what was killed has not let go of its memory yet
			case <-time.After(20 * time.Millisecond):
				continue
			}
			break
		}
	}
}

func startServer(t testing.TB, settings ...string) *testServer {
	t.Helper()
	return newServer(t, settings...).start()
}

// standbySettings are those of a primary that has a synchronous standby.
const standbySettings = "synchronous_standby_names=standby"

// startStandby starts a standby of the server.
func (s *testServer) startStandby() *testServer {
	s.t.Helper()
	standby := makeServer(s.t, fmt.Sprintf("primary_conninfo=host=127.0.0.1 port=%d user=gateway application_name=standby", s.port))
	standby.run(program(s.t, "pg_basebackup"), "-D", standby.data(), "-h", "127.0.0.1", "-p", strconv.Itoa(s.port), "-U", "gateway", "--checkpoint=fast", "--no-sync", "--write-recovery-conf")
	return standby.start()
}

func (s *testServer) promote() {
	s.t.Helper()
	s.exec("SELECT pg_promote()")
}

// children are the processes that the server has started; none if it has ended.
func (s *testServer) children() (children []int) {
	pid := s.cmd.Process.Pid
	text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", pid, pid))
	for _, child := range strings.Fields(string(text)) {
		if pid, err := strconv.Atoi(child); err == nil {
			children = append(children, pid)
		}
	}
	return children
}

// signal sends a signal to all processes of the server.
func (s *testServer) signal(signal syscall.Signal) {
	children := s.children()
	if err := s.cmd.Process.Signal(signal); err != nil {
		return // a child whose parent is gone may be another process by now
	}
	for _, child := range children {
		_ = syscall.Kill(child, signal)
	}
}

func (s *testServer) kill()   { s.signal(syscall.SIGKILL) }
func (s *testServer) resume() { s.signal(syscall.SIGCONT) }

// pause returns when none of the processes runs: on a busy machine some go on for a tenth of a second after
// the signal, and answer meanwhile. The first may have started another one until then.
func (s *testServer) pause() {
	s.t.Helper()
	s.signal(syscall.SIGSTOP)
	eventually(s.t, "the server is paused", func() bool {
		if !isStopped(s.cmd.Process.Pid) {
			return false
		}
		stopped := true
		for _, child := range s.children() {
			if !isStopped(child) {
				_ = syscall.Kill(child, syscall.SIGSTOP)
				stopped = false
			}
		}
		return stopped
	})
}

// isStopped reports whether a process does not run until it gets a signal, or has ended.
func isStopped(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return true // it has ended
	}
	// pid (name) state …, and a name may have parentheses.
	_, state, _ := bytes.Cut(stat[bytes.LastIndexByte(stat, ')')+1:], []byte(" "))
	return len(state) > 0 && bytes.ContainsAny(state[:1], "TtZX")
}

func (s *testServer) url() string { return urlOf(s) }

// urlOf names several servers.
func urlOf(servers ...*testServer) string {
	var hosts []string
	for _, s := range servers {
		hosts = append(hosts, fmt.Sprint("127.0.0.1:", s.port))
	}
	return "postgres://gateway@" + strings.Join(hosts, ",") + "/postgres"
}

func configOf(servers ...*testServer) Config {
	config := DefaultConfig()
	config.URL = urlOf(servers...)
	return config
}

// exec executes statements, without the limits of a gateway.
func (s *testServer) exec(statements string) {
	s.t.Helper()
	conn := s.connect()
	defer func() { _ = conn.Close(context.Background()) }()
	if _, err := conn.Exec(s.t.Context(), statements); err != nil {
		s.t.Fatalf("%s: %v", statements, err)
	}
}

// set sets a setting of the running server.
func (s *testServer) set(name, value string) {
	s.t.Helper()
	s.exec(fmt.Sprintf("ALTER SYSTEM SET %s = '%s'", name, value))
	s.exec("SELECT pg_reload_conf()")
	s.until(fmt.Sprintf("SELECT current_setting('%s') = '%s'", name, value))
}

func (s *testServer) connect() *pgx.Conn {
	s.t.Helper()
	conn, err := pgx.Connect(s.t.Context(), s.url())
	if err != nil {
		s.t.Fatal(err)
	}
	return conn
}

// ask asks for one value.
func ask[T any](s *testServer, query string) (value T) {
	s.t.Helper()
	conn := s.connect()
	defer func() { _ = conn.Close(context.Background()) }()
	if err := conn.QueryRow(s.t.Context(), query).Scan(&value); err != nil {
		s.t.Fatalf("%s: %v", query, err)
	}
	return value
}

// until waits until a query says true.
func (s *testServer) until(query string) {
	s.t.Helper()
	for began := time.Now(); !ask[bool](s, query); {
		if time.Since(began) > patience {
			s.t.Fatalf("never true: %s", query)
		}
		<-time.After(5 * time.Millisecond)
	}
}

// logged keeps what is logged.
type logged struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *logged) Write(text []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(text)
}

func (l *logged) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

func (l *logged) logger() *slog.Logger { return slog.New(slog.NewTextHandler(l, nil)) }

func openLog(t testing.TB, config Config) *Log {
	t.Helper()
	log, err := Open(t.Context(), config, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = log.Close() })
	return log
}

func bounded(t testing.TB) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	return ctx
}

// settle appends a commit, and fails the test if another is there.
func settle(t testing.TB, log commitlog.Log, after commitlog.Sequence, commit string) commitlog.Sequence {
	t.Helper()
	at, err := commitlog.Settle(bounded(t), log, after, []byte(commit))
	if err != nil || at == 0 {
		t.Fatalf("Settle(%d, %.40q) = %d, %v", after, commit, at, err)
	}
	return at
}

// readAll reads the commits after a sequence that are known.
func readAll(t testing.TB, log commitlog.Log, after commitlog.Sequence) (commits []string) {
	t.Helper()
	for commit, err := range log.Read(bounded(t), after) {
		if err != nil {
			t.Fatalf("Read(%d) yields %v", after, err)
		}
		commits = append(commits, string(commit.Bytes))
	}
	return commits
}

// awaitRead waits until there are as many commits after a sequence.
func awaitRead(t testing.TB, log commitlog.Log, after commitlog.Sequence, n int) (commits []string) {
	t.Helper()
	for ctx := bounded(t); ; {
		changed := log.Changed()
		if commits = readAll(t, log, after); len(commits) >= n {
			return commits
		}
		select {
		case <-changed:
		case <-ctx.Done():
			t.Fatalf("after %d comes only %q", after, commits)
		}
	}
}

// eventually waits until something is so.
func eventually(t testing.TB, what string, so func() bool) {
	t.Helper()
	for began := time.Now(); !so(); {
		if time.Since(began) > patience {
			t.Fatalf("never: %s", what)
		}
		<-time.After(5 * time.Millisecond)
	}
}

// yields returns the error that reading after a sequence yields.
func yields(t testing.TB, log commitlog.Log, after commitlog.Sequence) (yielded error) {
	t.Helper()
	for _, err := range log.Read(bounded(t), after) {
		yielded = errors.Join(yielded, err)
	}
	return yielded
}
