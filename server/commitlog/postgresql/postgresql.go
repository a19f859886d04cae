// Package postgresql keeps a commit log in a table of PostgreSQL. Sequences have no holes.
package postgresql

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/webhook-gateway/webhook-gateway/server/commitlog"
)

// Log is a commit log in a table. It implements commitlog.Log.
type Log struct {
	config Config
	logger *slog.Logger
	pool   *pgxpool.Pool
	server server
	// owner has the tables, and so the partitions.
	owner string
	// perPartition is how many commits a partition has; partitions are the numbers of those
	// that are known to exist.
	perPartition uint64
	partitions   sync.Map

	mu sync.Mutex
	// head is the newest commit that is believed, seen the newest that the server has shown, if
	// it was asked yet.
	head, seen commitlog.Sequence
	asked      bool
	// last is the commit that was read or appended last.
	last               identity
	change             chan struct{}
	pollErr, appendErr error

	toTell chan struct{}

	ctx   context.Context //nolint:containedctx // the life of the log
	end   context.CancelFunc
	tasks sync.WaitGroup
}

var _ commitlog.Log = (*Log)(nil)

// identity is a commit, and the random number by which it is known from another at its
// place, in a log that has lost its end and goes on.
type identity struct {
	at commitlog.Sequence
	id int64
}

// Open connects to the server, and creates the tables, or checks those that are there. It
// waits until ctx ends for a server that does not answer, or is not the primary yet. What
// time does not mend is an error at once.
func Open(ctx context.Context, config Config, logger *slog.Logger) (*Log, error) {
	return open(ctx, config, logger, partitionCommits)
}

func open(ctx context.Context, config Config, logger *slog.Logger, perPartition uint64) (*Log, error) {
	if err := config.Validate(); err != nil {
		return nil, err
	}
	settings, err := config.connect()
	if err != nil {
		return nil, err
	}
	l := &Log{
		config: config, logger: logger, perPartition: perPartition,
		change: make(chan struct{}), toTell: make(chan struct{}, 1),
	}
	settings.ConnConfig.ValidateConnect = l.check
	settings.ConnConfig.OnNotice = noticed
	settings.AfterConnect, settings.BeforeClose = l.server.keep, l.server.forget
	if l.pool, err = pgxpool.NewWithConfig(ctx, settings); err != nil {
		return nil, fmt.Errorf("connect to PostgreSQL: %w", err)
	}
	if err := l.await(ctx, settings); err != nil {
		l.pool.Close()
		return nil, err
	}
	l.ctx, l.end = context.WithCancel(context.Background())
	first, cancel := l.within(ctx, pollTimeout)
	defer cancel()
	if err := l.poll(first); err != nil {
		// It is the standby that does not answer: all but the newest commit can be read.
		logger.WarnContext(ctx, "the commit log is not up to date yet", "error", err)
		l.polled(err)
	}
	l.tasks.Go(l.listen)
	l.tasks.Go(l.keepTelling)
	l.tasks.Go(l.keepPolling)
	l.tasks.Go(func() { l.keepProbing(settings) })
	return l, nil
}

// prepareTimeout is how long the tables may take, which are made with the standby.
const prepareTimeout = 5 * time.Second

// await prepares the tables as soon as there is a server.
func (l *Log) await(ctx context.Context, settings *pgxpool.Config) error {
	var last error
	var said commitlog.Repeated
	for {
		l.probe(ctx, settings)
		attempt, cancel := context.WithTimeout(ctx, prepareTimeout)
		err := l.prepare(attempt)
		late := attempt.Err() != nil
		cancel()
		switch {
		case err == nil:
			return nil
		case ctx.Err() != nil && last != nil:
			return last // it says more
		case !late && !mayPass(err):
			return err
		}
		last = err
		if said.IsNews(err) {
			l.logger.WarnContext(ctx, "PostgreSQL cannot be used yet: it is tried again", "error", err)
		}
		select {
		case <-time.After(reconnectWait):
		case <-ctx.Done():
			return err
		}
	}
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
	if l.pollErr != nil {
		return l.pollErr
	}
	return l.appendErr
}

// Close implements commitlog.Log.
func (l *Log) Close() error {
	l.end()
	l.tasks.Wait()
	closed := make(chan struct{})
	go func() {
		l.pool.Close()
		close(closed)
	}()
	select {
	case <-closed:
	case <-time.After(closeTimeout): // a server that does not answer: the rest ends by itself
	}
	return nil
}

// closeTimeout is how long the server is waited for at the end.
const closeTimeout = 3 * time.Second

// within bounds what is asked of the server by a time, and by the life of the log.
func (l *Log) within(ctx context.Context, d time.Duration) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithTimeout(ctx, d)
	stop := context.AfterFunc(l.ctx, cancel)
	return ctx, func() { stop(); cancel() }
}

func (l *Log) known() commitlog.Sequence {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.head
}

// knownAfter returns the newest commit that is believed. It returns an error if the server
// lacks the one that is asked after, and another may be the primary.
func (l *Log) knownAfter(after commitlog.Sequence) (commitlog.Sequence, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.asked && after > l.seen {
		return l.head, l.server.mayBeAnother(after)
	}
	return l.head, nil
}

// know says that a commit exists, and is believed.
func (l *Log) know(at commitlog.Sequence) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.seen = max(l.seen, at)
	if at > l.head {
		l.head = at
		l.changed()
	}
}

func (l *Log) changed() {
	close(l.change)
	l.change = make(chan struct{})
}

// see says which commit the server has shown as the newest. It returns an error if that is
// older than one that was known when it was asked: the log has lost its end.
func (l *Log) see(newest, known commitlog.Sequence) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.asked = true
	if newest >= known || l.head != known {
		l.seen = max(l.seen, newest)
		return nil
	}
	l.seen, l.head = newest, max(newest, 1)-1 // the newest one is in doubt
	l.changed()
	return fmt.Errorf("the commit log has lost its end: it had commit %d, and ends at %d", known, newest)
}

func (l *Log) remember(at commitlog.Sequence, id int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.last = identity{at, id}
}

// idOf returns the id of a commit, nil if it is not known.
func (l *Log) idOf(at commitlog.Sequence) *int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.last.at != at {
		return nil
	}
	id := l.last.id
	return &id
}

// appended and polled say how the last append and the last poll went.
func (l *Log) appended(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.appendErr = err
}

// failing reports whether the last append has failed, and something else that is written tells
// whether the next one does.
func (l *Log) failing() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.appendErr != nil && !isRefusal(l.appendErr)
}

// recovered says that something else than an append was written.
func (l *Log) recovered() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !isRefusal(l.appendErr) {
		l.appendErr = nil
	}
}

const diskFull = "53100"

// isRefusal reports whether the server has refused an append for what concerns appends alone: that
// somebody lacks a right, or a table, or that there is no room for it.
func isRefusal(err error) bool {
	answer, ok := errors.AsType[*pgconn.PgError](err)
	return ok && (answer.Code == diskFull || slices.Contains([]string{"42", "54"}, answer.Code[:2]))
}

func (l *Log) polled(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.pollErr = err
}

// Newest implements commitlog.Log.
func (l *Log) Newest() commitlog.Sequence { return l.known() }
