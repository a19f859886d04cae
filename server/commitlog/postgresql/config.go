package postgresql

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/webhook-gateway/webhook-gateway/server/fielderr"
	"github.com/webhook-gateway/webhook-gateway/server/secret"
)

// Config says where the tables are.
type Config struct {
	// URL of the database, or the key-value form of libpq, without a password. Of several
	// hosts the primary is used. TLS, and what else libpq knows, is said here too.
	URL string `yaml:"url"`
	// Password of the user. Empty: that of the file which PGPASSFILE names, if it has one.
	Password secret.Secret `yaml:"password"`
	// Schema has the tables, and exists. Empty: the first one of the user's search path.
	Schema string `yaml:"schema"`
	// Table is what the names of the tables begin with: several event logs in a schema
	// have different ones.
	Table string `yaml:"table"`
	// SynchronousStandby says whether a commit has to be on the disks of two machines:
	// StandbyOptional or StandbyRequired.
	SynchronousStandby string `yaml:"synchronous_standby"`
}

// Whether the server must have a synchronous standby.
const (
	// StandbyOptional leaves it to synchronous_standby_names of the server. It is warned of a
	// server that has none.
	StandbyOptional = "optional"
	// StandbyRequired takes no commit while synchronous_standby_names is empty.
	StandbyRequired = "required"
)

// DefaultConfig returns a configuration that lacks a URL.
func DefaultConfig() Config {
	return Config{Table: "webhook_gateway", SynchronousStandby: StandbyOptional}
}

var (
	// tableName leaves room for what is added to it: a name has 63 bytes at most.
	tableName  = regexp.MustCompile(`^[a-z_][a-z0-9_]{0,31}$`)
	schemaName = regexp.MustCompile(`^([a-z_][a-z0-9_]{0,62})?$`)
	// inlinePassword is too broad rather than too narrow.
	inlinePassword = regexp.MustCompile(`(?i)password\s*=|^[a-z]+://[^@]*:[^@]*@`)
)

// Validate returns all that is wrong with the configuration.
func (c Config) Validate() error {
	var errs []error
	switch {
	case c.URL == "":
		errs = append(errs, fielderr.New("url", "give the URL of the database, such as postgres://gateway@db-1,db-2/webhooks?sslmode=verify-full"))
	case inlinePassword.MatchString(c.URL):
		errs = append(errs, fielderr.New("url", "it has a password, which anybody sees who sees the configuration: take it out, and give it as password, by env:NAME or file:PATH, or in the file that PGPASSFILE names"))
	default:
		_, err := c.connect()
		errs = append(errs, err)
	}
	if !tableName.MatchString(c.Table) {
		errs = append(errs, fielderr.New("table", "%q is no name of a table: it has 1 to 32 small letters, digits and _, and does not begin with a digit", c.Table))
	}
	if !schemaName.MatchString(c.Schema) {
		errs = append(errs, fielderr.New("schema", "%q is no name of a schema: it has small letters, digits and _, and does not begin with a digit", c.Schema))
	}
	if c.SynchronousStandby != StandbyOptional && c.SynchronousStandby != StandbyRequired {
		errs = append(errs, fielderr.New("synchronous_standby", "must be %s or %s, not %q", StandbyOptional, StandbyRequired, c.SynchronousStandby))
	}
	return errors.Join(errs...)
}

const (
	// connectTimeout is how long a host is waited for, if the URL does not say it, before the
	// next one is tried.
	connectTimeout = 1500 * time.Millisecond
	// pingTimeout is how long a connection that was idle may take to show that it lives.
	pingTimeout = time.Second
	// maxConns is far more than are used at a time: one that has failed keeps its place until
	// it is closed, which a host that does not answer delays.
	maxConns = 12
	// statementTimeout ends what the server does for a gateway that is gone, and
	// idleTimeout the transaction, and its locks, of one that stands still.
	statementTimeout = "60s"
	idleTimeout      = "3s"
)

// connect returns how to connect.
func (c Config) connect() (*pgxpool.Config, error) {
	settings, err := pgxpool.ParseConfig(c.URL)
	if err != nil {
		return nil, fielderr.New("url", "%v", err) // it has no password: see Validate
	}
	settings.MaxConns, settings.MinConns, settings.MinIdleConns = max(settings.MaxConns, maxConns), 0, 0
	settings.PingTimeout = pingTimeout
	conn := settings.ConnConfig
	if !c.Password.IsZero() {
		conn.Password = c.Password.Reveal()
	}
	if conn.ConnectTimeout == 0 {
		conn.ConnectTimeout = connectTimeout
	}
	switch params := conn.RuntimeParams; params["synchronous_commit"] {
	case "", "on", "remote_apply":
		set(params, "synchronous_commit", "on")
		set(params, "statement_timeout", statementTimeout)
		set(params, "idle_in_transaction_session_timeout", idleTimeout)
		set(params, "application_name", "webhook-gateway")
		params["client_min_messages"] = "warning" // see certain
	default:
		return nil, fielderr.New("url", "it has synchronous_commit=%s, with which what was acknowledged may be lost: take it out, then it is on", params["synchronous_commit"])
	}
	return settings, nil
}

// set sets a parameter that has no value.
func set(params map[string]string, name, value string) {
	if params[name] == "" {
		params[name] = value
	}
}

// sql puts the names of the tables into a statement.
func (c Config) sql(statement string) string {
	return strings.NewReplacer("{commits}", c.commits(), "{facts}", c.name("facts")).Replace(statement)
}

func (c Config) commits() string { return c.name("commits") }

func (c Config) partition(n uint64) string { return c.name(fmt.Sprint("commits_", n)) }

func (c Config) name(suffix string) string {
	return pgx.Identifier{c.Schema, c.Table + "_" + suffix}.Sanitize()
}

// channel is that of the notifications.
func (c Config) channel() string {
	name := c.Schema + "." + c.Table
	return name[max(0, len(name)-63):]
}
