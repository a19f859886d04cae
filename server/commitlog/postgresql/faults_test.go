package postgresql

import (
	"testing"
	"time"
)

// heal is how long it may take to go on when a fault is over: a second on an idle machine. A busy one may need as
// much more for whatever has a limit.
const heal = 20 * time.Second

// TestServerIsKilled: again and again, under three writers.
func TestServerIsKilled(t *testing.T) {
	t.Parallel()
	server := startServer(t)
	w := startWriters(t, configOf(server))
	for range 3 {
		w.more(50)
		server.kill()
		server.start()
		up, before := time.Now(), w.acknowledged()
		eventually(t, "commits are acknowledged", func() bool { return w.acknowledged() > before })
		if took := time.Since(up); took > heal {
			t.Errorf("it took %v to go on", took)
		} else {
			t.Logf("it took %v to go on", took.Round(time.Millisecond))
		}
	}
	w.end(configOf(server))
}

// TestConnectionsAreCut: again and again, under three writers.
func TestConnectionsAreCut(t *testing.T) {
	t.Parallel()
	server := startServer(t)
	w := startWriters(t, configOf(server))
	for range 20 {
		w.more(5)
		server.exec(cutAll)
	}
	w.more(20)
	w.end(configOf(server))
}

// TestServerIsPaused: each append ends in its time, and all is well again when the server is
// back.
func TestServerIsPaused(t *testing.T) {
	t.Parallel()
	server := startServer(t)
	log, other, third := openLog(t, configOf(server)), openLog(t, configOf(server)), openLog(t, configOf(server))
	after := settle(t, log, 0, "first")
	server.pause()
	for range 2 {
		began := time.Now()
		if at, err := log.Append(bounded(t), after, []byte("second")); err == nil {
			t.Errorf("Append() = %d", at)
		}
		if took := time.Since(began); took > appendTimeout+heal {
			t.Errorf("Append took %v", took)
		}
	}
	for _, l := range []*Log{log, other} {
		eventually(t, "Err() says so", func() bool { return l.Err() != nil })
	}
	began := time.Now()
	if err := third.Close(); err != nil || time.Since(began) > closeTimeout+pollTimeout+heal {
		t.Errorf("Close() = %v after %v", err, time.Since(began))
	}
	server.resume()
	back := time.Now()
	settle(t, log, after, "second")
	awaitRead(t, other, after, 1)
	if took := time.Since(back); took > heal {
		t.Errorf("it took %v to go on", took)
	}
	for _, l := range []*Log{log, other} {
		eventually(t, "Err() is nil", func() bool { return l.Err() == nil })
	}
	if took := time.Since(back); took > heal {
		t.Errorf("it took %v until Err() was nil", took)
	}
}

// TestGatewayStandsStill: one that holds a lock, as it does while it drops a partition, does
// not stop the others.
func TestGatewayStandsStill(t *testing.T) {
	t.Parallel()
	server := startServer(t)
	still, log := openLog(t, configOf(server)), openLog(t, configOf(server))
	after := settle(t, log, 0, "first")
	tx, err := still.pool.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tx.Exec(t.Context(), "LOCK TABLE webhook_gateway_commits"); err != nil {
		t.Fatal(err)
	}
	settle(t, log, after, "second")
	if err := tx.Commit(t.Context()); err == nil {
		t.Error("the transaction that stood still has ended well")
	}
	awaitRead(t, still, after, 1)
}
