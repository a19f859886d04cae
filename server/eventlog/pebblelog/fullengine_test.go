package pebblelog

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/webhook-gateway/webhook-gateway/server/commitlog"
	"github.com/webhook-gateway/webhook-gateway/server/commitlog/commitlogtest"
	"github.com/webhook-gateway/webhook-gateway/server/commitlog/jetstream"
	"github.com/webhook-gateway/webhook-gateway/server/commitlog/jetstream/jetstreamtest"
	"github.com/webhook-gateway/webhook-gateway/server/eventlog/eventlogtest"
)

// wantFull checks that a log takes no event.
func wantFull(t *testing.T, log *Log, id string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if receipt, err := log.Append(ctx, eventlogtest.Entry(t, "acme", "", id)); err == nil {
		t.Fatalf("the commit log is full, and an event is taken: %+v", receipt)
	}
}

// noted returns a log that has taken note of what the commit log can be trimmed for.
func noted(t *testing.T, commits commitlog.Log, options ...Option) *Log {
	t.Helper()
	log := openShared(t, vfs.NewMem(), commits, append([]Option{byHand(), certainAfter(time.Nanosecond)}, options...)...)
	appendMany(t, log, "old", 20)
	if err := log.Trim(t.Context(), 15); err != nil {
		t.Fatal(err)
	}
	wholePass(t, log)
	if _, err := log.shorten(); err != nil {
		t.Fatal(err)
	}
	return log
}

// TestFullEngineIsTrimmed: a commit log that is full takes no commit that proves that it has its end. It is trimmed for
// what was old by then all the same, which makes room: the next event is taken, by whichever gateway.
func TestFullEngineIsTrimmed(t *testing.T) {
	memory := commitlogtest.NewMemory()
	log := noted(t, commitsOf(t, memory))
	other := openShared(t, vfs.NewMem(), commitsOf(t, memory), byHand())
	if memory.Trimmed() > 0 {
		t.Fatal("the commit log is trimmed at once: this test shows nothing")
	}
	memory.Fill()
	wantFull(t, log, "refused")
	shortenPatience(log, time.Second)
	if _, err := log.shorten(); err != nil || memory.Trimmed() == 0 {
		t.Fatalf("the commit log is trimmed up to %d: %v", memory.Trimmed(), err)
	}
	mustAppend(t, log, "", "new")
	mustAppend(t, other, "", "new")
	sameLogs(t, log, other)
	sameLogs(t, log, openShared(t, vfs.NewMem(), commitsOf(t, memory)))
}

// TestFullWithinAPass: the commit log gets full while its state is restated.
func TestFullWithinAPass(t *testing.T) {
	memory := commitlogtest.NewMemory()
	log := noted(t, commitsOf(t, memory), func(l *Log) { l.shared.pace.certainAfter = time.Hour })
	appendMany(t, log, "more", 10)
	if err := log.Trim(t.Context(), 28); err != nil {
		t.Fatal(err)
	}
	if more, err := log.shorten(); err != nil || !more {
		t.Fatalf("no pass is under way: %v", err)
	}
	memory.Fill()
	usual := log.shared.pace.shortenPatience
	shortenPatience(log, time.Second)
	if _, err := log.shorten(); err == nil {
		t.Fatal("a step is taken")
	}
	log.shared.pace.certainAfter = time.Nanosecond
	if _, err := log.shorten(); memory.Trimmed() == 0 {
		t.Fatalf("the commit log is not trimmed: %v", err)
	}
	shortenPatience(log, usual)
	mustAppend(t, log, "", "new")
	wholePass(t, log)
	sameLogs(t, log, openShared(t, vfs.NewMem(), commitsOf(t, memory)))
}

// TestFullEngineThatHasLostItsEnd: that a commit log is full proves nothing if it is so elsewhere than at the end of the
// copy.
func TestFullEngineThatHasLostItsEnd(t *testing.T) {
	memory, disk := commitlogtest.NewMemory(), vfs.NewMem()
	log := openShared(t, disk, commitsOf(t, memory), byHand(), certainAfter(time.Nanosecond))
	appendMany(t, log, "old", 20)
	if err := log.Trim(t.Context(), 15); err != nil {
		t.Fatal(err)
	}
	at := memory.Len()
	wholePass(t, log)
	if _, err := log.shorten(); err != nil {
		t.Fatal(err)
	}
	memory.Fill()
	wantFull(t, log, "refused")
	shortenPatience(log, 200*time.Millisecond)
	memory.Cut(at)
	if _, err := log.shorten(); err == nil || memory.Trimmed() > 0 {
		t.Errorf("the commit log is trimmed up to %d for a pass that it has lost (error %v)", memory.Trimmed(), err)
	}
}

// slow is a commit log that takes a while for each commit, whoever waits for it.
type slow struct {
	commitlog.Log
	takes time.Duration
}

func (s slow) Append(_ context.Context, after commitlog.Sequence, commit []byte) (commitlog.Sequence, error) {
	<-time.After(s.takes)
	return s.Log.Append(context.Background(), after, commit)
}

// TestSlowEngineIsTrimmed: a commit log that takes events, however slowly, is trimmed.
func TestSlowEngineIsTrimmed(t *testing.T) {
	memory := commitlogtest.NewMemory()
	log := noted(t, slow{commitsOf(t, memory), 30 * time.Millisecond}, withSettlePatience(20*time.Millisecond))
	if _, err := log.shorten(); err != nil || memory.Trimmed() == 0 {
		t.Errorf("the commit log is trimmed up to %d: %v", memory.Trimmed(), err)
	}
}

// TestFullStreamIsTrimmed is TestFullEngineIsTrimmed with a server of NATS whose stream somebody has given a limit.
func TestFullStreamIsTrimmed(t *testing.T) {
	c := jetstreamtest.Start(t, 1, "")
	config := jetstream.DefaultConfig()
	config.URLs, config.Replicas, config.SyncAlways = c.URLs(), 1, true
	open := func() commitlog.Log {
		commits, err := jetstream.Open(t.Context(), config, testLogger())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = commits.Close() })
		return commits
	}
	commits := open()
	log := noted(t, commits)
	shortenPatience(log, 5*time.Second) // a server may need longer to say that it is full
	stream, err := c.Connect().Stream(t.Context(), config.Stream)
	if err != nil {
		t.Fatal(err)
	}
	limited := stream.CachedInfo().Config
	limited.MaxBytes = int64(stream.CachedInfo().State.Bytes)
	if _, err := c.Connect().UpdateStream(t.Context(), limited); err != nil {
		t.Fatal(err)
	}
	wantFull(t, log, "refused")
	waitUntil(t, "the commit log says so", func() bool { return errors.Is(commits.Err(), commitlog.ErrFull) })
	if _, err := log.shorten(); err != nil {
		t.Fatal(err)
	}
	mustAppend(t, log, "", "new")
	info, err := stream.Info(t.Context())
	if err != nil || info.State.FirstSeq <= 1 {
		t.Errorf("the stream begins at %d: %v", info.State.FirstSeq, err)
	}
	sameLogs(t, log, openShared(t, vfs.NewMem(), open()))
}
