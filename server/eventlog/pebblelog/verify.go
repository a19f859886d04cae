package pebblelog

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/webhook-gateway/webhook-gateway/server/eventlog"
)

// Problem is something that is wrong with a log.
type Problem struct {
	// What is damaged, for people: "events 12 to 15", "write-ahead log 000004.log".
	What string
	// Why it is.
	Why string
}

func (p Problem) String() string { return p.What + ": " + p.Why }

// Report is what Verify found.
type Report struct {
	LogID   string
	Trimmed eventlog.Position
	Head    eventlog.Position
	// Marked is the head according to the mark of the head, 0 if there is none.
	Marked eventlog.Position
	// Events, EventIDs and StatePairs are how many were read, and Bytes the size of all
	// keys and values.
	Events, EventIDs, StatePairs, Bytes uint64
	// Lost are the ranges that are known to be lost.
	Lost []eventlog.Lost
	// Problems are the first ones, and More is how many there are besides.
	Problems []Problem
	More     int
}

// OK reports whether nothing is wrong. What is recorded as lost is wrong.
func (r *Report) OK() bool { return len(r.Problems) == 0 && len(r.Lost) == 0 }

// maxProblems is how many problems a report has.
const maxProblems = 20

func (r *Report) add(what, why string, args ...any) {
	if len(r.Problems) == maxProblems {
		r.More++
		return
	}
	r.Problems = append(r.Problems, Problem{What: what, Why: fmt.Sprintf(why, args...)})
}

// Progress is called now and then with how many of all positions were read.
type Progress func(done, all uint64)

// Verify reads all of a log, or of a backup in a folder, and changes nothing: the
// checksums of all blocks, the order and density of the events, the event ids that
// are remembered, the state of subscriptions. It fails only if it could not do so:
// what is wrong with the log is in the report.
func Verify(ctx context.Context, path string, progress Progress) (*Report, error) {
	release, err := lockFolder(path)
	if err != nil {
		return nil, err
	}
	defer release()
	if _, err := os.Stat(filepath.Join(path, restoringName)); err == nil {
		return nil, fmt.Errorf("a restore into %s has not finished: empty the folder and restore again", path)
	}
	report := &Report{}
	v := verifier{report: report, progress: progress, seed: maphash.MakeSeed()}
	if err := v.files(ctx, path); err != nil {
		return nil, err
	}
	known, err := readHeadMark(vfs.Default, path)
	if err != nil {
		report.add("mark of the head", "%v", err)
	}
	report.Marked = known.head.position
	s, err := openAsItIs(path)
	if noLog := checkIsLog(path, vfs.Default); errors.Is(noLog, errNoLog) {
		return nil, noLog
	}
	if err != nil {
		report.add("database", "it cannot be opened as it is: %v", err)
		return report, nil
	}
	defer s.close()
	v.store = s
	if err := s.load(eventlog.ID{}, known); err != nil {
		report.add("facts about the log", "%v", err)
		return report, nil
	}
	if known.id != s.id && known.id != (eventlog.ID{}) {
		report.add("mark of the head", "it is of the log %v, and this is %v", known.id, s.id)
	} else if known.head.position > s.head.position {
		report.add(fmt.Sprintf("events %d to %d", s.head.position+1, known.head.position), "they were acknowledged and are not there: the next start sets the write-ahead log aside")
	}
	report.LogID, report.Trimmed, report.Head = s.id.String(), s.trimmed.position, s.head.position
	report.Lost = lostWithin(s.lost, s.trimmed.position)
	if err := errors.Join(v.events(ctx), v.eventIDs(ctx), v.state(ctx)); err != nil {
		return nil, err
	}
	return report, nil
}

