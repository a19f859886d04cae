package postgresql

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/webhook-gateway/webhook-gateway/server/secret"
)

// refused opens a log that must be refused, with words.
func refused(t *testing.T, config Config, words ...string) {
	t.Helper()
	began := time.Now()
	log, err := Open(t.Context(), config, slog.New(slog.DiscardHandler))
	if took := time.Since(began); took > patience {
		t.Errorf("Open took %v", took)
	}
	if err == nil {
		_ = log.Close()
		t.Errorf("it is opened, and should say %q", words)
		return
	}
	for _, word := range words {
		if !strings.Contains(err.Error(), word) {
			t.Errorf("Open() = %v, which does not say %q", err, word)
		}
	}
}

func TestValidate(t *testing.T) {
	for _, test := range []struct {
		name   string
		change func(*Config)
		words  string
	}{
		{"no URL", func(c *Config) { c.URL = "" }, "url: give the URL"},
		{"no URL at all", func(c *Config) { c.URL = "postgres://host:port/" }, "url: cannot parse"},
		{"a password", func(c *Config) { c.URL = "postgres://me:hunter22@db/webhooks" }, "url: it has a password"},
		{"a password with what a URL has", func(c *Config) { c.URL = "postgres://me:hunter22/?#@db/webhooks" }, "url: it has a password"},
		{"a password as a parameter", func(c *Config) { c.URL = "postgres://db/webhooks?password=hunter22" }, "url: it has a password"},
		{"a password as a key", func(c *Config) { c.URL = "host=db password = hunter22" }, "url: it has a password"},
		{"the password of a key", func(c *Config) { c.URL = "postgres://db/webhooks?sslpassword=hunter22" }, "url: it has a password"},
		{"asynchronous", func(c *Config) { c.URL = "postgres://db/webhooks?synchronous_commit=off" }, "url: it has synchronous_commit=off, with which what was acknowledged may be lost: take it out"},
		{"local", func(c *Config) { c.URL = "postgres://db/webhooks?synchronous_commit=local" }, "url: it has synchronous_commit=local"},
		{"a table", func(c *Config) { c.Table = "Log; DROP" }, `table: "Log; DROP" is no name of a table`},
		{"a long table", func(c *Config) { c.Table = strings.Repeat("x", 33) }, "is no name of a table: it has 1 to 32"},
		{"a schema", func(c *Config) { c.Schema = "a.b" }, `schema: "a.b" is no name of a schema`},
		{"a standby", func(c *Config) { c.SynchronousStandby = "" }, `synchronous_standby: must be optional or required, not ""`},
	} {
		t.Run(test.name, func(t *testing.T) {
			config := DefaultConfig()
			config.URL = "postgres://gateway@db-1,db-2:5433/webhooks?sslmode=require"
			if err := config.Validate(); err != nil {
				t.Fatalf("without the fault: %v", err)
			}
			test.change(&config)
			err := config.Validate()
			if err == nil || !strings.Contains(err.Error(), test.words) || strings.Contains(err.Error(), "hunter") {
				t.Errorf("Validate() = %v, which should say %q", err, test.words)
			}
			refused(t, config, test.words)
		})
	}
}

// TestServersRefused: those that would lose what they have acknowledged, or take nothing.
func TestServersRefused(t *testing.T) {
	t.Parallel()
	server := startServer(t)
	for _, test := range []struct{ name, value, words string }{
		{"fsync", "off", "would lose commits when its machine crashes: set fsync to on"},
		{"full_page_writes", "off", "in the midst of writing a page: set full_page_writes to on"},
		{"default_transaction_read_only", "on", "takes no writes: set default_transaction_read_only to off"},
	} {
		server.set(test.name, test.value)
		refused(t, configOf(server), test.words)
		server.exec("ALTER SYSTEM RESET " + test.name)
	}
}

