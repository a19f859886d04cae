package postgresql

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"
)

// version of the tables.
const version = 1

// tables are the tables and their columns.
var tables = []struct {
	name, create string
	columns      []string
}{
	{
		name: "commits",
		// Values are stored as they are: to compress them takes longer than to write them.
		create: `CREATE TABLE {commits} (seq bigint PRIMARY KEY, id bigint NOT NULL, bytes bytea NOT NULL) PARTITION BY RANGE (seq);
			ALTER TABLE {commits} ALTER bytes SET STORAGE EXTERNAL`,
		columns: []string{"seq bigint", "id bigint", "bytes bytea"},
	},
	{
		name: "facts",
		create: `CREATE TABLE {facts} (one boolean PRIMARY KEY DEFAULT true CHECK (one), version integer NOT NULL, trimmed bigint NOT NULL);
			INSERT INTO {facts} (version, trimmed) VALUES (1, 0)`,
		columns: []string{"one boolean", "version integer", "trimmed bigint"},
	},
}

// prepare creates the tables, or checks those that are there.
func (l *Log) prepare(ctx context.Context) error {
	var user string
	var schema *string
	err := l.pool.QueryRow(ctx, "SELECT current_user, coalesce((SELECT nspname FROM pg_namespace WHERE nspname = $1), CASE WHEN $1 = '' THEN current_schema() END)", l.config.Schema).Scan(&user, &schema)
	switch {
	case err != nil:
		return fmt.Errorf("connect to PostgreSQL: %w", explain(err))
	case schema == nil && l.config.Schema == "":
		return errors.New("the search path of the user has no schema that exists: name one as schema")
	case schema == nil:
		return fmt.Errorf("there is no schema %s in the database: CREATE SCHEMA %[1]s AUTHORIZATION %s", l.config.Schema, pgx.Identifier{user}.Sanitize())
	}
	l.config.Schema = *schema
	// The schema is needed for each new partition, not only for the tables.
	for _, privilege := range []string{"USAGE", "CREATE"} {
		var has bool
		if err := l.pool.QueryRow(ctx, "SELECT has_schema_privilege($1, $2)", l.config.Schema, privilege).Scan(&has); err != nil {
			return fmt.Errorf("ask for the privileges on the schema %s: %w", l.config.Schema, err)
		}
		if !has {
			return fmt.Errorf("the user %s may not make tables in the schema %s: GRANT USAGE, CREATE ON SCHEMA %[2]s TO %[1]s", pgx.Identifier{user}.Sanitize(), pgx.Identifier{l.config.Schema}.Sanitize())
		}
	}
	return pgx.BeginFunc(ctx, l.pool, func(tx pgx.Tx) error {
		if err := l.lock(ctx, tx); err != nil {
			return err
		}
		for _, table := range tables {
			if err := l.prepareTable(ctx, tx, user, table.name, table.create, table.columns); err != nil {
				return err
			}
		}
		var has int
		if err := tx.QueryRow(ctx, l.config.sql("SELECT version FROM {facts}")).Scan(&has); err != nil {
			return fmt.Errorf("read the version of the tables from %s: %w", l.config.name("facts"), err)
		}
		if has != version {
			return fmt.Errorf("the tables %s have version %d, and this gateway knows version %d: all gateways must be of one release", l.config.Table, has, version)
		}
		return nil
	})
}

// lock has one gateway at a time change the tables.
func (l *Log) lock(ctx context.Context, tx pgx.Tx) error {
	if _, err := tx.Exec(ctx, "SELECT pg_advisory_xact_lock(hashtextextended($1, 0))", l.config.channel()); err != nil {
		return fmt.Errorf("wait for other gateways that change the tables: %w", err)
	}
	return nil
}

func (l *Log) prepareTable(ctx context.Context, tx pgx.Tx, user, name, create string, columns []string) error {
	table := l.config.name(name)
	var exists, owner bool
	var ownerName *string
	err := tx.QueryRow(ctx, `SELECT count(*) > 0, coalesce(bool_or(pg_has_role(relowner, 'USAGE')), false), min(pg_get_userbyid(relowner))
		FROM pg_class WHERE oid = to_regclass($1)`, table).Scan(&exists, &owner, &ownerName)
	if err != nil {
		return fmt.Errorf("look for the table %s: %w", table, err)
	}
	if !exists {
		l.owner = user
		if _, err := tx.Exec(ctx, l.config.sql(create)); err != nil {
			return fmt.Errorf("create the table %s: %w", table, err)
		}
		return nil
	}
	if !owner {
		return fmt.Errorf("the table %s belongs to %s, and only its owner can make partitions: GRANT %[2]s TO %s",
			table, pgx.Identifier{*ownerName}.Sanitize(), pgx.Identifier{user}.Sanitize())
	}
	l.owner = *ownerName
	rows, err := tx.Query(ctx, `SELECT attname || ' ' || format_type(atttypid, atttypmod) FROM pg_attribute
		WHERE attrelid = to_regclass($1) AND attnum > 0 AND NOT attisdropped ORDER BY attnum`, table)
	if err != nil {
		return fmt.Errorf("ask for the columns of %s: %w", table, err)
	}
	has, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return fmt.Errorf("ask for the columns of %s: %w", table, err)
	}
	if !slices.Equal(has, columns) {
		return fmt.Errorf("the table %s has the columns %s, and must have %s: it is of something else, so choose another name with table, or another schema",
			table, strings.Join(has, ", "), strings.Join(columns, ", "))
	}
	return nil
}
