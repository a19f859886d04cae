package pebblelog

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/webhook-gateway/webhook-gateway/server/eventlog"
)

// A damaged write-ahead log keeps no log from opening, and nothing of it is lost
// without a word.
//
// Pebble either refuses to replay it, or takes the damage for the end of it. In the
// first case it is cut before the damage. In both, what is left of the files is set
// aside in a folder of its own, and all events in them that can still be read are
// put back. What then lacks of the positions that were acknowledged is recorded as
// lost.
//
// The state of subscriptions is not put back: it is that of the moment of the damage,
// complete in itself, and what was settled afterwards is delivered again.

const (
	asideFolder = "damaged"
	// unfinishedName is a file in a folder of write-ahead logs whose events are not put
	// back yet, because the opening that set them aside has failed.
	unfinishedName = "unfinished"
	// maxCuts bounds how often one opening cuts write-ahead logs.
	maxCuts = 3
)

// damagedWAL returns the write-ahead log that could not be replayed with those after
// it, and the end of what can be replayed of it. It returns nil if it is not damaged, or
// what cannot be read of it may still pass.
func damagedWAL(disk vfs.FS, wals []string, replayed string, sectors *badSectors) ([]string, int64) {
	i := slices.Index(wals, replayed)
	if i < 0 {
		return nil, 0
	}
	scan, err := scanWAL(disk, replayed, func(*walScan, []byte) error { return nil })
	last := i == len(wals)-1
	switch {
	case err != nil, scan.unreadable == nil && !scan.damaged && (last || scan.ended):
		return nil, 0
	case sectors.pending(replayed, scan.unreadable):
		return nil, 0
	}
	return wals[i:], scan.prefix
}

// cutWALs keeps copies of all write-ahead logs in a folder aside, unless that was
// done, and leaves of the damaged ones what comes before the damage. It returns the
// folder.
func cutWALs(disk vfs.FS, path, aside string, wals, damaged []string, end int64) (string, error) {
	var err error
	if aside == "" {
		if aside, err = setAsideUnfinished(disk, path, wals); err != nil {
			return "", err
		}
	}
	// NOTE: The newest first. Whatever of this a crash leaves undone, no write-ahead log
	// follows one that was cut.
	for i := len(damaged) - 1; i > 0; i-- {
		if err := disk.Remove(damaged[i]); err != nil {
			return "", fmt.Errorf("remove a write-ahead log that was set aside: %w", err)
		}
	}
	if err := syncFolder(disk, path); err != nil {
		return "", err
	}
	file, err := disk.Open(damaged[0])
	if err != nil {
		return "", fmt.Errorf("open a damaged write-ahead log: %w", err)
	}
	content, err := io.ReadAll(io.LimitReader(file, end))
	if err := errors.Join(err, file.Close()); err != nil {
		return "", fmt.Errorf("read a damaged write-ahead log: %w", err)
	}
	return aside, writeFile(disk, path, filepath.Base(damaged[0]), content)
}

// setAside links or copies files to a new folder, and returns its name relative to
// that of the log; empty if there are no files.
func setAside(disk vfs.FS, path string, files []string) (string, error) {
	if len(files) == 0 {
		return "", nil
	}
	name := disk.PathJoin(asideFolder, time.Now().UTC().Format("20060102T150405.000000000Z"))
	folder := disk.PathJoin(path, name)
	if err := disk.MkdirAll(folder, 0o700); err != nil {
		return "", fmt.Errorf("make a folder for damaged files: %w", err)
	}
	if err := setAsideIn(disk, path, folder, files); err != nil {
		return "", errors.Join(err, disk.RemoveAll(folder)) // it is tried again, perhaps often
	}
	return name, nil
}

// setAsideUnfinished is setAside for files whose events are to be put back. Until
// finish is called, each opening does so.
func setAsideUnfinished(disk vfs.FS, path string, files []string) (string, error) {
	name, err := setAside(disk, path, files)
	if err != nil || name == "" {
		return "", err
	}
	folder := disk.PathJoin(path, name)
	if err := writeFile(disk, folder, unfinishedName, nil); err != nil {
		return "", errors.Join(err, disk.RemoveAll(folder))
	}
	return name, nil
}