// lockFolder keeps a gateway from opening the log meanwhile. A backup has no lock, and
// gets none.
func lockFolder(path string) (release func(), err error) {
	info, err := os.Stat(path)
	if err == nil && !info.IsDir() {
		err = fmt.Errorf("%s is not a folder", path)
	}
	if err != nil {
		return nil, fmt.Errorf("open the event log: %w", err)
	}
	release = func() {}
	name := filepath.Join(path, lockName)
	if _, err := os.Stat(name); errors.Is(err, fs.ErrNotExist) {
		return release, nil
	}
	lock, err := vfs.Default.Lock(name)
	switch {
	case isHeld(err):
		return nil, inUse(path, "make a backup and look at that")
	case errors.Is(err, syscall.EROFS): // nobody can have it open
	case err != nil:
		return nil, fmt.Errorf("lock the event log in %s: %w", path, err)
	default:
		release = func() { _ = lock.Close() }
	}
	return release, nil
}

// openAsItIs opens the database. Nothing is written.
func openAsItIs(path string) (*store, error) {
	config := DefaultConfig()
	config.Path = path
	s := newStore(config, vfs.Default, &badSectors{impatient: true}, slog.New(slog.DiscardHandler))
	s.readOnly = true
	return s, s.openDatabase()
}

type verifier struct {
	store    *store
	report   *Report
	progress Progress
	seed     maphash.Seed
	history  *eventlog.History
	// epoch is that of the last event by the table, stored the one that it must have.
	epoch, stored eventlog.Epoch
	// ids has, for each retained event, a hash of what its id is remembered by; 0 for
	// those without an id, and for those that were found remembered.
	ids []uint64
	// received has when each was received, in seconds.
	received []int64
}

// files checks the manifest of a backup, and the write-ahead logs.
func (v *verifier) files(ctx context.Context, path string) error {
	if _, err := os.Stat(filepath.Join(path, ManifestName)); err == nil {
		if err := v.manifest(ctx, path); err != nil {
			return err
		}
	}
	wals, err := listWALs(vfs.Default, path)
	if err != nil {
		return err
	}
	for i, wal := range wals {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		scan, err := scanWAL(vfs.Default, wal, func(*walScan, []byte) error { return nil })
		name := "write-ahead log " + filepath.Base(wal)
		switch {
		case err != nil:
			v.report.add(name, "%v", err)
		case scan.unreadable != nil:
			v.report.add(name, "parts of it cannot be read: %v", scan.unreadable)
		case scan.damaged:
			v.report.add(name, "it is damaged at %d", scan.suspect)
		case !scan.ended && i < len(wals)-1:
			v.report.add(name, "it ends at %d without an end, and is not the newest", scan.prefix)
		}
	}
	return nil
}

func (v *verifier) manifest(ctx context.Context, path string) error {
	var text []byte
	files := make(map[string]BackupFile)
	for entry, err := range folderFiles(path) {
		if err == nil && entry.name == ManifestName {
			text, err = io.ReadAll(io.LimitReader(entry.content, maxManifestBytes))
		} else if err == nil {
			if entry.name == lockName {
				continue // it is not of the backup
			}
			var file BackupFile
			file, err = copySum(ctx, io.Discard, entry.content)
			file.Name = entry.name
			files[entry.name] = file
		}
		if err != nil {
			return err
		}
	}
	if _, err := checkManifest(text, files); err != nil {
		v.report.add("backup", "%v", err)
	}
	return nil
}

// events reads all events.
func (v *verifier) events(ctx context.Context) error {
	s := v.store
	after, head := s.trimmed.position, s.head.position
	v.ids = make([]uint64, 0, min(uint64(head-after), 1<<24))
	epochs, err := eventlog.NewHistory(s.id, s.epochs...)
	if err != nil {
		v.report.add("epochs", "%v", err)
		epochs = &eventlog.History{}
	}
	v.history = epochs
	previous, sound := s.trimmed, false
	var c chunk
	for last := time.Now(); after < head; {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if v.progress != nil && time.Since(last) > 50*time.Millisecond {
			last = time.Now()
			v.progress(uint64(after-s.trimmed.position), uint64(head-s.trimmed.position))
		}
		err := c.fill(s, after, head, 1<<20)
		var damaged *eventlog.DamagedError
		switch {
		case errors.As(err, &damaged):
			if !v.lost(damaged) {
				v.report.add(fmt.Sprintf("events %d to %d", damaged.After+1, damaged.UpTo), "%v", damaged.Err)
			}
			v.ids = append(v.ids, make([]uint64, damaged.UpTo-damaged.After)...)
			v.received = append(v.received, make([]int64, damaged.UpTo-damaged.After)...)
			after, sound = damaged.UpTo, false
			continue
		case err != nil:
			return fmt.Errorf("read the events after %d: %w", after, err)
		}
		for _, record := range c.records {
			v.event(record, previous, sound, epochs)
			previous, sound = markOf(record), true
			after = record.Position
		}
	}
	if v.progress != nil {
		v.progress(uint64(head-s.trimmed.position), uint64(head-s.trimmed.position))
	}
	return nil
}

