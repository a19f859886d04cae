package postgresql

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/webhook-gateway/webhook-gateway/server/commitlog"
)

const (
	// partitionCommits is how many sequences a partition has. Trimming drops partitions: to
	// delete rows would leave the table as large as it was, and be slow.
	partitionCommits = 100_000
	// lockTimeout is how long a partition waits for others who use the table, such as a
	// backup; all others wait behind it meanwhile.
	lockTimeout = "SET LOCAL lock_timeout = '1s'"
	// trimTimeout is how long a trim may take. What it has not done the next one does.
	trimTimeout = 30 * time.Second
)

// numberOf returns the number of the partition of a commit.
func (l *Log) numberOf(at commitlog.Sequence) uint64 { return uint64(at) / l.perPartition }

// makePartition makes a partition if there is none.
func (l *Log) makePartition(ctx context.Context, n uint64) error {
	if _, ok := l.partitions.Load(n); ok {
		return nil
	}
	name := l.config.partition(n)
	err := pgx.BeginFunc(ctx, l.pool, func(tx pgx.Tx) error {
		if err := l.lock(ctx, tx); err != nil {
			return err
		}
		var exists bool
		if err := tx.QueryRow(ctx, "SELECT to_regclass($1) IS NOT NULL", name).Scan(&exists); err != nil || exists {
			return err
		}
		// To attach one that was made apart does not wait for those who read.
		_, err := tx.Exec(ctx, l.config.sql(fmt.Sprintf(`%s; SET LOCAL ROLE %s;
			CREATE TABLE %s (LIKE {commits} INCLUDING ALL);
			ALTER TABLE {commits} ATTACH PARTITION %[3]s FOR VALUES FROM (%d) TO (%d)`, lockTimeout, pgx.Identifier{l.owner}.Sanitize(), name, n*l.perPartition, (n+1)*l.perPartition)))
		return err
	})
	if err != nil {
		return fmt.Errorf("make the partition %s: %w", name, err)
	}
	l.partitions.Store(n, true)
	return nil
}

// Trim implements commitlog.Log.
func (l *Log) Trim(ctx context.Context, upTo commitlog.Sequence) error {
	if l.ctx.Err() != nil {
		return commitlog.ErrClosed
	}
	ctx, cancel := l.within(ctx, trimTimeout)
	defer cancel()
	if known := l.known(); upTo > known {
		return fmt.Errorf("trim the commits up to %d: the newest is %d", upTo, known)
	}
	if _, err := l.pool.Exec(ctx, l.config.sql("UPDATE {facts} SET trimmed = $1 WHERE trimmed < $1"), int64(upTo)); err != nil { //nolint:gosec // never so many
		return fmt.Errorf("trim the commits: %w", err)
	}
	// Whoever reads a partition has read it before it goes, or is told that it is trimmed.
	rows, err := l.pool.Query(ctx, "SELECT relname FROM pg_inherits JOIN pg_class ON pg_class.oid = inhrelid WHERE inhparent = $1::regclass", l.config.commits())
	if err != nil {
		return fmt.Errorf("list the partitions: %w", err)
	}
	names, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return fmt.Errorf("list the partitions: %w", err)
	}
	first := l.numberOf(upTo + 1) // the partition of the first that stays
	for _, name := range names {
		number, _ := strings.CutPrefix(name, l.config.Table+"_commits_")
		n, err := strconv.ParseUint(number, 10, 64)
		if err != nil || n >= first {
			continue
		}
		if err := l.drop(ctx, n); err != nil {
			return fmt.Errorf("drop the partition %s: %w", name, err)
		}
	}
	return nil
}

func (l *Log) drop(ctx context.Context, n uint64) error {
	return pgx.BeginFunc(ctx, l.pool, func(tx pgx.Tx) error {
		_, err := tx.Exec(ctx, lockTimeout+"; SET LOCAL ROLE "+pgx.Identifier{l.owner}.Sanitize()+"; DROP TABLE IF EXISTS "+l.config.partition(n))
		return err
	})
}
