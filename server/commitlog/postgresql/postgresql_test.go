package postgresql

import (
	"bytes"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/webhook-gateway/webhook-gateway/server/commitlog"
	"github.com/webhook-gateway/webhook-gateway/server/commitlog/commitlogtest"
)

// program finds a program of PostgreSQL, and skips the test if there is none.
func program(t *testing.T, name string) string {
	t.Helper()
	found, _ := filepath.Glob("/usr/lib/postgresql/*/bin/" + name) // the pattern is right
	if path, err := exec.LookPath(name); err == nil {
		found = append(found, path)
	}
	if len(found) == 0 {
		t.Skipf("%s of PostgreSQL is not installed: .ci/run installs it", name)
	}
	return slices.Max(found)
}

// asServer has a command run as another user than root, as PostgreSQL demands.
func asServer(t *testing.T, cmd *exec.Cmd, dir string) {
	t.Helper()
	if os.Getuid() != 0 {
		return
	}
	as, err := user.Lookup("postgres")
	if err != nil {
		t.Skip("PostgreSQL does not run as root, and there is no user postgres")
	}
	uid, _ := strconv.Atoi(as.Uid)
	gid, _ := strconv.Atoi(as.Gid)
	if err := os.Chown(dir, uid, gid); err != nil {
		t.Fatal(err)
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}} //nolint:gosec // ids
	cmd.Dir = dir
}

// startServer starts PostgreSQL, and returns the URL of a database.
func startServer(t *testing.T) string {
	t.Helper()
	initdb, postgres := program(t, "initdb"), program(t, "postgres")
	dir, err := os.MkdirTemp("", "postgresql-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	create := exec.CommandContext(t.Context(), initdb, "-D", filepath.Join(dir, "data"), "-A", "trust", "-U", "gateway", "--no-sync") //nolint:gosec // a test
	asServer(t, create, dir)
	if out, err := create.CombinedOutput(); err != nil {
		t.Fatalf("initdb: %v\n%s", err, out)
	}
	listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port := listener.Addr().(*net.TCPAddr).Port
	_ = listener.Close()
	serve := exec.Command(postgres, "-D", filepath.Join(dir, "data"), "-p", strconv.Itoa(port), "-k", dir, "-h", "127.0.0.1") //nolint:gosec,noctx // it is stopped below
	asServer(t, serve, dir)
	var output bytes.Buffer
	serve.Stdout, serve.Stderr = &output, &output
	if err := serve.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = serve.Process.Signal(syscall.SIGINT)
		_ = serve.Wait()
	})
	url := fmt.Sprintf("postgres://gateway@127.0.0.1:%d/postgres", port)
	for began := time.Now(); ; {
		conn, err := pgx.Connect(t.Context(), url)
		if err == nil {
			_ = conn.Close(t.Context())
			return url
		}
		if time.Since(began) > time.Minute {
			t.Fatalf("PostgreSQL is not ready: %v\n%s", err, output.String())
		}
		time.Sleep(50 * time.Millisecond)
	}
}

func TestCommitLog(t *testing.T) {
	url := startServer(t)
	tables := make(chan int, 100)
	for i := range cap(tables) {
		tables <- i
	}
	commitlogtest.Run(t, func(t *testing.T) commitlogtest.Harness {
		config := Config{URL: url, Table: fmt.Sprint("log_", <-tables)}
		return commitlogtest.Harness{Open: func(t *testing.T) commitlog.Log {
			log, err := Open(t.Context(), config, slog.New(slog.DiscardHandler))
			if err != nil {
				t.Fatal(err)
			}
			return log
		}}
	})
}
