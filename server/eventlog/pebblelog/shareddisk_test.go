package pebblelog

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"github.com/webhook-gateway/webhook-gateway/server/commitlog"
	"github.com/webhook-gateway/webhook-gateway/server/commitlog/commitlogtest"
	"github.com/webhook-gateway/webhook-gateway/server/eventlog"
	"github.com/webhook-gateway/webhook-gateway/server/eventlog/eventlogtest"
)

// TestFullDiskOfACopy: one gateway has no room for what all commit. It refuses deliveries, the others go on, nothing
// is decided twice; and when there is room it goes on, and has what they have.
func TestFullDiskOfACopy(t *testing.T) {
	memory, disk := commitlogtest.NewMemory(), newQuotaFS(48<<20)
	one := openShared(t, vfs.NewMem(), commitsOf(t, memory))
	two := openShared(t, disk, commitsOf(t, memory))
	acknowledged := make(map[string]eventlog.Position)
	refused := 0
	disk.fill(4 << 20) // within the reserve, and soon full
	for i := range 500 {
		id := fmt.Sprint("event ", i)
		log := one
		if i%5 == 0 {
			log = two
		}
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		receipt, err := log.Append(ctx, eventlogtest.Entry(t, "acme", id, noise(uint64(i), 20_000)))
		cancel()
		switch {
		case err == nil:
			acknowledged[id] = receipt.Position
		case log == one:
			t.Fatalf("the gateway with room: %v", err)
		default:
			refused++
		}
	}
	if refused == 0 || two.Err() == nil {
		t.Errorf("%d are refused, Err() = %v", refused, two.Err())
	}
	disk.resize(1 << 30)
	waitUntil(t, "it takes events again", func() bool { return two.Err() == nil })
	for i := range 500 {
		id := fmt.Sprint("event ", i)
		receipt, err := two.Append(t.Context(), eventlogtest.Entry(t, "acme", id, noise(uint64(i), 20_000)))
		if err != nil {
			t.Fatal(err)
		}
		if at, ok := acknowledged[id]; ok && (at != receipt.Position || !receipt.Duplicate) {
			t.Errorf("%s was acknowledged at %d, and is %+v", id, at, receipt)
		}
	}
	sameLogs(t, one, two)
	if head := one.Bounds().Head; head != 500 {
		t.Errorf("%d events", head)
	}
	if n := two.shared.rebuilt.Load(); n != 0 {
		t.Errorf("the copy was made anew %d times", n)
	}
}

// TestHungDiskOfACopy: one gateway's disk does not answer. It says so, the others go on, and when it answers
// it has what they have.
func TestHungDiskOfACopy(t *testing.T) {
	memory := commitlogtest.NewMemory()
	one := openShared(t, vfs.NewMem(), commitsOf(t, memory))
	hung := make(chan struct{})
	fault := &fault{match: func(op errorfs.Op) bool {
		if isWrite(op) {
			<-hung
		}
		return false
	}}
	two := openShared(t, errorfs.Wrap(vfs.NewMem(), fault), commitsOf(t, memory), withPatience(20*time.Millisecond, 10*time.Second))
	appendMany(t, two, "before", 5)
	fault.on.Store(true)
	acknowledged := make(chan eventlog.Receipt, 1)
	go func() {
		for i := 0; ; i++ {
			receipt, err := two.Append(context.WithoutCancel(t.Context()), eventlogtest.Entry(t, "acme", fmt.Sprint(i), noise(uint64(i), 20_000)))
			if err != nil {
				t.Errorf("Append() = %v", err)
			}
			if two.Err() != nil || err != nil {
				acknowledged <- receipt
				return
			}
		}
	}()
	waitUntil(t, "it says that the disk hangs", func() bool { return two.Err() != nil })
	appendMany(t, one, "meanwhile", 100)
	close(hung)
	fault.on.Store(false)
	receipt := <-acknowledged
	waitUntil(t, "it takes events again", func() bool { return two.Err() == nil })
	appendMany(t, two, "after", 5)
	sameLogs(t, one, two)
	if receipt.Position > one.Bounds().Head {
		t.Errorf("event %d was acknowledged, and the log ends at %d", receipt.Position, one.Bounds().Head)
	}
}

