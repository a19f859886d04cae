package postgresql

import (
	"context"
	"fmt"
	"iter"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/webhook-gateway/webhook-gateway/server/commitlog"
)

const (
	// pollInterval is how often it is asked for news, beneath the notifications.
	pollInterval = 250 * time.Millisecond
	// pollTimeout is how long an answer is waited for.
	pollTimeout = 3 * time.Second
	// readTimeout is how long a query for commits may take: see bytesPerSecond.
	readTimeout = 10 * time.Second
	// readCommits and readBytes are how much one query reads: at least one commit.
	readCommits = 1024
	readBytes   = 4 << 20
)

// Read implements commitlog.Log.
func (l *Log) Read(ctx context.Context, after commitlog.Sequence) iter.Seq2[commitlog.Commit, error] {
	return func(yield func(commitlog.Commit, error) bool) {
		for {
			rows, err := l.next(ctx, after)
			if err != nil {
				yield(commitlog.Commit{}, err)
				return
			}
			if len(rows) == 0 {
				return
			}
			for _, row := range rows {
				after = commitlog.Sequence(row.Seq) //nolint:gosec // not negative
				l.remember(after, row.ID)
				if !yield(commitlog.Commit{Sequence: after, Bytes: row.Bytes}, nil) {
					return
				}
			}
		}
	}
}

// row is a row of the table of commits.
type row struct {
	Seq, ID int64
	Bytes   []byte
}

// next reads some commits after a sequence, and none if no more are known.
func (l *Log) next(ctx context.Context, after commitlog.Sequence) ([]row, error) {
	if l.ctx.Err() != nil {
		return nil, commitlog.ErrClosed
	}
	known, err := l.knownAfter(after)
	if err != nil || after >= known {
		return nil, err
	}
	ctx, cancel := l.within(ctx, readTimeout)
	defer cancel()
	rows, err := l.query(ctx, after, min(known, after+readCommits))
	if err != nil {
		if l.ctx.Err() != nil {
			err = commitlog.ErrClosed
		}
		return nil, fmt.Errorf("read commits: %w", err)
	}
	expected := int64(after) //nolint:gosec // never so many
	for _, row := range rows {
		if expected++; row.Seq != expected {
			return nil, l.missing(ctx, after, expected, known)
		}
	}
	if len(rows) == 0 {
		return nil, l.missing(ctx, after, expected+1, known)
	}
	return rows, nil
}

func (l *Log) query(ctx context.Context, after, upTo commitlog.Sequence) ([]row, error) {
	rows, err := l.pool.Query(ctx, l.config.sql(`
		SELECT seq, id, bytes FROM (
			SELECT seq, id, bytes, sum(octet_length(bytes)) OVER (ORDER BY seq ROWS UNBOUNDED PRECEDING) - octet_length(bytes) AS before
			FROM {commits} WHERE seq > $1 AND seq <= $2 AND seq > (SELECT trimmed FROM {facts})) AS next
		WHERE before < $3 ORDER BY seq`), int64(after), int64(upTo), readBytes) //nolint:gosec // never so many
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowToStructByPos[row])
}

// missing says why a commit is not there that was known.
func (l *Log) missing(ctx context.Context, after commitlog.Sequence, at int64, known commitlog.Sequence) error {
	var trimmed int64
	if err := l.pool.QueryRow(ctx, l.config.sql("SELECT trimmed FROM {facts}")).Scan(&trimmed); err != nil {
		return fmt.Errorf("read up to where commits are trimmed: %w", err)
	}
	if trimmed >= at {
		return &commitlog.TrimmedError{After: after, Trimmed: commitlog.Sequence(trimmed)} //nolint:gosec // not negative
	}
	newest, err := l.newest(ctx, known)
	switch {
	case err != nil:
		return fmt.Errorf("ask for the newest commit: %w", err)
	case newest >= commitlog.Sequence(at): //nolint:gosec // not negative
		return fmt.Errorf("commit %d is missing in the table %s, which has later ones: somebody has removed it: put back a backup of the database", at, l.config.commits())
	}
	return l.see(newest, known)
}

// keepPolling asks for news that no notification told of, and makes partitions ahead.
func (l *Log) keepPolling() {
	ticker := time.NewTicker(pollInterval)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
		case <-l.ctx.Done():
			return
		}
		ctx, cancel := l.within(l.ctx, pollTimeout)
		err := l.poll(ctx)
		if err == nil {
			if late := l.makePartition(ctx, l.numberOf(l.known()+commitlog.Sequence(l.perPartition/2))); late != nil {
				l.logger.WarnContext(ctx, "the next partition could not be made ahead: it is tried again", "error", late)
			}
		}
		cancel()
		l.polled(err)
	}
}

// poll asks which commit is the newest, and makes certain that it stays.
//
// A commit is not believed because it is seen. PostgreSQL shows it when the standby has
// it, but also when the wait for the standby was cancelled, and after a crash of the
// primary: then a failover would lose it. It is believed when the one who appended it was
// told so without a warning, and says so in a notification; or when something that this
// process has committed after it saw the commit is on the standby. Only the newest one can
// be in doubt: nobody appends after one that he does not believe.
func (l *Log) poll(ctx context.Context) error {
	known := l.known()
	newest, err := l.newest(ctx, known)
	if err != nil {
		return fmt.Errorf("ask for the newest commit: %w", err)
	}
	if err := l.see(newest, known); err != nil {
		l.logger.ErrorContext(ctx, "the PostgreSQL server has lost commits that it had acknowledged", "error", err)
		return err
	}
	if newest <= known && !l.failing() {
		return nil
	}
	err = l.certain(ctx, func(conn *pgx.Conn) error {
		tag, err := conn.Exec(ctx, `SELECT pg_logical_emit_message(true, 'webhook-gateway', '') WHERE current_setting('synchronous_standby_names') <> ''`)
		if err == nil && tag.RowsAffected() == 0 && l.config.SynchronousStandby == StandbyRequired {
			err = errNoStandby
		}
		return err
	})
	switch {
	case err != nil && newest <= known:
		return fmt.Errorf("commits are not taken: %w", err)
	case err != nil:
		l.know(newest - 1)
		return fmt.Errorf("the newest commit, %d, is not certain to be on the standby: %w", newest, err)
	}
	l.know(newest)
	l.recovered()
	return nil
}

// newest returns the sequence of the newest commit that is seen.
func (l *Log) newest(ctx context.Context, known commitlog.Sequence) (commitlog.Sequence, error) {
	for _, from := range []commitlog.Sequence{known, 0} {
		var newest int64
		err := l.pool.QueryRow(ctx, l.config.sql(`SELECT greatest((SELECT max(seq) FROM {commits} WHERE seq >= $1), (SELECT trimmed FROM {facts}))`),
			int64(from)).Scan(&newest) //nolint:gosec // never so many
		if err != nil {
			return 0, err
		}
		if at := commitlog.Sequence(newest); at >= known || from == 0 { //nolint:gosec // not negative
			return at, nil
		}
	}
	return 0, nil
}
