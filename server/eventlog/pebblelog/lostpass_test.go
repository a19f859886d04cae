package pebblelog

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	commitlogv1 "github.com/webhook-gateway/webhook-gateway/gen/webhookgateway/commitlog/v1"
	"github.com/webhook-gateway/webhook-gateway/server/commitlog"
	"github.com/webhook-gateway/webhook-gateway/server/commitlog/commitlogtest"
	"github.com/webhook-gateway/webhook-gateway/server/eventlog"
	"github.com/webhook-gateway/webhook-gateway/server/eventlog/eventlogtest"
)

func certainAfter(d time.Duration) Option { return func(l *Log) { l.shared.pace.certainAfter = d } }

// shortenPatience bounds how long shorten waits for a commit from now on. What is to work needs more of it on a busy
// machine than what is tried in vain.
func shortenPatience(l *Log, d time.Duration) { l.shared.pace.shortenPatience = d }

// TestLostPass: the commit log loses the end of a pass, and all gateways had it. It was not trimmed for that yet:
// otherwise no copy would be whole again.
func TestLostPass(t *testing.T) {
	memory, disk := commitlogtest.NewMemory(), vfs.NewMem()
	log := openShared(t, disk, commitsOf(t, memory), byHand(), impatient(), certainAfter(time.Hour))
	appendMany(t, log, "old", 20)
	if err := log.Trim(t.Context(), 15); err != nil {
		t.Fatal(err)
	}
	at := memory.Len()
	wholePass(t, log)
	if _, err := log.shorten(); err != nil { // it would be trimmed now
		t.Fatal(err)
	}
	if err := log.Close(); err != nil {
		t.Fatal(err)
	}
	memory.Cut(at)
	log = openShared(t, disk, commitsOf(t, memory), byHand(), impatient())
	mustAppend(t, log, "", "new")
	sameLogs(t, log, openShared(t, vfs.NewMem(), commitsOf(t, memory)))
}

// TestLostPassNotBelievedYet: the commit log loses the end of a pass, which the gateways do not believe at once. What
// they noted before is old enough by then, but the commit log is not trimmed for it: nobody knows that it lost no more.
func TestLostPassNotBelievedYet(t *testing.T) {
	memory, disk := commitlogtest.NewMemory(), vfs.NewMem()
	log := openShared(t, disk, commitsOf(t, memory), byHand(), certainAfter(time.Nanosecond), withSettlePatience(20*time.Millisecond))
	appendMany(t, log, "old", 20)
	if err := log.Trim(t.Context(), 15); err != nil {
		t.Fatal(err)
	}
	at := memory.Len()
	wholePass(t, log)
	if _, err := log.shorten(); err != nil { // takes note
		t.Fatal(err)
	}
	if memory.Trimmed() > 0 {
		t.Fatal("the commit log is trimmed at once: this test shows nothing")
	}
	memory.Cut(at)
	shortenPatience(log, 200*time.Millisecond)
	if _, err := log.shorten(); err == nil || memory.Trimmed() > 0 {
		t.Errorf("the commit log is trimmed up to %d for a pass that it has lost (error %v)", memory.Trimmed(), err)
	}
	closeSoon(t, log)
	log = openShared(t, disk, commitsOf(t, memory), byHand(), impatient())
	mustAppend(t, log, "", "new")
	sameLogs(t, log, openShared(t, vfs.NewMem(), commitsOf(t, memory)))
}

// TestTrimmedWhenCertain: the commit log is trimmed for what is old, as the same copy has said all the time.
func TestTrimmedWhenCertain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &shared{pace: pace{certainAfter: time.Minute}}
		one, two := new(store), new(store)
		for i, step := range []struct {
			after  time.Duration
			upTo   commitlog.Sequence
			of     *store
			wanted commitlog.Sequence
		}{
			{0, 0, one, 0},
			{0, 5, one, 0},
			{59 * time.Second, 7, one, 0},
			{time.Second, 9, one, 5},
			{time.Minute, 12, one, 9},
			{time.Minute, 10, two, 0}, // a copy that was made anew knows nothing of it
			{time.Minute, 10, two, 10},
		} {
			<-time.After(step.after)
			if got := s.certain(step.upTo, step.of); got != step.wanted {
				t.Errorf("step %d: %d, want %d", i, got, step.wanted)
			}
		}
	})
}

