package commitlog

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"sync"
	"time"
)

// ErrStarting is returned by a log that was not opened yet, because the engine does not
// answer.
var ErrStarting = errors.New("the engine does not answer yet: the log of the gateway says why")

// reopenPause is between two attempts to open a log.
const reopenPause = 5 * time.Second

// Start opens a log, so that a gateway starts while the engine is down. What open returns
// within patience, Start returns. Otherwise it returns a log that goes on to be opened in the
// background, again and again if that fails: until it is, all reads and appends fail with
// ErrStarting, or with why open failed last. Open has to wait for an engine that does not
// answer, until its context ends.
func Start(ctx context.Context, patience time.Duration, logger *slog.Logger, open func(context.Context) (Log, error)) (Log, error) {
	life, end := context.WithCancel(context.WithoutCancel(ctx))
	type result struct {
		log Log
		err error
	}
	results := make(chan result, 1)
	go func() {
		log, err := open(life)
		results <- result{log, err}
	}()
	abandon := func() {
		end()
		go func() {
			if r := <-results; r.err == nil {
				_ = r.log.Close() // nobody has used it
			}
		}()
	}
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case r := <-results:
		if r.err != nil {
			end()
			return nil, r.err
		}
		return &openedInTime{Log: r.log, end: end}, nil
	case <-ctx.Done():
		abandon()
		return nil, fmt.Errorf("%w: %w", ErrStarting, context.Cause(ctx))
	case <-timer.C:
	}
	logger.WarnContext(ctx, "the commit log does not answer yet: until it does the gateway takes no events and serves what its copy has, if there is one")
	s := &starting{life: life, end: end, change: make(chan struct{}), err: ErrStarting}
	s.tasks.Go(func() {
		r := <-results
		s.open(r.log, r.err, logger, open)
	})
	return s, nil
}

// openedInTime is a log that was open before Start returned. The context that it was opened with ends with it.
type openedInTime struct {
	Log
	end context.CancelFunc
}

func (o *openedInTime) Close() error {
	defer o.end()
	return o.Log.Close()
}

// starting is a log that is opened in the background. It passes everything on once it is.
type starting struct {
	life  context.Context //nolint:containedctx // that of opening
	end   context.CancelFunc
	tasks sync.WaitGroup

	mu     sync.Mutex
	log    Log // nil until it is open
	err    error
	change chan struct{} // closed when it is open
}

// open takes what the first attempt to open the log came to, and tries until one succeeds or
// the log is closed.
func (s *starting) open(log Log, err error, logger *slog.Logger, open func(context.Context) (Log, error)) {
	for err != nil {
		if s.life.Err() != nil {
			return
		}
		logger.Error("the commit log cannot be opened: it is tried again", "error", err)
		s.fails(err)
		select {
		case <-time.After(reopenPause):
		case <-s.life.Done():
			return
		}
		log, err = open(s.life)
	}
	s.opened(log)
}

func (s *starting) opened(log Log) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.log, s.err = log, nil
	close(s.change)
}

func (s *starting) fails(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.err = err
}

func (s *starting) get() (Log, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.log == nil && s.life.Err() != nil {
		return nil, ErrClosed
	}
	return s.log, s.err
}

// Append implements Log.
func (s *starting) Append(ctx context.Context, after Sequence, commit []byte) (Sequence, error) {
	log, err := s.get()
	if log == nil {
		return 0, err
	}
	return log.Append(ctx, after, commit)
}

// Read implements Log.
func (s *starting) Read(ctx context.Context, after Sequence) iter.Seq2[Commit, error] {
	log, err := s.get()
	if log == nil {
		return func(yield func(Commit, error) bool) { yield(Commit{}, err) }
	}
	return log.Read(ctx, after)
}

// Newest implements Log.
func (s *starting) Newest() Sequence {
	if log, _ := s.get(); log != nil {
		return log.Newest()
	}
	return 0
}

// Changed implements Log.
func (s *starting) Changed() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.log == nil {
		return s.change
	}
	return s.log.Changed()
}

// Trim implements Log.
func (s *starting) Trim(ctx context.Context, upTo Sequence) error {
	log, err := s.get()
	if log == nil {
		return err
	}
	return log.Trim(ctx, upTo)
}

// Err implements Log.
func (s *starting) Err() error {
	log, err := s.get()
	if log == nil {
		return err
	}
	return log.Err()
}

// Close implements Log.
func (s *starting) Close() error {
	s.end()
	s.tasks.Wait()
	if log, _ := s.get(); log != nil {
		return log.Close()
	}
	return nil
}
