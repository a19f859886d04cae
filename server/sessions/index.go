package sessions

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	webhookgatewayv1 "github.com/webhook-gateway/webhook-gateway/gen/webhookgateway/v1"
	"github.com/webhook-gateway/webhook-gateway/server/eventlog"
)

const (
	// maxReadBack is how many events are read at most to find the sessions before a start.
	maxReadBack = 1_000_000
	// pauseAfter is after how many events of these it pauses, for pauses times as long as
	// they took: ingest and streams go first.
	pauseAfter = 2048
	pauses     = 3
	// restless is the time from one look at the log to the next, at least: a look costs about
	// the same for one event as for hundred.
	restless = 100 * time.Millisecond
	// sweepInterval is how often it is looked which sessions have ended.
	sweepInterval = 5 * time.Second
	// grace is how long an event may take from its receive time until it can be read.
	grace = 10 * time.Second
	// readRetry is the time until the log is read again after it failed.
	readRetry = time.Second
)

// Index has the sessions of a log. All methods are safe for concurrent use.
type Index struct {
	log     eventlog.Log
	logger  *slog.Logger
	metrics *metrics

	ctx     context.Context //nolint:containedctx // the life of the goroutine
	cancel  context.CancelFunc
	running sync.WaitGroup
	// reading has a token while nobody reads the log.
	reading chan struct{}

	mu     sync.Mutex
	config Config
	// Of the sessions that ended those are counted that ended since the index was made, by the
	// log, and were not counted before everything was read anew. counted is when the last of
	// those ended that were.
	since, counted int64
	// anew: everything is to be read again.
	anew bool
	// at is the position up to which the log was read, and epoch that of the position.
	at    eventlog.Position
	epoch eventlog.Epoch
	// live: the head was reached once.
	live bool
	// from is when what was read begins: known is false until that is known.
	from  int64
	known bool
	books [2]*book // of verified events, and of others
}

// New returns the index of a log, and begins to read. It fails only if the metrics cannot
// be registered. Close ends it, before the log is closed.
func New(config Config, log eventlog.Log, logger *slog.Logger, registerer prometheus.Registerer) (*Index, error) {
	x := &Index{
		log: log, logger: logger, config: config, anew: true, reading: make(chan struct{}, 1),
		since: log.Clock().Now.UnixNano(),
	}
	x.reset(config)
	x.metrics = newMetrics(x)
	if err := registerer.Register(x.metrics); err != nil {
		return nil, err
	}
	x.reading <- struct{}{}
	x.ctx, x.cancel = context.WithCancel(context.Background())
	x.running.Go(x.run)
	return x, nil
}

// Close ends the reading.
func (x *Index) Close() {
	x.cancel()
	x.running.Wait()
}

// Replace puts another configuration in force. All sessions are read anew.
func (x *Index) Replace(config Config) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if config != x.config {
		x.config, x.anew = config, true
		x.reset(config)
	}
}

// reset forgets everything. The mutex must be held, but by New.
func (x *Index) reset(config Config) {
	x.live, x.known, x.from = false, false, 0
	x.since = max(x.since, x.counted+1)
	for i := range x.books {
		x.books[i] = &book{
			stalledAfter: config.StalledAfter, window: config.Window, max: config.MaxSessions,
			ended: x.end, newest: make(map[string]*session),
		}
	}
}

// end counts a session that ended at a time. The mutex must be held.
func (x *Index) end(s state, at int64) {
	if at >= x.since {
		x.counted = max(x.counted, at)
		x.metrics.ended.WithLabelValues(labels[s]).Inc()
	}
}

// run reads the log as it grows.
func (x *Index) run() {
	sweep := time.NewTicker(sweepInterval)
	defer sweep.Stop()
	failing := false
	for x.ctx.Err() == nil {
		changed, wait := x.log.Changed(), restless
		err := x.pass(x.ctx)
		switch {
		case errors.Is(err, eventlog.ErrClosed):
			return
		case err != nil && x.ctx.Err() == nil:
			if !failing {
				x.logger.Warn("the sessions of customers cannot be read from the log: it is tried again", "error", err)
			}
			failing, changed, wait = true, nil, readRetry
		case err == nil:
			failing = false
		}
		select {
		case <-x.ctx.Done():
			return
		case <-time.After(wait):
		}
		select {
		case <-x.ctx.Done():
		case <-changed:
		case <-sweep.C:
		}
	}
}

