package pebblelog

import (
	"errors"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/webhook-gateway/webhook-gateway/server/commitlog/commitlogtest"
	"github.com/webhook-gateway/webhook-gateway/server/eventlog"
)

// An overwritten log is one whose commit log has lost its end, after which another gateway went
// on before the one that has more came back. Both have five events.
type overwritten struct {
	memory *commitlogtest.Memory
	disk   *vfs.MemFS // of the one that had more
	behind *Log
	// had and others are the cursors of all positions, from 0 on, as both gave them out.
	had, others []string
}

func overwrite(t *testing.T, lost, other int, options ...Option) *overwritten {
	t.Helper()
	o := &overwritten{memory: commitlogtest.NewMemory(), disk: vfs.NewMem()}
	ahead := openShared(t, o.disk, commitsOf(t, o.memory))
	appendMany(t, ahead, "kept", 5)
	at := o.memory.Len()
	appendMany(t, ahead, "lost", lost)
	o.had = cursorsOf(ahead)
	if err := ahead.Close(); err != nil {
		t.Fatal(err)
	}
	o.memory.Cut(at)
	o.behind = openShared(t, vfs.NewMem(), commitsOf(t, o.memory), options...)
	appendMany(t, o.behind, "other", other)
	o.others = cursorsOf(o.behind)
	return o
}

func cursorsOf(log *Log) (cursors []string) {
	for p := range log.Bounds().Head + 1 {
		cursors = append(cursors, log.History().FormatCursor(p))
	}
	return cursors
}

// wantParted checks that cursors up to a position are good, and that later ones are refused, with
// that as the last one that is certain.
func wantParted(t *testing.T, log *Log, cursors []string, last eventlog.Position) {
	t.Helper()
	for i, cursor := range cursors {
		p, err := log.History().ParseCursor(cursor)
		lost := (*eventlog.HistoryLostError)(nil)
		switch want := eventlog.Position(i); {
		case want <= last && (err != nil || p != want):
			t.Errorf("cursor of %d: %d, %v", want, p, err)
		case want > last && (!errors.As(err, &lost) || lost.Last != last):
			t.Errorf("cursor of %d: %d, %v; want that it is lost from %d on", want, p, err, last)
		}
	}
}

// TestOverwrittenEnd: no cursor of what was lost means what came in its place, on any gateway.
func TestOverwrittenEnd(t *testing.T) {
	for name, c := range map[string]struct {
		lost, others int
		head         eventlog.Position // what was given out
	}{
		"more":     {3, 5, 10},
		"as many":  {3, 3, 8},
		"fewer":    {3, 1, 8},
		"only one": {1, 1, 6},
	} {
		t.Run(name, func(t *testing.T) {
			o := overwrite(t, c.lost, c.others)
			one := o.behind
			two := openShared(t, o.disk, commitsOf(t, o.memory), impatient())
			sameLogs(t, one, two)
			if receipt := mustAppend(t, one, "", "new"); receipt.Position != c.head+1 {
				t.Errorf("the next event is at %d", receipt.Position)
			}
			sameLogs(t, one, two)
			three := openShared(t, vfs.NewMem(), commitsOf(t, o.memory))
			if err := two.Close(); err != nil {
				t.Fatal(err)
			}
			two = openShared(t, o.disk, commitsOf(t, o.memory))
			for _, log := range []*Log{one, two, three} {
				wantParted(t, log, o.had, 5)
				wantParted(t, log, o.others, 5)
				now := cursorsOf(log)
				wantParted(t, log, now, c.head+1)
				if starts := log.History().Starts(); len(starts) != 3 || starts[1].First != 6 || starts[2].First != c.head+1 {
					t.Errorf("epochs %v", starts)
				}
			}
			sameLogs(t, one, three)
			sameLogs(t, one, two)
		})
	}
}

