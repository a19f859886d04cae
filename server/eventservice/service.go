// Package eventservice is EventService: it streams and lists the events of the log.
//
// An event is encoded once, when it is stored. A stream copies the stored bytes
// into frames and hands them to gRPC as they are, so the server MUST be made
// with Codec.
//
// A stream is the goroutine of its gRPC handler and nothing else. It follows the
// log at its own pace: nobody writes to a stream, so a slow subscriber can
// neither slow others nor lose events, and what it costs is at most two frames
// and what the log reads ahead.
package eventservice

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	webhookgatewayv1 "github.com/webhook-gateway/webhook-gateway/gen/webhookgateway/v1"
	"github.com/webhook-gateway/webhook-gateway/server/eventlog"
	"github.com/webhook-gateway/webhook-gateway/server/rpcerr"
	"github.com/webhook-gateway/webhook-gateway/server/subscription"
)

// retryDelay is what a subscriber that is turned away is asked to wait.
const retryDelay = time.Second

// Service implements EventService on an event log.
type Service struct {
	webhookgatewayv1.UnimplementedEventServiceServer

	config  Config
	log     eventlog.Log
	logger  *slog.Logger
	metrics *metrics
	buffers *bufferPool

	subscriptions *subscription.Manager

	// drain is done when draining begins.
	drain      context.Context //nolint:containedctx // the service's own life
	beginDrain context.CancelFunc
	draining   <-chan struct{} // that of drain

	mu      sync.Mutex
	open    int
	drained chan struct{} // closed when draining and no stream is open
}

// New returns the service of a log and of the subscriptions to it, which were
// made with Compile. It registers its metrics.
func New(
	config Config, log eventlog.Log, subscriptions *subscription.Manager, logger *slog.Logger, registerer prometheus.Registerer,
) (*Service, error) {
	m, err := newMetrics(registerer)
	if err != nil {
		return nil, err
	}
	drain, beginDrain := context.WithCancel(context.Background())
	return &Service{
		config: config, log: log, subscriptions: subscriptions, logger: logger, metrics: m, buffers: newBufferPool(),
		drain: drain, beginDrain: beginDrain, draining: drain.Done(), drained: make(chan struct{}),
	}, nil
}

// Drain refuses new streams and asks those that are open to end: each is sent a
// goodbye with the cursor to resume at, and ends with UNAVAILABLE, so that
// clients with a general retry policy reconnect. It returns when all streams
// have ended; if ctx ends before that, because a subscriber does not read, it
// returns an error and the caller closes the connections.
//
// Other calls are still served.
func (s *Service) Drain(ctx context.Context) error {
	s.mu.Lock()
	if !s.isDraining() {
		s.beginDrain()
		if s.open == 0 {
			close(s.drained)
		}
	}
	s.mu.Unlock()
	select {
	case <-s.drained:
		return nil
	case <-ctx.Done():
		s.mu.Lock()
		defer s.mu.Unlock()
		return fmt.Errorf("%d streams have not ended: %w", s.open, context.Cause(ctx))
	}
}

func (s *Service) isDraining() bool {
	select {
	case <-s.draining:
		return true
	default:
		return false
	}
}

// admit counts a stream in, or refuses it.
func (s *Service) admit() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.isDraining() {
		return errDraining()
	}
	if s.open >= s.config.MaxStreams {
		return rpcerr.Error(webhookgatewayv1.ErrorReason_ERROR_REASON_TOO_MANY_STREAMS,
			fmt.Sprintf("the limit of %d concurrent streams is reached: try again later, or raise it", s.config.MaxStreams),
			rpcerr.WithRetryDelay(retryDelay))
	}
	s.open++
	s.metrics.open.Inc()
	return nil
}

// leave counts a stream out.
func (s *Service) leave() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.open--
	s.metrics.open.Dec()
	if s.open == 0 && s.isDraining() {
		close(s.drained)
	}
}

func errDraining() error {
	return rpcerr.Error(webhookgatewayv1.ErrorReason_ERROR_REASON_DRAINING,
		"the gateway is shutting down: reconnect and resume at the last cursor", rpcerr.WithRetryDelay(retryDelay))
}

// invalid refuses a field of a request, named by its path.
func invalid(field, format string, args ...any) error {
	return rpcerr.Error(webhookgatewayv1.ErrorReason_ERROR_REASON_INVALID_FIELD,
		field+": "+fmt.Sprintf(format, args...), rpcerr.WithMetadata("field", field))
}

// fail turns an error of the log into the status of a call, and logs what only
// the operator can mend.
func (s *Service) fail(ctx context.Context, doing string, err error) error {
	if ctx.Err() != nil {
		return rpcerr.From(ctx.Err())
	}
	failed := rpcerr.From(err)
	if rpcerr.Reason(failed) == webhookgatewayv1.ErrorReason_ERROR_REASON_LOG_UNAVAILABLE {
		s.logger.ErrorContext(ctx, "the event log cannot be used", "doing", doing, "error", err)
	}
	return failed
}

// expired says that events after a cursor are gone, and where the log begins.
func (s *Service) expired(ctx context.Context, trimmed *eventlog.TrimmedError) error {
	options := []rpcerr.Option{rpcerr.WithMetadata("earliest_cursor", s.cursor(s.log.Bounds().Trimmed))}
	stats, err := s.log.Stats(ctx)
	if err != nil {
		return s.fail(ctx, "look up the earliest event", err)
	}
	if !stats.EarliestTime.IsZero() {
		options = append(options, rpcerr.WithMetadata("earliest_time", stats.EarliestTime.UTC().Format(time.RFC3339Nano)))
	}
	return rpcerr.From(trimmed, options...)
}

func (s *Service) cursor(p eventlog.Position) string { return eventlog.FormatCursor(s.log.ID(), p) }

// parseCursor returns the position of a cursor of this log, between the
// beginning of the log and its head.
func (s *Service) parseCursor(field, cursor string) (eventlog.Position, error) {
	log, p, err := eventlog.ParseCursor(cursor)
	if err != nil {
		return 0, rpcerr.From(err, rpcerr.WithMetadata("field", field))
	}
	if log != s.log.ID() {
		return 0, rpcerr.Error(webhookgatewayv1.ErrorReason_ERROR_REASON_CURSOR_OF_ANOTHER_LOG,
			"the cursor belongs to another log: start at a time or at an end of the log instead",
			rpcerr.WithMetadata("field", field), rpcerr.WithMetadata("log", s.log.ID().String()))
	}
	if head := s.log.Bounds().Head; p > head {
		return 0, rpcerr.Error(webhookgatewayv1.ErrorReason_ERROR_REASON_CURSOR_AHEAD,
			"the cursor is ahead of the head of the log, which happens when the log was restored from an older copy: start at head_cursor or at a time instead",
			rpcerr.WithMetadata("field", field), rpcerr.WithMetadata("head_cursor", s.cursor(head)))
	}
	return p, nil
}