// findUnfinished returns the folder that an opening has set files aside in and failed
// afterwards, empty if there is none.
func findUnfinished(disk vfs.FS, path string) (string, error) {
	names, err := disk.List(disk.PathJoin(path, asideFolder))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("list what was set aside: %w", err)
	}
	for _, name := range names {
		aside := disk.PathJoin(asideFolder, name)
		if there, err := exists(disk, disk.PathJoin(path, aside, unfinishedName)); err != nil || there {
			return aside, err
		}
	}
	return "", nil
}

// exists reports whether there is a file.
func exists(disk vfs.FS, name string) (bool, error) {
	_, err := disk.Stat(name)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR) {
		return false, nil
	}
	return err == nil, err
}

// finish says that what can be read of files set aside is back.
func finish(disk vfs.FS, path, aside string) error {
	folder := disk.PathJoin(path, aside)
	err := disk.Remove(disk.PathJoin(folder, unfinishedName))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("finish what was set aside: %w", err)
	}
	return syncFolder(disk, folder)
}

func setAsideIn(disk vfs.FS, path, folder string, files []string) error {
	for _, file := range files {
		copied := disk.PathJoin(folder, disk.PathBase(file))
		err := disk.Link(file, copied)
		if err != nil && !errors.Is(err, fs.ErrNotExist) { // not every file system has links
			err = vfs.Copy(disk, file, copied)
		}
		if errors.Is(err, fs.ErrNotExist) {
			continue // nothing was in it: Pebble has removed it
		}
		if err != nil {
			return fmt.Errorf("set a damaged file aside: %w", err)
		}
	}
	for _, dir := range []string{folder, disk.PathJoin(path, asideFolder), path} {
		if err := syncFolder(disk, dir); err != nil {
			return err
		}
	}
	return nil
}

// recover compares what was found with what is known, and records what is lost. files
// are the write-ahead logs before the opening, and the tables that it did not use;
// aside is the folder that they were set aside in, if they were.
func (s *store) recover(known headMark, files []string, aside string) error {
	if known.id != s.id && known.id != (eventlog.ID{}) {
		s.logger.Warn("the mark of the head is of another log: whether events were lost cannot be told", "log_id", s.id.String(), "mark_of", known.id.String())
		known = headMark{}
	}
	known.head.position = max(known.head.position, s.implied)
	if known.head.position <= s.head.position && aside == "" {
		return nil
	}
	var err error
	if aside == "" {
		if aside, err = setAsideUnfinished(s.disk, s.path, files); err != nil {
			return err
		}
	}
	found := s.head
	r := restorer{store: s, upTo: found, batch: s.db.NewBatch()}
	if known.head.position > found.position {
		r.upTo = laterMark(found, known.head)
	}
	r.wants = func(p eventlog.Position) bool { return p > found.position }
	if history, err := eventlog.NewHistory(s.id, soundEpochs(known.epochs, known.head.position)...); err == nil && len(known.epochs) > 0 {
		r.history, r.named = history, known.head.position
	}
	err = r.putBackAll()
	r.epochs = append(r.epochs, known.epochs...)
	if err = errors.Join(err, r.record(found, aside, time.Now())); err != nil {
		return fmt.Errorf("put back what a damaged write-ahead log has: %w", err)
	}
	if aside != "" {
		if err := finish(s.disk, s.path, aside); err != nil {
			return err
		}
	}
	log := s.logger.With("found", uint64(found.position), "acknowledged", uint64(r.upTo.position), "put_back", r.count, "set_aside", aside)
	if len(r.lost) == 0 {
		log.Warn("the end of the event log was damaged: no event is lost, and subscriptions may be served again what was settled last")
		return nil
	}
	for _, l := range r.lost {
		log.Error("events that were acknowledged are lost: whoever resumes there is told of a gap",
			"after", uint64(l.after), "up_to", uint64(l.upTo.position))
	}
	return nil
}

// A restorer puts events back that are only in files set aside. All that it writes is
// in one batch: a crash leaves all of it or nothing.
type restorer struct {
	store *store
	batch *pebble.Batch
	// wants tells which events are put back.
	wants func(eventlog.Position) bool
	// history, if set, names the positions up to named. Other events there are of a
	// history that is gone.
	history *eventlog.History
	named   eventlog.Position
	// keepIDs is set if what the store remembers of an event id is newer than what is
	// put back.
	keepIDs bool
	// upTo is the last position that was acknowledged, as far as is known.
	upTo mark
	// have are the positions that were put back, as ranges.
	have   []eventlog.Lost
	count  int
	epochs []eventlog.EpochStart
	lost   []loss
}

