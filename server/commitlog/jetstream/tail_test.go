package jetstream

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"strings"
	"testing"
	"time"

	natsjs "github.com/nats-io/nats.go/jetstream"

	"github.com/webhook-gateway/webhook-gateway/server/commitlog"
	"github.com/webhook-gateway/webhook-gateway/server/commitlog/jetstream/jetstreamtest"
)

func mustSettle(t *testing.T, log commitlog.Log, after commitlog.Sequence, commit string) commitlog.Sequence {
	t.Helper()
	at, err := commitlog.Settle(t.Context(), log, after, []byte(commit))
	if err != nil || at == 0 {
		t.Fatalf("Settle() = %d, %v", at, err)
	}
	return at
}

// TestConsumerThatStandsStill: what comes is read although the consumer of the reader was paused, or
// removed.
func TestConsumerThatStandsStill(t *testing.T) {
	t.Parallel()
	c := jetstreamtest.Start(t, 1, "")
	js := c.Connect()
	for name, harm := range map[string]func(natsjs.Stream, string) error{
		"paused": func(s natsjs.Stream, consumer string) error {
			_, err := s.PauseConsumer(t.Context(), consumer, time.Now().Add(time.Hour))
			return err
		},
		"removed": func(s natsjs.Stream, consumer string) error { return s.DeleteConsumer(t.Context(), consumer) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			config := configFor(c)
			writer, reader := mustOpen(t, config), mustOpen(t, config)
			after := mustSettle(t, writer, 0, "first")
			readN(t, reader, 1)
			stream, err := js.Stream(t.Context(), config.Stream)
			if err != nil {
				t.Fatal(err)
			}
			for consumer := range stream.ListConsumers(t.Context()).Info() {
				// A reader that heard nothing for a while has made another one by itself, and this one is gone.
				if err := harm(stream, consumer.Name); err != nil && !errors.Is(err, natsjs.ErrConsumerNotFound) {
					t.Fatal(err)
				}
			}
			mustSettle(t, writer, after, "second")
			took := eventually(t, "the second is read", func() bool {
				for next, err := range reader.Read(t.Context(), after) {
					return err == nil && string(next.Bytes) == "second"
				}
				return false
			})
			if took > 20*time.Second { // two if the machine is not busy
				t.Errorf("the second is read after %v", took)
			}
		})
	}
}

// TestNoConsumer: while no consumer can be made, as when the cluster has no leader yet though the stream has one,
// commits are read all the same.
func TestNoConsumer(t *testing.T) {
	t.Parallel()
	denied := func(subject string) string {
		return fmt.Sprintf("authorization { users: [ { user: g, password: p, permissions: { publish: { deny: %q } } } ] }", subject)
	}
	c := jetstreamtest.Start(t, 1, denied("none"))
	config := configFor(c)
	config.URLs = []string{at(c.Nodes[0].URL, "g:p")}
	log := mustOpen(t, config)
	var after commitlog.Sequence
	commits := []string{"a", string(large(3<<20, 1)), "b", "c"}
	for _, commit := range commits {
		after = mustSettle(t, log, after, commit)
	}
	c.Nodes[0].Reconfigure(denied("$JS.API.CONSUMER.CREATE.>"))
	eventually(t, "it is not permitted", func() bool { return says(log.Err(), "CONSUMER.CREATE") || rewind(log) })
	for i, commit := range readN(t, log, len(commits)) {
		if string(commit) != commits[i] {
			t.Errorf("commit %d has %d bytes", i, len(commit))
		}
	}
}

// slowWay is the address of a way to a server that takes 80 kB a second, each way.
func slowWay(t *testing.T, to string) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	go func() {
		for {
			client, err := listener.Accept()
			if err != nil {
				return
			}
			server, err := net.Dial("tcp", to)
			if err != nil {
				_ = client.Close()
				continue
			}
			slowly := func(to, from net.Conn) {
				defer func() { _ = to.Close() }()
				for {
					if _, err := io.CopyN(to, from, 64_000); err != nil {
						return
					}
					<-time.After(800 * time.Millisecond) // is what makes it slow
				}
			}
			go slowly(server, client)
			go slowly(client, server)
		}
	}()
	return listener.Addr().String()
}

