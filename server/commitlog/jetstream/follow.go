package jetstream

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	natsjs "github.com/nats-io/nats.go/jetstream"

	"github.com/webhook-gateway/webhook-gateway/server/commitlog"
)

const (
	// heartbeat is how often a consumer is heard though it has nothing; one that is silent for
	// twice as long is dead.
	heartbeat = 500 * time.Millisecond
	// stall is after how long without a message a consumer stands still, if there is more.
	stall = time.Second
	// consumerTimeout bounds making a consumer: the server that is to have it may be dead.
	consumerTimeout = 1500 * time.Millisecond
	// maxMessageWait bounds how long a single message is waited for: at first as long as a consumer.
	maxMessageWait = 12 * time.Second
	// consumerIdle is after how long the servers remove a consumer that nobody asks.
	consumerIdle = 10 * time.Second
	// retryPause is the pause after a consumer that could not be made, or failed.
	retryPause = 200 * time.Millisecond
	// slowMessages is how many messages are read one by one.
	slowMessages = 256
	// fetchMessages and fetchBytes bound what a consumer may send ahead. A message must fit.
	fetchMessages = 512
	fetchBytes    = 16 << 20
)

// follow reads the stream for the tail until the log is closed.
func (l *Log) follow() {
	var said commitlog.Repeated
	for l.life.Err() == nil {
		after, place, moved := l.tail.where()
		if place == 0 {
			select {
			case <-moved:
			case <-l.life.Done():
			}
			continue
		}
		err := l.consume(after, place)
		if _, now, _ := l.tail.where(); err != nil && l.life.Err() == nil && now == place {
			var refusal *natsjs.APIError
			if errors.As(err, &refusal) && !passing(refusal) && said.IsNews(err) {
				l.logger.Warn("the commit log is read slowly: NATS refuses the consumer", "after", uint64(after), "error", err)
			} else {
				l.logger.Debug("the commit log is read anew", "after", uint64(after), "error", err)
			}
			select {
			case <-moved:
			case <-time.After(retryPause):
			case <-l.life.Done():
			}
		}
	}
}

// consume reads what comes after a sequence, until the reader of the tail goes elsewhere, or
// something fails. The consumer is not one that mends itself, as the library has: those may wait
// long for servers that are dead. Whether something is missing is seen in the sequences.
func (l *Log) consume(after commitlog.Sequence, place int) error {
	var helpers sync.WaitGroup
	defer helpers.Wait()
	ctx, cancel := context.WithCancelCause(l.life)
	defer cancel(nil)
	first, cancelFirst := context.WithTimeout(ctx, consumerTimeout)
	defer cancelFirst()
	consumer, err := l.js.CreateConsumer(first, l.config.Stream, natsjs.ConsumerConfig{
		DeliverPolicy: natsjs.DeliverByStartSequencePolicy, OptStartSeq: uint64(after) + 1,
		AckPolicy: natsjs.AckNonePolicy, Replicas: 1, MemoryStorage: true, InactiveThreshold: consumerIdle,
	})
	if err != nil {
		return errors.Join(fmt.Errorf("read the stream: %w", err), l.fetch(ctx, after, place))
	}
	defer func() {
		// The servers remove it in the end, if they do not hear this.
		_ = l.conn.Publish("$JS.API.CONSUMER.DELETE."+l.config.Stream+"."+consumer.CachedInfo().Name, nil)
	}()
	last, err := l.begin(first, after, place)
	switch {
	case err != nil:
		return err
	case l.tail.isTrimmed():
		l.elsewhere(ctx, place)
		return nil
	case consumer.CachedInfo().NumPending == 0 && last > after:
		return errors.Join(fmt.Errorf("the server that has the consumer has nothing after message %d, and the leader has %d", after, last), l.fetch(ctx, after, place))
	}
	messages, err := consumer.Messages(natsjs.PullMaxMessagesWithBytesLimit(fetchMessages, max(fetchBytes, 2*int(l.conn.MaxPayload()))),
		natsjs.PullHeartbeat(heartbeat), natsjs.WithMessagesErrOnMissingHeartbeat(true))
	if err != nil {
		return fmt.Errorf("read the stream: %w", err)
	}
	defer messages.Stop()
	helpers.Go(func() {
		l.elsewhere(ctx, place)
		cancel(nil)
	})
	var seen atomic.Uint64
	helpers.Go(func() { l.guard(ctx, cancel, &seen) })
	return l.deliver(ctx, messages, &seen, newAssembly(l.tail, place, after))
}

// elsewhere waits until the reader wants another place.
func (l *Log) elsewhere(ctx context.Context, place int) {
	for ctx.Err() == nil {
		_, now, moved := l.tail.where()
		if now != place {
			return
		}
		select {
		case <-moved:
		case <-ctx.Done():
		}
	}
}

// guard ends a consumer that stands still though there is more: some were seen to after all servers
// had been killed. seen is the last message that came.
func (l *Log) guard(ctx context.Context, cancel context.CancelCauseFunc, seen *atomic.Uint64) {
	for {
		last := seen.Load()
		select {
		case <-time.After(stall):
		case <-ctx.Done():
			return
		}
		if l.tail.behind() && seen.Load() == last {
			cancel(fmt.Errorf("there is more, and nothing comes after message %d", last))
			return
		}
	}
}

// deliver makes commits of the messages of a consumer.
func (l *Log) deliver(ctx context.Context, messages natsjs.MessagesContext, seen *atomic.Uint64, a *assembly) error {
	for {
		message, err := messages.Next(natsjs.NextContext(ctx))
		if ctx.Err() != nil {
			if err = context.Cause(ctx); errors.Is(err, context.Canceled) {
				return nil
			}
			return err
		}
		if err != nil {
			return err
		}
		meta, err := message.Metadata()
		if err != nil {
			return err
		}
		seen.Store(meta.Sequence.Stream)
		if wanted, err := a.take(ctx, meta.Sequence.Stream, message.Headers(), message.Data()); err != nil || !wanted {
			return err
		}
		if l.tail.isTrimmed() {
			l.elsewhere(ctx, a.place)
			return nil
		}
	}
}
