package postgresql

import (
	"errors"
	"fmt"
	"regexp"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/webhook-gateway/webhook-gateway/server/fielderr"
)

// Config says where the tables are.
type Config struct {
	// URL of the database, or the key-value form of libpq. Of several hosts the one that can
	// be written to is used. Passwords are better in a file: see passfile.
	URL string `yaml:"url"`
	// Table is the name of the table of commits, and what the names of the others begin with.
	Table string `yaml:"table"`
}

// DefaultConfig returns a configuration that lacks a URL.
func DefaultConfig() Config { return Config{Table: "webhook_gateway"} }

var tableName = regexp.MustCompile(`^[a-z_][a-z0-9_]{0,39}$`)

// Validate returns all that is wrong with the configuration.
func (c Config) Validate() error {
	var errs []error
	if c.URL == "" {
		errs = append(errs, fielderr.New("url", "give the URL of the database, such as postgres://gateway@db-1,db-2/webhooks"))
	}
	if !tableName.MatchString(c.Table) {
		errs = append(errs, fielderr.New("table", "%q is no name of a table: it has 1 to 40 small letters, digits and _", c.Table))
	}
	return errors.Join(errs...)
}

// pool returns the settings of the connections.
func (c Config) pool() (*pgxpool.Config, error) {
	settings, err := pgxpool.ParseConfig(c.URL)
	if err != nil {
		return nil, fielderr.New("url", "%v", err) // it has no password
	}
	settings.MaxConns = max(settings.MaxConns, 4)
	// What is acknowledged is on the disk, and on the synchronous standby if there is one.
	settings.ConnConfig.RuntimeParams["synchronous_commit"] = "on"
	settings.ConnConfig.RuntimeParams["application_name"] = "webhook-gateway"
	return settings, nil
}

// sql puts the names of the tables into a statement.
func (c Config) sql(statement string) string {
	return strings.NewReplacer(
		"{commits}", pgx.Identifier{c.Table + "_commits"}.Sanitize(),
		"{facts}", pgx.Identifier{c.Table + "_facts"}.Sanitize(),
	).Replace(statement)
}

func (c Config) partition(n uint64) string {
	return pgx.Identifier{fmt.Sprintf("%s_commits_%d", c.Table, n)}.Sanitize()
}

func (c Config) channel() string { return c.Table + "_commits" }
