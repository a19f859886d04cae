package postgresql

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/webhook-gateway/webhook-gateway/server/commitlog"
)

// startPair starts a primary and its synchronous standby.
func startPair(t testing.TB) (primary, standby *testServer) {
	t.Helper()
	primary = newServer(t, standbySettings)
	// What initdb and the copy write must not wait for a standby that is yet to come.
	primary.start()
	standby = primary.startStandby()
	primary.until("SELECT EXISTS (SELECT FROM pg_stat_replication WHERE sync_state = 'sync')")
	return primary, standby
}

// waiting waits until a commit waits for the standby.
const waiting = "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE wait_event = 'SyncRep')"

// TestCancelledWait: a commit whose wait for the standby was cancelled can be seen, and is
// not believed until the standby has it.
func TestCancelledWait(t *testing.T) {
	t.Parallel()
	primary, standby := startPair(t)
	log, other := openLog(t, configOf(primary)), openLog(t, configOf(primary))
	after := settle(t, log, 0, "first")
	awaitRead(t, other, 0, 1)
	standby.pause()
	conn := primary.connect() // at once: the append waits for so long
	defer func() { _ = conn.Close(context.Background()) }()
	answer := make(chan error)
	go func() {
		_, err := log.Append(bounded(t), after, []byte("second"))
		answer <- err
	}()
	eventually(t, "the wait is cancelled", func() bool {
		done, err := conn.Exec(t.Context(), "SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE wait_event = 'SyncRep'")
		return err == nil && done.RowsAffected() > 0
	})
	if err := <-answer; err == nil || !strings.Contains(err.Error(), "not certain to be on the standby") {
		t.Errorf("Append() = %v", err)
	}
	if n := ask[int](primary, "SELECT count(*) FROM webhook_gateway_commits"); n != 2 {
		t.Fatalf("%d commits can be seen", n)
	}
	for _, l := range []*Log{log, other} {
		eventually(t, "it says that the newest is in doubt", func() bool { return l.Err() != nil })
		if got := readAll(t, l, 0); !slices.Equal(got, []string{"first"}) {
			t.Errorf("it believes %q", got)
		}
	}
	// One that starts now reads what is certain.
	late := openLog(t, configOf(primary))
	if got := readAll(t, late, 0); !slices.Equal(got, []string{"first"}) {
		t.Errorf("one that starts believes %q", got)
	}
	if err := yields(t, late, after+1); err != nil { // its copy has it: it believed it before it ended
		t.Errorf("Read() yields %v", err)
	}
	standby.resume()
	for _, l := range []*Log{log, other, late} {
		if got := awaitRead(t, l, 0, 2); !slices.Equal(got, []string{"first", "second"}) {
			t.Errorf("it believes %q", got)
		}
		eventually(t, "Err() is nil again", func() bool { return l.Err() == nil })
	}
	settle(t, log, after+1, "third")
}

// TestPromotionWithoutNewest: the primary is killed while a commit waits for the standby, and
// started again: now the commit can be seen though the standby does not have it. Then the
// standby is promoted, and another commit takes the place. Nobody ever believed the first.
func TestPromotionWithoutNewest(t *testing.T) {
	t.Parallel()
	primary, standby := startPair(t)
	config := configOf(primary, standby)
	log, other := openLog(t, config), openLog(t, config)
	after := settle(t, log, 0, "first")
	awaitRead(t, other, 0, 1)
	standby.kill()
	_ = log.Close()
	gone := appendAndVanish(t, primary, after+1, "never acknowledged")
	primary.kill()
	<-gone
	primary.start()
	if n := ask[int](primary, "SELECT count(*) FROM webhook_gateway_commits"); n != 2 {
		t.Fatalf("after the restart %d commits can be seen", n)
	}
	eventually(t, "it sees the newest, and doubts it", func() bool {
		return other.Err() != nil && strings.Contains(other.Err().Error(), "commit, 2, is not certain")
	})
	if got := readAll(t, other, 0); !slices.Equal(got, []string{"first"}) {
		t.Errorf("it believes %q", got)
	}
	primary.kill()
	standby.start()
	standby.promote()
	if at := settle(t, other, after, "second"); at != after+1 {
		t.Errorf("the next is at %d", at)
	}
	if got := awaitRead(t, openLog(t, config), 0, 2); !slices.Equal(got, []string{"first", "second"}) {
		t.Errorf("the log has %q", got)
	}
}

// appendAndVanish appends a commit, and waits until it waits for the standby. The channel is
// closed when its connection has broken.
func appendAndVanish(t *testing.T, s *testServer, at commitlog.Sequence, commit string) <-chan struct{} {
	t.Helper()
	gone := make(chan struct{})
	conn := s.connect()
	go func() {
		defer close(gone)
		_, err := conn.Exec(context.Background(), "INSERT INTO webhook_gateway_commits VALUES ($1, 1, $2)", int64(at), []byte(commit))
		if err == nil {
			t.Error("the commit is acknowledged without a standby")
		}
		_ = conn.Close(context.Background())
	}()
	s.until(waiting)
	return gone
}

