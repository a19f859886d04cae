package jetstream

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/webhook-gateway/webhook-gateway/server/commitlog"
	"github.com/webhook-gateway/webhook-gateway/server/commitlog/jetstream/jetstreamtest"
)

func says(err error, text string) bool { return err != nil && strings.Contains(err.Error(), text) }

// TestNoQuorum: a log that nobody appends to says that commits are not taken, and soon that they
// are again. Commits go through as soon as the servers have a leader.
func TestNoQuorum(t *testing.T) {
	t.Parallel()
	c := jetstreamtest.Start(t, 3, "")
	js := c.Connect()
	config := configFor(c)
	log := mustOpen(t, config)
	if err := log.Err(); err != nil {
		t.Errorf("Err() = %v", err)
	}
	leader := c.Leader(js, config.Stream)
	for _, n := range c.Nodes {
		if n != leader {
			n.Kill()
		}
	}
	took := eventually(t, "Err() says that there is no quorum", func() bool { return says(log.Err(), "more than half") })
	t.Logf("noticed after %v: %v", took, log.Err())
	for _, n := range c.Nodes {
		n.Start()
	}
	probe := mustOpen(t, config) // returns when the stream has a leader
	returned := time.Now()
	settled := make(chan error)
	go func() {
		_, err := commitlog.Settle(t.Context(), log, 0, []byte("first"))
		settled <- err
	}()
	if err := <-settled; err != nil {
		t.Fatal(err)
	}
	if took := time.Since(returned); took > 30*time.Second {
		t.Errorf("the commit goes through after %v", took)
	}
	eventually(t, "Err() is nil", func() bool { return log.Err() == nil })
	if n := len(readN(t, probe, 1)); n != 1 {
		t.Errorf("%d commits", n)
	}
}

// TestRecovery: when the engine takes a commit again after all of its servers were killed, so do all gateways within
// two seconds, and their Err is nil. A log of which everything was trimmed goes on where it was.
func TestRecovery(t *testing.T) {
	t.Parallel()
	c := jetstreamtest.Start(t, 3, "")
	js := c.Connect()
	config := configFor(c)
	log, idle := mustOpen(t, config), mustOpen(t, config)
	first, err := commitlog.Settle(t.Context(), log, 0, []byte("first"))
	if err != nil {
		t.Fatal(err)
	}
	if err := log.Trim(t.Context(), first); err != nil {
		t.Fatal(err)
	}
	c.Each((*jetstreamtest.Node).Kill)
	eventually(t, "both say so", func() bool { return log.Err() != nil && idle.Err() != nil })
	settled := make(chan time.Time)
	go func() {
		if at, err := commitlog.Settle(t.Context(), log, first, []byte("second")); err != nil || at != first+1 {
			t.Errorf("Settle() = %d, %v", at, err)
		}
		settled <- time.Now()
	}()
	c.Each((*jetstreamtest.Node).Start)
	c.Leader(js, config.Stream)
	returned := time.Now()
	took := (<-settled).Sub(returned)
	for _, l := range []*Log{log, idle} {
		eventually(t, "Err() is nil", func() bool { return l.Err() == nil })
	}
	t.Logf("after there is a leader, a commit goes through in %v, and Err() is nil in %v", took, time.Since(returned))
	if took := time.Since(returned); took > 30*time.Second { // it takes less than two if the machine is not busy
		t.Errorf("it takes %v", took)
	}
	eventually(t, "the second commit is read", func() bool {
		for next, err := range idle.Read(t.Context(), first) {
			return err == nil && string(next.Bytes) == "second"
		}
		return false
	})
	if newest := mustOpen(t, config).Newest(); newest != first+1 {
		t.Errorf("Newest() = %d", newest)
	}
}

// TestFull: a stream that is full says so, until there is room.
func TestFull(t *testing.T) {
	t.Parallel()
	for _, servers := range []int{1, 3} {
		t.Run(fmt.Sprint(servers), func(t *testing.T) {
			t.Parallel()
			testFull(t, servers)
		})
	}
}

func testFull(t *testing.T, servers int) {
	t.Helper()
	c := jetstreamtest.Start(t, servers, "")
	js := c.Connect()
	config := configFor(c)
	full := config.stream()
	full.MaxBytes = 100_000
	eventually(t, "there is a stream", func() bool { _, err := js.CreateStream(t.Context(), full); return err == nil })
	log := mustOpen(t, config)
	commit := make([]byte, 20_000)
	var at commitlog.Sequence
	var err error
	eventually(t, "it is full", func() bool {
		commit[0]++
		_, err = log.Append(t.Context(), at, commit)
		for next, readErr := range log.Read(t.Context(), at) { // one whose answer was lost may be there, too
			if readErr != nil {
				break
			}
			at = next.Sequence
		}
		return errors.Is(err, commitlog.ErrFull)
	})
	if !says(err, "maximum bytes exceeded") || errors.Is(err, commitlog.ErrTaken) {
		t.Fatalf("Append() = %v", err)
	}
	for _, other := range []commitlog.Sequence{at - 1, at + 1} { // that it is full is said only of the end
		eventually(t, "the servers answer", func() bool {
			_, err = log.Append(t.Context(), other, commit)
			return errors.Is(err, commitlog.ErrTaken) || errors.Is(err, commitlog.ErrFull)
		})
		if errors.Is(err, commitlog.ErrFull) {
			t.Errorf("Append() after %d, and the last is %d: %v", other, at, err)
		}
	}
	if !says(log.Err(), "maximum bytes exceeded") || !says(log.Err(), "nats stream edit --max-bytes=-1") {
		t.Errorf("Err() = %v", log.Err())
	}
	if err := log.Trim(t.Context(), at); err != nil {
		t.Fatal(err)
	}
	eventually(t, "Err() is nil after the trim", func() bool { return log.Err() == nil })
	mustSettle(t, log, at, string(commit))
	eventually(t, "Err() is nil", func() bool { return log.Err() == nil })
}

// TestStreamThatIsGone: somebody removed it.
func TestStreamThatIsGone(t *testing.T) {
	t.Parallel()
	c := jetstreamtest.Start(t, 1, "")
	config := configFor(c)
	log := mustOpen(t, config)
	if err := c.Connect().DeleteStream(t.Context(), config.Stream); err != nil {
		t.Fatal(err)
	}
	eventually(t, "Err() says so", func() bool { return says(log.Err(), "is not there any more") })
}

// TestPermissionThatIsTaken: an operator takes a permission away while a gateway runs, and gives it back.
func TestPermissionThatIsTaken(t *testing.T) {
	t.Parallel()
	denied := func(subject string) string {
		return fmt.Sprintf("authorization { users: [ { user: g, password: p, permissions: { publish: { deny: %q } } } ] }", subject)
	}
	c := jetstreamtest.Start(t, 1, denied("none"))
	config := configFor(c)
	config.URLs = []string{at(c.Nodes[0].URL, "g:p")}
	log := mustOpen(t, config)
	node := c.Nodes[0]
	node.Reconfigure(denied(config.subject()))
	eventually(t, "an append fails", func() bool {
		_, err := log.Append(t.Context(), 7, []byte("nowhere"))
		return err != nil && !errors.Is(err, commitlog.ErrTaken)
	})
	eventually(t, "Err() says so", func() bool { return says(log.Err(), "grant the user of the gateway") })
	node.Reconfigure(denied("none"))
	mustSettle(t, log, 0, "first")
	eventually(t, "Err() is nil", func() bool { return log.Err() == nil })
}
