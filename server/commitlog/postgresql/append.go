package postgresql

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/webhook-gateway/webhook-gateway/server/commitlog"
)

const (
	// appendTimeout is how long an answer is waited for, and bytesPerSecond how much longer if
	// the commit is large.
	appendTimeout  = 3 * time.Second
	bytesPerSecond = 4 << 20
)

// Append implements commitlog.Log.
func (l *Log) Append(ctx context.Context, after commitlog.Sequence, commit []byte) (commitlog.Sequence, error) {
	if l.ctx.Err() != nil {
		return 0, commitlog.ErrClosed
	}
	within, cancel := l.within(ctx, appendTimeout+time.Duration(len(commit))*time.Second/bytesPerSecond)
	defer cancel()
	at := after + 1
	err := l.insert(within, at, commit)
	switch {
	case l.ctx.Err() != nil:
		return 0, commitlog.ErrClosed
	case err == nil, errors.Is(err, commitlog.ErrTaken):
		l.appended(nil)
	case ctx.Err() == nil:
		if within.Err() != nil {
			err = fmt.Errorf("PostgreSQL, or its synchronous standby, does not answer: %w", err)
		}
		l.appended(err)
	}
	if err != nil {
		return 0, fmt.Errorf("append a commit: %w", err)
	}
	l.know(at)
	l.tell()
	return at, nil
}

// insert stores a commit at a sequence. There must be none, and the one before must be the
// one that this process knows.
func (l *Log) insert(ctx context.Context, at commitlog.Sequence, commit []byte) error {
	if err := l.makePartition(ctx, l.numberOf(at)); err != nil {
		return err
	}
	id, before := rand.Int64(), l.idOf(at-1) //nolint:gosec // not a secret
	var stored bool
	err := l.certain(ctx, func(conn *pgx.Conn) error {
		return conn.QueryRow(ctx, l.config.sql(`
			WITH stored AS (
				INSERT INTO {commits} (seq, id, bytes)
				SELECT $1::bigint, $2::bigint, $3::bytea
				WHERE (NOT $5::boolean OR current_setting('synchronous_standby_names') <> '')
				AND (EXISTS (SELECT FROM {commits} WHERE seq = $1::bigint - 1 AND id = coalesce($4::bigint, id))
					OR (SELECT trimmed FROM {facts}) = $1::bigint - 1)
				ON CONFLICT DO NOTHING RETURNING seq)
			SELECT EXISTS (SELECT FROM stored)`),
			int64(at), id, commit, before, l.config.SynchronousStandby == StandbyRequired).Scan(&stored) //nolint:gosec // never so many
	})
	switch {
	case is(err, "23514"): // it has no partition: a failover has lost it
		l.partitions.Delete(l.numberOf(at))
		return err
	case err != nil:
		return err
	case !stored:
		return l.whyNot(ctx, at, before)
	}
	l.remember(at, id)
	return nil
}

// whyNot says why a commit was not stored.
func (l *Log) whyNot(ctx context.Context, at commitlog.Sequence, before *int64) error {
	var has *int64
	var standbys string
	err := l.pool.QueryRow(ctx, l.config.sql("SELECT (SELECT id FROM {commits} WHERE seq = $1), current_setting('synchronous_standby_names')"),
		int64(at-1)).Scan(&has, &standbys) //nolint:gosec // never so many
	switch {
	case err != nil:
		return err
	case standbys == "" && l.config.SynchronousStandby == StandbyRequired:
		return errNoStandby
	case has != nil && before != nil && *has != *before:
		return fmt.Errorf("%w: commit %d is another than it was", commitlog.ErrTaken, at-1)
	}
	return commitlog.ErrTaken
}

// certain calls a function with a connection, and returns an error if what it has committed
// is not certain to be on the synchronous standby. The server only warns when a wait for the
// standby was cancelled: the statement succeeds all the same.
func (l *Log) certain(ctx context.Context, do func(*pgx.Conn) error) error {
	return l.pool.AcquireFunc(ctx, func(conn *pgxpool.Conn) error {
		data := conn.Conn().PgConn().CustomData()
		delete(data, warned)
		if err := do(conn.Conn()); err != nil {
			return err
		}
		if warning, ok := data[warned]; ok {
			return fmt.Errorf("the commit is not certain to be on the standby: %v", warning)
		}
		return nil
	})
}

const warned = "webhook-gateway: warned"

// noticed keeps a warning for certain.
func noticed(conn *pgconn.PgConn, notice *pgconn.Notice) {
	if notice.SeverityUnlocalized == "WARNING" || notice.SeverityUnlocalized == "" {
		conn.CustomData()[warned] = notice.Message
	}
}

// is reports whether an error is one of the server with this code.
func is(err error, code string) bool {
	var answer *pgconn.PgError
	return errors.As(err, &answer) && answer.Code == code
}
