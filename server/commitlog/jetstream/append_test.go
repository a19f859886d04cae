package jetstream

import (
	"bytes"
	"context"
	"errors"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/webhook-gateway/webhook-gateway/server/commitlog"
	"github.com/webhook-gateway/webhook-gateway/server/commitlog/jetstream/jetstreamtest"
)

// large returns a commit that is cut into many messages, which differ.
func large(size int, name byte) []byte {
	commit := make([]byte, 0, size+1000)
	for i := 0; len(commit) < size; i++ {
		commit = append(commit, bytes.Repeat([]byte{name + byte(i)}, 1000)...)
	}
	return commit[:size]
}

// TestLargeCommits: commits of 40 MiB, here one, are whole and in order although the leader is killed while they
// are sent, and another gateway races.
func TestLargeCommits(t *testing.T) {
	t.Parallel()
	c := jetstreamtest.Start(t, 3, "")
	js := c.Connect()
	config := configFor(c)
	log, racer, reader := mustOpen(t, config), mustOpen(t, config), mustOpen(t, config)
	const size, n = 40 << 20, 1
	raced := make(chan int)
	go func() { // appends small commits between the large ones
		var after commitlog.Sequence
		var mine, all int
		for all < 2*n {
			changed := racer.Changed()
			for next, err := range racer.Read(t.Context(), after) {
				if err != nil {
					t.Error(err)
				}
				after, all = next.Sequence, all+1
			}
			if all%2 == 1 {
				at, err := commitlog.Settle(t.Context(), racer, after, []byte{byte(mine)})
				if err != nil {
					t.Error(err)
					break
				}
				if at > 0 {
					after, all, mine = at, all+1, mine+1
				}
				continue
			}
			select {
			case <-changed:
			case <-t.Context().Done():
				return
			}
		}
		raced <- mine
	}()
	var after commitlog.Sequence
	for i := byte(0); i < n; {
		if i == 0 {
			leader := c.Leader(js, config.Stream)
			killed := make(chan struct{})
			go func() {
				<-time.After(50 * time.Millisecond) // in the midst of it
				leader.Kill()
				leader.Start()
				close(killed)
			}()
			defer func() { <-killed }()
		}
		begin := time.Now()
		at, err := commitlog.Settle(t.Context(), log, after, large(size, i))
		if err != nil {
			t.Fatal(err)
		}
		t.Logf("40 MiB take %.1f s, and are at %d", time.Since(begin).Seconds(), at)
		if at > 0 {
			after = at
			i++
		}
		for moved := false; !moved && i < n; { // until the other has appended, too
			changed := log.Changed()
			for next, err := range log.Read(t.Context(), after) {
				if err != nil {
					t.Fatal(err)
				}
				after, moved = next.Sequence, true
			}
			if !moved {
				<-changed
			}
		}
	}
	if mine := <-raced; mine != n {
		t.Errorf("the other one has appended %d commits", mine)
	}
	for i, commit := range readN(t, reader, 2*n) {
		want := []byte{byte(i / 2)}
		if i%2 == 0 {
			want = large(size, byte(i/2))
		}
		if !bytes.Equal(commit, want) {
			t.Errorf("commit %d has %d bytes, and differs from one of %d", i, len(commit), len(want))
		}
	}
}

// TestLimitsOfBatches: servers with small messages take large commits, and those that allow few messages
// for a batch say so.
func TestLimitsOfBatches(t *testing.T) {
	t.Parallel()
	t.Run("small messages", func(t *testing.T) {
		t.Parallel()
		log := mustOpen(t, configFor(jetstreamtest.Start(t, 1, "max_payload: 131072")))
		commit := large(8<<20, 1)
		if at := mustSettle(t, log, 0, string(commit)); at != 65 {
			t.Errorf("it has %d messages", at)
		}
		if commits := readN(t, log, 1); len(commits) != 1 || !bytes.Equal(commits[0], commit) {
			t.Error("it is not what was appended")
		}
	})
	t.Run("few messages", func(t *testing.T) {
		t.Parallel()
		log := mustOpen(t, configFor(jetstreamtest.Start(t, 1, "jetstream { limits { batch { max_msgs: 3 } } }")))
		var err error
		eventually(t, "it is refused", func() bool {
			_, err = log.Append(t.Context(), 0, large(4<<20, 1))
			return !errors.Is(err, context.DeadlineExceeded)
		})
		if !says(err, "raise max_payload") || !says(log.Err(), "jetstream.limits.batch.max_msgs") {
			t.Errorf("Append() = %v, Err() = %v", err, log.Err())
		}
		if at := mustSettle(t, log, 0, string(large(2<<20, 1))); at != 3 || log.Err() != nil {
			t.Errorf("it is at %d, Err() = %v", at, log.Err())
		}
	})
	t.Run("few batches", func(t *testing.T) {
		t.Parallel()
		c := jetstreamtest.Start(t, 1, "jetstream { limits { batch { max_inflight_per_stream: 1, timeout: 15s } } }")
		log := mustOpen(t, configFor(c))
		commit := large(2<<20, 1)
		// One who is gone has left the beginning of a batch. The next one comes before that is given up, on a busy machine too.
		begun := nats.NewMsg(log.config.subject())
		begun.Header.Set(batchIDHeader, "gone")
		begun.Header.Set(batchSequenceHeader, "1")
		if _, err := c.Connect().Conn().RequestMsg(begun, time.Minute); err != nil {
			t.Fatal(err)
		}
		if _, err := log.Append(t.Context(), 0, commit); err == nil || errors.Is(err, commitlog.ErrTaken) {
			t.Errorf("Append() = %v", err)
		}
		mustSettle(t, log, 0, string(commit))
	})
}