func TestServers(t *testing.T) {
	t.Parallel()
	server := startServer(t, "synchronous_commit=off")
	required := configOf(server)
	required.SynchronousStandby = StandbyRequired
	refused(t, required, "has no synchronous standby, and synchronous_standby is required: name the standbys in synchronous_standby_names")

	var told logged
	log, err := Open(t.Context(), configOf(server), told.logger())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = log.Close() })
	settle(t, log, 0, "first")
	if text := told.String(); strings.Count(text, "what it has acknowledged is lost with its disk") != 1 {
		t.Errorf("of a server without a standby it is logged %q", text)
	}
	var has string
	if err := log.pool.QueryRow(t.Context(), "SHOW synchronous_commit").Scan(&has); err != nil || has != "on" {
		t.Errorf("synchronous_commit is %s, %v", has, err)
	}

	standby := server.startStandby()
	if err := giveUp(t, configOf(standby), "is a standby"); err == nil || !strings.Contains(err.Error(), "the PostgreSQL server is a standby: name the primary, or all servers") {
		t.Errorf("Open() = %v of a standby", err)
	}
	both := openLog(t, configOf(standby, server))
	if got := readAll(t, both, 0); len(got) != 1 {
		t.Errorf("it reads %q", got)
	}

	// A pooler between may give connections without what was asked for.
	pooled := server.connect()
	t.Cleanup(func() { _ = pooled.Close(context.Background()) })
	if err := log.check(t.Context(), pooled.PgConn()); err == nil || !strings.Contains(err.Error(), "synchronous_commit is off although on was asked for") {
		t.Errorf("check() = %v", err)
	}
}

// TestStandbyIsRequired: no commit is taken, or believed, while the server waits for nobody.
func TestStandbyIsRequired(t *testing.T) {
	t.Parallel()
	primary, _ := startPair(t)
	config := configOf(primary)
	config.SynchronousStandby = StandbyRequired
	log := openLog(t, config)
	after := settle(t, log, 0, "first")
	// What was given at the start is stronger than what is set later: it is started anew.
	primary.kill()
	primary.args = append(primary.args, "-c", "synchronous_standby_names=")
	primary.start()
	eventually(t, "Err() says so", func() bool {
		return log.Err() != nil && strings.Contains(log.Err().Error(), "synchronous_standby is required")
	})
	if at, err := log.Append(bounded(t), after, []byte("second")); err == nil || !strings.Contains(err.Error(), "synchronous_standby is required") {
		t.Errorf("Append() = %d, %v", at, err)
	}
	optional := configOf(primary)
	settle(t, openLog(t, optional), after, "second")
	if got := readAll(t, log, after); len(got) > 0 {
		t.Errorf("it believes %q", got)
	}
}

// TestStandbyNamesAreTakenAway under a connection that lives.
func TestStandbyNamesAreTakenAway(t *testing.T) {
	t.Parallel()
	server := newServer(t)
	server.start()
	server.startStandby()
	server.set("synchronous_standby_names", "standby")
	server.until("SELECT EXISTS (SELECT FROM pg_stat_replication WHERE sync_state = 'sync')")
	config := configOf(server)
	config.SynchronousStandby = StandbyRequired
	log := openLog(t, config)
	after := settle(t, log, 0, "first")
	server.set("synchronous_standby_names", "")
	// A connection takes a setting over a moment after the server has it.
	var err error
	for err == nil {
		if after, err = log.Append(bounded(t), after, []byte("another")); err != nil && !strings.Contains(err.Error(), "synchronous_standby is required") {
			t.Errorf("Append() = %v", err)
		}
	}
	// What others append meanwhile is not believed.
	newest := log.known() + 1
	server.exec(fmt.Sprintf("INSERT INTO webhook_gateway_commits VALUES (%d, 7, 'without a standby')", newest))
	eventually(t, "Err() says so", func() bool {
		err := log.poll(t.Context())
		return err != nil && strings.Contains(err.Error(), "synchronous_standby is required")
	})
	if got := readAll(t, log, newest-1); len(got) > 0 {
		t.Errorf("it believes %q", got)
	}
}

