package jetstream

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	natsjs "github.com/nats-io/nats.go/jetstream"

	"github.com/webhook-gateway/webhook-gateway/server/commitlog"
)

const (
	// watchPause is how often the servers are asked how they are; brokenPause that while
	// something is wrong; watchTimeout how long the answer is waited for.
	watchPause   = time.Second
	brokenPause  = 250 * time.Millisecond
	watchTimeout = time.Second
	// peerSilence is after how long without a word from a replica it counts as down. They
	// are heard every second.
	peerSilence = 4 * time.Second
	// lostFor is how long a commit that was not answered speaks against servers that seem well. It
	// is sent again sooner than that.
	lostFor = 2 * time.Second
	// leaderless is how long a server may know no leader until another one is tried: this one
	// may be cut off from the rest. An election takes 4 to 9 s.
	leaderless = 12 * time.Second
)

// health is what is known of whether commits are taken.
type health struct {
	mu sync.Mutex
	// link is why there is no connection, broken why the servers take no commits.
	link, broken error
	said         commitlog.Repeated
	// refusal is why the last commit, and so presumably the next, was refused. Only one that
	// is taken, or a trim, says that it is over.
	refusal error
	// lost is why the last commit was not answered, at lostAt; nil if one was taken since.
	lost          error
	taken, lostAt time.Time
}

// disconnected says why there is no connection. It reports whether that is news.
func (h *health) disconnected(err error) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.link = err
	return h.said.IsNews(err)
}

// connected says that there is a connection again.
func (h *health) connected() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.link, h.said = nil, commitlog.Repeated{}
}

// refused says that commits are not taken until somebody puts something right.
func (h *health) refused(err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.refusal = err
}

// trimmed says that there may be room again.
func (h *health) trimmed() { h.refused(nil) }

// appended says how an append went.
func (h *health) appended(err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	var refusal *natsjs.APIError
	switch {
	case err == nil:
		h.refusal, h.broken, h.lost, h.taken = nil, nil, nil, time.Now()
	case errors.Is(err, commitlog.ErrTaken), errors.Is(err, context.Canceled):
	case errors.As(err, &refusal) && !passing(refusal):
		h.refusal = err
	default:
		h.lost, h.lostAt = err, time.Now()
	}
}

// passing reports whether a refusal is one of servers that look for a leader, or are late.
func passing(err *natsjs.APIError) bool {
	return slices.Contains([]natsjs.ErrorCode{notAvailable, notLeader, tooManyBatches, incompleteBatch}, err.ErrorCode)
}

// Errors of servers that pass by themselves.
const (
	notAvailable    = 10008
	notLeader       = 10009
	incompleteBatch = 10176
	tooManyBatches  = 10210
)

// watched says how the servers were found at a time.
func (h *health) watched(asked time.Time, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if err == nil || h.taken.Before(asked) { // otherwise they have just taken one
		h.broken = err
	}
}

// Err implements commitlog.Log.
func (l *Log) Err() error {
	h := &l.health
	h.mu.Lock()
	defer h.mu.Unlock()
	switch {
	case l.life.Err() != nil:
		return commitlog.ErrClosed
	case !l.conn.IsConnected():
		return fmt.Errorf("not connected to NATS: %w", l.config.explain(h.link))
	case h.refusal != nil:
		return h.refusal
	case h.broken == nil && time.Since(h.lostAt) < lostFor:
		return h.lost
	}
	return h.broken
}

// watch asks the servers how they are until the log is closed.
func (l *Log) watch() {
	healthy := time.Now()
	for l.life.Err() == nil {
		if err := l.conn.LastError(); err != nil && !l.conn.IsConnected() {
			l.disconnected(err) // the library tells nobody else when it is not let in
		}
		asked := time.Now()
		err := l.look()
		l.health.watched(asked, err)
		pause := watchPause
		switch {
		case err == nil || !l.conn.IsConnected():
			healthy = time.Now()
		case time.Since(healthy) > leaderless:
			l.logger.Warn("this NATS server knows no leader of the stream: another one is tried", "server", shown(l.conn.ConnectedUrl()), "error", err)
			_ = l.conn.ForceReconnect()
			healthy = time.Now()
		}
		if err != nil {
			pause = brokenPause
		}
		select {
		case <-time.After(pause):
		case <-l.life.Done():
		}
	}
}

// look asks for the state of the stream. It returns why it takes no commits.
func (l *Log) look() error {
	ctx, cancel := l.within(context.Background(), watchTimeout)
	defer cancel()
	stream, err := l.js.Stream(ctx, l.config.Stream)
	switch {
	case errors.Is(err, natsjs.ErrStreamNotFound):
		return fmt.Errorf("the stream %s is not there any more: %w", l.config.Stream, err)
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, nats.ErrNoResponders), errors.Is(err, natsjs.ErrJetStreamNotEnabled):
		return l.config.noLeader(err)
	case err != nil:
		return fmt.Errorf("look at the stream %s: %w", l.config.Stream, err)
	}
	info := stream.CachedInfo()
	l.tail.expect(commitlog.Sequence(info.State.LastSeq))
	if wrong := l.config.differences(info.Config); len(wrong) > 0 {
		if err := errors.New(strings.Join(wrong, "; ")); l.edited.IsNews(err) {
			l.logger.Error("somebody has changed the stream: commits may be lost or refused, and no gateway starts", "stream", l.config.Stream, "error", err)
		}
	}
	if info.Cluster == nil || len(info.Cluster.Replicas) == 0 {
		return nil
	}
	up := 1
	for _, peer := range info.Cluster.Replicas {
		if !peer.Offline && peer.Active < peerSilence {
			up++
		}
	}
	if all := len(info.Cluster.Replicas) + 1; up <= all/2 {
		return fmt.Errorf("only %d of the %d servers of the stream %s are up: more than half must be", up, all, l.config.Stream)
	}
	return nil
}