// TestSlowAnswers: a commit of several messages, which have to be read one by one, is read although each of them takes
// longer than is waited for at first.
func TestSlowAnswers(t *testing.T) {
	t.Parallel()
	c := jetstreamtest.Start(t, 1, "max_payload: 131072")
	config := configFor(c)
	commit := large(300_000, 1) // of three messages, of which two take 1.6 s or more, as text of 170 kB
	mustSettle(t, mustOpen(t, config), 0, string(commit))
	slow := config
	slow.URLs = []string{"nats://" + slowWay(t, strings.TrimPrefix(c.Nodes[0].URL, "nats://"))}
	reader := mustOpen(t, slow)
	refuseConsumers(t, c, config)
	if commits := readN(t, reader, 1); !bytes.Equal(commits[0], commit) {
		t.Errorf("it has %d bytes", len(commits[0]))
	}
}

// TestSlowAppends: a commit of several messages is appended although each of them takes longer than is waited for at first.
func TestSlowAppends(t *testing.T) {
	t.Parallel()
	c := jetstreamtest.Start(t, 1, "max_payload: 131072")
	config := configFor(c)
	config.URLs = []string{"nats://" + slowWay(t, strings.TrimPrefix(c.Nodes[0].URL, "nats://"))}
	mustSettle(t, mustOpen(t, config), 0, string(large(300_000, 1))) // two of three messages take 1.6 s or more
}

// rewind has the reader begin anew.
func rewind(log *Log) bool {
	log.tail.mu.Lock()
	defer log.tail.mu.Unlock()
	log.tail.goTo(0)
	log.tail.goTo(near + 100)
	log.tail.goTo(0)
	return false
}

// TestServerThatHangs: a gateway whose server hangs, though the connection stands, goes to another one.
func TestServerThatHangs(t *testing.T) {
	t.Parallel()
	c := jetstreamtest.Start(t, 3, "")
	js := c.Connect()
	config := configFor(c)
	writer := mustOpen(t, config)
	leader := c.Leader(js, config.Stream)
	var hung *jetstreamtest.Node
	for _, n := range c.Nodes {
		if n != leader {
			hung = n
		}
	}
	config.URLs = []string{hung.URL, leader.URL}
	var reader *Log
	for reader == nil || reader.conn.ConnectedUrl() != hung.URL { // it chooses by chance
		reader = mustOpen(t, config)
	}
	after := mustSettle(t, writer, 0, "first")
	readN(t, reader, 1)
	hung.Pause()
	defer hung.Resume()
	second := mustSettle(t, writer, after, "second")
	eventually(t, "the second is read", func() bool {
		for next, err := range reader.Read(t.Context(), after) {
			return err == nil && string(next.Bytes) == "second"
		}
		return false
	})
	mustSettle(t, reader, second, "third")
	eventually(t, "Err() is nil", func() bool { return reader.Err() == nil }) // the answer may have been lost, and the commit read
	if url := reader.conn.ConnectedUrl(); url == hung.URL {
		t.Errorf("it is connected to %s", url)
	}
}

// TestServerThatKnowsNoLeader: a gateway whose server is cut off from the others goes to one that is not. (Here
// it is a server of its own, with no stream.)
func TestServerThatKnowsNoLeader(t *testing.T) {
	t.Parallel()
	good, lonely := jetstreamtest.Start(t, 1, ""), jetstreamtest.Start(t, 1, "jetstream: false")
	config := configFor(good)
	log := mustOpen(t, config)
	if err := log.conn.SetServerPool([]string{lonely.Nodes[0].URL, good.Nodes[0].URL}); err != nil {
		t.Fatal(err)
	}
	_ = log.conn.ForceReconnect()
	eventually(t, "it has gone to the wrong server", func() bool { return log.conn.ConnectedUrl() == lonely.Nodes[0].URL })
	eventually(t, "Err() says so", func() bool { return says(log.Err(), "has no leader that answers") })
	mustSettle(t, log, 0, "first")
	eventually(t, "Err() is nil", func() bool { return log.Err() == nil })
}

