package postgresql

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/webhook-gateway/webhook-gateway/server/commitlog"
)

// partitionCommits is how many sequences a partition has. Trimming drops partitions: to
// delete rows would leave the table as large as it was, and be slow.
const partitionCommits = 100_000

// version of the tables.
const version = 1

// prepare checks the server, and creates the tables or checks those that are there.
func (l *Log) prepare(ctx context.Context) error {
	if err := l.checkServer(ctx); err != nil {
		return err
	}
	err := pgx.BeginFunc(ctx, l.pool, func(tx pgx.Tx) error {
		// One gateway at a time: IF NOT EXISTS alone may fail for two.
		if _, err := tx.Exec(ctx, "SELECT pg_advisory_xact_lock(hashtext($1))", l.config.Table); err != nil {
			return err
		}
		_, err := tx.Exec(ctx, l.config.sql(`
			CREATE TABLE IF NOT EXISTS {commits} (seq bigint PRIMARY KEY, bytes bytea NOT NULL) PARTITION BY RANGE (seq);
			CREATE TABLE IF NOT EXISTS {facts} (one boolean PRIMARY KEY DEFAULT true CHECK (one), version int NOT NULL, trimmed bigint NOT NULL);
			INSERT INTO {facts} (version, trimmed) VALUES (1, 0) ON CONFLICT DO NOTHING;
		`))
		return err
	})
	if err != nil {
		return fmt.Errorf("create the tables %s: %w: the user needs CREATE on the schema, the first time", l.config.Table, err)
	}
	var has int
	if err := l.pool.QueryRow(ctx, l.config.sql("SELECT version FROM {facts}")).Scan(&has); err != nil {
		return fmt.Errorf("read the version of the tables: %w", err)
	}
	if has != version {
		return fmt.Errorf("the tables %s have version %d, and this gateway knows version %d", l.config.Table, has, version)
	}
	return nil
}

// checkServer refuses a server that would lose what it has acknowledged.
func (l *Log) checkServer(ctx context.Context) error {
	var fsync, pages, standbys string
	var standby bool
	err := l.pool.QueryRow(ctx, `SELECT current_setting('fsync'), current_setting('full_page_writes'),
		current_setting('synchronous_standby_names'), pg_is_in_recovery()`).Scan(&fsync, &pages, &standbys, &standby)
	switch {
	case err != nil:
		return fmt.Errorf("ask PostgreSQL for its settings: %w", err)
	case standby:
		return errors.New("the PostgreSQL server is a standby: name the primary, or all of them")
	case fsync != "on" || pages != "on":
		return fmt.Errorf("the PostgreSQL server would lose commits: fsync is %s and full_page_writes is %s: set both to on", fsync, pages)
	case standbys == "":
		l.logger.WarnContext(ctx, "the PostgreSQL server has no synchronous standby: what it has acknowledged is as safe as its disk. See synchronous_standby_names")
	}
	return nil
}

// insert stores a commit at a sequence if it has none, and the one before it has.
func (l *Log) insert(ctx context.Context, at commitlog.Sequence, commit []byte) (bool, error) {
	if err := l.makeRoom(ctx, at); err != nil {
		return false, err
	}
	tag, err := l.pool.Exec(ctx, l.config.sql(`
		WITH stored AS (
			INSERT INTO {commits} (seq, bytes)
			SELECT $1::bigint, $2::bytea WHERE EXISTS (SELECT FROM {commits} WHERE seq = $1::bigint - 1) OR (SELECT trimmed FROM {facts}) = $1::bigint - 1
			ON CONFLICT DO NOTHING RETURNING seq)
		SELECT pg_notify($3::text, seq::text) FROM stored`), int64(at), commit, l.config.channel()) //nolint:gosec // never so many
	return tag.RowsAffected() == 1, err
}

// makeRoom makes the partition of a sequence, and the next one in good time.
func (l *Log) makeRoom(ctx context.Context, at commitlog.Sequence) error {
	for _, s := range []commitlog.Sequence{at, at + partitionCommits/2} {
		n := uint64(s) / partitionCommits
		if _, ok := l.parts.Load(n); ok {
			continue
		}
		_, err := l.pool.Exec(ctx, fmt.Sprintf("CREATE TABLE IF NOT EXISTS %s PARTITION OF %s FOR VALUES FROM (%d) TO (%d)",
			l.config.partition(n), l.config.sql("{commits}"), n*partitionCommits, (n+1)*partitionCommits))
		var known *pgconn.PgError
		if errors.As(err, &known) && (known.Code == "42P07" || known.Code == "42P17" || known.Code == "23505") { // another gateway was faster
			err = nil
		}
		if err != nil {
			return fmt.Errorf("make a partition: %w", err)
		}
		l.parts.Store(n, true)
	}
	return nil
}

// Trim implements commitlog.Log.
func (l *Log) Trim(ctx context.Context, upTo commitlog.Sequence) error {
	if l.ctx.Err() != nil {
		return commitlog.ErrClosed
	}
	_, err := l.pool.Exec(ctx, l.config.sql("UPDATE {facts} SET trimmed = $1 WHERE trimmed < $1"), int64(upTo)) //nolint:gosec // never so many
	if err != nil {
		return fmt.Errorf("trim the commits: %w", err)
	}
	// NOTE: What is read of a partition is read before it goes, or refused as trimmed.
	last := uint64(upTo+1) / partitionCommits // the partition of the first that stays
	rows, err := l.pool.Query(ctx, `SELECT relname FROM pg_inherits JOIN pg_class ON pg_class.oid = inhrelid WHERE inhparent = $1::regclass`, l.config.sql("{commits}"))
	if err != nil {
		return fmt.Errorf("list the partitions: %w", err)
	}
	names, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return fmt.Errorf("list the partitions: %w", err)
	}
	for _, name := range names {
		number, _ := strings.CutPrefix(name, l.config.Table+"_commits_")
		n, err := strconv.ParseUint(number, 10, 64)
		if err != nil || n >= last {
			continue
		}
		if _, err := l.pool.Exec(ctx, "DROP TABLE IF EXISTS "+l.config.partition(n)); err != nil {
			return fmt.Errorf("drop a partition: %w", err)
		}
		l.parts.Delete(n)
	}
	return nil
}