// writers are three who append commits, each with the hash of the one before, until they are stopped.
type writers struct {
	t     *testing.T
	stop  context.CancelFunc
	group sync.WaitGroup
	mu    sync.Mutex
	acked map[string]int
	last  time.Time
	count int
}

func startWriters(t *testing.T, config Config) *writers {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	w := &writers{t: t, stop: stop, acked: make(map[string]int)}
	for i := range 3 {
		log, err := Open(t.Context(), config, slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		w.group.Go(func() {
			defer func() { _ = log.Close() }()
			w.write(ctx, log, fmt.Sprint("writer ", i))
		})
	}
	t.Cleanup(func() { stop(); w.group.Wait() })
	return w
}

func (w *writers) write(ctx context.Context, log *Log, name string) {
	var after commitlog.Sequence
	var hash [sha256.Size]byte
	for i := 0; ; {
		for commit, err := range log.Read(ctx, after) {
			if err != nil {
				break // the server does not answer
			}
			if before, _, _ := strings.Cut(string(commit.Bytes), " "); before != fmt.Sprintf("%x", hash) {
				w.t.Errorf("%s: the commit after %d says otherwise what came before", name, after)
				return
			}
			after, hash = commit.Sequence, sha256.Sum256(commit.Bytes)
		}
		commit := fmt.Appendf(nil, "%x %s: %d", hash, name, i)
		at, err := commitlog.Settle(ctx, log, after, commit)
		switch {
		case ctx.Err() != nil:
			return
		case err != nil || at == 0:
			continue
		}
		after, hash = at, sha256.Sum256(commit)
		w.mu.Lock()
		w.acked[string(commit)]++
		w.last, w.count = time.Now(), w.count+1
		w.mu.Unlock()
		i++
	}
}

func (w *writers) acknowledged() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.count
}

// more waits until more commits are acknowledged.
func (w *writers) more(n int) {
	w.t.Helper()
	until := w.acknowledged() + n
	eventually(w.t, "commits are acknowledged", func() bool { return w.acknowledged() >= until })
}

// end stops the writers, and checks that a fresh reader has all that was acknowledged, once,
// as one chain.
func (w *writers) end(config Config) {
	w.t.Helper()
	w.stop()
	w.group.Wait()
	log := openLog(w.t, config)
	eventually(w.t, "the newest commit is believed", func() bool { return log.Err() == nil })
	var hash [sha256.Size]byte
	seen := make(map[string]int)
	for _, commit := range readAll(w.t, log, 0) {
		if before, _, _ := strings.Cut(commit, " "); before != fmt.Sprintf("%x", hash) {
			w.t.Fatalf("the chain is broken at %q", commit)
		}
		hash = sha256.Sum256([]byte(commit))
		seen[commit]++
	}
	for commit := range w.acked {
		if seen[commit] != 1 {
			w.t.Errorf("%q was acknowledged, and is there %d times", commit, seen[commit])
		}
	}
	w.t.Logf("%d commits acknowledged, %d in the log", w.count, len(seen))
}

// TestFailover: the primary is killed under three writers, and the standby is promoted.
// The former primary comes back, named first: nobody writes to it, or believes it.
func TestFailover(t *testing.T) {
	t.Parallel()
	primary, standby := startPair(t)
	config := configOf(primary, standby)
	w := startWriters(t, config)
	w.more(100)
	primary.kill()
	standby.promote()
	promoted := time.Now()
	w.more(100)
	t.Logf("commits %v after the promotion", time.Since(promoted).Round(time.Millisecond))
	primary.start()
	for range 3 {
		standby.exec(cutAll)
		w.more(30)
	}
	if n := ask[int](primary, "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'webhook-gateway' AND wait_event = 'SyncRep'"); n > 0 {
		t.Errorf("%d gateways write to the former primary", n)
	}
	w.end(config)
	settle(t, openLog(t, config), ask[commitlog.Sequence](standby, "SELECT max(seq) FROM webhook_gateway_commits"), "one more")
}

// TestPrimaryHangs: it does not answer, nor refuse, as one whose machine is gone. The standby
// is promoted. When the former primary goes on nobody notices.
func TestPrimaryHangs(t *testing.T) {
	t.Parallel()
	primary, standby := startPair(t)
	config := configOf(primary, standby)
	w := startWriters(t, config)
	w.more(50)
	primary.pause()
	standby.promote()
	promoted := time.Now()
	w.more(50)
	t.Logf("commits %v after the promotion", time.Since(promoted).Round(time.Millisecond))
	primary.resume()
	w.more(50)
	standby.exec(cutAll)
	w.more(50)
	w.end(config)
}