// TestLostTrim: the commit log has lost that events were trimmed, after readers were told. The gateway that knows of
// it removes no events which the others have, and does not trim the commit log for it.
func TestLostTrim(t *testing.T) {
	memory := commitlogtest.NewMemory()
	one := openShared(t, vfs.NewMem(), commitsOf(t, memory), byHand(), impatient(), withSettlePatience(20*time.Millisecond))
	appendMany(t, one, "old", 20)
	wholePass(t, one)
	at := memory.Len()
	if err := one.Trim(t.Context(), 15); err != nil {
		t.Fatal(err)
	}
	memory.Cut(at)
	eventually(t, one, func() bool { return one.Sync(t.Context()) == nil && one.shared.rebuilt.Load() == 1 })
	if err := one.enforceRetention(t.Context()); err != nil {
		t.Fatal(err)
	}
	wholePass(t, one)
	if _, err := one.shorten(); err != nil {
		t.Fatal(err)
	}
	two := openShared(t, vfs.NewMem(), commitsOf(t, memory))
	if bounds := two.Bounds(); bounds.Trimmed != 0 {
		t.Errorf("bounds %+v", bounds)
	}
	if positions, damaged := readAll(t, two, 0); len(positions) != 20 || len(damaged) != 0 {
		t.Errorf("events %v, damaged %v", positions, damaged)
	}
	appendMany(t, one, "new", 5) // and it goes on
	if err := one.Trim(t.Context(), 18); err != nil {
		t.Fatal(err)
	}
	sameLogs(t, one, two)
	if positions, damaged := readAll(t, two, 18); len(positions) != 7 || len(damaged) != 0 {
		t.Errorf("events %v, damaged %v", positions, damaged)
	}
}

// TestLostEndIsNotServed: a gateway whose copy is damaged serves nothing from memory that the commit log has
// lost, also if another one has told that first.
func TestLostEndIsNotServed(t *testing.T) {
	memory, disk := commitlogtest.NewMemory(), vfs.NewMem()
	two := openShared(t, disk, commitsOf(t, memory))
	commits := &switched{Log: commitsOf(t, memory)}
	one := openShared(t, vfs.NewMem(), commits)
	appendMany(t, one, "kept", 5)
	at := memory.Len()
	appendMany(t, one, "lost", 3)
	if err := errors.Join(two.Sync(t.Context()), two.Close()); err != nil {
		t.Fatal(err)
	}
	commits.off.Store(true)
	memory.Cut(at)
	two = openShared(t, disk, commitsOf(t, memory), impatient())
	mustAppend(t, two, "", "new") // it has told
	one.storeMu.RLock()
	one.store.fence.fail(&copyError{errCopy, false})
	one.storeMu.RUnlock()
	commits.off.Store(false)
	sameLogs(t, one, two)
	if positions, damaged := readAll(t, one, 0); len(positions) != 6 || len(damaged) == 0 {
		t.Errorf("events %v, damaged %v", positions, damaged)
	}
}

// TestLostTermOfALostScope: the same as TestLostTerms if nothing of the scope is left.
func TestLostTermOfALostScope(t *testing.T) {
	memory, disk := commitlogtest.NewMemory(), vfs.NewMem()
	log := openShared(t, disk, commitsOf(t, memory))
	at := memory.Len()
	given, err := log.AcquireScope(t.Context(), "worker")
	if err := errors.Join(err, log.Close()); err != nil {
		t.Fatal(err)
	}
	memory.Cut(at)
	log = openShared(t, disk, commitsOf(t, memory), impatient())
	term, err := log.AcquireScope(t.Context(), "worker")
	if err != nil || term <= given {
		t.Errorf("term %d is given, and %d was: %v", term, given, err)
	}
	if err := log.CommitScope(t.Context(), "worker", given, nil); !errors.Is(err, eventlog.ErrScopeLost) {
		t.Errorf("the owner from before: %v", err)
	}
}

// TestLostWhatWasTold: a gateway has told that an end was lost and overwritten, and that is lost with the next end. It
// is told again, by a gateway that is stopped in between, too.
func TestLostWhatWasTold(t *testing.T) {
	for name, stopped := range map[string]bool{"running": false, "stopped in between": true} {
		t.Run(name, func(t *testing.T) {
			o := overwrite(t, 3, 5)
			if err := o.behind.Close(); err != nil {
				t.Fatal(err)
			}
			at := o.memory.Len()
			two := openShared(t, o.disk, commitsOf(t, o.memory), impatient())
			wantParted(t, two, o.had, 5)
			now := cursorsOf(two)
			if err := two.Close(); err != nil {
				t.Fatal(err)
			}
			o.memory.Cut(at)
			if stopped {
				commits := &switched{Log: commitsOf(t, o.memory)}
				commits.noAppends.Store(true)
				log, err := Open(testConfig("log"), testLogger(), WithFS(o.disk), WithCommits(t.Context(), commits), impatient(),
					withSettlePatience(20*time.Millisecond))
				if err != nil {
					t.Fatal(err)
				}
				waitUntil(t, "the copy is set aside", func() bool { return log.shared.rebuilt.Load() == 1 && len(asides(o.disk)) > 1 })
				closeSoon(t, log)
			}
			two = openShared(t, o.disk, commitsOf(t, o.memory), impatient())
			sameLogs(t, two, openShared(t, vfs.NewMem(), commitsOf(t, o.memory)))
			wantParted(t, two, o.had, 5)
			wantParted(t, two, now, 10)
		})
	}
}

