package commitlog_test

import (
	"context"
	"errors"
	"log/slog"
	"testing"
	"time"

	"github.com/webhook-gateway/webhook-gateway/server/commitlog"
	"github.com/webhook-gateway/webhook-gateway/server/commitlog/commitlogtest"
)

func silent() *slog.Logger { return slog.New(slog.DiscardHandler) }

// TestStartLater: a log whose engine does not answer is there, says so, and works when it
// does.
func TestStartLater(t *testing.T) {
	answers := make(chan struct{})
	log, err := commitlog.Start(t.Context(), 0, silent(), func(ctx context.Context) (commitlog.Log, error) {
		select {
		case <-answers:
			return commitlogtest.NewMemory().Open(nil), nil
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	changed := log.Changed()
	_, appendErr := log.Append(t.Context(), 0, []byte("a"))
	var readErr error
	for _, readErr = range log.Read(t.Context(), 0) {
	}
	for what, err := range map[string]error{"Append": appendErr, "Read": readErr, "Trim": log.Trim(t.Context(), 1), "Err": log.Err()} {
		if !errors.Is(err, commitlog.ErrStarting) {
			t.Errorf("%s() = %v", what, err)
		}
	}
	close(answers)
	<-changed
	if _, err := log.Append(t.Context(), 0, []byte("a")); err != nil || log.Err() != nil || log.Newest() != 1 {
		t.Errorf("Append() = %v, Err() = %v, Newest() = %d", err, log.Err(), log.Newest())
	}
	if err := log.Close(); err != nil {
		t.Error(err)
	}
}

// TestStartRefused: what does not pass is an error at once.
func TestStartRefused(t *testing.T) {
	wrong := errors.New("wrong credentials")
	_, err := commitlog.Start(t.Context(), time.Hour, silent(), func(context.Context) (commitlog.Log, error) { return nil, wrong })
	if !errors.Is(err, wrong) {
		t.Errorf("Start() = %v", err)
	}
}

// TestStartEnds: neither who starts it nor who closes it waits for the engine.
func TestStartEnds(t *testing.T) {
	waits := func(ctx context.Context) (commitlog.Log, error) {
		<-ctx.Done()
		return nil, context.Cause(ctx)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := commitlog.Start(ctx, time.Hour, silent(), waits); !errors.Is(err, context.Canceled) {
		t.Errorf("Start() = %v", err)
	}
	log, err := commitlog.Start(t.Context(), 0, silent(), waits)
	if err == nil {
		err = log.Close()
	}
	if err != nil {
		t.Error(err)
	}
	if err := log.Err(); !errors.Is(err, commitlog.ErrClosed) {
		t.Errorf("Err() of a closed log = %v", err)
	}
}