// TestOverwrittenEndIsTrimmed: what came in the place of the lost events, and perhaps what both had, is trimmed when the
// gateway that has more comes back. Where they parted cannot be found out any more. No cursor of a lost event is taken
// for one of an event that was trimmed: its reader is told of the loss too.
func TestOverwrittenEndIsTrimmed(t *testing.T) {
	for name, c := range map[string]struct {
		others int
		upTo   eventlog.Position
		last   eventlog.Position // that is certain
	}{
		"all that parted":            {7, 8, 1},
		"more":                       {7, 10, 1},
		"all that there is":          {7, 12, 1},
		"some of it":                 {7, 6, 1},
		"up to where they parted":    {7, 5, 5},
		"before that":                {7, 4, 5},
		"all of one that had fewer":  {1, 6, 1},
		"what both had in that case": {1, 5, 5},
	} {
		t.Run(name, func(t *testing.T) {
			o := overwrite(t, 3, c.others)
			if err := o.behind.Trim(t.Context(), c.upTo); err != nil {
				t.Fatal(err)
			}
			two := openShared(t, o.disk, commitsOf(t, o.memory), impatient())
			sameLogs(t, two, o.behind)
			mustAppend(t, two, "", "new")
			sameLogs(t, two, o.behind)
			for _, log := range []*Log{o.behind, two} {
				wantParted(t, log, o.had, c.last)
				wantParted(t, log, o.others, c.last)
			}
		})
	}
}

// TestOverwrittenEndWhileRunning: the gateway that has more cannot reach the commit log meanwhile.
func TestOverwrittenEndWhileRunning(t *testing.T) {
	memory := commitlogtest.NewMemory()
	commits := &switched{Log: commitsOf(t, memory)}
	ahead := openShared(t, vfs.NewMem(), commits, impatient(), withSettlePatience(20*time.Millisecond))
	appendMany(t, ahead, "kept", 5)
	at := memory.Len()
	appendMany(t, ahead, "lost", 3)
	had := cursorsOf(ahead)
	commits.off.Store(true)
	memory.Cut(at)
	behind := openShared(t, vfs.NewMem(), commitsOf(t, memory))
	appendMany(t, behind, "other", 5)
	others := cursorsOf(behind)
	changed := behind.Changed()
	commits.off.Store(false)
	sameLogs(t, ahead, behind)
	select {
	case <-changed: // whoever waits there is to be told, although no event has come
	case <-time.After(patience):
		t.Error("who waits for a change is not woken")
	}
	if positions, damaged := readAll(t, ahead, 0); len(positions) != 10 || len(damaged) != 0 {
		t.Errorf("events %v, damaged %v", positions, damaged)
	}
	for _, log := range []*Log{ahead, behind} {
		wantParted(t, log, had, 5)
		wantParted(t, log, others, 5)
	}
}

// TestOverwrittenEndsOfTwo: two gateways had more than the commit log, one more than the other.
func TestOverwrittenEndsOfTwo(t *testing.T) {
	for name, longerFirst := range map[string]bool{"the longer first": true, "the shorter first": false} {
		t.Run(name, func(t *testing.T) {
			memory := commitlogtest.NewMemory()
			disks := []*vfs.MemFS{vfs.NewMem(), vfs.NewMem()}
			longer := openShared(t, disks[0], commitsOf(t, memory))
			appendMany(t, longer, "kept", 3)
			first := memory.Len()
			shorter := openShared(t, disks[1], commitsOf(t, memory))
			appendMany(t, longer, "lost", 2)
			hadShorter := cursorsOf(longer)
			if err := errors.Join(shorter.Sync(t.Context()), shorter.Close()); err != nil {
				t.Fatal(err)
			}
			appendMany(t, longer, "lost too", 5)
			had := cursorsOf(longer)
			if err := longer.Close(); err != nil {
				t.Fatal(err)
			}
			memory.Cut(first)
			other := openShared(t, vfs.NewMem(), commitsOf(t, memory))
			appendMany(t, other, "other", 4)
			if longerFirst {
				disks[0], disks[1] = disks[1], disks[0]
			}
			one := openShared(t, disks[1], commitsOf(t, memory), impatient())
			two := openShared(t, disks[0], commitsOf(t, memory), impatient())
			mustAppend(t, other, "", "new")
			sameLogs(t, two, other)
			sameLogs(t, one, other)
			sameLogs(t, two, other)
			for _, log := range []*Log{one, two, other} {
				wantParted(t, log, had, 3)
				wantParted(t, log, hadShorter, 3)
				wantParted(t, log, cursorsOf(log), log.Bounds().Head)
			}
		})
	}
}

