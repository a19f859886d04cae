// Package postgresql keeps a commit log in a table of PostgreSQL. Sequences have no holes.
package postgresql

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/webhook-gateway/webhook-gateway/server/commitlog"
)

const (
	// appendTimeout is how long an answer is waited for.
	appendTimeout = 3 * time.Second
	// pollInterval is how often it is asked for news, beneath the notifications.
	pollInterval = 250 * time.Millisecond
	// readCommits is how many commits one query reads.
	readCommits = 64
)

// Log is a commit log in a table. It implements commitlog.Log.
type Log struct {
	config Config
	logger *slog.Logger
	pool   *pgxpool.Pool

	mu     sync.Mutex
	head   commitlog.Sequence // the newest that is known
	change chan struct{}
	err    error // of the last poll

	ctx   context.Context //nolint:containedctx // the life of the log
	end   context.CancelFunc
	tasks sync.WaitGroup
	// parts are the partitions that are known to exist, by number.
	parts sync.Map
}

var _ commitlog.Log = (*Log)(nil)

// Open connects to the server, and creates the tables, or checks those that are there.
func Open(ctx context.Context, config Config, logger *slog.Logger) (*Log, error) {
	if err := config.Validate(); err != nil {
		return nil, err
	}
	settings, err := config.pool()
	if err != nil {
		return nil, err
	}
	pool, err := pgxpool.NewWithConfig(ctx, settings)
	if err != nil {
		return nil, fmt.Errorf("connect to PostgreSQL: %w", err)
	}
	l := &Log{config: config, logger: logger, pool: pool, change: make(chan struct{})}
	if err := l.prepare(ctx); err != nil {
		pool.Close()
		return nil, err
	}
	l.ctx, l.end = context.WithCancel(context.Background())
	if err := l.poll(ctx); err != nil {
		l.end()
		pool.Close()
		return nil, err
	}
	l.tasks.Go(l.listen)
	l.tasks.Go(l.keepPolling)
	return l, nil
}

// Append implements commitlog.Log.
func (l *Log) Append(ctx context.Context, after commitlog.Sequence, commit []byte) (commitlog.Sequence, error) {
	ctx, cancel := l.within(ctx)
	defer cancel()
	at := after + 1
	stored, err := l.insert(ctx, at, commit)
	switch {
	case l.ctx.Err() != nil:
		return 0, commitlog.ErrClosed
	case err != nil:
		return 0, fmt.Errorf("append a commit: %w", err)
	case !stored:
		return 0, commitlog.ErrTaken
	}
	l.know(at)
	return at, nil
}

// Read implements commitlog.Log.
func (l *Log) Read(ctx context.Context, after commitlog.Sequence) iter.Seq2[commitlog.Commit, error] {
	return func(yield func(commitlog.Commit, error) bool) {
		for {
			if l.ctx.Err() != nil {
				yield(commitlog.Commit{}, commitlog.ErrClosed)
				return
			}
			if after >= l.known() {
				return
			}
			commits, err := l.read(ctx, after)
			if err == nil && len(commits) > 0 && commits[0].Sequence != after+1 {
				err = &commitlog.TrimmedError{After: after, Trimmed: commits[0].Sequence - 1}
			}
			if err != nil {
				yield(commitlog.Commit{}, err)
				return
			}
			if len(commits) == 0 {
				return
			}
			for _, commit := range commits {
				if !yield(commit, nil) {
					return
				}
				after = commit.Sequence
			}
		}
	}
}

func (l *Log) read(ctx context.Context, after commitlog.Sequence) ([]commitlog.Commit, error) {
	rows, err := l.pool.Query(ctx, l.config.sql(`SELECT seq, bytes FROM {commits}
		WHERE seq > greatest($1, (SELECT trimmed FROM {facts})) ORDER BY seq LIMIT $2`), int64(after), readCommits) //nolint:gosec // never so many
	if err != nil {
		return nil, fmt.Errorf("read commits: %w", err)
	}
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (c commitlog.Commit, err error) {
		var at int64
		err = row.Scan(&at, &c.Bytes)
		c.Sequence = commitlog.Sequence(at) //nolint:gosec // not negative
		return c, err
	})
}

// Changed implements commitlog.Log.
func (l *Log) Changed() <-chan struct{} {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.change
}

// Err implements commitlog.Log.
func (l *Log) Err() error {
	if l.ctx.Err() != nil {
		return commitlog.ErrClosed
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.err
}

// Close implements commitlog.Log.
func (l *Log) Close() error {
	l.end()
	l.tasks.Wait()
	l.pool.Close()
	return nil
}

func (l *Log) within(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithTimeout(ctx, appendTimeout)
	stop := context.AfterFunc(l.ctx, cancel)
	return ctx, func() { stop(); cancel() }
}

func (l *Log) known() commitlog.Sequence {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.head
}

// know says that a commit exists.
func (l *Log) know(at commitlog.Sequence) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if at > l.head {
		l.head = at
		close(l.change)
		l.change = make(chan struct{})
	}
}

// keepPolling asks for news that no notification told of.
func (l *Log) keepPolling() {
	ticker := time.NewTicker(pollInterval)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
		case <-l.ctx.Done():
			return
		}
		ctx, cancel := l.within(l.ctx)
		err := l.poll(ctx)
		cancel()
		l.mu.Lock()
		l.err = err
		l.mu.Unlock()
	}
}

func (l *Log) poll(ctx context.Context) error {
	var head int64
	err := l.pool.QueryRow(ctx, l.config.sql(`SELECT coalesce((SELECT max(seq) FROM {commits}), (SELECT trimmed FROM {facts}), 0)`)).Scan(&head)
	if err != nil {
		return fmt.Errorf("ask for the newest commit: %w", err)
	}
	l.know(commitlog.Sequence(head)) //nolint:gosec // not negative
	return nil
}

// listen waits for notifications on a connection of its own.
func (l *Log) listen() {
	for l.ctx.Err() == nil {
		if err := l.listenOnce(); err != nil && l.ctx.Err() == nil {
			l.logger.Warn("no notifications from PostgreSQL: it is asked now and then", "error", err)
			select {
			case <-time.After(time.Second):
			case <-l.ctx.Done():
			}
		}
	}
}

func (l *Log) listenOnce() error {
	conn, err := l.pool.Acquire(l.ctx)
	if err != nil {
		return err
	}
	defer conn.Release()
	if _, err := conn.Exec(l.ctx, "LISTEN "+pgx.Identifier{l.config.channel()}.Sanitize()); err != nil {
		return err
	}
	for {
		note, err := conn.Conn().WaitForNotification(l.ctx)
		if err != nil {
			return errors.Join(err, conn.Conn().Close(context.Background()))
		}
		var at uint64
		if _, err := fmt.Sscan(note.Payload, &at); err == nil {
			l.know(commitlog.Sequence(at))
		}
	}
}

// Newest implements commitlog.Log.
func (l *Log) Newest() commitlog.Sequence { return l.known() }
