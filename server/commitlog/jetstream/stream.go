package jetstream

import (
	"context"
	"errors"
	"fmt"
	"strings"

	natsjs "github.com/nats-io/nats.go/jetstream"
)

// minServer is the oldest server that is fast with sync_interval: always and replicas.
const minServer = "2.15.0"

// stream is the configuration of the stream.
func (c Config) stream() natsjs.StreamConfig {
	return natsjs.StreamConfig{
		Name:               c.Stream,
		Description:        "the commits of webhook-gateway",
		Subjects:           []string{c.subject()},
		Retention:          natsjs.LimitsPolicy,
		Storage:            natsjs.FileStorage,
		Replicas:           c.Replicas,
		Discard:            natsjs.DiscardNew,
		MaxMsgs:            -1,
		MaxBytes:           -1,
		MaxMsgsPerSubject:  -1,
		MaxMsgSize:         -1,
		MaxConsumers:       -1,
		DenyDelete:         true,
		AllowAtomicPublish: true,
	}
}

// prepare creates the stream, or checks the one that is there.
func (l *Log) prepare(ctx context.Context) error {
	if version := l.conn.ConnectedServerVersion(); older(version, minServer) {
		return fmt.Errorf("the NATS server is of version %s: at least %s is needed", version, minServer)
	}
	stream, err := l.js.Stream(ctx, l.config.Stream)
	if errors.Is(err, natsjs.ErrStreamNotFound) {
		stream, err = l.js.CreateStream(ctx, l.config.stream())
		if errors.Is(err, natsjs.ErrStreamNameAlreadyInUse) { // another gateway was faster
			stream, err = l.js.Stream(ctx, l.config.Stream)
		}
	}
	if err != nil {
		return fmt.Errorf("look at the stream %s: %w", l.config.Stream, err)
	}
	if wrong := l.config.differences(stream.CachedInfo().Config); len(wrong) > 0 {
		return fmt.Errorf("the stream %s cannot hold commits: %s", l.config.Stream, strings.Join(wrong, "; "))
	}
	return nil
}

// differences says what is wrong with a stream, and what to do.
func (c Config) differences(has natsjs.StreamConfig) (wrong []string) {
	check := func(ok bool, format string, args ...any) {
		if !ok {
			wrong = append(wrong, fmt.Sprintf(format, args...))
		}
	}
	check(len(has.Subjects) == 1 && has.Subjects[0] == c.subject(), "its subjects are %v: it must have %s alone", has.Subjects, c.subject())
	check(has.Storage == natsjs.FileStorage, "it is kept in memory: make one with --storage file")
	check(has.Replicas == c.Replicas, "it has %d replicas, and %d are configured: `nats stream edit --replicas %d`", has.Replicas, c.Replicas, c.Replicas)
	check(has.Retention == natsjs.LimitsPolicy, "its retention is %v: it must be limits", has.Retention)
	check(has.Discard == natsjs.DiscardNew, "it discards old messages: `nats stream edit --discard new`")
	check(has.MaxAge == 0, "it removes messages after %v: `nats stream edit --max-age 0`, the gateway trims it", has.MaxAge)
	check(has.MaxMsgs <= 0, "it keeps %d messages: `nats stream edit --max-msgs -1`, the gateway trims it", has.MaxMsgs)
	check(has.MaxMsgsPerSubject <= 0, "it keeps %d messages of a subject: `nats stream edit --max-msgs-per-subject -1`", has.MaxMsgsPerSubject)
	check(has.AllowAtomicPublish, "it takes no atomic batches: `nats stream edit --allow-batch`")
	check(has.Mirror == nil && len(has.Sources) == 0, "it is a copy of other streams")
	check(!has.DenyPurge, "it cannot be purged: the gateway could not trim it")
	check(!has.NoAck, "it acknowledges nothing: `nats stream edit --ack`")
	check(has.SubjectTransform == nil && has.RePublish == nil, "it changes subjects")
	return wrong
}

// older compares versions of servers.
func older(version, than string) bool {
	var a, b [3]int
	_, _ = fmt.Sscanf(version, "%d.%d.%d", &a[0], &a[1], &a[2]) // what cannot be read is 0
	_, _ = fmt.Sscanf(than, "%d.%d.%d", &b[0], &b[1], &b[2])
	for i := range a {
		if a[i] != b[i] {
			return a[i] < b[i]
		}
	}
	return false
}