// TestTables: those that cannot be used are named, with what to do.
func TestTables(t *testing.T) {
	t.Parallel()
	server := startServer(t)
	server.exec("CREATE ROLE guest LOGIN")
	guest := configOf(server)
	guest.URL = strings.Replace(guest.URL, "gateway@", "guest@", 1)
	refused(t, guest, `"guest" may not make tables in the schema "public": GRANT USAGE, CREATE ON SCHEMA "public" TO "guest"`)

	server.exec(`GRANT USAGE, CREATE ON SCHEMA "public" TO "guest"`)
	mine := guest
	mine.Table = "mine"
	settle(t, openLog(t, mine), 0, "first")
	settle(t, openLog(t, mine), 1, "second")

	openLog(t, configOf(server))
	refused(t, guest, `the table "public"."webhook_gateway_commits" belongs to "gateway", and only its owner can make partitions: GRANT "gateway" TO "guest"`)
	server.exec(`GRANT "gateway" TO "guest"`)
	settle(t, openLog(t, guest), 0, "first")
	if owner := ask[string](server, "SELECT relowner::regrole::text FROM pg_class WHERE relname = 'webhook_gateway_commits_0'"); owner != "gateway" {
		t.Errorf("the partition belongs to %s", owner)
	}

	elsewhere := configOf(server)
	elsewhere.Schema = "elsewhere"
	refused(t, elsewhere, `there is no schema elsewhere in the database: CREATE SCHEMA elsewhere AUTHORIZATION "gateway"`)
	elsewhere.Schema = ""
	elsewhere.URL += "?search_path=nowhere"
	refused(t, elsewhere, "the search path of the user has no schema that exists: name one as schema")

	server.exec("CREATE TABLE other_commits (seq integer, what text)")
	other := configOf(server)
	other.Table = "other"
	refused(t, other, `"public"."other_commits" has the columns seq integer, what text, and must have seq bigint, id bigint, bytes bytea`, "choose another name with table")

	server.exec("UPDATE mine_facts SET version = 2")
	refused(t, mine, "the tables mine have version 2, and this gateway knows version 1: all gateways must be of one release")
}

