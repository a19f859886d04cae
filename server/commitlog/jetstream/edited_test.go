package jetstream

import (
	"log/slog"
	"strings"
	"testing"
	"time"

	natsjs "github.com/nats-io/nats.go/jetstream"

	"github.com/webhook-gateway/webhook-gateway/server/commitlog"
	"github.com/webhook-gateway/webhook-gateway/server/commitlog/jetstream/jetstreamtest"
)

// TestStreamThatIsMadeAnew: somebody removes the stream, and another gateway makes it again. Who had it open knows
// how far it is now, and does not look for what is gone again and again.
func TestStreamThatIsMadeAnew(t *testing.T) {
	t.Parallel()
	c := jetstreamtest.Start(t, 1, "")
	config := configFor(c)
	log := mustOpen(t, config)
	var after commitlog.Sequence
	for range 20 {
		after = mustSettle(t, log, after, "before")
	}
	readN(t, log, 20)
	js := c.Connect()
	if err := js.DeleteStream(t.Context(), config.Stream); err != nil {
		t.Fatal(err)
	}
	mustSettle(t, mustOpen(t, config), 0, "after")
	eventually(t, "Err() is nil", func() bool { return log.Err() == nil })
	eventually(t, "the new commit is read", func() bool {
		for next, err := range log.Read(t.Context(), 0) {
			return err == nil && string(next.Bytes) == "after"
		}
		return false
	})
	eventually(t, "the end is known", func() bool { return log.Newest() == 1 })
	if log.tail.behind() {
		t.Error("it looks for more")
	}
	mustSettle(t, log, 1, "second")
}

// TestStreamThatIsEdited: what an operator changes of the stream while a gateway runs is checked as at the start.
func TestStreamThatIsEdited(t *testing.T) {
	t.Parallel()
	c := jetstreamtest.Start(t, 1, "")
	js := c.Connect()
	config := configFor(c)
	var logs syncBuffer
	log, err := Open(t.Context(), config, slog.New(slog.NewTextHandler(&logs, nil)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = log.Close() })
	bad := config.stream()
	bad.Discard, bad.MaxAge, bad.AllowAtomicPublish = natsjs.DiscardOld, time.Hour, false
	if _, err := js.UpdateStream(t.Context(), bad); err != nil {
		t.Fatal(err)
	}
	for _, advice := range []string{"--discard new", "--max-age 0", "--allow-batch"} {
		eventually(t, advice+" is said", func() bool { return strings.Contains(logs.String(), advice) })
	}
	if err := log.Err(); err != nil { // commits are taken
		t.Errorf("Err() = %v", err)
	}
}

// TestCommitThatDoesNotFit: messages are made smaller than a commit needs while a gateway runs. It is told, the servers
// are not asked without a pause, and when they may be larger again the same commit goes through.
func TestCommitThatDoesNotFit(t *testing.T) {
	t.Parallel()
	c := jetstreamtest.Start(t, 1, "")
	js := c.Connect()
	config := configFor(c)
	log := mustOpen(t, config)
	small := config.stream()
	small.MaxMsgSize = 1000
	if _, err := js.UpdateStream(t.Context(), small); err != nil {
		t.Fatal(err)
	}
	settled := make(chan error, 1)
	go func() {
		_, err := commitlog.Settle(t.Context(), log, 0, large(3<<20, 1))
		settled <- err
	}()
	eventually(t, "Err() says so", func() bool { return says(log.Err(), "size") })
	t.Logf("it says: %v", log.Err())
	before := log.conn.Stats().OutMsgs
	<-time.After(time.Second)
	if n := log.conn.Stats().OutMsgs - before; n > 100 {
		t.Errorf("%d messages a second are sent in vain", n)
	}
	if _, err := js.UpdateStream(t.Context(), config.stream()); err != nil {
		t.Fatal(err)
	}
	if err := <-settled; err != nil {
		t.Error(err)
	}
	eventually(t, "Err() is nil", func() bool { return log.Err() == nil })
}

// refuseConsumers has the servers make no more consumers of a stream.
func refuseConsumers(t *testing.T, c *jetstreamtest.Cluster, config Config) {
	t.Helper()
	js := c.Connect()
	if _, err := js.CreateConsumer(t.Context(), config.Stream, natsjs.ConsumerConfig{Durable: "another"}); err != nil {
		t.Fatal(err)
	}
	limited := config.stream()
	limited.MaxConsumers = 1 // which there is
	if _, err := js.UpdateStream(t.Context(), limited); err != nil {
		t.Fatal(err)
	}
}

// TestConsumersThatAreRefused: no consumer can be made any more. Commits are read all the same, and the operator is
// told.
func TestConsumersThatAreRefused(t *testing.T) {
	t.Parallel()
	c := jetstreamtest.Start(t, 1, "")
	config := configFor(c)
	writer := mustOpen(t, config)
	var logs syncBuffer
	reader, err := Open(t.Context(), config, slog.New(slog.NewTextHandler(&logs, nil)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = reader.Close() })
	var after commitlog.Sequence
	const n = slowMessages + 50
	for i := range n {
		after = mustSettle(t, writer, after, string(large(100, byte(i))))
	}
	refuseConsumers(t, c, config)
	if read := len(readN(t, reader, n)); read != n {
		t.Errorf("%d commits", read)
	}
	eventually(t, "it says so", func() bool { return strings.Contains(logs.String(), "maximum consumers limit") })
}
