package pebblelog

import (
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"strings"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/webhook-gateway/webhook-gateway/server/eventlog"
)

// newStore returns a store that is not opened yet.
func newStore(config Config, disk vfs.FS, sectors *badSectors, logger *slog.Logger) *store {
	guard := newGuard(disk, sectors)
	return &store{
		path:     config.Path,
		disk:     disk,
		logger:   logger,
		guard:    guard,
		fence:    newFence(guard),
		memTable: memTableOf(config, disk),
		maxFiles: config.MaxOpenFiles,
		copy:     config.copy,
		moving:   config.moving,
		damaged:  damagedTables{logger: logger},
	}
}

// openStore opens the database in a folder, or creates it for a log with an id. What
// is known of the log besides tells whether something of it is missing.
func openStore(config Config, id eventlog.ID, known headMark, disk vfs.FS, logger *slog.Logger) (*store, error) {
	restoring, err := exists(disk, disk.PathJoin(config.Path, restoringName))
	if err != nil {
		return nil, mayEnd(err)
	}
	if restoring {
		return nil, fmt.Errorf("a restore into %s has not finished: empty the folder and restore again", config.Path)
	}
	if err := errors.Join(checkFolder(config.Path, disk), checkManifestFile(disk, config.Path)); err != nil {
		return nil, mayEnd(err)
	}
	aside, err := findUnfinished(disk, config.Path)
	if err != nil {
		return nil, mayEnd(err)
	}
	if known.sectors == nil {
		known.sectors = new(badSectors)
	}
	for cuts := 0; ; cuts++ {
		wals, err := listWALs(disk, config.Path)
		if err != nil {
			return nil, mayEnd(err)
		}
		s := newStore(config, disk, known.sectors, logger)
		loaded, err := s.open(id, known, wals, aside)
		if err == nil {
			return s, nil
		}
		replayed, cause := s.guard.replayed(), s.fence.err()
		if abandoned := s.abandon(); loaded || cuts == maxCuts || cause != nil {
			return nil, errors.Join(mayEnd(err), abandoned)
		}
		damaged, end := damagedWAL(disk, wals, replayed, known.sectors)
		if damaged == nil {
			return nil, mayEnd(err)
		}
		if config.copy != nil {
			return nil, &copyError{err, false}
		}
		logger.Error("a write-ahead log of the event log is damaged: it is set aside and cut before the damage",
			"file", filepath.Base(damaged[0]), "offset", end, "error", err.Error())
		if aside, err = cutWALs(disk, config.Path, aside, wals, damaged, end); err != nil {
			return nil, mayEnd(err)
		}
	}
}

// openBoth opens the database, and what is remembered of event ids.
func openBoth(config Config, id eventlog.ID, known headMark, disk vfs.FS, logger *slog.Logger) (*store, *dedup, error) {
	s, err := openStore(config, id, known, disk, logger)
	if err != nil {
		return nil, nil, err
	}
	d, err := openDedup(s, config.DedupWindow)
	if err != nil {
		return nil, nil, errors.Join(mayEnd(err), s.abandon())
	}
	return s, d, nil
}

// mayEnd makes an error of the file system that may end by itself one that says so.
func mayEnd(err error) error {
	if isDiskFault(err) && !errors.As(err, new(diskError)) {
		return diskError{err}
	}
	return err
}

// open opens the database and makes it one that can be served: wals are the
// write-ahead logs that it begins with, and aside is the folder that they were set
// aside in, if they were. It reports whether the log was loaded: what fails then is not
// for a damaged write-ahead log. A store that fails must be abandoned.
func (s *store) open(id eventlog.ID, known headMark, wals []string, aside string) (loaded bool, err error) {
	defer func() {
		// NOTE: Behind a raised fence Pebble fails because of what the fence hid from it, or
		// does not notice. Why the fence was raised is the cause.
		if cause := s.fence.err(); cause != nil {
			err = diskError{cause}
		}
	}()
	tables, err := listTables(s.disk, s.path)
	if err != nil {
		return false, err
	}
	if err := errors.Join(s.openDatabase(), s.fence.err()); err != nil {
		return false, err
	}
	if err := s.load(id, known); err != nil {
		// NOTE: The opening held back what may be removed. It is not known yet what that is.
		return false, err
	}
	unused, stale := s.unusedTables(tables)
	if stale {
		return true, errManifest
	}
	if s.copy != nil {
		return true, s.finishCopy()
	}
	if err := s.refuseCopy(); err != nil {
		return true, err
	}
	if !s.moving {
		if err := s.refuseMoved(); err != nil {
			return true, err
		}
	}
	// NOTE: The formats of Pebble are raised only when the keyspace is known.
	if err := s.db.RatchetFormatMajorVersion(formatVersion); err != nil {
		return true, err
	}
	if err := s.recover(known, append(wals, unused...), aside); err != nil {
		return true, err
	}
	if err := s.fence.err(); err != nil {
		return true, err // nothing is removed
	}
	s.guard.letGo()
	s.unmended = len(s.mend(known.damaged)) > 0
	if err := s.fence.err(); err != nil {
		return true, err
	}
	s.fence.serving.Store(true)
	return true, nil
}

// openDatabase opens the database alone.
func (s *store) openDatabase() (err error) {
	// NOTE: Pebble panics at some damage, and has no goroutine by then that matters.
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("%w: Pebble panicked: %v", pebble.ErrCorruption, r)
		}
	}()
	s.db, err = pebble.Open(s.path, s.options(s.logger))
	if errors.Is(err, pebble.ErrDBNotPristine) {
		err = fmt.Errorf("the folder has the tables of an event log, but not the file marker.format-version... with their format: "+
			"nothing was removed: restore the folder from a backup: %w", err)
	}
	if isNewerFiles(err) {
		err = fmt.Errorf("the files were written by a later version of the gateway, and nothing was changed: use that version, or restore a backup of this one into another folder: %w", err)
	}
	return err
}

// isNewerFiles reports whether Pebble says that the files are of a later version of it, for which it
// has no type.
func isNewerFiles(err error) bool {
	return err != nil && strings.Contains(err.Error(), "written in unknown format major version")
}

// abandon ends an opening that failed.
func (s *store) abandon() error {
	var err error
	if s.db != nil {
		err = s.close()
	}
	if s.fence.err() != nil {
		s.fence.made.discard(s.disk) // not through the guard, which holds everything back
	}
	return err
}

// memTableOf returns the size of a memory table that suits a disk.
func memTableOf(config Config, disk vfs.FS) uint64 {
	usage, err := disk.GetDiskUsage(config.Path)
	if err != nil || usage.TotalBytes == 0 {
		return maxMemTableBytes
	}
	reserve := reserveOf(config.DiskReserve, usage.TotalBytes)
	return min(max(reserve/reserveMemTables, minMemTableBytes), maxMemTableBytes)
}