// TestLostWhatTwoHaveTold: two gateways have told that the same end was overwritten, one after the other, and each time that
// is lost with the next end. A third time is told by one who knows the epochs that both have begun at the same place.
func TestLostWhatTwoHaveTold(t *testing.T) {
	memory, disks := commitlogtest.NewMemory(), []*vfs.MemFS{vfs.NewMem(), vfs.NewMem()}
	one := openShared(t, disks[0], commitsOf(t, memory))
	appendMany(t, one, "kept", 5)
	at := memory.Len()
	two := openShared(t, disks[1], commitsOf(t, memory))
	appendMany(t, one, "lost", 3)
	had := cursorsOf(one)
	if err := errors.Join(two.Sync(t.Context()), one.Close(), two.Close()); err != nil {
		t.Fatal(err)
	}
	memory.Cut(at)
	behind := openShared(t, vfs.NewMem(), commitsOf(t, memory))
	appendMany(t, behind, "other", 5)
	if err := behind.Close(); err != nil {
		t.Fatal(err)
	}
	at = memory.Len()

	commits := &switched{Log: commitsOf(t, memory)}
	one = openShared(t, disks[0], commits, impatient(), withSettlePatience(20*time.Millisecond))
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	loses := func(asidesThen int) {
		t.Helper()
		commits.noAppends.Store(true)
		memory.Cut(at)
		go func() { _ = one.Sync(ctx) }() // finds out
		waitUntil(t, "the copy is made anew", func() bool { return len(asides(disks[0])) == asidesThen && len(one.History().Starts()) == 1 })
	}
	loses(2)
	two = openShared(t, disks[1], commitsOf(t, memory), impatient())
	waitUntil(t, "it knows what the other tells", func() bool { return len(one.History().Starts()) == 2 })
	if err := two.Close(); err != nil {
		t.Fatal(err)
	}
	loses(3)
	commits.noAppends.Store(false)
	sameLogs(t, one, openShared(t, vfs.NewMem(), commitsOf(t, memory)))
	wantParted(t, one, had, 5)
}

