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
//
// It has one reader, who goes from one commit to the next: a Read that is under way when
// another begins elsewhere fails.
type Log struct {
	config Config
	logger *slog.Logger
	conn   *nats.Conn
	js     natsjs.JetStream
	tail   *tail
	health health
	// edited is what is wrong with the stream since the start. Only watch uses it.
	edited commitlog.Repeated
	// messages is for those that are read one by one, parts for those of a commit that is appended.
	messages, parts waiting

	life  context.Context //nolint:containedctx // until Close
	end   context.CancelFunc
	tasks sync.WaitGroup
}

var _ commitlog.Log = (*Log)(nil)

// Open connects to the servers, and creates the stream, or checks the one that is there.
//
// What may pass, such as servers that cannot be reached or have no leader yet, it waits
// for until the context ends, and logs the reason of each attempt. What does not pass,
// such as wrong credentials or a stream that cannot hold commits, is an error at once
// that says what to do. No error has a password.
func Open(ctx context.Context, config Config, logger *slog.Logger) (*Log, error) {
	if err := config.Validate(); err != nil {
		return nil, err
	}
	options, err := config.options()
	if err != nil {
		return nil, err
	}
	if !config.SyncAlways {
		logger.Warn("acknowledged events can be lost: unless its servers have `jetstream { sync_interval: always }`, NATS syncs every two minutes, " +
			"and a power loss of several servers loses what they acknowledged since. Set it on every server, and then sync_always: true here")
	}
	l := &Log{
		config: config, logger: logger, tail: newTail(),
		messages: waiting{first: consumerTimeout, most: maxMessageWait}, parts: waiting{first: appendTimeout, most: maxPartWait},
	}
	l.life, l.end = context.WithCancel(context.Background())
	options = append(options, l.handlers()...)
	err = persist(ctx, logger, func(ctx context.Context) (err error) {
		l.conn, err = config.connect(ctx, l.life, logger, options)
		return err
	})
	if err == nil {
		l.js, err = natsjs.New(l.conn)
	}
	if err == nil {
		err = persist(ctx, logger, l.prepare)
	}
	if err != nil {
		_ = l.Close()
		return nil, err
	}
	l.tasks.Go(l.follow)
	l.tasks.Go(l.watch)
	return l, nil
}

// Read implements commitlog.Log.
func (l *Log) Read(ctx context.Context, after commitlog.Sequence) iter.Seq2[commitlog.Commit, error] {
	return func(yield func(commitlog.Commit, error) bool) {
		for {
			if l.life.Err() != nil {
				yield(commitlog.Commit{}, commitlog.ErrClosed)
				return
			}
			commit, ok, err := l.tail.read(ctx, after)
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

// Newest implements commitlog.Log.
func (l *Log) Newest() commitlog.Sequence { return l.tail.known() }

// Changed implements commitlog.Log.
func (l *Log) Changed() <-chan struct{} { return l.tail.changed() }

// Trim implements commitlog.Log.
func (l *Log) Trim(ctx context.Context, upTo commitlog.Sequence) error {
	if l.life.Err() != nil {
		return commitlog.ErrClosed
	}
	ctx, cancel := l.within(ctx, trimTimeout)
	defer cancel()
	stream, err := l.js.Stream(ctx, l.config.Stream)
	if err == nil && stream.CachedInfo().State.LastSeq < uint64(upTo) {
		err = fmt.Errorf("it has no message %d: the sequence would leap", upTo)
	}
	if err == nil {
		err = stream.Purge(ctx, natsjs.WithPurgeSequence(uint64(upTo)+1))
	}
	if err != nil {
		return fmt.Errorf("trim the stream %s: %w", l.config.Stream, err)
	}
	l.health.trimmed()
	return nil
}

// trimTimeout bounds a purge of what may be many gigabytes.
const trimTimeout = 30 * time.Second

// Close implements commitlog.Log.
func (l *Log) Close() error {
	l.end()
	l.tail.close()
	l.tasks.Wait()
	if l.conn != nil {
		l.conn.Close()
	}
	return nil
}

// within bounds a request on the servers.
func (l *Log) within(ctx context.Context, d time.Duration) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithTimeout(ctx, d)
	stop := context.AfterFunc(l.life, cancel)
	return ctx, func() { stop(); cancel() }
}

// handlers are what is called when something happens to the connection.
func (l *Log) handlers() []nats.Option {
	return []nats.Option{
		nats.DisconnectErrHandler(func(_ *nats.Conn, err error) { l.disconnected(err) }),
		nats.ReconnectErrHandler(func(_ *nats.Conn, err error) { l.disconnected(err) }),
		nats.ReconnectHandler(func(conn *nats.Conn) {
			l.health.connected()
			l.logger.Info("connected to NATS again", "server", shown(conn.ConnectedUrl()))
			if err := checkServer(conn); err != nil {
				l.logger.Error("this NATS server should not be used", "server", shown(conn.ConnectedUrl()), "error", err)
			}
		}),
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) {
			if errors.Is(err, nats.ErrPermissionViolation) {
				err = fmt.Errorf("%w: grant the user of the gateway: %s", err, l.config.permissions())
				l.health.refused(err)
			}
			l.logger.Warn("NATS reports an error", "error", err)
		}),
	}
}

// disconnected says why there is no connection, and logs what was not logged yet.
func (l *Log) disconnected(err error) {
	if err != nil && l.health.disconnected(err) {
		l.logger.Warn("no connection to NATS: it is tried again and again", "error", l.config.explain(err))
	}
}
