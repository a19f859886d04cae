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

// A pgServer is a PostgreSQL server: the primary, or a standby of it.
type pgServer struct {
	*process

	home, data, address string
}

// newPGServer returns a server that has no data yet. As the primary it waits for any one of all the
// others. Its settings are arguments, so that its data can be copied from another.
func newPGServer(dir string, n int, addresses []string) (*pgServer, error) {
	postgres, err := postgresProgram("postgres")
	if err != nil {
		return nil, err
	}
	name, home := fmt.Sprint("p", n+1), filepath.Join(dir, fmt.Sprint("p", n+1))
	if err := os.Mkdir(home, 0o700); err != nil {
		return nil, err
	}
	as, err := postgresUser(home)
	if err != nil {
		return nil, err
	}
	host, port, err := net.SplitHostPort(addresses[n])
	if err != nil {
		return nil, err
	}
	s := &pgServer{home: home, data: filepath.Join(home, "data"), address: addresses[n]}
	args := []string{postgres, "-D", s.data, "-p", port, "-k", "", "-h", host}
	for _, setting := range []string{
		"cluster_name=" + name, "synchronous_standby_names=ANY 1 (*)",
		// What is away is noticed within the time of a fault, and then tried again at once.
		"wal_receiver_timeout=3s", "wal_sender_timeout=3s", "wal_retrieve_retry_interval=200ms",
	} {
		args = append(args, "-c", setting)
	}
	s.process = &process{name: name, log: filepath.Join(dir, name+".log"), as: as, args: args}
	return s, nil
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

// run runs another program of PostgreSQL as the user of the server.
func (s *pgServer) run(ctx context.Context, name string, args ...string) error {
	program, err := postgresProgram(name)
	if err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, program, args...) //nolint:gosec // one of PostgreSQL
	cmd.Dir, cmd.SysProcAttr = s.home, &syscall.SysProcAttr{Credential: s.as}
	if out, err := cmd.CombinedOutput(); ctx.Err() != nil {
		return context.Cause(ctx) // what it has written meanwhile does not matter
	} else if err != nil {
		return fmt.Errorf("%s of %s: %w\n%s", name, s.name, err, out)
	}
	return nil
}

// create makes an empty database, which keeps what pg_rewind needs: that starts the server by itself,
// with no settings but those of the file.
func (s *pgServer) create(ctx context.Context) error {
	if err := s.run(ctx, "initdb", "-D", s.data, "-A", "trust", "-U", "gateway", "--data-checksums"); err != nil {
		return err
	}
	file, err := os.OpenFile(filepath.Join(s.data, "postgresql.conf"), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = file.WriteString("\nwal_keep_size = 1GB\n")
	return errors.Join(err, file.Close())
}

// imitate copies all that another server has, so that this one is its standby.
func (s *pgServer) imitate(ctx context.Context, other *pgServer) error {
	if err := os.RemoveAll(s.data); err != nil {
		return err
	}
	return s.run(ctx, "pg_basebackup", "-D", s.data, "-d", other.url(), "-c", "fast", "--write-recovery-conf")
}

// rewind makes a former primary a standby: what it alone has is dropped.
func (s *pgServer) rewind(ctx context.Context, primary *pgServer) error {
	// Only a checkpoint tells pg_rewind that the primary is another one.
	if err := primary.do(ctx, "CHECKPOINT"); err != nil {
		return err
	}
	return s.run(ctx, "pg_rewind", "-D", s.data, "--source-server", primary.url(), "--write-recovery-conf")
}

// follow makes a standby one of another primary.
func (s *pgServer) follow(ctx context.Context, primary *pgServer) error {
	return errors.Join(
		s.do(ctx, fmt.Sprintf("ALTER SYSTEM SET primary_conninfo = '%s'", primary.url())),
		s.do(ctx, "SELECT pg_reload_conf()"))
}

func (s *pgServer) url() string { return "postgres://gateway@" + s.address + "/postgres" }

// ask does a statement, and reads the one value that it returns.
func ask[T any](ctx context.Context, s *pgServer, statement string) (value T, err error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	conn, err := pgx.Connect(ctx, s.url())
	if err != nil {
		return value, err
	}
	defer func() { _ = conn.Close(ctx) }() // nothing is left to lose
	return value, conn.QueryRow(ctx, statement).Scan(&value)
}

// do does statements that return nothing.
func (s *pgServer) do(ctx context.Context, statements string) error {
	conn, err := pgx.Connect(ctx, s.url())
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close(ctx) }() // nothing is left to lose
	_, err = conn.Exec(ctx, statements)
	return err
}

// await waits until the answer to a question is true.
func (s *pgServer) await(ctx context.Context, question string) error {
	ctx, cancel := context.WithTimeout(ctx, recovery)
	defer cancel()
	for {
		yes, err := ask[bool](ctx, s, question)
		if yes {
			return nil
		}
		if pause(ctx, 50*time.Millisecond) != nil {
			return fmt.Errorf("%s: it is still not so that %s: %w\n%s", s.name, question, err, s.tail(5))
		}
	}
}

// processes are the server and its children, which have process groups of their own.
func (s *pgServer) processes() []int {
	all := []int{s.pid()}
	out, _ := command(context.Background(), "pgrep", "-P", strconv.Itoa(all[0])) // it fails if there are none
	for text := range strings.FieldsSeq(out) {
		if pid, err := strconv.Atoi(text); err == nil {
			all = append(all, pid)
		}
	}
	return all
}

func (s *pgServer) pause() {
	halt(s.pid()) // first, so that it has no more children
	halt(s.processes()...)
}

func (s *pgServer) resume() {
	for _, pid := range s.processes() {
		_ = syscall.Kill(pid, syscall.SIGCONT) // as above
	}
}

// kill ends all processes of the server at once, if it was ever started.
func (s *pgServer) kill() {
	if ended, _ := s.life(); ended == nil {
		return
	}
	s.pause() // none notices that another has ended
	for _, pid := range s.processes()[1:] {
		_ = syscall.Kill(pid, syscall.SIGKILL)
	}
	s.process.kill()
}
