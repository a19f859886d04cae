package pebblelog

import (
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/webhook-gateway/webhook-gateway/server/commitlog/commitlogtest"
	"github.com/webhook-gateway/webhook-gateway/server/eventlog/eventlogtest"
)

// TestOnePassForAll: a pass that one gateway has made is not due on the others, and one that
// is due stays so over a restart.
func TestOnePassForAll(t *testing.T) {
	memory, disk := commitlogtest.NewMemory(), vfs.NewMem()
	one := openShared(t, vfs.NewMem(), commitsOf(t, memory), byHand())
	two := openShared(t, disk, commitsOf(t, memory), byHand())
	appendMany(t, one, "event", 20)
	if err := two.Sync(t.Context()); err != nil {
		t.Fatal(err)
	}
	due := two.shared.sinceRestated.Load()
	if err := two.Close(); err != nil {
		t.Fatal(err)
	}
	two = openShared(t, disk, commitsOf(t, memory), byHand())
	if got := two.shared.sinceRestated.Load(); got < due {
		t.Errorf("%d bytes since the last pass, and %d before the restart", got, due)
	}
	if err := one.Trim(t.Context(), 15); err != nil {
		t.Fatal(err)
	}
	wholePass(t, one)
	if err := two.Sync(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := two.shared.sinceRestated.Load(); got >= due {
		t.Errorf("%d bytes since the last pass, which another gateway has made", got)
	}
}

// TestListIsShort: what is known of commits goes when they are trimmed.
func TestListIsShort(t *testing.T) {
	memory := commitlogtest.NewMemory()
	log := openShared(t, vfs.NewMem(), commitsOf(t, memory), byHand())
	for range 3 {
		appendMany(t, log, "", 50)
		if err := log.Trim(t.Context(), log.Bounds().Head-5); err != nil {
			t.Fatal(err)
		}
		wholePass(t, log)
		if _, err := log.shorten(); err != nil {
			t.Fatal(err)
		}
	}
	kept := int(memory.Len() - memory.Trimmed())
	if n := listed(t, log); n > kept+1 {
		t.Errorf("%d commits are listed, and %d there", n, kept)
	}
	if _, _, trimmable, err := log.restateState(); err != nil || trimmable.upTo < memory.Trimmed() {
		t.Errorf("it can be trimmed up to %d, and was up to %d: %v", trimmable.upTo, memory.Trimmed(), err)
	}
}

func listed(t *testing.T, log *Log) (n int) {
	t.Helper()
	it, err := log.store.db.NewIter(&pebble.IterOptions{LowerBound: sequenceKey(0), UpperBound: []byte{prefixCopy, kindSequence + 1}})
	if err != nil {
		t.Fatal(err)
	}
	for ok := it.First(); ok; ok = it.Next() {
		n++
	}
	if err := it.Close(); err != nil {
		t.Fatal(err)
	}
	return n
}

// TestRoomOfOthers: what another gateway has trimmed makes room here too.
func TestRoomOfOthers(t *testing.T) {
	memory := commitlogtest.NewMemory()
	one, two := openShared(t, vfs.NewMem(), commitsOf(t, memory)), openShared(t, vfs.NewMem(), commitsOf(t, memory))
	appendMany(t, one, "event", 20)
	stats, err := one.Stats(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := one.Trim(t.Context(), 20); err != nil {
		t.Fatal(err)
	}
	if err := two.Sync(t.Context()); err != nil {
		t.Fatal(err)
	}
	if freed := two.freed.Load(); freed < stats.Bytes {
		t.Errorf("%d bytes were freed, want %d", freed, stats.Bytes)
	}
}

// TestClockOfOneGateway: a new gateway whose clock is far ahead removes nothing, and gives no
// event its time, whether it begins with the first commit or behind what was trimmed.
func TestClockOfOneGateway(t *testing.T) {
	for name, trimmed := range map[string]bool{"whole": false, "behind what was trimmed": true} {
		t.Run(name, func(t *testing.T) {
			memory := commitlogtest.NewMemory()
			one := openShared(t, vfs.NewMem(), commitsOf(t, memory), byHand())
			appendMany(t, one, "event", 20)
			if trimmed {
				if err := one.Trim(t.Context(), 10); err != nil {
					t.Fatal(err)
				}
				wholePass(t, one)
				if _, err := one.shorten(); err != nil {
					t.Fatal(err)
				}
			}
			began := time.Now()
			ahead := WithClock(func() time.Time { return time.Now().AddDate(100, 0, 0) }, func() time.Duration { return time.Since(began) })
			two := openShared(t, vfs.NewMem(), commitsOf(t, memory), ahead)
			if err := two.enforceRetention(t.Context()); err != nil {
				t.Fatal(err)
			}
			appendMany(t, two, "new", 1)
			if err := one.Sync(t.Context()); err != nil {
				t.Fatal(err)
			}
			if one.Bounds().Len() < 11 {
				t.Errorf("bounds %+v", one.Bounds())
			}
			if stats, err := one.Stats(t.Context()); err != nil || stats.HeadTime.After(time.Now().Add(time.Hour)) {
				t.Errorf("the newest event is of %v: %v", stats.HeadTime, err)
			}
			if receipt, err := one.Append(t.Context(), eventlogtest.Entry(t, "acme", "event 15", "event 15")); err != nil || !receipt.Duplicate {
				t.Errorf("an event id that is remembered: %+v, %v", receipt, err)
			}
		})
	}
}
