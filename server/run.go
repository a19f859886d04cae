package server

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"

	"google.golang.org/grpc"
)

// Run serves until ctx is done or a listener fails, and then shuts down within
// Config.Shutdown.Timeout: it says that it is not ready, finishes the deliveries
// in flight, says goodbye to the subscribers, and closes the event log. What it
// could not finish in time is cut off and is an error; a delivery that was cut
// off was not answered 200.
func (s *Server) Run(ctx context.Context) error {
	serving := []struct {
		what  string
		serve func() error
	}{
		{"webhooks", func() error { return s.webhookServer.Serve(s.webhookListener) }},
		{"grpc", func() error { return s.grpcServer.Serve(s.grpcListener) }},
		{"internal_http", func() error { return s.internalServer.Serve(s.internalListener) }},
		{"loopback", func() error { return s.grpcServer.Serve(s.loopback) }},
	}
	failed := make(chan error, len(serving))
	for _, listener := range serving {
		go func() {
			err := listener.serve()
			if err != nil && !errors.Is(err, http.ErrServerClosed) && !errors.Is(err, grpc.ErrServerStopped) {
				err = fmt.Errorf("serve %s: %w", listener.what, err)
			} else {
				err = nil
			}
			failed <- err
		}()
	}
	addrs := s.Addrs()
	s.logger.InfoContext(ctx, "the gateway is serving",
		"webhooks", addrs.Webhooks.String(), "grpc", addrs.GRPC.String(), "internal_http", addrs.InternalHTTP.String(),
		"log_id", s.log.ID().String())

	endOwn := s.runOwn(ctx)
	ended, err := s.wait(ctx, failed)
	endOwn()
	err = errors.Join(err, s.shutdown(context.WithoutCancel(ctx)))
	for ; ended < len(serving); ended++ {
		err = errors.Join(err, <-failed)
	}
	return err
}

// runOwn starts what the gateway does without being asked, and returns what ends it.
func (s *Server) runOwn(ctx context.Context) (end func()) {
	ctx, cancel := context.WithCancel(ctx)
	var running sync.WaitGroup
	running.Go(func() { s.canary.Run(ctx) })
	running.Go(func() { s.history.Run(ctx) })
	return func() {
		cancel()
		running.Wait()
	}
}

// wait waits until ctx is done or a listener has ended, and meanwhile keeps the health of the
// gRPC listener true. It returns how many have ended, and why.
func (s *Server) wait(ctx context.Context, failed <-chan error) (int, error) {
	look := time.NewTicker(healthInterval)
	defer look.Stop()
	for current := s.current(); ; {
		s.tellHealth()
		select {
		case <-current:
			current = nil
		case <-look.C:
		case <-ctx.Done():
			return 0, nil
		case err := <-failed:
			return 1, err
		}
	}
}

// shutdown ends everything in the order in which work flows: what comes in,
// what goes out, the log.
func (s *Server) shutdown(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, s.config.Shutdown.Timeout)
	defer cancel()
	s.logger.InfoContext(ctx, "the gateway is shutting down", "timeout", s.config.Shutdown.Timeout)
	s.draining.Store(true)
	s.health.Shutdown() // NOT_SERVING from now on
	if delay := min(s.config.Shutdown.Delay, s.config.Shutdown.Timeout/2); delay > 0 {
		select {
		case <-time.After(delay):
		case <-ctx.Done():
		}
	}

	var errs []error
	for _, step := range []struct {
		what string
		// End returns when all is finished or its context is done.
		end func(context.Context) error
		// Cut ends at once what is left.
		cut func()
	}{
		{"finish the deliveries in flight", s.webhookServer.Shutdown, func() { _ = s.webhookServer.Close() }},
		{"say goodbye to the subscribers", s.streams.Drain, func() {}},
		{"finish the calls in flight", s.stopGRPC, s.grpcServer.Stop},
		{"finish the HTTP requests in flight", s.internalServer.Shutdown, func() { _ = s.internalServer.Close() }},
	} {
		if err := half(ctx, step.end); err != nil {
			errs = append(errs, fmt.Errorf("%s within shutdown.timeout: %w", step.what, err))
			step.cut()
		}
	}
	if err := s.closeWithin(ctx); err != nil {
		errs = append(errs, err)
	}
	s.logger.InfoContext(ctx, "the gateway has ended")
	return errors.Join(errs...)
}

// closeWhileDraining has the answers of the last moments say that their connection
// ends. A sender that keeps connections would otherwise send its next request into one
// that is being closed.
func (s *Server) closeWhileDraining(handler http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if s.draining.Load() {
			w.Header().Set("Connection", "close")
		}
		handler.ServeHTTP(w, r)
	})
}

// closeWithin closes everything in the time that is left, at least closeTimeout. It
// gives up on a disk that does not answer: all that waits for it was not answered.
func (s *Server) closeWithin(ctx context.Context) error {
	closed := make(chan error, 1)
	go func() { closed <- s.Close() }()
	deadline, _ := ctx.Deadline()
	select {
	case err := <-closed:
		return err
	case <-time.After(max(time.Until(deadline), closeTimeout)):
		return errors.New("close the event log within shutdown.timeout: the disk does not answer: what waits for it was not answered 200")
	}
}

// half gives a step half of the time that is left, so that a step which hangs
// leaves time for those after it.
func half(ctx context.Context, step func(context.Context) error) error {
	deadline, _ := ctx.Deadline()
	ctx, cancel := context.WithTimeout(ctx, time.Until(deadline)/2)
	defer cancel()
	return step(ctx)
}

// stopGRPC waits for the calls under way. GracefulStop takes no context.
func (s *Server) stopGRPC(ctx context.Context) error {
	s.endWatches()
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		s.grpcServer.GracefulStop()
	}()
	select {
	case <-stopped:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
