// Package jetstream keeps a commit log in a stream of NATS JetStream. A commit is one
// message, or an atomic batch of messages if it is larger than one may be. Its sequence is
// that of its last message.
package jetstream

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	natsjs "github.com/nats-io/nats.go/jetstream"

	"github.com/webhook-gateway/webhook-gateway/server/commitlog"
)

// Log is a commit log in a stream. It implements commitlog.Log.
type Log struct {
	config Config
	logger *slog.Logger
	conn   *nats.Conn
	js     natsjs.JetStream
	tail   *tail

	ctx   context.Context //nolint:containedctx // the life of the log
	end   context.CancelFunc
	tasks sync.WaitGroup
}

var _ commitlog.Log = (*Log)(nil)

// Open connects to the servers, and creates the stream, or checks the one that is there.
func Open(ctx context.Context, config Config, logger *slog.Logger) (*Log, error) {
	if err := config.Validate(); err != nil {
		return nil, err
	}
	options, err := config.options(logger)
	if err != nil {
		return nil, err
	}
	conn, err := nats.Connect(config.servers(), options...)
	if err != nil {
		return nil, fmt.Errorf("connect to NATS at %s: %w", config.servers(), err)
	}
	l := &Log{config: config, logger: logger, conn: conn}
	if l.js, err = natsjs.New(conn); err == nil {
		err = l.prepare(ctx)
	}
	if err != nil {
		conn.Close()
		return nil, err
	}
	l.ctx, l.end = context.WithCancel(context.Background())
	l.tail = newTail()
	l.tasks.Go(l.follow)
	return l, nil
}

// Read implements commitlog.Log.
func (l *Log) Read(ctx context.Context, after commitlog.Sequence) iter.Seq2[commitlog.Commit, error] {
	return func(yield func(commitlog.Commit, error) bool) {
		for {
			if l.ctx.Err() != nil {
				yield(commitlog.Commit{}, commitlog.ErrClosed)
				return
			}
			commit, ok, err := l.tail.read(ctx, after)
			if errors.Is(err, context.Canceled) && l.ctx.Err() != nil {
				err = commitlog.ErrClosed
			}
			if err != nil {
				yield(commitlog.Commit{}, err)
				return
			}
			if !ok || !yield(commit, nil) {
				return
			}
			after = commit.Sequence
		}
	}
}

// Changed implements commitlog.Log.
func (l *Log) Changed() <-chan struct{} { return l.tail.changed() }

// Trim implements commitlog.Log.
func (l *Log) Trim(ctx context.Context, upTo commitlog.Sequence) error {
	if l.ctx.Err() != nil {
		return commitlog.ErrClosed
	}
	stream, err := l.js.Stream(ctx, l.config.Stream)
	if err == nil {
		err = stream.Purge(ctx, natsjs.WithPurgeSequence(uint64(upTo)+1))
	}
	if err != nil {
		return fmt.Errorf("trim the stream %s: %w", l.config.Stream, err)
	}
	return nil
}

// Err implements commitlog.Log.
func (l *Log) Err() error {
	switch {
	case l.ctx.Err() != nil:
		return commitlog.ErrClosed
	case !l.conn.IsConnected():
		err := errors.New("not connected to NATS")
		if last := l.conn.LastError(); last != nil {
			err = fmt.Errorf("%w: %w", err, last)
		}
		return err
	}
	return nil
}

// Close implements commitlog.Log.
func (l *Log) Close() error {
	l.end()
	l.tail.close()
	l.tasks.Wait()
	l.conn.Close()
	return nil
}

// within bounds a request on the servers.
func (l *Log) within(ctx context.Context, d time.Duration) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithTimeout(ctx, d)
	stop := context.AfterFunc(l.ctx, cancel)
	return ctx, func() { stop(); cancel() }
}

// Newest implements commitlog.Log.
func (l *Log) Newest() commitlog.Sequence { return l.tail.known() }