// withheld is a commit log that takes no commit from when it is on, and says so, until takes is closed.
type withheld struct {
	commitlog.Log
	on           atomic.Bool
	asked, takes chan struct{}
}

func (w *withheld) Append(ctx context.Context, after commitlog.Sequence, commit []byte) (commitlog.Sequence, error) {
	if !w.on.Load() {
		return w.Log.Append(ctx, after, commit)
	}
	select {
	case w.asked <- struct{}{}:
	default:
	}
	select {
	case <-w.takes:
		return w.Log.Append(ctx, after, commit)
	case <-ctx.Done():
		return 0, context.Cause(ctx)
	}
}

func (w *withheld) Err() error {
	if !w.on.Load() {
		return nil
	}
	select {
	case <-w.takes:
		return nil
	default:
		return errOff
	}
}

// TestDiskOfACopyFailsBetween: the disk of a gateway fails after it has sent a commit, before that is taken. It says all
// the while that it takes nothing; the event is not acknowledged by what the disk does not have; and when the disk works
// again a retry finds it stored.
func TestDiskOfACopyFailsBetween(t *testing.T) {
	memory := commitlogtest.NewMemory()
	one := openShared(t, vfs.NewMem(), commitsOf(t, memory), byHand())
	fault := &fault{err: syscall.EIO, match: isWrite}
	commits := &withheld{Log: commitsOf(t, memory), asked: make(chan struct{}, 1), takes: make(chan struct{})}
	two := openShared(t, errorfs.Wrap(vfs.NewMem(), fault), commits, byHand(), withSettlePatience(20*time.Millisecond))
	appendMany(t, two, "before", 5)
	commits.on.Store(true)
	event := eventlogtest.Entry(t, "acme", "between", "between")
	answer := make(chan error, 1)
	go func() {
		_, err := two.Append(context.WithoutCancel(t.Context()), event)
		answer <- err
	}()
	<-commits.asked
	fault.on.Store(true)
	flush(two)
	waitUntil(t, "the disk has failed", func() bool { return two.store.fence.err() != nil })
	if err := two.Err(); !errors.Is(err, errOff) {
		t.Errorf("while both fail it says %v", err)
	}
	close(commits.takes)
	if err := <-answer; !errors.Is(err, syscall.EIO) {
		t.Errorf("with a disk that fails an event is answered %v", err)
	}
	waitUntil(t, "it says that the disk fails", func() bool { return errors.Is(two.Err(), syscall.EIO) })
	fault.on.Store(false)
	waitUntil(t, "it takes events again", func() bool { return two.Err() == nil })
	if receipt, err := two.Append(t.Context(), event); err != nil || receipt != (eventlog.Receipt{Position: 6, Duplicate: true}) {
		t.Errorf("a retry is answered %+v, %v", receipt, err)
	}
	sameLogs(t, one, two)
	if head := one.Bounds().Head; head != 6 {
		t.Errorf("%d events", head)
	}
}

// TestCopyIsSetAsideOnce: the disk of a gateway fails while its copy is made anew, after what it had of a lost end was set
// aside. However often it is tried again, nothing else is set aside.
func TestCopyIsSetAsideOnce(t *testing.T) {
	memory, disk := commitlogtest.NewMemory(), vfs.NewMem()
	var begun atomic.Int64
	fault := &fault{err: syscall.EIO, match: func(op errorfs.Op) bool {
		if op.Kind == errorfs.OpRemove && strings.HasSuffix(op.Path, clearingName) {
			begun.Add(1)
		}
		return begun.Load() > 0 && begun.Load() < 4 && isWrite(op) && strings.HasSuffix(op.Path, ".log")
	}}
	fault.on.Store(true)
	log := openShared(t, errorfs.Wrap(disk, fault), commitsOf(t, memory), impatient(), withSettlePatience(20*time.Millisecond))
	appendMany(t, log, "kept", 5)
	at := memory.Len()
	appendMany(t, log, "lost", 3)
	memory.Cut(at)
	eventually(t, log, func() bool { return log.Sync(t.Context()) == nil })
	if fault.hits.Load() == 0 {
		t.Error("the disk has not failed: this test shows nothing")
	}
	if names := asides(disk); len(names) != 1 {
		t.Errorf("set aside: %v", names)
	}
	if positions, damaged := readAll(t, log, 0); len(positions) != 5 || fmt.Sprint(damaged) != fmt.Sprint([]span{{5, 8}}) {
		t.Errorf("events %v, damaged %v", positions, damaged)
	}
}