// pass reads the log up to its head, one caller at a time, and ends and forgets what is due.
func (x *Index) pass(ctx context.Context) error {
	select {
	case <-x.reading:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	defer func() { x.reading <- struct{}{} }()
	for {
		enabled, err := x.begin(ctx)
		if err != nil || !enabled {
			return err
		}
		now, bounds := x.log.Clock().Now.UnixNano(), x.log.Bounds()
		err = x.read(ctx)
		var trimmed *eventlog.TrimmedError
		var damaged *eventlog.DamagedError
		switch {
		case errors.As(err, &trimmed):
			x.skip(trimmed.Trimmed, false)
		case errors.As(err, &damaged):
			x.skip(damaged.UpTo, true)
		case err != nil:
			return err
		default:
			if x.arrived(now, bounds) {
				return nil
			}
		}
	}
}

// begin has everything read anew if that is wanted, or if the log has other events in the
// places that were read. It reports whether there is anything to do.
func (x *Index) begin(ctx context.Context) (enabled bool, err error) {
	history := x.log.History()
	x.mu.Lock()
	config, anew := x.config, x.anew
	anew = anew || history.EpochAt(x.at) != x.epoch
	x.mu.Unlock()
	if !config.Enabled() || !anew {
		return config.Enabled(), nil
	}
	bounds := x.log.Bounds()
	from := x.log.Clock().Now.Add(-config.Window - config.StalledAfter)
	after, err := x.log.Seek(ctx, from)
	if err != nil {
		return true, err
	}
	known := after > bounds.Trimmed || after == 0
	if bounds.Head > maxReadBack && after < bounds.Head-maxReadBack {
		after, known = bounds.Head-maxReadBack, false
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.config != config {
		return true, nil // once more
	}
	x.reset(config)
	x.at, x.epoch, x.anew = after, x.log.History().EpochAt(after), false
	switch {
	case after == 0: // nothing was before
		x.setFrom(-int64(config.StalledAfter))
	case known:
		x.setFrom(from.UnixNano())
	}
	return true, nil
}

// setFrom notes when what was read begins. The mutex must be held.
func (x *Index) setFrom(from int64) {
	x.from, x.known = from, true
	for _, b := range x.books {
		b.cutBefore = from + int64(b.stalledAfter)
	}
}

// read reads the log up to the head at the time of the call. Before the head was reached
// once it pauses now and then.
func (x *Index) read(ctx context.Context) error {
	x.mu.Lock()
	at, epoch, live, known := x.at, x.epoch, x.live, x.known
	x.mu.Unlock()
	defer func() { x.readTo(at, epoch) }()
	begun, n := time.Now(), 0
	var key []byte
	history := x.log.History()
	for r, err := range x.log.Read(ctx, at) {
		if err != nil {
			return err
		}
		next := x.epochOf(r, history)
		if isOfSession(r) || !known {
			key = keyOf(key[:0], r.ClientID(), r.Subject())
			if !x.add(r, next, key) {
				return nil
			}
			known = true
		}
		at, epoch = r.Position, next
		if n++; n%pauseAfter > 0 {
			continue
		}
		x.readTo(at, epoch)
		if !live {
			select {
			case <-time.After(pauses * time.Since(begun)):
			case <-ctx.Done():
				return context.Cause(ctx)
			}
			begun = time.Now()
		}
	}
	return nil
}

// isOfSession reports whether an event belongs to a session. It decodes nothing.
func isOfSession(r eventlog.Record) bool {
	return r.Provider() == webhookgatewayv1.Provider_PROVIDER_FINICITY && ofSessions.has(r.Type()) &&
		r.Verdict() != webhookgatewayv1.VerificationVerdict_VERIFICATION_VERDICT_FAILED && len(r.Subject()) > 0
}

// epochOf returns the epoch that the position of an event had in a history, or has since if the event has begun it. One
// that was begun afterwards, meanwhile, is not returned: the event may be a lost one, and all is to be read anew.
func (x *Index) epochOf(r eventlog.Record, before *eventlog.History) eventlog.Epoch {
	if epoch := r.Epoch(); epoch == x.log.History().EpochAt(r.Position) {
		return epoch
	}
	return before.EpochAt(r.Position)
}

// add takes an event, or only the time of the first one. It returns false if everything is
// to be read anew.
func (x *Index) add(r eventlog.Record, epoch eventlog.Epoch, key []byte) bool {
	received := r.ReceiveTime().UnixNano()
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.anew {
		return false
	}
	if !x.known {
		x.setFrom(received)
	}
	if isOfSession(r) {
		b := x.books[1]
		if r.Verdict() == webhookgatewayv1.VerificationVerdict_VERIFICATION_VERDICT_VERIFIED {
			b = x.books[0]
		}
		b.add(key, Event{Position: r.Position, Type: r.Type(), Received: received})
		x.at, x.epoch = r.Position, epoch
	}
	return true
}

// readTo notes how far the log was read.
func (x *Index) readTo(p eventlog.Position, epoch eventlog.Epoch) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if !x.anew && p > x.at {
		x.at, x.epoch = p, epoch
	}
}

// skip passes over events that cannot be read. If they were damaged others are still known.
func (x *Index) skip(to eventlog.Position, damaged bool) {
	epoch := x.log.History().EpochAt(to)
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.anew || to <= x.at {
		return
	}
	x.at, x.epoch = to, epoch
	x.known = x.known && damaged
}

// arrived reports whether the log was read up to its head, which it had at a time. Then it
// ends and forgets what is due.
func (x *Index) arrived(now int64, bounds eventlog.Bounds) bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.at < bounds.Head || x.anew {
		return false
	}
	x.live = true
	for _, b := range x.books {
		b.expire(now-int64(grace), bounds.Trimmed)
	}
	return true
}