// TestOverwrittenEndsThatParted: three histories part at two positions.
func TestOverwrittenEndsThatParted(t *testing.T) {
	o := overwrite(t, 4, 2)
	at := o.memory.Len()
	between := vfs.NewMem()
	log := openShared(t, between, commitsOf(t, o.memory))
	appendMany(t, log, "lost again", 3)
	had := cursorsOf(log)
	if err := errors.Join(log.Close(), o.behind.Close()); err != nil {
		t.Fatal(err)
	}
	o.memory.Cut(at)
	other := openShared(t, vfs.NewMem(), commitsOf(t, o.memory))
	appendMany(t, other, "other again", 6)
	later := openShared(t, between, commitsOf(t, o.memory), impatient())
	sameLogs(t, later, other)
	wantParted(t, other, had, 7)
	earlier := openShared(t, o.disk, commitsOf(t, o.memory), impatient())
	sameLogs(t, earlier, other)
	sameLogs(t, later, other)
	for _, log := range []*Log{earlier, later, other} {
		wantParted(t, log, o.had, 5)
		wantParted(t, log, had, 5)
		wantParted(t, log, cursorsOf(log), log.Bounds().Head)
	}
}

// TestOverwrittenEndAfterAStop: a gateway is stopped after it has set its copy aside, and before it
// could tell. What it had is compared all the same, and if it is gone more is refused.
func TestOverwrittenEndAfterAStop(t *testing.T) {
	for name, gone := range map[string]bool{"set aside": false, "gone": true} {
		t.Run(name, func(t *testing.T) {
			o := overwrite(t, 3, 5)
			commits := &switched{Log: commitsOf(t, o.memory)}
			commits.noAppends.Store(true)
			log, err := Open(testConfig("log"), testLogger(), WithFS(o.disk), WithCommits(t.Context(), commits), impatient(),
				withSettlePatience(20*time.Millisecond))
			if err != nil {
				t.Fatal(err)
			}
			waitUntil(t, "the copy is set aside", func() bool { return log.shared.rebuilt.Load() == 1 && len(asides(o.disk)) > 0 })
			closeSoon(t, log)
			last := eventlog.Position(5)
			if gone {
				last = 1
				if err := o.disk.RemoveAll("log/" + asideFolder); err != nil {
					t.Fatal(err)
				}
			}
			for range 2 { // it is told once
				log = openShared(t, o.disk, commitsOf(t, o.memory), impatient())
				sameLogs(t, log, o.behind)
				if starts := log.History().Starts(); len(starts) != 2 || starts[1].First != last+1 {
					t.Errorf("epochs %v", starts)
				}
				wantParted(t, log, o.had, last)
				wantParted(t, log, o.others, last)
				if err := log.Close(); err != nil {
					t.Fatal(err)
				}
			}
		})
	}
}

