package postgresql

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/webhook-gateway/webhook-gateway/server/commitlog"
)

const (
	// quiet is how long a connection may tell nothing before it is asked whether it lives.
	quiet = 5 * time.Second
	// reconnectWait is how long is waited before the next connection.
	reconnectWait = 500 * time.Millisecond
)

// tell has the others told which commit is the newest that is believed. It is no part of the
// append: transactions that notify wait for one another, those of other users of the server
// too, and so they should not wait for a standby as well. A notification writes nothing to
// the disk, and costs no more than a query.
func (l *Log) tell() {
	select {
	case l.toTell <- struct{}{}:
	default: // it will tell of this one too
	}
}

func (l *Log) keepTelling() {
	for {
		select {
		case <-l.toTell:
		case <-l.ctx.Done():
			return
		}
		ctx, cancel := l.within(l.ctx, pollTimeout)
		_, err := l.pool.Exec(ctx, "SELECT pg_notify($1, $2)", l.config.channel(), strconv.FormatUint(uint64(l.known()), 10))
		cancel()
		if err != nil && l.ctx.Err() == nil {
			l.logger.WarnContext(l.ctx, "the other gateways could not be told of a commit: they find it a little later", "error", err)
		}
	}
}

// listen waits for notifications on a connection of its own.
func (l *Log) listen() {
	for {
		err := l.listenOnce(l.ctx)
		if l.ctx.Err() != nil {
			return
		}
		l.logger.WarnContext(l.ctx, "no notifications from PostgreSQL: it is asked now and then", "error", err)
		select {
		case <-time.After(reconnectWait):
		case <-l.ctx.Done():
			return
		}
	}
}

func (l *Log) listenOnce(ctx context.Context) error {
	pooled, err := l.pool.Acquire(ctx)
	if err != nil {
		return err
	}
	conn := pooled.Hijack()
	defer func() { //nolint:contextcheck // it is closed when ctx has ended, too
		within, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		_ = conn.Close(within)
		l.server.forget(conn)
	}()
	if _, err := conn.Exec(ctx, "LISTEN "+pgx.Identifier{l.config.channel()}.Sanitize()); err != nil {
		return err
	}
	for {
		note, err := waitFor(ctx, conn)
		switch {
		case err != nil:
			return err
		case note == nil:
			continue
		}
		at, err := strconv.ParseUint(note.Payload, 10, 63)
		if err != nil {
			return fmt.Errorf("a notification is not understood: %w", err)
		}
		l.know(commitlog.Sequence(at))
	}
}

// waitFor returns the next notification, or nil when all is quiet and the connection lives.
func waitFor(ctx context.Context, conn *pgx.Conn) (*pgconn.Notification, error) {
	within, cancel := context.WithTimeout(ctx, quiet)
	defer cancel()
	note, err := conn.WaitForNotification(within)
	if err == nil || ctx.Err() != nil || !errors.Is(err, context.DeadlineExceeded) {
		return note, err
	}
	alive, cancel := context.WithTimeout(ctx, pollTimeout)
	defer cancel()
	return nil, conn.Ping(alive)
}
