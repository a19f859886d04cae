// Package stream is what the streams of both services have in common: how many
// there may be, how they end, and how frames are encoded.
//
// An event is encoded once, when it is stored. A stream copies the stored bytes
// into frames and hands them to gRPC as they are, so the server MUST be made with
// Codec.
package stream

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/protobuf/types/known/durationpb"

	webhookgatewayv1 "github.com/webhook-gateway/webhook-gateway/gen/webhookgateway/v1"
	"github.com/webhook-gateway/webhook-gateway/server/fielderr"
	"github.com/webhook-gateway/webhook-gateway/server/rpcerr"
)

// RetryDelay is what a subscriber that is turned away is asked to wait.
const RetryDelay = time.Second

// Streams are all streams of a gateway.
type Streams struct {
	config  atomic.Pointer[Config]
	now     func() time.Time
	metrics *metrics
	buffers *bufferPool

	// drain is done when draining begins.
	drain      context.Context //nolint:containedctx // the life of all streams
	beginDrain context.CancelFunc

	mu      sync.Mutex
	open    int
	drained chan struct{} // closed when draining and no stream is open
	// listed are those that are open, by their ids.
	listed map[int64]*Listed
	lastID int64
}

// New returns the streams of a gateway, none yet. It registers their metrics. now is the
// time that events are received by, which need not be that of the machine.
func New(config Config, now func() time.Time, registerer prometheus.Registerer) (*Streams, error) {
	m, err := newMetrics(registerer)
	if err != nil {
		return nil, err
	}
	drain, beginDrain := context.WithCancel(context.Background())
	s := &Streams{
		now: now, metrics: m, buffers: newBufferPool(),
		drain: drain, beginDrain: beginDrain, drained: make(chan struct{}), listed: make(map[int64]*Listed),
	}
	s.Replace(config)
	return s, nil
}

// Replace puts another configuration in force, for streams to come.
func (s *Streams) Replace(config Config) { s.config.Store(&config) }

// Drain refuses new streams and asks those that are open to end: each is sent a
// goodbye with the cursor to resume at, and ends with UNAVAILABLE, so that
// clients with a general retry policy reconnect. It returns when all streams
// have ended; if ctx ends before that, because a subscriber does not read, it
// returns an error and the caller closes the connections.
//
// Other calls are still served.
func (s *Streams) Drain(ctx context.Context) error {
	s.mu.Lock()
	if s.drain.Err() == nil {
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

// Draining is done when draining begins.
func (s *Streams) Draining() context.Context { return s.drain }

// Enter counts a stream in, or refuses it. A stream that was counted in must
// Leave.
func (s *Streams) Enter() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.drain.Err() != nil {
		return ErrDraining()
	}
	if most := s.config.Load().MaxStreams; s.open >= most {
		return rpcerr.Error(webhookgatewayv1.ErrorReason_ERROR_REASON_TOO_MANY_STREAMS,
			fmt.Sprintf("the limit of %d concurrent streams is reached: try again later, or raise streams.max_streams", most),
			rpcerr.WithRetryDelay(RetryDelay))
	}
	s.open++
	s.metrics.open.Inc()
	return nil
}

// Leave counts a stream out.
func (s *Streams) Leave() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.open--
	s.metrics.open.Dec()
	if s.open == 0 && s.drain.Err() != nil {
		close(s.drained)
	}
}

// ErrDraining returns the status of a stream that ends because the gateway does.
func ErrDraining() error {
	return rpcerr.Error(webhookgatewayv1.ErrorReason_ERROR_REASON_DRAINING,
		"the gateway is shutting down: reconnect and resume at the last cursor", rpcerr.WithRetryDelay(RetryDelay))
}

// Heartbeat returns the heartbeat interval in force for a request. Its errors are
// of fielderr.
func (s *Streams) Heartbeat(given *durationpb.Duration) (time.Duration, error) {
	if given == nil {
		return s.config.Load().DefaultHeartbeat, nil
	}
	if h := given.AsDuration(); given.CheckValid() == nil && h >= MinHeartbeat && h <= MaxHeartbeat {
		return h, nil
	}
	return 0, fielderr.New("heartbeat_interval", "give %s to %s",
		fielderr.Duration(MinHeartbeat), fielderr.Duration(MaxHeartbeat))
}

// BatchSize returns the most events in a frame for a request: most if it gives
// none. Its errors are of fielderr.
func BatchSize(given int32, most int) (int, error) {
	switch n := int(given); {
	case n < 0 || n > most:
		return 0, fielderr.New("max_batch_size", "%d is out of range: give 1 to %d, or 0 for the gateway's choice", n, most)
	case n > 0:
		return n, nil
	}
	return most, nil
}