// TestLargestEventsAreMoved: events of 16 MiB are moved into a commit log, and begin a copy.
func TestLargestEventsAreMoved(t *testing.T) {
	path, memory := t.TempDir(), commitlogtest.NewMemory()
	patient := withPatience(time.Minute, time.Minute) // a flush of them takes long on a busy machine
	alone := mustOpen(t, testConfig(path), patient)
	mustAppend(t, alone, "large", noise(1, 16<<20))
	mustAppend(t, alone, "small", "small")
	want := eventsOf(t, alone)
	if err := alone.Close(); err != nil {
		t.Fatal(err)
	}
	moved, err := Move(t.Context(), path, false, commitsOf(t, memory), "test", testLogger(), nil)
	if err != nil || moved.Events != 2 || !moved.Sealed {
		t.Fatalf("Move() = %+v, %v", moved, err)
	}
	one, two := openShared(t, vfs.NewMem(), commitsOf(t, memory), patient), openShared(t, vfs.NewMem(), commitsOf(t, memory), patient)
	mustAppend(t, one, "after", noise(9, 16<<20))
	if err := two.Sync(t.Context()); err != nil {
		t.Fatal(err)
	}
	for i, value := range eventsOf(t, two)[:2] {
		if value != want[i] {
			t.Errorf("event %d differs", i+1)
		}
	}
}

// trimsBehind is a commit log that is trimmed while somebody reads its n-th commit.
type trimsBehind struct {
	commitlog.Log
	n    int
	trim func()
}

func (b *trimsBehind) Read(ctx context.Context, after commitlog.Sequence) iter.Seq2[commitlog.Commit, error] {
	return func(yield func(commitlog.Commit, error) bool) {
		for commit, err := range b.Log.Read(ctx, after) {
			if b.n--; b.n == -1 {
				b.trim()
			}
			if !yield(commit, err) {
				return
			}
		}
	}
}

// TestTrimmedWhileACopyBegins: the commit log is trimmed while a fresh copy reads its beginning. The copy begins
// again, and has no gap.
func TestTrimmedWhileACopyBegins(t *testing.T) {
	memory := commitlogtest.NewMemory()
	one := openShared(t, vfs.NewMem(), commitsOf(t, memory), byHand())
	appendMany(t, one, "event", 50)
	for round := range 5 {
		commits := &trimsBehind{Log: commitsOf(t, memory), n: 7 * round}
		commits.trim = func() {
			appendMany(t, one, fmt.Sprint("round ", round), 20)
			if err := one.Trim(t.Context(), one.Bounds().Head-10); err != nil {
				t.Error(err)
			}
			wholePass(t, one)
			before := memory.Trimmed()
			if _, err := one.shorten(); err != nil || memory.Trimmed() <= before {
				t.Errorf("trimmed from %d to %d: %v", before, memory.Trimmed(), err)
			}
		}
		fresh := openShared(t, vfs.NewMem(), commits)
		sameLogs(t, one, fresh)
		if positions, damaged := readAll(t, fresh, fresh.Bounds().Trimmed); len(positions) != int(fresh.Bounds().Len()) || len(damaged) > 0 {
			t.Errorf("round %d: %d events, damaged %v, bounds %+v", round, len(positions), damaged, fresh.Bounds())
		}
		if err := fresh.Close(); err != nil {
			t.Error(err)
		}
	}
}
