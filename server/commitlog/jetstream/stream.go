package jetstream

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	natsjs "github.com/nats-io/nats.go/jetstream"

	"github.com/webhook-gateway/webhook-gateway/server/commitlog"
)

const (
	// minServer is the oldest server that is fast with sync_interval: always and replicas.
	minServer = "2.15.0"
	// minPayload is the smallest max_payload of a server. A batch has at most 1,000 messages:
	// of this size they have more than the largest commit.
	minPayload = 128 << 10
	// requiredLevelHeader is which level of the API of JetStream a request needs.
	requiredLevelHeader = "Nats-Required-Api-Level"
	// prepareTimeout bounds one attempt to look at the stream, or to create it.
	prepareTimeout = 2 * time.Second
)

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

// checkServer says what is wrong with the server that is connected, and what to do.
func checkServer(conn *nats.Conn) error {
	if version := conn.ConnectedServerVersion(); older(version, minServer) {
		return finalError{fmt.Errorf("the NATS server is of version %s, and must be of %s or later: upgrade it", version, minServer)}
	}
	if limit := conn.MaxPayload(); limit < minPayload {
		return finalError{fmt.Errorf("max_payload of the NATS server is %d bytes: set it to at least %d, or leave it at 1MB, the default", limit, minPayload)}
	}
	return nil
}

// prepare creates the stream, or checks the one that is there.
func (l *Log) prepare(ctx context.Context) error {
	if err := checkServer(l.conn); err != nil {
		return err
	}
	if !l.conn.IsConnected() {
		return errors.New("the connection to NATS broke off")
	}
	ctx, cancel := l.within(ctx, prepareTimeout)
	defer cancel()
	if err := l.checkPermissions(ctx); err != nil {
		return err
	}
	stream, err := l.js.Stream(ctx, l.config.Stream)
	if errors.Is(err, natsjs.ErrStreamNotFound) {
		stream, err = l.create(ctx)
	}
	if err != nil {
		return fmt.Errorf("look at the stream %s: %w", l.config.Stream, l.config.explainAPI(err))
	}
	l.tail.expect(commitlog.Sequence(stream.CachedInfo().State.LastSeq))
	if wrong := l.config.differences(stream.CachedInfo().Config); len(wrong) > 0 {
		return finalError{fmt.Errorf("the stream %s cannot hold commits: %s", l.config.Stream, strings.Join(wrong, "; "))}
	}
	return nil
}

func (l *Log) create(ctx context.Context) (natsjs.Stream, error) {
	if err := l.mayPublish(ctx, l.config.createSubject()); err != nil {
		return nil, err
	}
	stream, err := l.js.CreateStream(ctx, l.config.stream())
	if errors.Is(err, natsjs.ErrStreamNameAlreadyInUse) { // another gateway was faster
		stream, err = l.js.Stream(ctx, l.config.Stream)
	}
	return stream, err
}

// Errors of the API of JetStream.
const (
	notClustered     = 10074
	subjectsOverlap  = 10065
	notEnoughPeers   = 10005
	noResources      = 10023
	streamLimit      = 10027
	storageExceeded  = 10047
	accountLimit     = 10002
	maxBytesRequired = 10113
)

// noLeader says why nobody answers for the stream.
func (c Config) noLeader(err error) error {
	return fmt.Errorf("the stream %s has no leader that answers: more than half of its %d servers must be up: %w", c.Stream, c.Replicas, err)
}

// explainAPI adds to why JetStream cannot be used what to do about it.
func (c Config) explainAPI(err error) error {
	if errors.Is(err, natsjs.ErrJetStreamNotEnabledForAccount) {
		return finalError{fmt.Errorf("%w: enable JetStream for the account of the user", err)}
	}
	if errors.Is(err, natsjs.ErrJetStreamNotEnabled) || errors.Is(err, nats.ErrNoResponders) {
		return finalError{fmt.Errorf("%w: enable JetStream in the configuration of the servers: `jetstream { store_dir: ..., sync_interval: always }`", err)}
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return c.noLeader(err)
	}
	var refusal *natsjs.APIError
	if !errors.As(err, &refusal) {
		return err
	}
	switch int(refusal.ErrorCode) {
	case notClustered:
		return finalError{fmt.Errorf("%w: %d replicas need a cluster of as many servers: make one, or set replicas: 1", err, c.Replicas)}
	case subjectsOverlap:
		return finalError{fmt.Errorf("%w: another stream takes %s: choose another name for this one", err, c.subject())}
	case streamLimit, accountLimit, storageExceeded, noResources, maxBytesRequired:
		return finalError{fmt.Errorf("%w: raise the limits of JetStream for the account, or on the servers", err)}
	case notAvailable:
		return fmt.Errorf("%w: more than half of the servers of the NATS cluster must be up, and reach each other", err)
	case notEnoughPeers:
		return fmt.Errorf("%w: %d servers must be up", err, c.Replicas)
	}
	return err
}