// appendVoid adds a commit to a commit log that does not name the one before it.
func appendVoid(t *testing.T, memory *commitlogtest.Memory, id eventlog.ID) {
	t.Helper()
	bytes, err := encodeCommit(&commitlogv1.Commit{LogId: id[:], Gateway: 1, Number: uint64(memory.Len()), PreviousHash: make([]byte, 32)})
	if err == nil {
		_, err = memory.Open(nil).Append(t.Context(), memory.Len(), bytes)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// TestTrimmedBeforeAVoidCommit: the commit log never begins with a void commit, which would be taken for sound there.
func TestTrimmedBeforeAVoidCommit(t *testing.T) {
	const each = 10 // one of so many commits is listed, and the one before the void ones is, too
	for before := range each {
		memory := commitlogtest.NewMemory()
		log := openShared(t, vfs.NewMem(), commitsOf(t, memory), byHand(), impatient(), func(l *Log) { l.shared.pace.listEach = each })
		appendMany(t, log, "old", 20+before)
		appendVoid(t, memory, log.ID())
		eventually(t, log, func() bool { return log.Sync(t.Context()) == nil })
		appendMany(t, log, "new", 20)
		if err := log.Trim(t.Context(), 20+eventlog.Position(before)); err != nil {
			t.Fatal(err)
		}
		wholePass(t, log)
		if _, err := log.shorten(); err != nil {
			t.Fatal(err)
		}
		if memory.Trimmed() == 0 {
			t.Error("the commit log was not trimmed")
		}
		fresh := openShared(t, vfs.NewMem(), commitsOf(t, memory))
		mustAppend(t, fresh, "", "fresh")
		sameLogs(t, log, fresh)
		if log.shared.rebuilt.Load() > 1 {
			t.Error("the two copies do not agree")
		}
		if err := fresh.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// TestVoidCommitsAreContradicted: a gateway whose commits are void is told so before another one has made its copy anew,
// which may take hours.
func TestVoidCommitsAreContradicted(t *testing.T) {
	memory := commitlogtest.NewMemory()
	commits := &switched{Log: commitsOf(t, memory)}
	log := openShared(t, vfs.NewMem(), commits, impatient())
	appendMany(t, log, "event", 5)
	commits.off.Store(true)
	for range 3 {
		appendVoid(t, memory, log.ID())
	}
	at := memory.Len()
	commits.off.Store(false)
	waitUntil(t, "the copy is made anew", func() bool { return log.shared.rebuilt.Load() == 1 })
	if memory.Len() == at {
		t.Error("nobody has contradicted by then")
	}
	eventually(t, log, func() bool { return log.Sync(t.Context()) == nil })
	appendMany(t, log, "more", 5)
	sameLogs(t, log, openShared(t, vfs.NewMem(), commitsOf(t, memory)))
}

// countsAppends counts what is sent.
type countsAppends struct {
	commitlog.Log
	n atomic.Int64
}

func (c *countsAppends) Append(ctx context.Context, after commitlog.Sequence, commit []byte) (commitlog.Sequence, error) {
	c.n.Add(1)
	return c.Log.Append(ctx, after, commit)
}

// TestCommitIsNotSentAgainBehindAnother: a commit that was refused while others go on in place of a lost end is not
// sent again when the commit log ends where it had ended.
func TestCommitIsNotSentAgainBehindAnother(t *testing.T) {
	memory, disk := commitlogtest.NewMemory(), vfs.NewMem()
	behind := openShared(t, disk, commitsOf(t, memory))
	appendMany(t, behind, "kept", 5)
	if err := behind.Close(); err != nil {
		t.Fatal(err)
	}
	commits := &countsAppends{Log: commitsOf(t, memory)}
	ahead := openShared(t, vfs.NewMem(), commits, impatient(), withSettlePatience(500*time.Millisecond))
	at := memory.Len()
	for range 9 {
		mustAppend(t, ahead, "", "lost")
	}
	memory.Cut(at)
	sent := commits.n.Load()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	answered := make(chan error, 1)
	go func() {
		_, err := ahead.Append(ctx, eventlogtest.Entry(t, "acme", "", "waits"))
		answered <- err
	}()
	waitUntil(t, "it is sent", func() bool { return commits.n.Load() > sent })
	behind = openShared(t, disk, commitsOf(t, memory))
	for memory.Len() < at+9 {
		mustAppend(t, behind, "", "other")
	}
	if err := <-answered; err == nil {
		t.Error("a void commit is acknowledged")
	}
	sameLogs(t, ahead, behind) // the first has something to say
	if n := behind.shared.rebuilt.Load(); n != 0 {
		t.Errorf("the copy of the other was made anew %d times", n)
	}
}

// TestContradictionIsNotKept: a gateway that has contradicted, and is stopped before it has made its copy anew, does so
// when it is started again. It may be the one that is wrong.
func TestContradictionIsNotKept(t *testing.T) {
	memory, disk := commitlogtest.NewMemory(), vfs.NewMem()
	behind := openShared(t, disk, commitsOf(t, memory))
	appendMany(t, behind, "kept", 5)
	if err := behind.Close(); err != nil {
		t.Fatal(err)
	}
	wrong := vfs.NewMem()
	commits := &blind{Log: commitsOf(t, memory)}
	log, err := Open(testConfig("log"), testLogger(), WithFS(wrong), WithCommits(t.Context(), commits), impatient())
	if err != nil {
		t.Fatal(err)
	}
	<-log.retained // what it commits by itself is there
	at := memory.Len()
	mustAppend(t, log, "", "lost")
	mustAppend(t, log, "", "lost")
	commits.on.Store(true)
	memory.Cut(at)
	for uint64(memory.Len()) < log.shared.applied.Load() { // one that names the one before, and is of nobody
		appendSound(t, memory, log.ID())
	}
	mustAppend(t, log, "", "void")
	mustAppend(t, log, "", "void too")
	behind = openShared(t, disk, commitsOf(t, memory)) // contradicts
	mustAppend(t, behind, "", "new")
	commits.on.Store(false)
	waitUntil(t, "it gives its copy up", func() bool { return log.shared.rebuilt.Load() == 1 })
	if err := log.Close(); err != nil {
		t.Fatal(err)
	}
	log = openShared(t, wrong, commitsOf(t, memory), impatient())
	sameLogs(t, log, behind)
	if len(asides(wrong)) == 0 { // the one that is made anew may be, too: who was stopped does not know that it is sound
		t.Error("the copy that was wrong is not set aside")
	}
}

// appendSound adds a commit to a commit log that names the one before it, and says nothing.
func appendSound(t *testing.T, memory *commitlogtest.Memory, id eventlog.ID) {
	t.Helper()
	log := memory.Open(nil)
	var last commitlog.Commit
	for commit, err := range log.Read(t.Context(), memory.Len()-1) {
		if err != nil {
			t.Fatal(err)
		}
		last = commit
	}
	hash := hashOf(last)
	bytes, err := encodeCommit(&commitlogv1.Commit{LogId: id[:], Gateway: 1, Number: uint64(memory.Len()), PreviousHash: hash[:]})
	if err == nil {
		_, err = log.Append(t.Context(), memory.Len(), bytes)
	}
	if err := errors.Join(err, log.Close()); err != nil {
		t.Fatal(err)
	}
}
