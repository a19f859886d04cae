package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"
)

// postgresEngine is one PostgreSQL server, with a proxy on the way of each gateway to it.
type postgresEngine struct {
	server *process
	data   string
	ways   []*proxy
	url    string
}

// postgresProgram finds a program of PostgreSQL.
func postgresProgram(name string) (string, error) {
	found, err := filepath.Glob("/usr/lib/postgresql/*/bin/" + name)
	if path, lookErr := exec.LookPath(name); lookErr == nil {
		found = append(found, path)
	}
	if len(found) == 0 {
		return "", errors.Join(fmt.Errorf("%s of PostgreSQL is not installed: install its server", name), err)
	}
	return slices.Max(found), nil
}

func newPostgreSQL(dir string, gateways int) (*postgresEngine, error) {
	initdb, err := postgresProgram("initdb")
	if err != nil {
		return nil, err
	}
	postgres, err := postgresProgram("postgres")
	if err != nil {
		return nil, err
	}
	home := filepath.Join(dir, "postgresql")
	if err := os.Mkdir(home, 0o700); err != nil {
		return nil, err
	}
	as, err := postgresUser(home)
	if err != nil {
		return nil, err
	}
	e := &postgresEngine{data: filepath.Join(home, "data")}
	create := exec.Command(initdb, "-D", e.data, "-A", "trust", "-U", "gateway") //nolint:gosec,noctx // it ends by itself
	create.Dir, create.SysProcAttr = home, &syscall.SysProcAttr{Credential: as}
	if out, err := create.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("make a database: %w\n%s", err, out)
	}
	addresses, err := ports(1)
	if err != nil {
		return nil, err
	}
	_, port, _ := net.SplitHostPort(addresses[0])
	e.server = &process{
		name: "postgresql", log: filepath.Join(dir, "postgresql.log"), as: as,
		args: []string{postgres, "-D", e.data, "-p", port, "-k", "", "-h", "127.0.0.1"},
	}
	ways, err := matrix(1, slices.Repeat(addresses, gateways))
	if err != nil {
		return nil, err
	}
	e.ways = ways[0]
	e.url = "postgres://gateway@" + addresses[0] + "/postgres"
	return e, nil
}

// postgresUser returns whom the server runs as, which is never root, and gives that user a folder.
func postgresUser(folder string) (*syscall.Credential, error) {
	if os.Getuid() != 0 {
		return nil, nil //nolint:nilnil // whoever runs this
	}
	as, err := user.Lookup("postgres")
	if err != nil {
		return nil, fmt.Errorf("PostgreSQL does not run as root: %w", err)
	}
	uid, err := strconv.ParseUint(as.Uid, 10, 32)
	gid, err2 := strconv.ParseUint(as.Gid, 10, 32)
	if err := errors.Join(err, err2); err != nil {
		return nil, err
	}
	return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}, os.Chown(folder, int(uid), int(gid))
}

// pause stops the server and its children, which have process groups of their own, and
// returns them all.
func (e *postgresEngine) pause() (pids []int) {
	server := e.server.pid()
	_ = syscall.Kill(server, syscall.SIGSTOP) // first, so that it has no more children
	pids = []int{server}
	out, _ := command(context.Background(), "pgrep", "-P", strconv.Itoa(server)) // it fails if there are none
	for text := range strings.FieldsSeq(out) {
		if pid, err := strconv.Atoi(text); err == nil {
			_ = syscall.Kill(pid, syscall.SIGSTOP) // it may have ended
			pids = append(pids, pid)
		}
	}
	return pids
}

func resume(pids []int) {
	for _, pid := range pids {
		_ = syscall.Kill(pid, syscall.SIGCONT)
	}
}

// kill ends all processes of the server at once.
func (e *postgresEngine) kill() {
	pids := e.pause() // none notices that another has ended
	for _, pid := range pids[1:] {
		_ = syscall.Kill(pid, syscall.SIGKILL)
	}
	e.server.kill()
}

func (e *postgresEngine) name() string { return "PostgreSQL, one server" }

func (e *postgresEngine) start(ctx context.Context) error {
	if err := e.server.start(); err != nil {
		return err
	}
	return e.usable(ctx)
}

func (e *postgresEngine) stop() {
	e.server.stop(syscall.SIGINT)
	for _, p := range e.ways {
		p.close()
	}
}

func (e *postgresEngine) config(gateway int) string {
	return fmt.Sprintf("{engine: postgresql, postgresql: {url: \"postgres://gateway@%s/postgres\"}}", e.ways[gateway].address())
}

// usable writes to a table of its own until that is committed.
func (e *postgresEngine) usable(ctx context.Context) error {
	for {
		err := e.write(ctx)
		if err == nil {
			return nil
		}
		if ended, _ := e.server.life(); isClosed(ended) {
			return fmt.Errorf("PostgreSQL has ended: %s", e.server.tail(5))
		}
		if err := pause(ctx, 20*time.Millisecond); err != nil {
			return err
		}
	}
}

func (e *postgresEngine) write(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	conn, err := pgx.Connect(ctx, e.url)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close(ctx) }() // nothing is left to lose
	_, err = conn.Exec(ctx, "CREATE TABLE IF NOT EXISTS probe (n int); INSERT INTO probe VALUES (1)")
	return err
}

func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

func (e *postgresEngine) leads(context.Context) string { return "the server" }

func (e *postgresEngine) cutOff(gateway int) (mend func()) {
	return cutAll(slices.Values(e.ways[gateway : gateway+1]))
}

func (e *postgresEngine) faults(l *lab) []fault {
	down := func(ctx context.Context, begin func(), end func() error) error {
		begin()
		ends := l.verdicts.begins()
		err := l.hold(ctx, 8*time.Second)
		ends()
		return errors.Join(end(), err)
	}
	var paused []int
	return []fault{
		{name: "kill -9 of the server", run: func(ctx context.Context) error { return down(ctx, e.kill, e.server.start) }},
		{name: "the server restarted", run: func(ctx context.Context) error {
			return down(ctx, func() { e.server.stop(syscall.SIGINT) }, e.server.start)
		}},
		{name: "the server paused", run: func(ctx context.Context) error {
			return down(ctx, func() { paused = e.pause() }, func() error { resume(paused); return nil })
		}},
		{name: "all connections broken off", run: func(context.Context) error {
			for _, p := range e.ways {
				p.reset()
			}
			return nil
		}},
	}
}

// acts kills the server, and brings it back.
func (e *postgresEngine) acts(l *lab) [2]func() error {
	return [2]func() error{
		func() error {
			l.note("--- kill -9 of PostgreSQL, for two seconds: nothing is stored until it is back")
			e.kill()
			if err := pause(context.Background(), 2*time.Second); err != nil {
				return err
			}
			return e.server.start()
		},
		func() error { return nil },
	}
}