func (c Config) createSubject() string { return "$JS.API.STREAM.CREATE." + c.Stream }

func (c Config) purgeSubject() string { return "$JS.API.STREAM.PURGE." + c.Stream }

// published are the subjects that a gateway publishes to. A name stands for the last * of them.
func (c Config) published() []string {
	return []string{
		c.subject(),
		"$JS.API.STREAM.INFO." + c.Stream,
		c.messageSubject(),
		c.purgeSubject(),
		"$JS.API.CONSUMER.CREATE." + c.Stream + ".*",
		"$JS.API.CONSUMER.DELETE." + c.Stream + ".*",
		"$JS.API.CONSUMER.MSG.NEXT." + c.Stream + ".*",
	}
}

// permissions says which ones a gateway needs.
func (c Config) permissions() string {
	return fmt.Sprintf("publish to %s, and to %s if it is to create the stream; subscribe to _INBOX.>", strings.Join(c.published(), ", "), c.createSubject())
}

// checkPermissions tries all that is going to be published, in messages that do nothing.
func (l *Log) checkPermissions(ctx context.Context) error {
	subscription, err := l.conn.SubscribeSync(l.conn.NewInbox())
	if err != nil {
		return err
	}
	defer func() { _ = subscription.Unsubscribe() }()
	return l.mayPublish(ctx, l.config.published()...)
}

// mayPublish publishes what nobody takes: the stream, because it is for another, and the API, because it asks
// for what no server can. The server answers only what is not permitted, and does so before it answers to the flush.
func (l *Log) mayPublish(ctx context.Context, subjects ...string) error {
	for _, subject := range subjects {
		message := nats.NewMsg(strings.Replace(subject, "*", "permission", 1))
		message.Header.Set(natsjs.ExpectedStreamHeader, "none")
		message.Header.Set(requiredLevelHeader, strconv.Itoa(math.MaxInt32))
		message.Data = []byte("{}")
		if subject == l.config.purgeSubject() {
			message.Data = []byte(`{"seq":1,"keep":1}`) // nothing, and refused for that, too: no body would be everything
		}
		if err := l.conn.PublishMsg(message); err != nil {
			return err
		}
	}
	if err := l.conn.FlushWithContext(ctx); err != nil {
		return err
	}
	if err := l.conn.LastError(); errors.Is(err, nats.ErrPermissionViolation) {
		return finalError{fmt.Errorf("%w: grant the user of the gateway: %s", err, l.config.permissions())}
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
	check(has.PersistMode == natsjs.DefaultPersistMode, "it acknowledges before it writes: make one without --persist-mode async")
	check(has.Replicas == c.Replicas, "it has %d replicas, and %d are configured: `nats stream edit --replicas %d`", has.Replicas, c.Replicas, c.Replicas)
	check(has.Retention == natsjs.LimitsPolicy, "its retention is %v: it must be limits", has.Retention)
	check(has.Discard == natsjs.DiscardNew, "it discards old messages: `nats stream edit --discard new`")
	check(has.MaxAge == 0, "it removes messages after %v: `nats stream edit --max-age 0`, the gateway trims it", has.MaxAge)
	check(has.MaxMsgs <= 0, "it keeps %d messages: `nats stream edit --max-msgs -1`, the gateway trims it", has.MaxMsgs)
	check(has.MaxMsgsPerSubject <= 0, "it keeps %d messages of a subject: `nats stream edit --max-msgs-per-subject -1`", has.MaxMsgsPerSubject)
	check(has.MaxMsgSize <= 0, "it takes messages of %d bytes at most: `nats stream edit --max-msg-size -1`", has.MaxMsgSize)
	check(has.MaxConsumers <= 0, "it has %d consumers at most, and each gateway needs one: make one with --max-consumers -1", has.MaxConsumers)
	check(has.AllowAtomicPublish, "it takes no atomic batches: `nats stream edit --allow-batch`")
	check(has.FirstSeq <= 1, "its first sequence is %d: it must be 1", has.FirstSeq)
	check(has.Mirror == nil && len(has.Sources) == 0, "it is a copy of other streams")
	check(!has.Sealed, "it is sealed: it takes no more messages")
	check(!has.DenyPurge, "it cannot be purged: the gateway could not trim it")
	check(!has.NoAck, "it acknowledges nothing: `nats stream edit --ack`")
	check(!has.AllowMsgCounter, "it is for counters: make one without --allow-counter")
	check(has.SubjectTransform == nil && has.RePublish == nil, "it changes subjects, or publishes what it stores")
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