// TestFormerPrimaryHolds: a call that waits for an answer of the former primary, which hangs, ends
// when another is seen, and not only when its own time is up.
func TestFormerPrimaryHolds(t *testing.T) {
	t.Parallel()
	primary, standby := startPair(t)
	log := openLog(t, configOf(primary, standby))
	conn, err := log.pool.Acquire(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Release()
	primary.pause()
	held := make(chan error, 1)
	go func() {
		_, err := conn.Exec(t.Context(), "SELECT 1")
		held <- err
	}()
	standby.promote()
	select {
	case err := <-held:
		if err == nil {
			t.Error("a primary that is paused has answered")
		}
	case <-bounded(t).Done():
		t.Error("the call still waits for the former primary")
	}
	primary.resume()
}

// cutAll cuts the connections of all gateways.
const cutAll = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'webhook-gateway'"

// TestLostEnd: a failover to a standby that is behind has lost commits that were read. Who
// has them reads nothing more, is told that the log has lost its end, and does not append to
// what is there instead.
func TestLostEnd(t *testing.T) {
	t.Parallel()
	server := startServer(t)
	log := openLog(t, configOf(server))
	first := settle(t, log, 0, "first")
	second := settle(t, log, first, "second")
	third := settle(t, log, second, "third")
	var told logged
	fork, err := Open(t.Context(), configOf(server), told.logger())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = fork.Close() })
	awaitRead(t, fork, 0, 3)
	server.exec("DELETE FROM webhook_gateway_commits WHERE seq >= 2")
	eventually(t, "the loss is told", func() bool {
		return strings.Contains(told.String(), "the commit log has lost its end: it had commit 3, and ends at 1")
	})
	for _, after := range []commitlog.Sequence{first, second, third} {
		if got := readAll(t, fork, after); len(got) > 0 {
			t.Errorf("after %d comes %q", after, got)
		}
	}
	if at, err := fork.Append(bounded(t), third, []byte("fourth")); !errors.Is(err, commitlog.ErrTaken) {
		t.Errorf("Append() = %d, %v after what was lost", at, err)
	}
	// The others go on: the place of what was lost has other commits now.
	late := openLog(t, configOf(server))
	settle(t, late, settle(t, late, first, "other second"), "other third")
	eventually(t, "it knows of them", func() bool { return fork.known() == third })
	if at, err := fork.Append(bounded(t), third, []byte("fourth")); !errors.Is(err, commitlog.ErrTaken) || !strings.Contains(err.Error(), "commit 3 is another than it was") {
		t.Errorf("Append() = %d, %v after what was lost", at, err)
	}
	eventually(t, "Err() is nil", func() bool { return fork.Err() == nil })
	// Then it reads what there is, and goes on.
	if got := readAll(t, fork, first); !slices.Equal(got, []string{"other second", "other third"}) {
		t.Errorf("the log has %q", got)
	}
	settle(t, fork, third, "fourth")
}

// TestFormerPrimaryAlone: a gateway that starts while only the former primary answers, and
// has more than that, is not told that the log has lost its end. When the primary answers it
// leaves the former one.
func TestFormerPrimaryAlone(t *testing.T) {
	t.Parallel()
	primary, standby := startPair(t)
	config := configOf(primary, standby)
	log := openLog(t, config)
	after := settle(t, log, 0, "first")
	primary.kill()
	standby.promote()
	after = settle(t, log, after, "second")
	standby.kill()
	primary.start()
	late, err := Open(t.Context(), config, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = late.Close() })
	if err := yields(t, late, after); err == nil || !strings.Contains(err.Error(), fmt.Sprintf("lacks commit 2, which this gateway has, and may be a former primary: 127.0.0.1:%d did not answer", standby.port)) {
		t.Errorf("Read() yields %v", err)
	}
	standby.start()
	eventually(t, "it has left the former primary", func() bool { return yields(t, late, after) == nil })
	settle(t, late, after, "third")
	if got := readAll(t, late, 0); !slices.Equal(got, []string{"first", "second", "third"}) {
		t.Errorf("the log has %q", got)
	}
}

// TestStandbyIsAway: no commit is acknowledged, each append ends in its time, and all is well
// again when the standby is back.
func TestStandbyIsAway(t *testing.T) {
	t.Parallel()
	primary, standby := startPair(t)
	log := openLog(t, configOf(primary))
	after := settle(t, log, 0, "first")
	standby.pause()
	began := time.Now()
	if at, err := log.Append(bounded(t), after, []byte("second")); err == nil || !strings.Contains(err.Error(), "or its synchronous standby, does not answer") {
		t.Errorf("Append() = %d, %v", at, err)
	}
	if took := time.Since(began); took > appendTimeout+heal {
		t.Errorf("Append took %v", took)
	}
	if log.Err() == nil {
		t.Error("Err() = nil")
	}
	answer := make(chan commitlog.Sequence)
	go func() { answer <- settle(t, log, after, "second") }()
	standby.resume()
	back := time.Now()
	<-answer
	if took := time.Since(back); took > heal {
		t.Errorf("it took %v to go on", took)
	}
	eventually(t, "Err() is nil", func() bool { return log.Err() == nil })
}

// TestOpenWhileStandbyIsAway: the tables can be made, and commits are taken when it is back.
func TestOpenWhileStandbyIsAway(t *testing.T) {
	t.Parallel()
	primary, standby := startPair(t)
	standby.pause()
	log := openLog(t, configOf(primary))
	if _, err := log.Append(bounded(t), 0, []byte("first")); err == nil {
		t.Error("a commit is taken without the standby")
	}
	standby.resume()
	settle(t, log, 0, "first")
}