// lost reports whether events are known to be.
func (v *verifier) lost(damaged *eventlog.DamagedError) bool {
	for _, l := range v.store.lost {
		if l.after <= damaged.After && damaged.UpTo <= l.upTo.position {
			return true
		}
	}
	return false
}

// event checks one event against the one before it; sound tells whether that could be
// read.
func (v *verifier) event(record eventlog.Record, previous mark, sound bool, history *eventlog.History) {
	what := fmt.Sprintf("event %d", record.Position)
	v.report.Events++
	v.report.Bytes += uint64(record.Size()) + 9 //nolint:gosec // not negative
	if record.ReceiveTime().Before(previous.receiveTime) {
		v.report.add(what, "it was received at %v, before the one before it", record.ReceiveTime())
	}
	if got, own := record.Totals().Minus(previous.totals), record.Sizes(); sound && got != own {
		v.report.add(what, "the sum of the sizes up to it is %d more than before it (%d more of those that failed verification), and must be %d more (%d)",
			got.Bytes, got.FailedBytes, own.Bytes, own.FailedBytes)
	}
	if epoch := v.epochOf(record, history); epoch != record.Epoch() {
		v.report.add(what, "it is of the epoch %#x, and the table of epochs says %#x", uint64(record.Epoch()), uint64(epoch))
	}
	if err := record.Check(); err != nil {
		v.report.add(what, "%v", err)
	}
	id := uint64(0)
	if len(record.ProviderEventID()) > 0 {
		entry := eventlog.Entry{Provider: record.Provider(), ClientID: string(record.ClientID()), Verdict: record.Verdict(), ProviderEventID: string(record.ProviderEventID())}
		id = max(maphash.Bytes(v.seed, appendDedupID(nil, &entry)), 1)
	}
	v.ids = append(v.ids, id)
	v.received = append(v.received, record.ReceiveTime().UnixNano())
}

// state reads the state of subscriptions.
func (v *verifier) state(ctx context.Context) error {
	return v.pairs(ctx, prefixState, func(key, value []byte) {
		v.report.StatePairs++
		scope, ok := scopeOf(key)
		switch {
		case !ok:
			v.report.add(fmt.Sprintf("state %x", key), "the key is malformed")
		case bytes.Equal(key, stateKey(scope, kindTerm)) && len(value) != 8:
			v.report.add(fmt.Sprintf("state of %q", scope), "its term is malformed")
		}
	})
}

// pairs calls a function with all pairs of a prefix, and reports where they cannot be
// read.
func (v *verifier) pairs(ctx context.Context, prefix byte, visit func(key, value []byte)) error {
	it, err := v.store.db.NewIterWithContext(ctx, &pebble.IterOptions{LowerBound: []byte{prefix}, UpperBound: []byte{prefix + 1}})
	if err != nil {
		return fmt.Errorf("read the keys of %q: %w", prefix, err)
	}
	last := []byte{prefix}
	for ok := it.First(); ok; ok = it.Next() {
		value, err := it.ValueAndErr()
		if err != nil {
			break
		}
		last = append(last[:0], it.Key()...)
		v.report.Bytes += uint64(len(it.Key()) + len(value))
		visit(it.Key(), value)
	}
	if err := errors.Join(it.Error(), it.Close()); err != nil {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		v.report.add(fmt.Sprintf("keys after %x", last), "%v", err)
	}
	return nil
}
