package pebblelog

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"path/filepath"
	"slices"
	"syscall"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/webhook-gateway/webhook-gateway/server/eventlog"
)

// A log starts also when its disk cannot be written, as when it is full: it serves
// what is there from an opening that writes nothing, behind a fence that is raised
// from the beginning. The committer then does what it does after any failure.

// A diskError is a failure of the disk that may end by itself.
type diskError struct{ error }

func (e diskError) Unwrap() error { return e.error }

// isDiskFault reports whether an error of the file system is one that may end by
// itself.
func isDiskFault(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) || errors.Is(err, syscall.EIO) || errors.Is(err, syscall.EROFS)
}

// openFirst opens the database for the first time.
func (l *Log) openFirst() (*store, *dedup, error) {
	var cause diskError
	id := eventlog.NewID()
	err := l.acquire()
	known, markErr := l.readMark()
	if err == nil {
		err = markErr
	}
	if err == nil {
		l.removeOldBackups()
		var s *store
		var d *dedup
		if s, d, err = openBoth(l.config, id, *known, l.disk, l.logger); err == nil {
			return s, d, nil
		}
		err = fmt.Errorf("open the event log in %s: %w", l.config.Path, err)
	}
	if !errors.As(err, &cause) {
		return nil, nil, err
	}
	l.before.Store(known)
	s, readErr := openReadOnly(l.config, *known, l.disk, l.logger, cause)
	if errors.Is(readErr, errNoLog) && !errors.Is(cause, syscall.EROFS) { // a new log is not begun there
		// It will be created with this id.
		if known.id != (eventlog.ID{}) {
			id = known.id
		}
		s, readErr = openInMemory(l.config, id, l.logger, cause)
	}
	var d *dedup
	if readErr == nil {
		if d, readErr = openDedup(s, l.config.DedupWindow); readErr != nil {
			readErr = errors.Join(readErr, s.close())
		}
	}
	if readErr != nil {
		return nil, nil, errors.Join(err, fmt.Errorf("and to read it alone: %w", readErr))
	}
	return s, d, nil
}

// readMark reads the mark of the head. One that is damaged keeps no log from opening.
// One that cannot be read would be replaced by one that knows less: it is read again
// later, until it is clear that it is damaged.
func (l *Log) readMark() (*headMark, error) {
	known, err := readHeadMark(l.disk, l.config.Path)
	known.sectors = &l.sectors
	switch {
	case err == nil:
		return &known, nil
	case errors.Is(err, errMark):
	case !isDiskFault(err):
		known.unread = true
		return &known, fmt.Errorf("%w: it tells whether events were lost: make it readable, or remove it if it cannot be", err)
	case l.sectors.pending(headMarkName, err):
		known.unread = true
		return &known, diskError{err}
	}
	l.logger.Error("the mark of the head cannot be used: if events were lost that is not noticed", "error", err)
	return &known, nil
}

// catchUpStart does what the start could not: it locks the folder, and reads the mark of
// the head.
func (l *Log) catchUpStart() error {
	before := l.before.Load()
	unread := before != nil && before.unread
	if l.lock == nil {
		if err := l.acquire(); err != nil {
			return err
		}
		unread = true // another process may have had the folder meanwhile
	}
	if !unread {
		return nil
	}
	known, err := l.readMark()
	l.before.Store(known)
	return err
}

var errNoLog = errors.New("the folder has no event log")

// openInMemory opens an empty log that takes nothing. The cause is why.
func openInMemory(config Config, id eventlog.ID, logger *slog.Logger, cause error) (*store, error) {
	disk := vfs.NewMem()
	if err := disk.MkdirAll(config.Path, 0o700); err != nil {
		return nil, err
	}
	s, err := openStore(config, id, headMark{}, disk, logger)
	if err == nil {
		s.fence.fail(cause)
	}
	return s, err
}

// openReadOnly opens the log in a folder without writing anything. The cause is why.
// Nothing is recovered: what is known of the log besides waits for an opening that can
// write. Of a write-ahead log that is damaged it is what comes before the damage.
func openReadOnly(config Config, known headMark, disk vfs.FS, logger *slog.Logger, cause error) (*store, error) {
	if _, err := disk.Stat(config.Path); errors.Is(err, fs.ErrNotExist) {
		return nil, errNoLog
	}
	if err := errors.Join(checkFolder(config.Path, disk), checkManifestFile(disk, config.Path)); err != nil {
		return nil, err
	}
	syncWrites(config.Path, disk)
	wals, err := listWALs(disk, config.Path)
	if err != nil {
		return nil, err
	}
	sectors := &badSectors{impatient: true}
	var cut []string
	ends := make(map[string]int64)
	for {
		s := newStore(config, disk, sectors, logger)
		s.readOnly = true
		s.fence.fail(cause)
		s.guard.ends = ends
		err := s.openDatabase()
		if errors.Is(err, pebble.ErrDBDoesNotExist) {
			return nil, errNoLog
		}
		if err == nil {
			if err := s.loadReadOnly(known); err != nil {
				return nil, errors.Join(err, s.close())
			}
			return s, nil
		}
		damaged, end := damagedWAL(disk, wals, s.guard.replayed(), sectors)
		if damaged == nil || slices.Contains(cut, damaged[0]) {
			return nil, err
		}
		cut = append(cut, damaged[0])
		logger.Error("a write-ahead log of the event log is damaged: it is read up to the damage until the disk can be written",
			"file", filepath.Base(damaged[0]), "offset", end, "error", err.Error())
		for _, wal := range damaged {
			ends[wal] = 0
		}
		ends[damaged[0]] = end
		wals = wals[:len(wals)-len(damaged)+1]
	}
}

// loadReadOnly reads what was opened without writing anything.
func (s *store) loadReadOnly(known headMark) error {
	_, err := s.meta(metaKeyspace)
	if errors.Is(err, pebble.ErrNotFound) { // it was not created to the end
		err = errNoLog
	} else {
		err = s.load(eventlog.ID{}, known)
	}
	if err != nil {
		return err
	}
	epochs, last := s.epochs, s.head.position
	if known.id == s.id { // they are of events that are to be put back
		epochs, last = append(slices.Clone(epochs), known.epochs...), max(last, known.head.position)
	}
	s.epochs = soundEpochs(epochs, last)
	s.fence.serving.Store(true)
	return nil
}

// syncWrites makes durable what a process that was killed has written: it is read
// from the files, and what is shown must not be lost. That a failing disk refuses it
// is no reason not to start. Should the machine fail too, those who have seen what
// was lost are told: it is of an epoch that ends before.
func syncWrites(path string, disk vfs.FS) {
	names, _ := disk.List(path) // without them the opening fails
	for _, name := range names {
		if filepath.Ext(name) != ".log" {
			continue
		}
		if file, err := disk.Open(disk.PathJoin(path, name)); err == nil {
			_ = file.Sync()
			_ = file.Close()
		}
	}
}
