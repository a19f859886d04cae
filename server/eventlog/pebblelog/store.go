package pebblelog

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/bloom"
	"github.com/cockroachdb/pebble/v2/sstable"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/webhook-gateway/webhook-gateway/server/eventlog"
)

// formatVersion is that of the files that Pebble writes.
const formatVersion = pebble.FormatTableFormatV6

const (
	// A memory table has at most maxMemTableBytes, and less on a disk on which the
	// reserve could not take all of them: reserveMemTables fit into it.
	minMemTableBytes = 1 << 20
	maxMemTableBytes = 64 << 20
	reserveMemTables = 8
	// Pebble counts memory tables as a part of the cache.
	cacheBytes = 256 << 20

	// The committer waits while more than this has not been flushed or compacted.
	// Pebble's own limits are set so high that they are never reached: it would wait
	// inside Apply, and for ever if the disk has failed.
	maxMemTables   = 5
	maxL0Sublevels = 24
	stopMemTables  = 16
	stopL0         = 1000
)

// A store is one opening of the database.
type store struct {
	fence *fence
	db    *pebble.DB
	// memTable is the size of a memory table.
	memTable uint64

	// What was found at the opening.
	id            eventlog.ID
	head, trimmed mark
	epochs        []eventlog.EpochStart
	// The clock when the log was last in use; zero if that is not known.
	seen, retained time.Time
}

// openStore opens the database in a folder, or creates it for a log with an id.
func openStore(config Config, id eventlog.ID, disk vfs.FS, logger *slog.Logger) (*store, error) {
	s := &store{fence: newFence(disk), memTable: memTableOf(config, disk)}
	if err := checkFolder(config.Path, disk); err != nil {
		return nil, err
	}
	var err error
	if s.db, err = pebble.Open(config.Path, s.options(logger)); err == nil {
		// NOTE: The formats of Pebble are raised only when the keyspace is known.
		if err = s.load(id); err == nil {
			err = s.db.RatchetFormatMajorVersion(formatVersion)
		}
	}
	// NOTE: Behind a raised fence Pebble fails because of what the fence hid from it.
	// Why the fence was raised is the cause.
	if cause := s.fence.err(); cause != nil {
		err = diskError{cause}
	}
	if errors.Is(err, pebble.ErrDBNotPristine) {
		err = fmt.Errorf("the folder has the tables of an event log, but not the file marker.format-version... with their format: "+
			"nothing was removed: restore the folder from a backup: %w", err)
	}
	if err != nil {
		return nil, errors.Join(err, s.abandon())
	}
	s.fence.serving.Store(true)
	return s, nil
}

// abandon ends an opening that failed.
func (s *store) abandon() error {
	var err error
	if s.db != nil {
		err = s.close()
	}
	if s.fence.err() != nil {
		s.fence.made.discard(s.fence.FS)
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

func (s *store) options(logger *slog.Logger) *pebble.Options {
	o := &pebble.Options{
		FS:                          s.fence,
		Logger:                      pebbleLogger{logger: logger, fence: s.fence},
		CacheSize:                   cacheBytes,
		MemTableSize:                s.memTable,
		MemTableStopWritesThreshold: stopMemTables,
		L0CompactionThreshold:       4,
		L0StopWritesThreshold:       stopL0,
		EventListener: &pebble.EventListener{
			BackgroundError: func(err error) {
				if s.fence.err() == nil {
					logger.Warn("background work of the event log failed", "error", err)
				}
			},
			DataCorruption: func(info pebble.DataCorruptionInfo) {
				// NOTE: Behind a raised fence what Pebble says of its files is not to be trusted.
				if s.fence.err() == nil {
					logger.Error("the event log is corrupt", "details", info.String())
				}
			},
		},
	}
	for i := range o.Levels {
		level := &o.Levels[i]
		level.BlockSize = 32 << 10
		level.IndexBlockSize = 256 << 10
		level.FilterPolicy = bloom.FilterPolicy(10)
		level.Compression = func() *sstable.CompressionProfile { return sstable.SnappyCompression }
	}
	return o
}

// load reads the facts about the log, and writes those of a new one.
func (s *store) load(newID eventlog.ID) error {
	version, err := s.meta(metaKeyspace)
	if errors.Is(err, pebble.ErrNotFound) {
		return s.create(newID)
	}
	if err != nil {
		return err
	}
	if len(version) != 1 {
		return errors.New("the keyspace version of the event log is malformed")
	}
	if version[0] != keyspaceVersion {
		return fmt.Errorf("the event log has keyspace version %d and this gateway supports version %d: use the version of the gateway that wrote it, or another path", version[0], keyspaceVersion)
	}
	id, err := s.meta(metaLogID)
	if err != nil {
		return err
	}
	if len(id) != len(s.id) {
		return errors.New("the id of the event log is malformed")
	}
	s.id = eventlog.ID(id)

	trimmed, err := s.meta(metaTrimmed)
	switch {
	case errors.Is(err, pebble.ErrNotFound):
	case err != nil:
		return err
	default:
		if s.trimmed, err = decodeMark(trimmed); err != nil {
			return fmt.Errorf("read %s: %w", metaTrimmed, err)
		}
	}
	s.head = s.trimmed
	if err := s.loadHead(); err != nil {
		return err
	}
	if err := s.loadClock(); err != nil {
		return err
	}
	if err := s.loadEpochs(); err != nil {
		return fmt.Errorf("read the epochs of the event log: %w", err)
	}
	return nil
}

// loadEpochs reads the table of epochs. It covers every event, trimmed ones
// included.
func (s *store) loadEpochs() (err error) {
	it, err := s.db.NewIter(&pebble.IterOptions{LowerBound: []byte{prefixHistory}, UpperBound: []byte{prefixHistory + 1}})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, it.Close()) }()
	for ok := it.First(); ok; ok = it.Next() {
		value, err := it.ValueAndErr()
		if err != nil {
			return err
		}
		start, err := parseEpochPair(it.Key(), value)
		if err != nil {
			return err
		}
		s.epochs = append(s.epochs, start)
	}
	if err := it.Error(); err != nil {
		return err
	}
	last := eventlog.Position(0)
	if n := len(s.epochs); n > 0 {
		last = s.epochs[n-1].First
	}
	if last > s.head.position || last == 0 && s.head.position > 0 {
		return fmt.Errorf("the last epoch begins at position %d, and the newest event is %d", last, s.head.position)
	}
	_, err = eventlog.NewHistory(s.id, s.epochs...)
	return err
}