// putBackAll adds to the batch what can be read in all folders that were set aside. An
// earlier opening may have ended before it came to that.
func (r *restorer) putBackAll() error {
	disk, parent := r.store.disk, r.store.disk.PathJoin(r.store.path, asideFolder)
	names, err := disk.List(parent)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("list what was set aside: %w", err)
	}
	slices.Sort(names) // they are times
	for _, name := range names {
		folder := disk.PathJoin(parent, name)
		if info, err := disk.Stat(folder); err == nil && !info.IsDir() {
			continue // a person has put it there
		}
		if err := r.putBack(folder); err != nil {
			return err
		}
	}
	return nil
}

// putBack adds to the batch what can be read of the write-ahead logs in a folder.
func (r *restorer) putBack(folder string) error {
	wals, err := listWALs(r.store.disk, folder)
	if err != nil {
		return err
	}
	for _, wal := range wals {
		scan, err := scanWAL(r.store.disk, wal, func(_ *walScan, batch []byte) error {
			if err := parseBatch(batch, r.set); err != nil {
				r.store.logger.Warn("a batch of a write-ahead log cannot be used", "file", filepath.Base(wal), "error", err.Error())
			}
			return nil
		})
		if err != nil {
			return err
		}
		if r.store.guard.sectors.pending(wal, scan.unreadable) {
			return diskError{fmt.Errorf("read the write-ahead log %s: %w", filepath.Base(wal), scan.unreadable)}
		}
	}
	return nil
}

// set puts back one pair, if it is one that is put back.
func (r *restorer) set(key, value []byte) error {
	if len(key) == 0 {
		return nil
	}
	switch key[0] {
	case prefixEvent:
		p, err := parseEventKey(key)
		if err != nil || !r.wants(p) {
			return err
		}
		record, err := parseEvent(p, value)
		if err != nil {
			return err
		}
		if r.history != nil && p <= r.named && r.history.EpochAt(p) != record.Epoch() {
			return nil
		}
		if p > r.upTo.position {
			r.upTo = markOf(record)
		}
		r.has(p)
	case prefixDedup:
		if n := len(value); n < furtherBodyLen || !r.wants(eventlog.Position(binary.BigEndian.Uint64(value[n-8:]))) {
			return nil
		}
		if known, err := r.store.has(key); err != nil || known && r.keepIDs {
			return err
		}
	case prefixHistory:
		start, err := parseEpochPair(key, value)
		if err == nil {
			r.epochs = append(r.epochs, start)
		}
		return err
	default:
		return nil
	}
	return r.batch.Set(key, value, nil)
}

func (r *restorer) has(p eventlog.Position) {
	n := len(r.have)
	switch {
	case n > 0 && r.have[n-1].UpTo+1 == p:
		r.have[n-1].UpTo = p
	default:
		i, found := slices.BinarySearchFunc(r.have, p, func(l eventlog.Lost, p eventlog.Position) int { return cmp.Compare(l.UpTo, p) })
		if found || i < n && r.have[i].After < p {
			return // twice
		}
		r.have = slices.Insert(r.have, i, eventlog.Lost{After: p - 1, UpTo: p})
	}
	r.count++
}

// record makes durable what was put back and what is lost, of what comes after what
// was found, and makes the store one that knows it.
func (r *restorer) record(found mark, aside string, now time.Time) error {
	s := r.store
	gap := func(after eventlog.Position, upTo mark) {
		if upTo.position > after {
			r.lost = append(r.lost, loss{after: after, upTo: upTo, found: now, setAside: aside})
		}
	}
	next := found.position
	for _, have := range r.have {
		// NOTE: Of the end of a loss that events follow, its position is all that matters.
		gap(next, mark{position: have.After, receiveTime: found.receiveTime, totals: found.totals})
		next = have.UpTo
	}
	gap(next, r.upTo)
	for _, l := range r.lost {
		key, value := l.pair()
		if err := r.batch.Set(key, value, nil); err != nil {
			return err
		}
	}
	epochs := soundEpochs(append(slices.Clone(s.epochs), r.epochs...), r.upTo.position)
	if err := s.setEpochs(r.batch, epochs); err != nil {
		return err
	}
	if err := s.leapTerms(r.batch); err != nil && !isDamage(err) {
		return err
	}
	if err := errors.Join(r.batch.Commit(pebble.Sync), r.batch.Close(), s.fence.err()); err != nil {
		return err
	}
	s.head, s.epochs, s.lost = r.upTo, epochs, append(s.lost, r.lost...)
	return nil
}