// TestOverwrittenEndOfManyEpochs: the same if the log has as many epochs as one that was moved after years.
func TestOverwrittenEndOfManyEpochs(t *testing.T) {
	const epochs = 3000
	memory, disk := commitlogtest.NewMemory(), vfs.NewMem()
	ahead := openShared(t, disk, commitsOf(t, memory))
	appendMany(t, ahead, "kept", epochs)
	err := ahead.write(t.Context(), kindUpkeep, func(_ *committer, batch *pebble.Batch) (err error) {
		for first := eventlog.Position(2); first <= epochs; first++ {
			key, value := epochPair(eventlog.EpochStart{Epoch: eventlog.NewEpoch(), First: first})
			err = errors.Join(err, batch.Set(key, value, nil))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	at := memory.Len()
	appendMany(t, ahead, "lost", 3)
	had := cursorsOf(ahead)
	if err := ahead.Close(); err != nil {
		t.Fatal(err)
	}
	memory.Cut(at)
	behind := openShared(t, vfs.NewMem(), commitsOf(t, memory))
	appendMany(t, behind, "other", 5)
	commits := &switched{Log: commitsOf(t, memory)}
	commits.noAppends.Store(true)
	log, err := Open(testConfig("log"), testLogger(), WithFS(disk), WithCommits(t.Context(), commits), impatient(),
		withSettlePatience(20*time.Millisecond))
	if err != nil {
		t.Fatal(err)
	}
	waitUntil(t, "the copy is set aside", func() bool { return log.shared.rebuilt.Load() == 1 && len(asides(disk)) > 0 })
	closeSoon(t, log)
	log = openShared(t, disk, commitsOf(t, memory), impatient())
	sameLogs(t, log, behind)
	wantParted(t, log, had, epochs)
}

// TestOverwrittenEndOfDamagedCopy: a copy is damaged, and what it had was replaced.
func TestOverwrittenEndOfDamagedCopy(t *testing.T) {
	memory, disk := commitlogtest.NewMemory(), vfs.NewMem()
	commits := &switched{Log: commitsOf(t, memory)}
	ahead := openShared(t, disk, commits, impatient())
	appendMany(t, ahead, "kept", 5)
	at := memory.Len()
	appendMany(t, ahead, "lost", 3)
	had := cursorsOf(ahead)
	ahead.storeMu.RLock()
	fence := ahead.store.fence
	ahead.storeMu.RUnlock()
	commits.off.Store(true)
	memory.Cut(at)
	other := openShared(t, vfs.NewMem(), commitsOf(t, memory))
	appendMany(t, other, "other", 5)
	fence.fail(&copyError{errCopy, false})
	commits.off.Store(false)
	sameLogs(t, ahead, other)
	// Nothing tells how far both are the same, but the first event of an epoch is.
	wantParted(t, other, had, 1)
	wantParted(t, ahead, had, 1)
}

// TestOverwrittenEndThatIsTheSame: no cursor is refused if no event was lost.
func TestOverwrittenEndThatIsTheSame(t *testing.T) {
	memory, disk := commitlogtest.NewMemory(), vfs.NewMem()
	two := openShared(t, disk, commitsOf(t, memory))
	appendMany(t, two, "kept", 5)
	at := memory.Len()
	if _, err := two.AcquireScope(t.Context(), "worker"); err != nil {
		t.Fatal(err)
	}
	if err := two.Close(); err != nil {
		t.Fatal(err)
	}
	memory.Cut(at)
	one := openShared(t, vfs.NewMem(), commitsOf(t, memory))
	appendMany(t, one, "other", 3)
	cursors := cursorsOf(one)
	two = openShared(t, disk, commitsOf(t, memory), impatient())
	mustAppend(t, two, "", "new")
	sameLogs(t, one, two)
	wantParted(t, one, cursors, 8)
}

// TestOverwrittenEndIsKept: what keeps, copies and checks a log takes the epoch that was begun
// afterwards: passes and what is trimmed, verify, a backup that is restored.
func TestOverwrittenEndIsKept(t *testing.T) {
	o := overwrite(t, 3, 5, withPace())
	one := o.behind
	two := openShared(t, o.disk, commitsOf(t, o.memory), impatient())
	sameLogs(t, two, two)
	if err := two.Close(); err != nil {
		t.Fatal(err)
	}
	appendMany(t, one, "new", 20)
	eventually(t, one, func() bool { return len(one.History().Starts()) == 3 })
	before := o.memory.Len()
	if err := one.Trim(t.Context(), 7); err != nil {
		t.Fatal(err)
	}
	eventually(t, one, func() bool { return o.memory.Trimmed() >= 8 && o.memory.Len() > before })
	stream := backUp(t, one)
	if err := one.Close(); err != nil {
		t.Fatal(err)
	}
	one = openShared(t, vfs.NewMem(), commitsOf(t, o.memory))
	if placeOf(t, one).from == 0 {
		t.Error("the fresh copy began at the beginning")
	}
	wantParted(t, one, o.had, 5)
	wantParted(t, one, cursorsOf(one), 30)

	path, _ := mustRestore(t, stream)
	if report := mustVerify(t, path); !report.OK() || report.Events != 23 {
		t.Errorf("Verify() = %+v", report)
	}
	restored := openShared(t, vfs.Default, commitsOf(t, o.memory), at(path))
	sameLogs(t, one, restored)
}

func at(path string) Option { return func(l *Log) { l.config.Path = path } }