func (s *store) loadHead() error {
	iter, err := s.db.NewIter(&pebble.IterOptions{LowerBound: []byte{prefixEvent}, UpperBound: []byte{prefixEvent + 1}})
	if err != nil {
		return fmt.Errorf("find the newest event: %w", err)
	}
	newest := eventlog.Position(0)
	for ok := iter.Last(); ok; ok = iter.Prev() {
		var record eventlog.Record
		record, err = recordAt(iter)
		if newest == 0 {
			newest = record.Position
		}
		if err == nil {
			s.head = markOf(record)
			break
		}
		// NOTE: A damaged event must not keep the log from opening. Of the newest one the
		// position is enough: the rest is taken from the one before.
		if !errors.Is(err, errValue) {
			break
		}
		err = nil
	}
	s.head.position = max(s.head.position, newest)
	if err := errors.Join(err, iter.Close()); err != nil {
		return fmt.Errorf("find the newest event: %w", err)
	}
	return nil
}

func (s *store) create(id eventlog.ID) error {
	s.id = id
	batch := s.db.NewBatch()
	err := errors.Join(
		batch.Set(metaKey(metaKeyspace), []byte{keyspaceVersion}, nil),
		batch.Set(metaKey(metaLogID), s.id[:], nil),
		batch.Commit(pebble.Sync),
		batch.Close(),
	)
	if err != nil {
		return fmt.Errorf("create the event log: %w", err)
	}
	return nil
}

func (s *store) meta(name string) ([]byte, error) {
	value, closer, err := s.db.Get(metaKey(name))
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", name, err)
	}
	value = append([]byte(nil), value...)
	return value, closer.Close()
}

// mark reads the mark of one event. It copies nothing: an event may be large.
func (s *store) mark(p eventlog.Position) (mark, error) {
	value, closer, err := s.db.Get(eventKey(p))
	if err != nil {
		return mark{}, err
	}
	record, err := parseEvent(p, value, false)
	if err != nil {
		return mark{}, errors.Join(err, closer.Close())
	}
	return markOf(record), closer.Close()
}

// events returns an iterator over the events strictly after a position and up to
// another.
func (s *store) events(after, upTo eventlog.Position) (*pebble.Iterator, error) {
	lower, upper := eventKeysAfter(after, upTo)
	return s.db.NewIter(&pebble.IterOptions{LowerBound: lower, UpperBound: upper})
}

// recordAt returns the record that an iterator stands on, valid until it moves.
func recordAt(iter *pebble.Iterator) (eventlog.Record, error) {
	p, err := parseEventKey(iter.Key())
	if err != nil {
		return eventlog.Record{}, err
	}
	value, err := iter.ValueAndErr()
	if err != nil {
		return eventlog.Record{}, err
	}
	return parseEvent(p, value, false)
}

// overloaded reports whether too much background work is waiting.
func (s *store) overloaded() bool {
	m := s.db.Metrics()
	return m.MemTable.Size > maxMemTables*s.memTable || m.Levels[0].Sublevels > maxL0Sublevels
}

// close ends the opening. No iterator may be open.
func (s *store) close() error {
	s.fence.release()
	if err := s.db.Close(); err != nil && s.fence.err() == nil {
		return fmt.Errorf("close the event log: %w", err)
	}
	return nil
}

// pebbleLogger passes on what Pebble logs.
type pebbleLogger struct {
	logger *slog.Logger
	fence  *fence
}

func (l pebbleLogger) Infof(format string, args ...any)  { l.log(slog.LevelDebug, format, args) }
func (l pebbleLogger) Errorf(format string, args ...any) { l.log(slog.LevelError, format, args) }

// Fatalf is called on failures that Pebble does not go on after. This opening is
// not trusted any further, and the process lives.
func (l pebbleLogger) Fatalf(format string, args ...any) {
	l.log(slog.LevelError, format, args)
	l.fence.fail(fmt.Errorf(format, args...))
}

func (l pebbleLogger) log(level slog.Level, format string, args []any) {
	if l.fence.err() != nil {
		level = slog.LevelDebug
	}
	ctx := context.Background()
	if l.logger.Enabled(ctx, level) {
		l.logger.Log(ctx, level, "pebble", "details", fmt.Sprintf(format, args...))
	}
}