// TestEverythingIsTrimmed: that nothing is left is said, to whom it concerns.
func TestEverythingIsTrimmed(t *testing.T) {
	t.Parallel()
	config := configFor(jetstreamtest.Start(t, 1, ""))
	log, behind := mustOpen(t, config), mustOpen(t, config)
	if n := len(readN(t, behind, 0)); n != 0 {
		t.Fatalf("%d commits", n)
	}
	var at commitlog.Sequence
	for i := range 5 {
		at = mustSettle(t, log, at, fmt.Sprint(i))
	}
	if err := log.Trim(t.Context(), at+1); !says(err, "it has no message 6") {
		t.Errorf("Trim() = %v", err)
	}
	if err := log.Trim(t.Context(), at); err != nil {
		t.Fatal(err)
	}
	for name, l := range map[string]*Log{"who trimmed": log, "who opens it": mustOpen(t, config)} {
		for _, after := range []commitlog.Sequence{0, at - 1} {
			var trimmed *commitlog.TrimmedError
			for _, err := range l.Read(t.Context(), after) {
				if !errors.As(err, &trimmed) || trimmed.After != after || trimmed.Trimmed != at {
					t.Errorf("%s: after %d Read() yields %v", name, after, err)
				}
			}
			if trimmed == nil {
				t.Errorf("%s: after %d Read() yields nothing", name, after)
			}
		}
		for commit, err := range l.Read(t.Context(), at) {
			t.Errorf("%s: after %d Read() yields %v, %v", name, at, commit, err)
		}
	}
	// Who stood in the middle reads what it had already, and is told then.
	var after commitlog.Sequence
	eventually(t, "who is behind is told", func() bool {
		for commit, err := range behind.Read(t.Context(), after) {
			var trimmed *commitlog.TrimmedError
			if errors.As(err, &trimmed) {
				return trimmed.Trimmed == at
			}
			if err != nil || commit.Sequence != after+1 {
				t.Fatalf("after %d Read() yields %v, %v", after, commit, err)
			}
			after = commit.Sequence
		}
		return after == at
	})
	mustSettle(t, log, at, "next")
}

// TestTwoReaders: of two who read at the same time, the one who waits is told.
func TestTwoReaders(t *testing.T) {
	tail := newTail()
	told := make(chan error)
	go func() {
		_, _, err := tail.read(t.Context(), 5)
		told <- err
	}()
	eventually(t, "the first one waits", func() bool { _, place, _ := tail.where(); return place == 1 })
	go func() { _, _, _ = tail.read(t.Context(), 7) }()
	if err := <-told; !errors.Is(err, errTwoReaders) {
		t.Errorf("read() = %v", err)
	}
	tail.close()
}

// TestReconnectsAreQuiet: a server that is down for long is not logged again and again.
func TestReconnectsAreQuiet(t *testing.T) {
	t.Parallel()
	c := jetstreamtest.Start(t, 1, "")
	var logs syncBuffer
	log, err := Open(t.Context(), configFor(c), slog.New(slog.NewTextHandler(&logs, nil)))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = log.Close() }()
	c.Nodes[0].Kill()
	eventually(t, "Err() says so", func() bool { return says(log.Err(), "not connected to NATS: dial tcp") })
	<-time.After(3 * time.Second) // it is tried some times
	if n := strings.Count(logs.String(), "no connection to NATS"); n < 1 || n > 3 {
		t.Errorf("it logs %s", logs.String())
	}
}