// TestPassword: from a secret or from the password file of libpq; a wrong one is not told.
func TestPassword(t *testing.T) {
	server := startServer(t)
	server.exec("CREATE ROLE locked LOGIN SUPERUSER PASSWORD 'correct horse'")
	hba := filepath.Join(server.data(), "pg_hba.conf")
	if err := os.WriteFile(hba, []byte("host all locked 127.0.0.1/32 scram-sha-256\nhost all all 127.0.0.1/32 trust\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	server.exec("SELECT pg_reload_conf()")
	config := configOf(server)
	config.URL = strings.Replace(config.URL, "gateway@", "locked@", 1)
	eventually(t, "a password is asked for", func() bool {
		log, err := Open(t.Context(), config, slog.New(slog.DiscardHandler))
		if err == nil {
			_ = log.Close()
		}
		return err != nil
	})
	config.Password = secret.New("wrong horse")
	if _, err := Open(t.Context(), config, slog.New(slog.DiscardHandler)); err == nil || strings.Contains(fmt.Sprintf("%+v %v", err, config), "wrong horse") {
		t.Errorf("Open() = %v with %v", err, config)
	}
	refused(t, config, "password authentication failed", "user=locked", "give the password of the user as password, by env:NAME or file:PATH")
	config.Password = secret.New("correct horse")
	settle(t, openLog(t, config), 0, "first")

	file := filepath.Join(t.TempDir(), "pgpass")
	if err := os.WriteFile(file, fmt.Appendf(nil, "127.0.0.1:%d:*:locked:correct horse\n", server.port), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PGPASSFILE", file)
	config.Password = secret.Secret{}
	settle(t, openLog(t, config), 1, "second")
}

// giveUp opens a log that does not become usable, and waits until it is told why. On a busy machine the first attempt may
// fail for another reason.
func giveUp(t *testing.T, config Config, why string) error {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var told logged
	opened := make(chan error, 1)
	go func() {
		log, err := Open(ctx, config, told.logger())
		if err == nil {
			_ = log.Close()
		}
		opened <- err
	}()
	eventually(t, "it says why", func() bool { return strings.Contains(told.String(), why) })
	cancel()
	return <-opened
}

// TestNoServer: it is waited for, and said which hosts were tried.
func TestNoServer(t *testing.T) {
	t.Parallel()
	server := newServer(t)
	err := giveUp(t, configOf(server), "connection refused")
	for _, word := range []string{"connect to PostgreSQL", fmt.Sprint("127.0.0.1:", server.port), "connection refused", ": start the server, or correct url"} {
		if err == nil || !strings.Contains(err.Error(), word) {
			t.Errorf("Open() = %v, which does not say %q", err, word)
		}
	}
	var told logged
	opened := make(chan error)
	go func() {
		log, err := Open(bounded(t), configOf(server), told.logger())
		if err == nil {
			_, err = log.Append(bounded(t), 0, []byte("first"))
			_ = log.Close()
		}
		opened <- err
	}()
	eventually(t, "it says that it waits", func() bool { return strings.Contains(told.String(), "PostgreSQL cannot be used yet") })
	server.start()
	if err := <-opened; err != nil {
		t.Error(err)
	}
}

// TestSaidOnce: a server that does not answer is tried twice a second, and told of once.
func TestSaidOnce(t *testing.T) {
	t.Parallel()
	listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		for range 4 {
			conn, err := listener.Accept()
			if err != nil {
				break
			}
			_, _ = conn.Read(make([]byte, 1<<10)) // who connects
			_ = conn.Close()
		}
		cancel()
	}()
	config := DefaultConfig()
	config.URL = "postgres://gateway@" + listener.Addr().String() + "/postgres?sslmode=disable"
	var told logged
	if log, err := Open(ctx, config, told.logger()); err == nil {
		_ = log.Close()
		t.Error("it is opened")
	}
	if n := strings.Count(told.String(), "PostgreSQL cannot be used yet"); n != 1 {
		t.Errorf("it is told %d times:\n%s", n, told.String())
	}
}

// TestNotLetIn: who is not let in is told what to do about it.
func TestNotLetIn(t *testing.T) {
	t.Parallel()
	server := startServer(t)
	server.exec("CREATE DATABASE closed")
	server.exec("REVOKE CONNECT ON DATABASE closed FROM PUBLIC; CREATE ROLE guest LOGIN; CREATE ROLE idle")
	for _, test := range []struct{ from, to, words string }{
		{"gateway@", "nobody@", `make the user (CREATE ROLE "nobody" LOGIN), or correct url`},
		{"gateway@", "idle@", `if it is there, ALTER ROLE "idle" LOGIN, and pg_hba.conf of the server must let it in`},
		{"/postgres", "/none", `make the database (CREATE DATABASE "none"), or correct url`},
		{"gateway@", "guest@", `GRANT CONNECT ON DATABASE "closed" TO "guest"`},
	} {
		config := configOf(server)
		config.URL = strings.Replace(config.URL, test.from, test.to, 1)
		if test.to == "guest@" {
			config.URL = strings.Replace(config.URL, "/postgres", "/closed", 1)
		}
		refused(t, config, "connect to PostgreSQL", test.words)
	}
	config := configOf(server)
	config.URL += "?sslmode=require"
	if err := giveUp(t, config, "does not speak TLS"); err == nil || !strings.Contains(err.Error(), "the server does not speak TLS: set ssl to on for it, or take sslmode out of url") {
		t.Errorf("Open() = %v without TLS", err)
	}
}
